//! The command line.

pub mod client;

#[cfg(feature = "demo")]
mod demo;

use self::client::map_target;
use crate::config::{Config, SETTINGS, flag};
use crate::core::api::map;
use crate::daemon;
use crate::sys::logger;
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

/// Does what the command line says.
pub fn run() -> ExitCode {
    match execute() {
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
    ttl: Option<String>,
    ready: bool,
}

fn execute() -> Result<ExitCode, Failure> {
    let Some(line) = parse(lexopt::Parser::from_env())
        .map_err(|error| Failure(USAGE, format!("{error}; see `gossip-sidecar --help`")))?
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
        return Err(Failure(USAGE, "--ready is an option of health only".into()));
    }
    if line.ttl.is_some() && command != "put" {
        return Err(Failure(USAGE, "--ttl is an option of put only".into()));
    }
    let client = || {
        let server = server(line.server.as_deref(), &config)?;
        Ok::<_, Failure>(Client { server })
    };
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

/// Reads the command line; `None` if it asked for a text, which has been printed.
fn parse(mut parser: lexopt::Parser) -> Result<Option<CommandLine>, lexopt::Error> {
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

/// Prints to a reader that may have gone away, such as `head`; says whether it has not.
fn print(text: &[u8]) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text).and_then(|()| out.flush()).is_ok()
}

/// Each command with its words, what it does, and an example.
const COMMANDS: &[(&str, &str, &str, &str)] = &[
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

fn server(given: Option<&str>, config: &Config) -> Result<SocketAddr, Failure> {
    let Some(given) = given else { return Ok(config.local_client()) };
    let bad = |why: String| {
        Failure(
            USAGE,
            format!("--server {given:?}: {why}; expected HOST:PORT, such as 127.0.0.1:80"),
        )
    };
    let place = given.strip_prefix("http://").unwrap_or(given).trim_end_matches('/');
    let found: Vec<SocketAddr> =
        place.to_socket_addrs().map_err(|error| bad(error.to_string()))?.collect();
    // A name may stand for addresses of both families, and a sidecar be at one of them.
    let answers = |&&address: &&SocketAddr| client::answers(address);
    let server = if found.len() > 1 { found.iter().find(answers) } else { None };
    server.or(found.first()).copied().ok_or_else(|| bad("no address found".into()))
}

/// Asks a sidecar.
struct Client {
    server: SocketAddr,
}

impl Client {
    fn request(
        &self,
        method: &str,
        target: &str,
        etag: Option<&str>,
        body: &[u8],
    ) -> Result<client::Response, Failure> {
        client::request_unless(self.server, method, target, etag, body).map_err(|error| {
            let server = self.server;
            Failure(FAILED, format!("no response from the sidecar at {server}: {error}"))
        })
    }

    fn show(&self, target: &str) -> Result<ExitCode, Failure> {
        let response = self.request("GET", target, None, &[])?;
        print(&response.body);
        Ok(if response.status == 200 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }

    fn get(&self, keys: &[&str]) -> Result<ExitCode, Failure> {
        let response = self.request("GET", &map_target(keys.iter().copied()), None, &[])?;
        if response.status != 200 {
            return Err(refused(&response));
        }
        print(&response.body);
        Ok(ExitCode::SUCCESS)
    }

    fn put(&self, key: &str, value: Vec<u8>, ttl: Option<&str>) -> Result<ExitCode, Failure> {
        let mut target = map_target([key]);
        if let Some(ttl) = ttl {
            target += "&ttl=";
            map::encode(&mut target, ttl);
        }
        done(&self.request("PUT", &target, None, &value)?)
    }

    fn delete(&self, keys: &[&str]) -> Result<ExitCode, Failure> {
        done(&self.request("DELETE", &map_target(keys.iter().copied()), None, &[])?)
    }

    fn list(&self, prefix: &str) -> Result<ExitCode, Failure> {
        let (mut after, mut is_empty) = (None::<String>, true);
        loop {
            let mut target = String::from("/keys?limit=10000&prefix=");
            map::encode(&mut target, prefix);
            if let Some(after) = &after {
                // It was printed as it stands in a URL.
                target = target + "&after=" + after;
            }
            let response = self.request("GET", &target, None, &[])?;
            if response.status != 200 {
                return Err(refused(&response));
            }
            is_empty &= response.body.is_empty();
            let text = String::from_utf8_lossy(&response.body);
            let last = text.lines().last().map(str::to_owned);
            if !print(&response.body) || !response.has_more {
                let code = u8::from(is_empty) * FAILED;
                return Ok(ExitCode::from(code));
            }
            after = last;
        }
    }

    /// Ends when nobody reads any more, or with an error.
    fn watch(&self, key: &str) -> Result<ExitCode, Failure> {
        let target = map_target([key]);
        let waiting = target.clone() + "&wait=60s";
        let mut response = self.request("GET", &target, None, &[])?;
        loop {
            let is_written = match response.status {
                200 => print(&response.body),
                404 => print(format!("{key}\n").as_bytes()),
                _ => return Err(refused(&response)),
            };
            if !is_written {
                return Ok(ExitCode::SUCCESS);
            }
            let (status, etag) = (response.status, response.etag);
            response = loop {
                let next = self.request("GET", &waiting, etag.as_deref(), &[])?;
                // Nothing has happened until the wait was over.
                if next.status != 304 && (next.status, status) != (404, 404) {
                    break next;
                }
            };
        }
    }
}

/// What a write came to.
fn done(response: &client::Response) -> Result<ExitCode, Failure> {
    match response.status {
        201 | 204 => Ok(ExitCode::SUCCESS),
        _ => Err(refused(response)),
    }
}

fn refused(response: &client::Response) -> Failure {
    let reason = String::from_utf8_lossy(&response.body);
    Failure(FAILED, format!("{} ({})", reason.trim_end(), response.status))
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    std::io::stdin().read_to_end(&mut value).map_err(|error| {
        Failure(FAILED, format!("cannot read the value from standard input: {error}"))
    })?;
    Ok(value)
}
