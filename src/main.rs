//! The command line.

#![forbid(unsafe_code)]

use gossip_sidecar::client::{self, map_target};
use gossip_sidecar::config::{Config, SETTINGS, flag};
use gossip_sidecar::{daemon, demo, logger};
use lexopt::prelude::*;
use std::io::{Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

/// Something did not work out.
const FAILED: u8 = 1;

/// The command line or a setting is wrong.
const USAGE: u8 = 2;

/// Why the process ends otherwise than well: exit code and what to say.
struct Failure(u8, String);

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(Failure(code, message)) => {
            eprintln!("gossip-sidecar: {message}");
            ExitCode::from(code)
        }
    }
}

/// What the command line says.
#[derive(Default)]
struct CommandLine {
    words: Vec<String>,
    settings: Vec<(&'static str, String)>,
    server: Option<String>,
    ready: bool,
}

fn run() -> Result<ExitCode, Failure> {
    let Some(line) = parse(lexopt::Parser::from_env()).map_err(|error| {
        Failure(USAGE, format!("{error}; `gossip-sidecar --help` shows what there is"))
    })?
    else {
        return Ok(ExitCode::SUCCESS);
    };
    let lookup = |name: &str| {
        let from_flag = line.settings.iter().rev().find(|(setting, _)| *setting == name);
        from_flag
            .map(|(_, value)| value.clone())
            .or_else(|| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    };
    let config = Config::new(lookup).map_err(|bad| Failure(USAGE, bad.to_string()))?;
    let mut words = line.words.iter().map(String::as_str);
    let command = words.next().unwrap_or("serve");
    let words: Vec<&str> = words.collect();
    if line.ready && command != "health" {
        return Err(Failure(USAGE, "--ready goes with health only".into()));
    }
    let server = || server(line.server.as_deref(), &config);
    match (command, &words[..]) {
        ("serve", []) => {
            logger::start(config.log_level);
            daemon::serve(config).map_err(|error| Failure(FAILED, error.to_string()))?;
            Ok(ExitCode::SUCCESS)
        }
        ("demo", []) => {
            logger::start(config.log_level);
            let signals = daemon::signals().map_err(|error| Failure(FAILED, error.to_string()))?;
            demo::run(&signals).map_err(|error| Failure(FAILED, error.to_string()))?;
            Ok(ExitCode::SUCCESS)
        }
        ("health", []) => health(server()?, if line.ready { "/readyz" } else { "/healthz" }),
        ("get", keys @ [_, ..]) => get(server()?, keys),
        ("put", [key]) => put(server()?, key, read_stdin()?),
        ("put", [key, "-"]) => put(server()?, key, read_stdin()?),
        ("put", [key, value]) => put(server()?, key, value.as_bytes().to_vec()),
        ("serve" | "demo" | "health" | "get" | "put", _) => Err(Failure(
            USAGE,
            format!(
                "wrong number of words after {command}; `gossip-sidecar --help` shows each command"
            ),
        )),
        _ => Err(Failure(
            USAGE,
            format!("unknown command {command:?}; there are serve, demo, get, put and health"),
        )),
    }
}

/// Reads the command line; `None` if it asked for a text, which has been printed.
fn parse(mut parser: lexopt::Parser) -> Result<Option<CommandLine>, lexopt::Error> {
    let mut line = CommandLine::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => {
                print(&help());
                return Ok(None);
            }
            Short('V') | Long("version") => {
                print(concat!("gossip-sidecar ", env!("CARGO_PKG_VERSION"), "\n"));
                return Ok(None);
            }
            Long("server") => line.server = Some(parser.value()?.string()?),
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

/// Prints to a reader that may have gone away, such as `head`.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn help() -> String {
    let mut text = String::from(
        "gossip-sidecar keeps one in-memory key-value map the same in every pod.

Usage: gossip-sidecar [COMMAND] [--SETTING VALUE]…

Commands:
  serve               run the sidecar (this is what happens without a command)
  demo                run three on this machine, to try things out
  get KEY…            print KEY=value for each key that is there; exit code 1 if none is
  put KEY [VALUE|-]   write a value, from standard input with - or nothing
  health [--ready]    exit code 0 if the sidecar is alive (or ready), otherwise 1

get, put and health talk to the sidecar at CLIENT_BIND and CLIENT_PORT, or at
--server HOST:PORT.

Settings, from the environment or as a flag (CLIENT_PORT=8080 or --client-port 8080):
",
    );
    for setting in &SETTINGS {
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        text += &format!("  {:<17} {} [{default}]\n", setting.name, setting.help);
    }
    text
}

fn server(given: Option<&str>, config: &Config) -> Result<SocketAddr, Failure> {
    let Some(given) = given else { return Ok(config.local_client()) };
    let bad = |why: String| {
        Failure(
            USAGE,
            format!("--server {given:?}: {why}; right is HOST:PORT, such as 127.0.0.1:80"),
        )
    };
    let mut found = given.to_socket_addrs().map_err(|error| bad(error.to_string()))?;
    found.next().ok_or_else(|| bad("no address found".into()))
}

fn ask(
    server: SocketAddr,
    method: &str,
    target: &str,
    body: &[u8],
) -> Result<client::Answer, Failure> {
    client::request(server, method, target, body).map_err(|error| {
        Failure(FAILED, format!("no answer from the sidecar at {server}: {error}"))
    })
}

fn health(server: SocketAddr, target: &str) -> Result<ExitCode, Failure> {
    let answer = ask(server, "GET", target, &[])?;
    print(&String::from_utf8_lossy(&answer.body));
    Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn get(server: SocketAddr, keys: &[&str]) -> Result<ExitCode, Failure> {
    let answer = ask(server, "GET", &map_target(keys.iter().copied()), &[])?;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    let _ = std::io::stdout().write_all(&answer.body);
    Ok(ExitCode::SUCCESS)
}

fn put(server: SocketAddr, key: &str, value: Vec<u8>) -> Result<ExitCode, Failure> {
    let answer = ask(server, "PUT", &map_target([key]), &value)?;
    match answer.status {
        201 | 204 => Ok(ExitCode::SUCCESS),
        _ => Err(refused(&answer)),
    }
}

fn refused(answer: &client::Answer) -> Failure {
    let reason = String::from_utf8_lossy(&answer.body);
    Failure(FAILED, format!("{} ({})", reason.trim_end(), answer.status))
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    std::io::stdin().read_to_end(&mut value).map_err(|error| {
        Failure(FAILED, format!("cannot read the value from standard input: {error}"))
    })?;
    Ok(value)
}
