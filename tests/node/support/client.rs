//! An HTTP client that sends and shows every byte.

use crate::support::RESPONSE_LIMIT;
use std::fmt::{Debug, Write as _};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

/// A connection for any number of requests.
pub struct Client {
    pub stream: TcpStream,
    /// Received bytes that belong to later responses.
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the node listens");
        stream.set_read_timeout(Some(RESPONSE_LIMIT)).expect("the limit is not zero");
        stream.set_write_timeout(Some(RESPONSE_LIMIT)).expect("the limit is not zero");
        stream.set_nodelay(true).expect("the socket is open");
        Self { stream, buffer: Vec::new() }
    }

    /// Sends raw bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).expect("the node reads");
        self
    }

    /// Sends one request and reads the response.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.send(request_bytes(method, target, headers, body));
        self.response_to(method)
    }

    pub fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[], &[])
    }

    pub fn put(&mut self, target: &str, body: &[u8]) -> Response {
        self.request("PUT", target, &[], body)
    }

    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// Reads the response to a request other than HEAD, unless the node closes the connection.
    pub fn try_response(&mut self) -> Option<Response> {
        while find(&self.buffer, b"\r\n\r\n").is_none() {
            if self.read_more().ok().is_none_or(|read| read == 0) {
                return None;
            }
        }
        Some(self.response())
    }

    /// Reads the response to a request with this method: one to HEAD has no body, whatever its
    /// length.
    pub fn response_to(&mut self, method: &str) -> Response {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            assert!(
                self.read_more().expect("the node responds") > 0,
                "closed within the head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let rest = self.buffer.split_off(end + 4);
        let mut head = std::mem::replace(&mut self.buffer, rest);
        head.truncate(end);
        let head = String::from_utf8(head).expect("the head is a text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut response =
            Response { status: status.expect("there is a status"), head, body: Vec::new() };
        let length = match response.header("Content-Length") {
            Some(length) => length.parse().expect("it is a number"),
            // Only an interim response and 304 have none.
            None => {
                assert!([100, 304].contains(&response.status), "no Content-Length: {response:?}");
                0
            }
        };
        let length = if method == "HEAD" { 0 } else { length };
        while self.buffer.len() < length {
            assert!(self.read_more().expect("the node responds") > 0, "closed within the body");
        }
        let rest = self.buffer.split_off(length);
        response.body = std::mem::replace(&mut self.buffer, rest);
        response
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let read = loop {
            match self.stream.read(&mut buffer) {
                // A read with a timeout is interrupted when the test's process is stopped and
                // continued.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        self.buffer.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    /// Reads to the end of the stream, which must not be a reset.
    pub fn rest(mut self) -> Vec<u8> {
        while self.read_more().expect("the node closes in order") > 0 {}
        self.buffer
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// The status line and the headers, without the empty line behind them.
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// The header's value; panics if the header is there twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (found, value) = line.split_once(':').expect("each header is NAME: VALUE");
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        });
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice: {}", self.head);
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is a text")
    }
}

impl Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.body[..self.body.len().min(300)];
        write!(f, "{:?} {:?}", self.head, String::from_utf8_lossy(shown))
    }
}

/// The bytes of a request.
pub fn request_bytes(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("writing to memory cannot fail");
    }
    if !body.is_empty() || method == "PUT" {
        write!(head, "Content-Length: {}\r\n", body.len()).expect("writing to memory cannot fail");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// The target for these keys: `/map?k=…&k=…`.
pub fn map_target(keys: &[&str]) -> String {
    let mut target = "/map".to_owned();
    for (index, key) in keys.iter().enumerate() {
        target.push_str(if index == 0 { "?k=" } else { "&k=" });
        target.push_str(&encode(key.as_bytes()));
    }
    target
}

/// Percent-encodes all but letters and digits.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text.push(char::from(byte)),
            _ => write!(text, "%{byte:02X}").expect("writing to memory cannot fail"),
        }
    }
    text
}

/// The position of the first `part` in `bytes`.
pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Closes a connection with a reset.
pub fn reset(stream: TcpStream) {
    unsafe extern "C" {
        // The standard library links it, but has no stable function for this option.
        safe fn setsockopt(
            socket: BorrowedFd<'_>,
            level: i32,
            name: i32,
            value: &[i32; 2],
            length: u32,
        ) -> i32;
    }
    // Linux's numbers: SO_LINGER with a timeout of zero.
    const SOL_SOCKET: i32 = 1;
    const SO_LINGER: i32 = 13;
    assert_eq!(setsockopt(stream.as_fd(), SOL_SOCKET, SO_LINGER, &[1, 0], 8), 0);
}
