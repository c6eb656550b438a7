//! The response to a request, before it is written down.

use crate::core::api::preconditions::Preconditions;

/// The media type of the map's answers, as k8s-gossipcar spells it.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// The media type of texts for people.
pub const PLAIN_TEXT: &str = "text/plain; charset=UTF-8";
/// The media type of JSON.
pub const JSON: &str = "application/json";

/// An answer, before it is written down. Nothing of the request is in what becomes its head.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// The body's media type; none if there is no body.
    pub content_type: Option<&'static str>,
    /// The `Allow` header of a 405.
    pub allow: Option<&'static str>,
    /// The `ETag` header without its quotes.
    pub etag: Option<String>,
    /// The `Last-Modified` header, in Unix milliseconds.
    pub modified_ms: Option<u64>,
    /// The `Ttl` header: how long the value is still there, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// The `Has-More` header of a list.
    pub has_more: Option<bool>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer with a body.
    pub fn ok(content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, content_type: Some(content_type), body, ..Self::default() }
    }

    /// An answer with nothing but its status.
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// One line that says what was wrong and what would be right.
    pub fn problem(status: u16, reason: impl std::fmt::Display) -> Self {
        let body = format!("{reason}\n").into_bytes();
        Self { status, ..Self::ok(PLAIN_TEXT, body) }
    }

    /// That the client may go on using what it has.
    pub(crate) fn not_modified(etag: Option<String>) -> Self {
        Self { etag, ..Self::empty(304) }
    }

    pub(crate) fn leaving() -> Self {
        Self::problem(503, "draining: peers have everything, and writes are no longer accepted")
    }

    pub(crate) fn precondition_failed() -> Self {
        Self::problem(
            412,
            "precondition failed: If-Match or If-None-Match does not fit the current ETag",
        )
    }

    /// Whether a client that waits for a change has to wait on: one that knows a version waits for
    /// anything else, and one that knows none for there to be one.
    pub fn is_unchanged(&self, preconditions: &Preconditions) -> bool {
        self.status == 304 || (self.status == 404 && !preconditions.know_something())
    }
}
