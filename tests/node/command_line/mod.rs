//! The command line: settings, arguments, the built-in client and the demo.

mod settings;

mod arguments;

mod client;

mod addresses;

mod demo;

use std::process::Output;
use std::time::Duration;

/// The time within which the client and the demo do what is asked of them.
const COMMAND_LIMIT: Duration = Duration::from_secs(15);

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asserts that the program failed with this exit code, and printed one line with all of these
/// words.
#[track_caller]
fn assert_fails(output: &Output, code: i32, named: &[&str]) {
    let error = error(output);
    assert_eq!(output.status.code(), Some(code), "for {named:?}: {error}");
    assert!(error.starts_with("gossip-sidecar: ") && error.lines().count() == 1, "{error:?}");
    for name in named {
        assert!(error.contains(name), "{name:?} is not in {error:?}");
    }
    assert_eq!(text(output), "");
}
