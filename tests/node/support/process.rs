//! The binary under test, and processes in general.

use crate::support::RESPONSE_LIMIT;
use std::io::Write;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::RecvTimeoutError;

pub const BINARY: &str = env!("CARGO_BIN_EXE_gossip-sidecar");

/// The binary under test, with an empty environment.
pub fn binary() -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().stdin(Stdio::null());
    command
}

/// Runs the binary to its end in this environment.
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    run_with_input(arguments, environment, &[])
}

/// Runs the binary to its end in this environment, with this standard input.
pub fn run_with_input(arguments: &[&str], environment: &[(&str, &str)], input: &[u8]) -> Output {
    let mut command = binary();
    command.args(arguments).envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary was built");
    let pid = child.id();
    let (ended, ends) = std::sync::mpsc::channel::<()>();
    // A program that should have failed may serve instead.
    let watch = std::thread::spawn(move || {
        if ends.recv_timeout(RESPONSE_LIMIT) == Err(RecvTimeoutError::Timeout) {
            signal(pid, "KILL");
        }
    });
    // The program need not read its input.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    let output = child.wait_with_output().expect("it is our child");
    drop(ended);
    watch.join().expect("the watch does not panic");
    output
}

/// Sends a signal such as `TERM` to a process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(status.expect("there is a kill command").success(), "kill -{name} {pid}");
}

/// Allows this process, and the nodes that it starts from now on, thousands of connections.
pub fn allow_thousands_of_connections() {
    let pid = std::process::id().to_string();
    let prlimit = Command::new("prlimit").args(["--pid", &pid, "--nofile=8192:"]).status();
    // Without that command the limit may be high enough as it is; if not, connecting fails.
    if !prlimit.as_ref().is_ok_and(ExitStatus::success) {
        println!("the limit of open files is unchanged: {prlimit:?}");
    }
}
