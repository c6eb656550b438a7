//! The command line.

mod arguments;

pub mod client;

mod commands;

#[cfg(feature = "demo")]
mod demo;

use self::arguments::{COMMANDS, CommandLine, parse};
use self::commands::Client;
use crate::config::Config;
use crate::daemon;
use crate::sys::logger;
use std::io::{Read, Write};
use std::process::ExitCode;

/// Nothing was found, the request was refused, or the sidecar is unreachable.
const FAILED: u8 = 1;

/// Invalid command line or setting.
const USAGE: u8 = 2;

/// Why the process fails: its exit code, and the message for standard error.
struct Failure(u8, String);

/// Runs the command that the command line asks for.
pub fn run() -> ExitCode {
    match execute() {
        Ok(code) => code,
        Err(Failure(code, message)) => {
            eprintln!("gossip-sidecar: {message}");
            ExitCode::from(code)
        }
    }
}

fn execute() -> Result<ExitCode, Failure> {
    let line = parse(lexopt::Parser::from_env())
        .map_err(|error| Failure(USAGE, format!("{error}; see `gossip-sidecar --help`")))?;
    let Some(line) = line else { return Ok(ExitCode::SUCCESS) };
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
    let client = || Client::new(line.server.as_deref(), &config);
    let put = |key, value| client()?.put(key, value, line.ttl.as_deref());
    match (command, &words[..]) {
        ("serve", []) => {
            logger::start(config.log_level);
            daemon::serve(config).map_err(|error| Failure(FAILED, error.to_string()))?;
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(feature = "demo")]
        ("demo", []) => {
            logger::start(config.log_level);
            demo::run().map_err(|error| Failure(FAILED, error.to_string()))?;
            Ok(ExitCode::SUCCESS)
        }
        ("health", []) => client()?.show(if line.ready { "/readyz" } else { "/healthz" }),
        ("stats", []) => client()?.show("/stats"),
        ("peers", []) => client()?.show("/peers"),
        ("get", keys @ [_, ..]) => client()?.get(keys),
        ("put", [key] | [key, "-"]) => put(key, read_stdin()?),
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

/// Prints to standard output; returns whether somebody still reads it, unlike `head`.
fn print(text: &[u8]) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text).and_then(|()| out.flush()).is_ok()
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    std::io::stdin().read_to_end(&mut value).map_err(|error| {
        Failure(FAILED, format!("cannot read the value from standard input: {error}"))
    })?;
    Ok(value)
}
