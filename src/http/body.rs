//! A request's body: read whole, or read away.

use crate::core::api::response::Response;
use crate::http::listener::READ_TIMEOUT;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// A body must be there within this time.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that is not wanted is read away up to this length; past it the connection is given up.
pub const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;

/// The status of an answer to a body that came too slowly.
pub const TOO_SLOW: u16 = 408;

/// How much of a body is read at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// Why it is not clear where a body ends, by the headers `Content-Length` and `Transfer-Encoding`
/// and by whether another protocol is offered, if it is not.
///
/// tiny_http takes a length that it cannot parse for none, the first of several, any transfer
/// encoding for chunked (CVE-2026-66752), and looks for none where there may be an upgrade.
pub fn ambiguity(lengths: &[&str], encodings: &[&str], upgrades: bool) -> Option<&'static str> {
    let is_number = |length: &str| {
        length.bytes().all(|byte| byte.is_ascii_digit()) && length.parse::<usize>().is_ok()
    };
    match (lengths, encodings) {
        ([], []) => None,
        ([length], []) if is_number(length) => None,
        ([_], []) => Some("Content-Length is not a number of bytes"),
        ([], [_]) if upgrades => Some("both Transfer-Encoding and Upgrade: send a Content-Length"),
        ([], [encoding]) if encoding.eq_ignore_ascii_case("chunked") => None,
        ([], [_]) => Some("an unknown Transfer-Encoding: chunked is the only one that is taken"),
        ([_], [_]) => Some("both Content-Length and Transfer-Encoding: send one of them"),
        _ => Some("more than one Content-Length or Transfer-Encoding: send one of them, once"),
    }
}

/// All of a body, or why it cannot be taken.
///
/// `announced` is its length, if that was said; where it was not, the caller has to find out
/// whether the end that was read is the body's.
pub fn read_whole(
    body: &mut dyn Read,
    announced: Option<usize>,
    max: usize,
) -> Result<Vec<u8>, Response> {
    let deadline = Instant::now() + UPLOAD_TIMEOUT;
    let mut whole = Vec::with_capacity(announced.unwrap_or(0));
    let mut body = body.take(announced.map_or(u64::MAX, |length| length as u64));
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) if whole.len() + read > max => return Err(too_large(max)),
            Ok(read) => whole.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let limit = READ_TIMEOUT.as_secs();
                let reason = format!("nothing of the body has come for {limit} s");
                return Err(Response::problem(TOO_SLOW, reason));
            }
            Err(error) => {
                let reason = format!("the body is broken: {error}");
                return Err(Response::problem(400, reason));
            }
        }
        if Instant::now() > deadline {
            let limit = UPLOAD_TIMEOUT.as_secs();
            let reason = format!("the body took longer than {limit} s");
            return Err(Response::problem(TOO_SLOW, reason));
        }
    }
    if announced.is_some_and(|length| whole.len() < length) {
        return Err(ended_early());
    }
    Ok(whole)
}

/// That a body has more than `max` bytes.
pub fn too_large(max: usize) -> Response {
    Response::problem(413, format_args!("the body has more than {max} bytes (MAX_VALUE_BYTES)"))
}

/// That a body is cut off.
pub fn ended_early() -> Response {
    Response::problem(400, "the body ended before its end was announced")
}

/// Reads a body away in small pieces, up to [`MAX_DISCARDED_BYTES`]; says whether it came to its
/// end.
pub fn discard(body: &mut dyn Read) -> bool {
    let deadline = Instant::now() + UPLOAD_TIMEOUT;
    let mut buffer = [0; BUFFER_BYTES];
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
