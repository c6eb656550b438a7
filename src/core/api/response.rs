//! The response to a request.

use crate::core::api::preconditions::Preconditions;

/// The media type of values, as in k8s-gossipcar.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// The media type of texts for people.
pub const PLAIN_TEXT: &str = "text/plain; charset=UTF-8";
pub const JSON: &str = "application/json";

/// A response, before it is encoded. Nothing in its head comes from the request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Response {
    /// The status code (RFC 9110, section 15).
    pub status: u16,
    /// The body's media type; none if there is no body.
    pub content_type: Option<&'static str>,
    /// The `Allow` header of a 405.
    pub allow: Option<&'static str>,
    /// The `ETag` header without its quotes.
    pub etag: Option<String>,
    /// The `Last-Modified` header, in Unix milliseconds.
    pub modified_ms: Option<u64>,
    /// The `Ttl` header: the time after which the value expires, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// The `Has-More` header of a list.
    pub has_more: Option<bool>,
    /// The body, which is not sent in response to a `HEAD`.
    pub body: Vec<u8>,
}

impl Response {
    /// A 200 with a body.
    pub fn ok(content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, content_type: Some(content_type), body, ..Self::default() }
    }

    /// A response without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// An error: one line that says what is wrong and what would be right.
    pub fn problem(status: u16, reason: impl std::fmt::Display) -> Self {
        let body = format!("{reason}\n").into_bytes();
        Self { status, ..Self::ok(PLAIN_TEXT, body) }
    }

    /// The client has the current version.
    pub(crate) fn not_modified(etag: Option<String>) -> Self {
        Self { etag, ..Self::empty(304) }
    }

    pub(crate) fn draining() -> Self {
        Self::problem(503, "draining: writes are no longer accepted")
    }

    pub(crate) fn starting() -> Self {
        Self::problem(
            503,
            "starting: this pod has not caught up with the others, which may have the key: wait for /readyz",
        )
    }

    pub(crate) fn precondition_failed() -> Self {
        Self::problem(
            412,
            "precondition failed: If-Match or If-None-Match does not fit the current ETag",
        )
    }

    /// Whether a blocking query has to go on waiting: a client that has a version waits for any other,
    /// and one that has none waits for a value.
    pub fn keeps_query_waiting(&self, preconditions: &Preconditions) -> bool {
        let is_absent = matches!(self.status, 404 | 503);
        self.status == 304 || (is_absent && !preconditions.has_if_none_match())
    }
}
