//! A request's body: how much of it is unread, and how it is read whole or read away.

use crate::core::api::response::Response;
use crate::http::servers::READ_TIMEOUT;
use std::io::{self, Read};
use std::time::{Duration, Instant};
use tiny_http::Request;

/// A body must be there within this time.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that is not wanted is read away up to this length; past it the connection is given up.
pub const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;

/// The status of a response to a body that came too slowly.
pub const TOO_SLOW: u16 = 408;

/// Bodies of up to this length have been read by tiny_http before the request is seen.
const PREREAD_BYTES: usize = 1024;

/// How much of a body is read at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// What is still to be read of a request's body, as tiny_http sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unread {
    /// There is no body, or it is here already.
    Nothing,
    /// So many bytes are announced.
    Length(usize),
    /// Its length shows at its end.
    Chunked,
}

impl Unread {
    pub fn of(request: &Request) -> Self {
        // tiny_http has not touched these bodies.
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

/// Whether the client offers another protocol; tiny_http hands out what follows as it is then.
fn offers_upgrade(request: &Request) -> bool {
    header(request, "Connection").any(|value| value.to_ascii_lowercase().contains("upgrade"))
}

/// Why it is not clear where the body ends, if it is not.
///
/// tiny_http takes a length that it cannot parse for none, the first of several, any transfer
/// encoding for chunked (CVE-2026-66752), and looks for none where there may be an upgrade.
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

/// All of a body, or why it cannot be taken.
///
/// `announced` is its length, if that was said; where it was not, the initiator has to find out
/// whether the end that was read is the body's.
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

/// That a body has more than `max` bytes.
pub fn too_large(max: usize) -> Response {
    Response::problem(413, format_args!("the body is longer than {max} bytes (MAX_VALUE_BYTES)"))
}

/// That a body is truncated.
pub fn ended_early() -> Response {
    Response::problem(400, "the body is truncated")
}

/// Reads a body away in small pieces, up to [`MAX_DISCARDED_BYTES`]; says whether it came to its
/// end.
pub fn discard(body: &mut dyn Read) -> bool {
    let deadline = Instant::now() + UPLOAD_TIMEOUT;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut discarded = 0;
    while discarded <= MAX_DISCARDED_BYTES && Instant::now() < deadline {
        match body.read(&mut buffer) {
            Ok(0) => return true,
            Ok(read) => discarded += read,
            // Of a connection that is broken nothing more will come; of one that is slow it may.
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
    false
}
