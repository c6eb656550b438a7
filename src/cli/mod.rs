//! The command line.

mod arguments;

pub mod client;

mod commands;

#[cfg(feature = "demo")]
mod demo;

use self::arguments::{Asked, COMMANDS, CommandLine, parse};
use self::commands::Client;
use crate::config::Config;
use crate::daemon;
use crate::sys::logger;
use std::io::{ErrorKind, Read, Write};
use std::process::ExitCode;

/// Nothing was found, the request was refused, the sidecar is unreachable, or the output is not
/// written.
const FAILED: u8 = 1;

/// Invalid command line or setting, or no value on standard input.
const USAGE: u8 = 2;

/// Why the process fails: its exit code, and the message for standard error.
struct Failure(u8, String);

/// Runs the command that the command line asks for.
pub fn run() -> ExitCode {
    match execute() {
        Ok(code) => code,
        Err(Failure(code, message)) => {
            // Standard error may be closed or full too, and then only the exit code is left.
            let _ = writeln!(std::io::stderr(), "gossip-sidecar: {message}");
            ExitCode::from(code)
        }
    }
}

fn execute() -> Result<ExitCode, Failure> {
    let asked = parse(lexopt::Parser::from_env())
        .map_err(|error| Failure(USAGE, format!("{error}; see `gossip-sidecar --help`")))?;
    let line = match asked {
        Asked::Command(line) => line,
        Asked::Text(text) => return print(text.as_bytes()).map(|_| ExitCode::SUCCESS),
    };
    let config =
        Config::new(|name| setting(&line, name)).map_err(|bad| Failure(USAGE, bad.to_string()))?;
    run_command(&line, config)
}

/// A setting from the flags, of which the last one counts, or else from the environment.
fn setting(line: &CommandLine, name: &str) -> Option<String> {
    let flag = line.settings.iter().rev().find(|(setting, _)| *setting == name);
    let from_environment =
        || std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    flag.map(|(_, value)| value.clone()).or_else(from_environment)
}

fn run_command(line: &CommandLine, config: Config) -> Result<ExitCode, Failure> {
    let mut words = line.words.iter().map(String::as_str);
    let command = words.next().unwrap_or("serve");
    let words: Vec<&str> = words.collect();
    if line.ready && command != "health" {
        return Err(Failure(USAGE, "--ready is an option of health only".into()));
    }
    if line.ttl.is_some() && command != "put" {
        return Err(Failure(USAGE, "--ttl is an option of put only".into()));
    }
    if line.server.is_some() && ["serve", "demo"].contains(&command) {
        let example = "gossip-sidecar get KEY --server HOST:PORT";
        let reason = "--server is an option of the commands that talk to a running sidecar";
        return Err(Failure(USAGE, format!("{reason}, such as {example}")));
    }
    if line.empty && !matches!((command, &words[..]), ("put", [_] | [_, "-"])) {
        return Err(Failure(
            USAGE,
            "--empty is an option of put only, for a value from standard input".into(),
        ));
    }
    let client = || Client::new(line.server.as_deref(), &config);
    let put = |key, value| client()?.put(key, value, line.ttl.as_deref());
    match (command, &words[..]) {
        ("serve", []) => {
            config.check_ports().map_err(|collision| Failure(USAGE, collision))?;
            logger::start(config.log_level);
            daemon::serve(config).map_err(|error| Failure(FAILED, error.to_string()))?;
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(feature = "demo")]
        ("demo", []) => {
            logger::start(config.log_level);
            match demo::run() {
                // As in `print`.
                Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                    Err(Failure(FAILED, error.to_string()))
                }
                _ => Ok(ExitCode::SUCCESS),
            }
        }
        ("health", []) => client()?.show(if line.ready { "/readyz" } else { "/healthz" }),
        ("stats", []) => client()?.show("/stats"),
        ("peers", []) => client()?.show("/peers"),
        ("get", keys @ [_, ..]) => client()?.get(keys),
        ("put", [key] | [key, "-"]) => put(key, read_stdin(line.empty)?),
        ("put", [key, value]) => put(key, value.as_bytes().to_vec()),
        ("del", keys @ [_, ..]) => client()?.delete(keys),
        ("ls", []) => client()?.list(""),
        ("ls", [prefix]) => client()?.list(prefix),
        ("watch", [key]) => client()?.watch(key),
        _ if COMMANDS.iter().any(|(name, ..)| *name == command) => Err(Failure(
            USAGE,
            format!("wrong number of arguments for {command}; see `gossip-sidecar --help`"),
        )),
        _ => {
            let names: Vec<&str> = COMMANDS.iter().map(|(name, ..)| *name).collect();
            let names = names.join(", ");
            Err(Failure(USAGE, format!("unknown command {command:?}; the commands are {names}")))
        }
    }
}

/// Prints to standard output; returns whether somebody still reads it: `head` stops at some time,
/// and then all is well.
fn print(text: &[u8]) -> Result<bool, Failure> {
    let mut out = std::io::stdout();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure(FAILED, format!("cannot write to standard output: {error}"))),
    }
}

/// An empty input is most likely not a value, but the output of a command that failed, or no input
/// at all.
fn read_stdin(may_be_empty: bool) -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    std::io::stdin().read_to_end(&mut value).map_err(|error| {
        Failure(FAILED, format!("cannot read the value from standard input: {error}"))
    })?;
    if value.is_empty() && !may_be_empty {
        let right = "give the value as an argument, or --empty to write an empty one";
        return Err(Failure(USAGE, format!("no value: standard input is empty; {right}")));
    }
    Ok(value)
}
