//! What the application may ask: plain request in, plain response out.
//!
//! Knows neither sockets nor the HTTP server. A request is planned without the store, then carried
//! out in one short call on it.

use crate::store::{Put, Store};

/// The bytes of a request's target that are looked at; a URL with many long keys has its place.
pub const MAX_TARGET_BYTES: usize = 64 * 1024;

/// An answer, before it is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// The body's media type; none if there is no body.
    pub content_type: Option<&'static str>,
    /// The `Allow` header of a 405.
    pub allow: Option<&'static str>,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// The media type of the map's answers, as the ancestor spells it.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// The media type of texts for people.
pub const PLAIN_TEXT: &str = "text/plain; charset=UTF-8";

impl Response {
    /// An answer with a body.
    pub fn ok(content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, content_type: Some(content_type), allow: None, body }
    }

    /// An answer with nothing but its status.
    pub fn empty(status: u16) -> Self {
        Self { status, content_type: None, allow: None, body: Vec::new() }
    }

    /// One line that says what was wrong and what would be right.
    pub fn problem(status: u16, reason: impl std::fmt::Display) -> Self {
        let body = format!("{reason}\n").into_bytes();
        Self { status, content_type: Some(PLAIN_TEXT), allow: None, body }
    }
}

/// A request that is well-formed and knows what it wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Read these keys, in this order.
    Get(Vec<String>),
    /// Write the body as this key's value.
    Put(String),
    /// Numbers for people, one a line.
    Stats,
    /// Numbers for Prometheus.
    Metrics,
    /// Is the process alive?
    Healthz,
    /// Has it caught up with its peers?
    Readyz,
}

/// Finds out what a request wants, or why it cannot be had.
pub fn plan(method: &str, target: &str, max_key_bytes: usize) -> Result<Plan, Response> {
    if target.len() > MAX_TARGET_BYTES {
        let reason = format!("the URL is longer than {MAX_TARGET_BYTES} bytes: ask for fewer keys");
        return Err(Response::problem(414, reason));
    }
    // RFC 9112, section 3.2.2: the absolute form, which is meant for proxies, must be taken too.
    let target = match target.strip_prefix("http://") {
        Some(absolute) => absolute.find('/').map_or("/", |path| &absolute[path..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let read_only = |plan| match method {
        "GET" | "HEAD" => Ok(plan),
        _ => Err(not_allowed(method, "GET, HEAD")),
    };
    match path {
        "/map" | "/map/" => match method {
            "GET" | "HEAD" => get_plan(query, max_key_bytes),
            "PUT" => put_plan(query, max_key_bytes),
            _ => Err(not_allowed(method, "GET, HEAD, PUT")),
        },
        "/stats" => read_only(Plan::Stats),
        "/metrics" => read_only(Plan::Metrics),
        "/healthz" => read_only(Plan::Healthz),
        "/readyz" => read_only(Plan::Readyz),
        _ => Err(Response::problem(
            404,
            "no such path: there are /map, /stats, /metrics, /healthz and /readyz",
        )),
    }
}

fn get_plan(query: &str, max_key_bytes: usize) -> Result<Plan, Response> {
    // As in the ancestor, parameters of other names may be there and mean nothing.
    let keys: Vec<String> = parameters(query, max_key_bytes)?
        .into_iter()
        .filter_map(|(name, value)| (name == "k").then_some(value))
        .collect();
    if keys.is_empty() {
        return Err(Response::problem(422, "no key: GET /map?k=KEY, or several: ?k=A&k=B"));
    }
    Ok(Plan::Get(keys))
}

fn put_plan(query: &str, max_key_bytes: usize) -> Result<Plan, Response> {
    let mut key = None;
    for (name, value) in parameters(query, max_key_bytes)? {
        if name != "k" {
            return Err(Response::problem(422, "a PUT takes the parameter k only: PUT /map?k=KEY"));
        }
        if key.replace(value).is_some() {
            return Err(Response::problem(422, "more than one k: a PUT writes one key"));
        }
    }
    key.map(Plan::Put).ok_or_else(|| Response::problem(422, "no key: PUT /map?k=KEY"))
}

fn not_allowed(method: &str, allow: &'static str) -> Response {
    let known = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    let method = known.iter().find(|known| **known == method).unwrap_or(&"this method");
    let problem = Response::problem(405, format_args!("{method} is not for this path: {allow}"));
    Response { allow: Some(allow), ..problem }
}

/// The query's names and values, decoded.
fn parameters(query: &str, max_key_bytes: usize) -> Result<Vec<(String, String)>, Response> {
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if value.len() > max_key_bytes {
            let reason = format!(
                "the key has {} bytes, at most {max_key_bytes} are taken (MAX_KEY_BYTES)",
                value.len()
            );
            return Err(Response::problem(400, reason));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

/// Decodes percent-encoding, and `+` as a space, as HTML forms and the ancestor do.
fn decode(text: &str) -> Result<String, Response> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    let reason = "bad percent-encoding in the query: % takes two hex digits, and a % itself is %25";
                    return Err(Response::problem(400, reason));
                };
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| {
        Response::problem(400, "the query is not UTF-8: encode the key as UTF-8, then as %XX")
    })
}

/// `KEY=value` a line for each key that is there, in the order asked.
pub fn get(store: &Store, keys: &[String]) -> Response {
    let found = || keys.iter().filter_map(|key| Some((key, store.get(key)?)));
    let size = found().map(|(key, value)| key.len() + value.len() + 2).sum();
    if size == 0 {
        return Response::problem(404, "none of these keys is here");
    }
    let mut body = Vec::with_capacity(size);
    for (key, value) in found() {
        body.extend_from_slice(key.as_bytes());
        body.push(b'=');
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    Response::ok(OCTET_STREAM, body)
}

/// Writes the value, and says whether the key had one.
pub fn put(store: &mut Store, key: &str, value: Box<[u8]>, wall_ms: u64) -> Response {
    match store.put(key, value, wall_ms) {
        Put::Created(_) => Response::empty(201),
        Put::Replaced(_) => Response::empty(204),
        Put::Full => Response::problem(
            507,
            "the store is full (MAX_STORE_BYTES): replace something by less, or raise the limit",
        ),
        Put::EndOfTime => {
            Response::problem(507, "the key's version is the last that there is: use another key")
        }
    }
}
