//! The command line: its commands, its options, and the help text.

use super::print;
use crate::config::{SETTINGS, flag};
use lexopt::prelude::*;

/// The command line, parsed.
#[derive(Default)]
pub struct CommandLine {
    /// The command and its arguments.
    pub words: Vec<String>,
    /// Settings that were given as flags, in the order given.
    pub settings: Vec<(&'static str, String)>,
    pub server: Option<String>,
    pub ttl: Option<String>,
    pub ready: bool,
}

/// Parses the command line; `None` if it asked for help or the version, which has been printed.
pub fn parse(mut parser: lexopt::Parser) -> Result<Option<CommandLine>, lexopt::Error> {
    let mut line = CommandLine::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => {
                print(help().as_bytes());
                return Ok(None);
            }
            Short('V') | Long("version") => {
                print(concat!("gossip-sidecar ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
                return Ok(None);
            }
            Long("server") => line.server = Some(parser.value()?.string()?),
            Long("ttl") => line.ttl = Some(parser.value()?.string()?),
            Long("ready") => line.ready = true,
            Long(name) => {
                let Some(setting) = SETTINGS.iter().find(|setting| flag(setting) == name) else {
                    return Err(argument.unexpected());
                };
                line.settings.push((setting.name, parser.value()?.string()?));
            }
            Value(word) => line.words.push(word.string()?),
            Short(_) => return Err(argument.unexpected()),
        }
    }
    Ok(Some(line))
}

/// Each command with its arguments, what it does, and an example.
pub const COMMANDS: &[(&str, &str, &str, &str)] = &[
    ("serve", "", "run the sidecar (the default)", "gossip-sidecar --client-port 8080"),
    #[cfg(feature = "demo")]
    ("demo", "", "run three sidecars on this machine", "gossip-sidecar demo"),
    ("get", "KEY…", "print KEY=VALUE for each key that is present", "gossip-sidecar get a b"),
    (
        "put",
        "KEY [VALUE|-]",
        "write a value; it is read from standard input if it is - or missing",
        "gossip-sidecar put alive/pod-7 yes --ttl 30s",
    ),
    ("del", "KEY…", "delete keys", "gossip-sidecar del a b"),
    ("ls", "[PREFIX]", "list keys, percent-encoded", "gossip-sidecar ls alive/"),
    (
        "watch",
        "KEY",
        "print KEY=VALUE now and after each change, KEY alone once it is gone",
        "gossip-sidecar watch flags/new-shop",
    ),
    ("stats", "", "print counters and gauges", "gossip-sidecar stats"),
    ("peers", "", "list the other sidecars", "gossip-sidecar peers"),
    (
        "health",
        "[--ready]",
        "check that the sidecar is alive (or ready)",
        "gossip-sidecar health --ready",
    ),
];

fn help() -> String {
    let mut text = String::from(
        "gossip-sidecar replicates one in-memory key-value map to every pod.

Usage: gossip-sidecar [COMMAND] [--SETTING VALUE]…

Commands:
",
    );
    for (name, words, help, example) in COMMANDS {
        let usage = format!("{name} {words}");
        text += &format!("  {usage:<18} {help}\n  {:<18}   {example}\n", "");
    }
    text += "
All commands but serve and demo talk to the sidecar at CLIENT_BIND:CLIENT_PORT,
or at --server HOST:PORT. Exit codes: 0, success; 1, nothing found, request
refused, or sidecar unreachable; 2, invalid command line or setting.

Settings, from the environment or as a flag (CLIENT_PORT=8080 or --client-port 8080):
";
    for setting in &SETTINGS {
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        text += &format!("  {:<17} {} [{default}]\n", setting.name, setting.help);
    }
    text
}
