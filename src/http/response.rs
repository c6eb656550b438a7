//! A response as it goes over the wire (RFC 9112).

use crate::core::api::response::Response;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tiny_http::StatusCode;

/// Encodes a response. Nothing in its head comes from the request: tiny_http lets line breaks in a
/// header through (CVE-2026-66753).
pub fn encode(response: &Response, is_head: bool, closes: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256 + response.body.len());
    let now = SystemTime::now();
    let date = httpdate::fmt_http_date(now);
    let reason = StatusCode(response.status).default_reason_phrase();
    let length = response.body.len();
    let mut head = || -> io::Result<()> {
        write!(bytes, "HTTP/1.1 {} {reason}\r\nDate: {date}\r\n", response.status)?;
        if let Some(content_type) = response.content_type {
            write!(bytes, "Content-Type: {content_type}\r\n")?;
        }
        if let Some(allow) = response.allow {
            write!(bytes, "Allow: {allow}\r\n")?;
        }
        if let Some(etag) = &response.etag {
            write!(bytes, "ETag: \"{etag}\"\r\n")?;
        }
        if let Some(modified_ms) = response.modified_ms {
            // A version may be ahead of the clock, but this date must not be (RFC 9110, section 8.8.2).
            let modified = (UNIX_EPOCH + Duration::from_millis(modified_ms)).min(now);
            write!(bytes, "Last-Modified: {}\r\n", httpdate::fmt_http_date(modified))?;
        }
        if let Some(ttl_ms) = response.ttl_ms {
            write!(bytes, "Ttl: {ttl_ms}ms\r\n")?;
        }
        if let Some(has_more) = response.has_more {
            write!(bytes, "Has-More: {has_more}\r\n")?;
        }
        if closes {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        // In a 304 it would be the length of the response that the client has already.
        if response.status != 304 {
            write!(bytes, "Content-Length: {length}\r\n")?;
        }
        bytes.write_all(b"\r\n")
    };
    head().expect("writing to memory cannot fail");
    if !is_head {
        bytes.extend_from_slice(&response.body);
    }
    bytes
}
