//! The body of a request: what is unread of it, and how it is read or discarded.

use crate::core::api::response::Response;
use crate::http::servers::READ_TIMEOUT;
use std::io::{self, Read};
use std::time::{Duration, Instant};
use tiny_http::Request;

/// A whole body must arrive within this time.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that is discarded of a body that is not wanted; after that the connection is abandoned.
pub const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;

/// The status for a body that arrives too slowly (RFC 9110, section 15.5.9).
pub const TOO_SLOW: u16 = 408;

/// tiny_http reads bodies of up to this length before it hands out the request.
const PREREAD_BYTES: usize = 1024;

/// How much of a body is read at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// What is unread of a body, as tiny_http sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unread {
    /// There is no body, or it has been read.
    Nothing,
    /// This many bytes are announced.
    Length(usize),
    /// The length is not announced.
    Chunked,
}

impl Unread {
    pub fn of(request: &Request) -> Self {
        // Of these tiny_http has read nothing.
        let is_untouched = offers_upgrade(request) || header(request, "Expect").next().is_some();
        match request.body_length() {
            Some(0) => Self::Nothing,
            Some(length) if length <= PREREAD_BYTES && !is_untouched => Self::Nothing,
            Some(length) => Self::Length(length),
            None if header(request, "Transfer-Encoding").next().is_some() => Self::Chunked,
            None => Self::Nothing,
        }
    }
}

/// The values of the header with this name.
pub fn header<'a>(request: &'a Request, name: &'static str) -> impl Iterator<Item = &'a str> {
    request
        .headers()
        .iter()
        .filter(move |header| header.field.equiv(name))
        .map(|header| header.value.as_str())
}

/// Whether the client offers an upgrade: then tiny_http does not read a body.
fn offers_upgrade(request: &Request) -> bool {
    header(request, "Connection").any(|value| value.to_ascii_lowercase().contains("upgrade"))
}

/// Why the end of the body is ambiguous, if it is.
///
/// tiny_http ignores a length that it cannot parse, takes the first of several, treats any transfer
/// encoding as chunked (CVE-2026-66752), and ignores all of them where there may be an upgrade.
pub fn ambiguity(request: &Request) -> Option<&'static str> {
    let lengths: Vec<&str> = header(request, "Content-Length").collect();
    let encodings: Vec<&str> = header(request, "Transfer-Encoding").collect();
    let is_number = |length: &str| {
        length.bytes().all(|byte| byte.is_ascii_digit()) && length.parse::<usize>().is_ok()
    };
    match (&lengths[..], &encodings[..]) {
        ([], []) => None,
        ([length], []) if is_number(length) => None,
        ([_], []) => Some("Content-Length is not a number of bytes"),
        ([], [_]) if offers_upgrade(request) => {
            Some("both Transfer-Encoding and Upgrade: send a Content-Length")
        }
        ([], [encoding]) if encoding.eq_ignore_ascii_case("chunked") => None,
        ([], [_]) => Some("an unknown Transfer-Encoding: chunked is the only one that is taken"),
        ([_], [_]) => Some("both Content-Length and Transfer-Encoding: send one of them"),
        _ => Some("more than one Content-Length or Transfer-Encoding: send one of them, once"),
    }
}

/// The whole body, or the response that refuses it.
///
/// `announced` is its length. Without one, the caller has to find out whether the end of the input is
/// the end of the body.
pub fn read_whole(
    body: &mut dyn Read,
    announced: Option<usize>,
    max: usize,
) -> Result<Vec<u8>, Response> {
    let deadline = Instant::now() + UPLOAD_TIMEOUT;
    let mut whole = Vec::with_capacity(announced.unwrap_or(0));
    let mut body = body.take(announced.map_or(u64::MAX, |length| length as u64));
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) if whole.len() + read > max => return Err(too_large(max)),
            Ok(read) => whole.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(too_slow("no byte of the body arrived for", READ_TIMEOUT));
            }
            Err(error) => {
                return Err(Response::problem(400, format_args!("the body is malformed: {error}")));
            }
        }
        if Instant::now() > deadline {
            return Err(too_slow("the body took longer than", UPLOAD_TIMEOUT));
        }
    }
    if announced.is_some_and(|length| whole.len() < length) {
        return Err(ended_early());
    }
    Ok(whole)
}

fn too_slow(what: &str, limit: Duration) -> Response {
    Response::problem(TOO_SLOW, format_args!("{what} {} s", limit.as_secs()))
}

/// The body is longer than `max` bytes.
pub fn too_large(max: usize) -> Response {
    Response::problem(413, format_args!("the body is longer than {max} bytes (MAX_VALUE_BYTES)"))
}

/// The body is truncated.
pub fn ended_early() -> Response {
    Response::problem(400, "the body is truncated")
}

/// Discards a body in small pieces, up to [`MAX_DISCARDED_BYTES`]; returns whether its end was
/// reached.
pub fn discard(body: &mut dyn Read) -> bool {
    let deadline = Instant::now() + UPLOAD_TIMEOUT;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut discarded = 0;
    while discarded <= MAX_DISCARDED_BYTES && Instant::now() < deadline {
        match body.read(&mut buffer) {
            Ok(0) => return true,
            Ok(read) => discarded += read,
            // A broken connection has no more to discard; a slow one may have.
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
    false
}
