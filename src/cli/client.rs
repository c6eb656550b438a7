//! A small HTTP client for the command line and the probes: a scratch image has no curl.

use crate::core::api::map;
use crate::core::api::operation::MAX_WAIT_MS;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest time for connecting, and for each read and write.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// The most headers of a response.
const MAX_HEADERS: usize = 32;

/// The most bytes in the head of a response.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// A response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// The `ETag` header without its quotes.
    pub etag: Option<String>,
    /// Whether the `Has-More` header is `true`.
    pub has_more: bool,
    pub body: Vec<u8>,
}

/// The target for these keys: `/map?k=…&k=…`.
pub fn map_target<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    let mut target = "/map".to_owned();
    for (index, key) in keys.into_iter().enumerate() {
        target.push_str(if index == 0 { "?k=" } else { "&k=" });
        map::encode(&mut target, key);
    }
    target
}

/// Whether the server accepts connections.
pub fn answers(server: SocketAddr) -> bool {
    TcpStream::connect_timeout(&server, TIMEOUT).is_ok()
}

/// Sends one request, and reads the response.
pub fn request(
    server: SocketAddr,
    method: &str,
    target: &str,
    body: &[u8],
) -> io::Result<Response> {
    request_unless(server, method, target, None, body)
}

/// The same with `If-None-Match`: the response is 304 if the ETag is the one that is `known`.
pub fn request_unless(
    server: SocketAddr,
    method: &str,
    target: &str,
    known: Option<&str>,
    body: &[u8],
) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    let wait = if target.contains("&wait=") { MAX_WAIT_MS } else { 0 };
    stream.set_read_timeout(Some(TIMEOUT + Duration::from_millis(wait)))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    let length = body.len();
    let known = known.map(|etag| format!("If-None-Match: \"{etag}\"\r\n")).unwrap_or_default();
    let mut bytes = format!(
        "{method} {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{known}Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    stream.write_all(&bytes)?;
    read_response(&mut stream)
}

fn read_response(stream: &mut impl Read) -> io::Result<Response> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let (mut response, start, length) = loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            // Stopping and continuing the process interrupts a read that has a timeout.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(head) = parse_head(&bytes)? {
            break head;
        }
        if bytes.len() > MAX_HEAD_BYTES {
            return Err(not_http("its head is too long"));
        }
    };
    response.body = bytes.split_off(start);
    let missing = length.saturating_sub(response.body.len());
    stream.take(missing as u64).read_to_end(&mut response.body)?;
    if response.body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    response.body.truncate(length);
    Ok(response)
}

/// The response without its body, where the body starts, and its length; `None` while the head is
/// incomplete.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(Response, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let start = match response.parse(bytes) {
        Ok(httparse::Status::Complete(start)) => start,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(not_http(&error.to_string())),
    };
    let header = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let status = response.code.ok_or_else(|| not_http("it has no status"))?;
    let length = match header("Content-Length").and_then(|length| length.parse().ok()) {
        // A 304 has no body.
        None if status == 304 => 0,
        length => length.ok_or_else(|| not_http("it has no Content-Length"))?,
    };
    let etag = header("ETag").map(|etag| etag.trim_matches('"').to_owned());
    let has_more = header("Has-More") == Some("true");
    Ok(Some((Response { status, etag, has_more, body: Vec::new() }, start, length)))
}

fn not_http(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not an HTTP response of a sidecar: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one byte at a time, and is interrupted before each.
    struct Trickle<'a>(&'a [u8], bool);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let (Some((&first, rest)), false) = (self.0.split_first(), buffer.is_empty()) else {
                return Ok(0);
            };
            (buffer[0], self.0) = (first, rest);
            Ok(1)
        }
    }

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn an_answer_is_read_however_it_is_split() {
        let response = read_response(&mut Trickle(ANSWER, false)).unwrap();
        assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
    }

    #[test]
    fn a_truncated_answer_is_an_error() {
        for length in 0..ANSWER.len() {
            assert!(read_response(&mut &ANSWER[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(read_response(&mut &b"refuse grammar\n"[..]).is_err());
        assert!(read_response(&mut &b"HTTP/1.1 200 OK\r\n\r\n"[..]).is_err());
        let endless = vec![b'a'; 2 * MAX_HEAD_BYTES];
        let head = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), endless].concat();
        assert!(read_response(&mut &head[..]).is_err());
    }

    #[test]
    fn keys_are_encoded() {
        assert_eq!(
            map_target(["a b", "ключ", "=&"]),
            "/map?k=a%20b&k=%D0%BA%D0%BB%D1%8E%D1%87&k=%3D%26"
        );
    }
}
