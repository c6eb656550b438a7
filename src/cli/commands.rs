//! The commands that talk to a sidecar.

use super::client::{self, Response, map_target};
use super::{FAILED, Failure, USAGE, print};
use crate::config::Config;
use crate::core::api::map;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

/// A client of one sidecar.
pub struct Client {
    server: SocketAddr,
}

impl Client {
    /// A client of the sidecar at `--server`, or of the one that the settings describe.
    pub fn new(server: Option<&str>, config: &Config) -> Result<Self, Failure> {
        Ok(Self { server: address(server, config)? })
    }

    fn request(
        &self,
        method: &str,
        target: &str,
        etag: Option<&str>,
        body: &[u8],
    ) -> Result<Response, Failure> {
        client::request_unless(self.server, method, target, etag, body).map_err(|error| {
            let server = self.server;
            Failure(FAILED, format!("no response from the sidecar at {server}: {error}"))
        })
    }

    pub fn show(&self, target: &str) -> Result<ExitCode, Failure> {
        let response = self.request("GET", target, None, &[])?;
        print(&response.body);
        Ok(if response.status == 200 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }

    pub fn get(&self, keys: &[&str]) -> Result<ExitCode, Failure> {
        let response = self.request("GET", &map_target(keys.iter().copied()), None, &[])?;
        if response.status != 200 {
            return Err(refused(&response));
        }
        print(&response.body);
        Ok(ExitCode::SUCCESS)
    }

    pub fn put(&self, key: &str, value: Vec<u8>, ttl: Option<&str>) -> Result<ExitCode, Failure> {
        let mut target = map_target([key]);
        if let Some(ttl) = ttl {
            target += "&ttl=";
            map::encode(&mut target, ttl);
        }
        done(&self.request("PUT", &target, None, &value)?)
    }

    pub fn delete(&self, keys: &[&str]) -> Result<ExitCode, Failure> {
        done(&self.request("DELETE", &map_target(keys.iter().copied()), None, &[])?)
    }

    pub fn list(&self, prefix: &str) -> Result<ExitCode, Failure> {
        let (mut after, mut is_empty) = (None::<String>, true);
        loop {
            let mut target = String::from("/keys?limit=10000&prefix=");
            map::encode(&mut target, prefix);
            if let Some(after) = &after {
                // Keys are listed percent-encoded.
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

    /// Runs until nobody reads the output any more, or until an error.
    pub fn watch(&self, key: &str) -> Result<ExitCode, Failure> {
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
                // Otherwise nothing has changed within the wait.
                if next.status != 304 && (next.status, status) != (404, 404) {
                    break next;
                }
            };
        }
    }
}

/// The exit code of a write.
fn done(response: &Response) -> Result<ExitCode, Failure> {
    match response.status {
        201 | 204 => Ok(ExitCode::SUCCESS),
        _ => Err(refused(response)),
    }
}

fn refused(response: &Response) -> Failure {
    let reason = String::from_utf8_lossy(&response.body);
    Failure(FAILED, format!("{} ({})", reason.trim_end(), response.status))
}

fn address(given: Option<&str>, config: &Config) -> Result<SocketAddr, Failure> {
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
    // A name may have addresses of both families, and the sidecar may listen on one of them only.
    let answers = |&&address: &&SocketAddr| client::answers(address);
    let server = if found.len() > 1 { found.iter().find(answers) } else { None };
    server.or(found.first()).copied().ok_or_else(|| bad("no address found".into()))
}
