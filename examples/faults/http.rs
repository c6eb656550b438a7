//! One HTTP request to a sidecar, and what is known about it if the connection breaks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The limit for connecting; even a stopped process accepts connections.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The limit for each read.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const MAX_HEADERS: usize = 32;

pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The version of the value, if the response has an `ETag`.
    pub version: Option<String>,
    /// The complete body.
    pub body: Vec<u8>,
}

/// Why there is no response.
pub enum Broken {
    /// Nothing was sent, so the request was not executed.
    Unsent(String),
    /// The request may have been executed, or may still be.
    Unknown(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsent(why) => write!(f, "not sent: {why}"),
            Self::Unknown(why) => write!(f, "no response: {why}"),
        }
    }
}

/// Sends a request and reads the response.
pub fn request(
    server: SocketAddr,
    method: &str,
    target: &str,
    body: &[u8],
) -> Result<Answer, Broken> {
    let mut stream = TcpStream::connect_timeout(&server, CONNECT_LIMIT)
        .map_err(|error| Broken::Unsent(error.to_string()))?;
    let unknown = |error: std::io::Error| Broken::Unknown(error.to_string());
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(ANSWER_LIMIT));
    let _ = stream.set_write_timeout(Some(ANSWER_LIMIT));
    let length = body.len();
    let mut bytes = format!(
        "{method} {target} HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    stream.write_all(&bytes).map_err(unknown)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(unknown)?;
    parse(&answer).ok_or_else(|| Broken::Unknown("the response is truncated".into()))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = response.parse(bytes).ok()? else { return None };
    let header = |name: &str| {
        let found =
            response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let length: usize = match header("content-length") {
        Some(length) => length.parse().ok()?,
        None if response.code? == 204 => 0,
        None => return None,
    };
    let version = header("etag").map(|tag| tag.trim_matches('"').to_owned());
    let body = bytes.get(start..start + length)?.to_vec();
    Some(Answer { status: response.code?, version, body })
}
