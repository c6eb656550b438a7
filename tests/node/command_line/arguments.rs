//! Help, version and wrong arguments.

use super::{assert_fails, error, text};
use crate::support::run;
use gossip_sidecar::SETTINGS;

#[test]
fn help_lists_every_command_and_every_setting_with_its_default() {
    for arguments in [&["--help"][..], &["-h"], &["serve", "--help"], &["put", "-h"]] {
        // Even if the environment is invalid.
        let output = run(arguments, &[("CLIENT_PORT", "bad")]);
        assert_eq!((output.status.code(), error(&output)), (Some(0), String::new()));
        let help = text(&output);
        for setting in &SETTINGS {
            let line = help.lines().find(|line| line.trim_start().starts_with(setting.name));
            let line = line.unwrap_or_else(|| panic!("{} is not in {help}", setting.name));
            let default = if setting.default.is_empty() { "none" } else { setting.default };
            assert!(line.ends_with(&format!("[{default}]")), "{line:?}");
        }
        for command in [
            "serve",
            "demo",
            "get KEY",
            "put KEY",
            "del KEY",
            "ls [PREFIX]",
            "watch KEY",
            "stats",
            "peers",
            "health",
            "--ttl",
            "--empty",
            "--server",
            "--client-port",
        ] {
            assert!(help.contains(command), "{command}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
    }
}

#[test]
fn version_prints_the_version_of_the_package() {
    for argument in ["--version", "-V"] {
        let output = run(&[argument], &[]);
        assert_eq!(text(&output), format!("gossip-sidecar {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn an_invalid_argument_is_named_in_the_error() {
    for (arguments, named) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--CLIENT_PORT", "1"], "--CLIENT_PORT"),
        (&["--client_port", "1"], "--client_port"),
        (&["-x"], "-x"),
        (&["serve", "--port=1"], "--port"),
        (&["--client-port"], "--client-port"),
        (&["start"], "start"),
        (&["Serve"], "Serve"),
        (&[""], "\"\""),
        (&["serve", "now"], "serve"),
        (&["demo", "3"], "demo"),
        (&["health", "x"], "health"),
        (&["get"], "get"),
        (&["put"], "put"),
        (&["put", "key", "value", "more"], "put"),
        (&["get", "--ready", "key"], "--ready"),
        (&["--server", "127.0.0.1:1"], "--server"),
        (&["serve", "--server", "127.0.0.1:1"], "--server"),
        (&["demo", "--server", "127.0.0.1:1"], "--server"),
        (&["--empty"], "--empty"),
        (&["get", "--empty", "key"], "--empty"),
        (&["put", "key", "value", "--empty"], "--empty"),
        (&["health", "--server", "nonsense"], "nonsense"),
        (&["health", "--server", "127.0.0.1"], "127.0.0.1:80"),
    ] {
        assert_fails(&run(arguments, &[]), 2, &[named]);
    }
}
