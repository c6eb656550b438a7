//! Parsing a request: method, target and headers in, an operation out, or a 4xx response.

use crate::core::api::accept::{accepts, prefers_second};
use crate::core::api::listing::{DEFAULT_PAGE_KEYS, Listing, MAX_PAGE_KEYS};
use crate::core::api::map::Representation;
use crate::core::api::operation::{MAX_TTL_MS, MAX_WAIT_MS, Operation, Replicas};
use crate::core::api::parameters::{Query, checked_key, decode, text};
use crate::core::api::preconditions::Preconditions;
use crate::core::api::response::{JSON, OCTET_STREAM, PLAIN_TEXT, Response};
use crate::core::message::MAX_KEY_BYTES;

/// The longest target: it has room for the longest key, percent-encoded, and for other parameters.
const MAX_TARGET_BYTES: usize = 4 * MAX_KEY_BYTES;

/// The longest target that names several keys. A key may occur again and again, so this bounds how
/// many values a response has.
const MAX_KEYS_TARGET_BYTES: usize = 64 * 1024;

/// The media type of a form, as `curl -d` sends it.
const FORM: &str = "application/x-www-form-urlencoded";

/// The head of a request.
pub struct Head<'a> {
    /// `GET`, `PUT` and so on.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The value of the header with this name; of several, all of them, comma-separated.
    pub header: &'a dyn Fn(&'static str) -> Option<String>,
}

/// Parses the head of a request into an operation, or into the response that refuses it.
///
/// Keys to be written have at most `max_key_bytes`. Others may be longer: peers with another setting
/// may have written them, and every key that is present can be read and deleted.
pub fn parse(head: &Head<'_>, max_key_bytes: usize) -> Result<Operation, Response> {
    let target = head.target;
    if target.len() > MAX_TARGET_BYTES {
        return Err(too_long(MAX_TARGET_BYTES));
    }
    // The absolute form, which is meant for proxies, must be accepted too (RFC 9112, section 3.2.2).
    let target = match target.strip_prefix("http://") {
        Some(absolute) => absolute.find('/').map_or("/", |path| &absolute[path..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let method = Method::parse(head.method);
    // As in k8s-gossipcar, parameters of this path are ignored, even malformed ones.
    let mut query = Query::parse(if path == "/stats" { "" } else { query })?;
    match path {
        "/map" | "/map/" => match method {
            Method::Read => get_operation(head, query),
            Method::Put => put_operation(head, query, max_key_bytes),
            Method::Post => form_operation(head, query),
            Method::Delete => delete_operation(head, query),
            Method::Other => Err(not_allowed(head.method, "GET, HEAD, PUT, POST, DELETE")),
        },
        "/keys" if method == Method::Read => list_operation(head, query),
        "/stats" if method == Method::Read => {
            Ok(Operation::Stats { json: json_or(head, PLAIN_TEXT, true)? })
        }
        "/peers" | "/metrics" | "/healthz" | "/readyz" if method == Method::Read => {
            query.finish("this path takes no parameters")?;
            Ok(match path {
                "/peers" => Operation::Peers { json: json_or(head, PLAIN_TEXT, false)? },
                "/metrics" => Operation::Metrics,
                "/healthz" => Operation::Healthz,
                _ => Operation::Readyz,
            })
        }
        "/keys" | "/stats" | "/peers" | "/metrics" | "/healthz" | "/readyz" => {
            Err(not_allowed(head.method, "GET, HEAD"))
        }
        _ => match path.strip_prefix("/map/") {
            Some(key) => one_key_operation(head, method, key, query, max_key_bytes),
            None => Err(Response::problem(
                404,
                "no such path; the paths are /map, /map/KEY, /keys, /peers, /stats, /metrics, /healthz and /readyz",
            )),
        },
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    /// `HEAD` is a `GET` whose body is not sent.
    Read,
    Put,
    Post,
    Delete,
    Other,
}

impl Method {
    fn parse(name: &str) -> Self {
        match name {
            "GET" | "HEAD" => Self::Read,
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

fn not_allowed(method: &str, allow: &'static str) -> Response {
    let known = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    let method = known.iter().find(|known| **known == method).unwrap_or(&"this method");
    let problem = Response::problem(
        405,
        format_args!("this path does not support {method}; it supports {allow}"),
    );
    Response { allow: Some(allow), ..problem }
}

fn too_long(max_bytes: usize) -> Response {
    Response::problem(
        414,
        format_args!("the URL is longer than {max_bytes} bytes: name fewer keys"),
    )
}

/// The keys to read or delete.
fn known_keys(head: &Head<'_>, query: &mut Query) -> Result<Vec<String>, Response> {
    let keys = query.keys(MAX_KEY_BYTES)?;
    if keys.len() > 1 && head.target.len() > MAX_KEYS_TARGET_BYTES {
        return Err(too_long(MAX_KEYS_TARGET_BYTES));
    }
    Ok(keys)
}

fn get_operation(head: &Head<'_>, mut query: Query) -> Result<Operation, Response> {
    // As in k8s-gossipcar, unknown parameters are ignored.
    let keys = known_keys(head, &mut query)?;
    if keys.is_empty() {
        return Err(Response::problem(422, "no key: GET /map?k=KEY, or several: ?k=A&k=B"));
    }
    let preconditions = preconditions(head)?;
    let wait_ms = query.duration_ms("wait", 0..=MAX_WAIT_MS)?;
    if keys.len() > 1 && (!preconditions.is_empty() || wait_ms.is_some()) {
        return Err(Response::problem(
            422,
            "If-Match, If-None-Match and wait need exactly one key: GET /map?k=KEY",
        ));
    }
    let json = json_or(head, OCTET_STREAM, true)?;
    let representation = if json { Representation::Json } else { Representation::Pairs };
    Ok(Operation::Get { keys, representation, preconditions, wait_ms })
}

fn put_operation(
    head: &Head<'_>,
    mut query: Query,
    max_key_bytes: usize,
) -> Result<Operation, Response> {
    let mut keys = query.keys(max_key_bytes)?.into_iter();
    let ttl_ms = query.duration_ms("ttl", 1..=MAX_TTL_MS)?;
    let replicas = query.replicas()?;
    query.finish(
        "PUT /map takes only the parameters k, ttl, replicas and wait: PUT /map?k=KEY&ttl=30s",
    )?;
    match (keys.next(), keys.next()) {
        (Some(key), None) => put_one(head, key, ttl_ms, replicas, false),
        (None, _) => Err(Response::problem(422, "no key: PUT /map?k=KEY")),
        _ => Err(Response::problem(422, "more than one k: a PUT writes one key")),
    }
}

fn put_one(
    head: &Head<'_>,
    key: String,
    ttl_ms: Option<u64>,
    replicas: Option<Replicas>,
    sends_etag: bool,
) -> Result<Operation, Response> {
    if (head.header)("Content-Range").is_some() {
        return Err(Response::problem(400, "Content-Range is not supported: send the whole value"));
    }
    check_encoding(head)?;
    Ok(Operation::Put { key, ttl_ms, preconditions: preconditions(head)?, sends_etag, replicas })
}

fn form_operation(head: &Head<'_>, mut query: Query) -> Result<Operation, Response> {
    let ttl_ms = query.duration_ms("ttl", 1..=MAX_TTL_MS)?;
    let replicas = query.replicas()?;
    query.finish(
        "POST /map takes only the parameters ttl, replicas and wait, and the keys and values in its body",
    )?;
    check_encoding(head)?;
    if !preconditions(head)?.is_empty() {
        return Err(Response::problem(
            422,
            "If-Match and If-None-Match need exactly one key: PUT /map?k=KEY",
        ));
    }
    let content_type = (head.header)("Content-Type").unwrap_or_else(|| FORM.to_owned());
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(FORM) {
        Ok(Operation::PutForm { ttl_ms, replicas })
    } else {
        Err(Response::problem(
            415,
            format_args!("a POST must be a form, with Content-Type: {FORM}"),
        ))
    }
}

fn delete_operation(head: &Head<'_>, mut query: Query) -> Result<Operation, Response> {
    let keys = known_keys(head, &mut query)?;
    let replicas = query.replicas()?;
    query
        .finish("DELETE /map takes only the parameters k, replicas and wait: DELETE /map?k=KEY")?;
    if keys.is_empty() {
        return Err(Response::problem(422, "no key: DELETE /map?k=KEY, or several: ?k=A&k=B"));
    }
    let preconditions = preconditions(head)?;
    if keys.len() > 1 && !preconditions.is_empty() {
        return Err(Response::problem(
            422,
            "If-Match and If-None-Match need exactly one key: DELETE /map?k=KEY",
        ));
    }
    Ok(Operation::Delete { keys, preconditions, replicas })
}

fn one_key_operation(
    head: &Head<'_>,
    method: Method,
    key: &str,
    mut query: Query,
    max_key_bytes: usize,
) -> Result<Operation, Response> {
    let max_bytes = if method == Method::Put { max_key_bytes } else { MAX_KEY_BYTES };
    let key = checked_key(text(decode(key, false)?)?, max_bytes)?;
    match method {
        Method::Read => {
            let wait_ms = query.duration_ms("wait", 0..=MAX_WAIT_MS)?;
            query.finish("GET /map/KEY takes only the parameter wait: GET /map/KEY?wait=30s")?;
            if !accepts(&accept(head), OCTET_STREAM) {
                return Err(not_acceptable(OCTET_STREAM));
            }
            let preconditions = preconditions(head)?;
            Ok(Operation::Get {
                keys: vec![key],
                representation: Representation::Value,
                preconditions,
                wait_ms,
            })
        }
        Method::Put => {
            let ttl_ms = query.duration_ms("ttl", 1..=MAX_TTL_MS)?;
            let replicas = query.replicas()?;
            query.finish(
                "PUT /map/KEY takes only the parameters ttl, replicas and wait: PUT /map/KEY?ttl=30s",
            )?;
            put_one(head, key, ttl_ms, replicas, true)
        }
        Method::Delete => {
            let replicas = query.replicas()?;
            query.finish(
                "DELETE /map/KEY takes only the parameters replicas and wait: DELETE /map/KEY",
            )?;
            Ok(Operation::Delete { keys: vec![key], preconditions: preconditions(head)?, replicas })
        }
        Method::Post | Method::Other => Err(not_allowed(head.method, "GET, HEAD, PUT, DELETE")),
    }
}

fn list_operation(head: &Head<'_>, mut query: Query) -> Result<Operation, Response> {
    let prefix = checked_key(query.text("prefix")?.unwrap_or_default(), MAX_KEY_BYTES)?;
    let after = query.text("after")?.map(|key| checked_key(key, MAX_KEY_BYTES)).transpose()?;
    let limit = query.number("limit", MAX_PAGE_KEYS)?.unwrap_or(DEFAULT_PAGE_KEYS);
    let wait_ms = query.duration_ms("wait", 0..=MAX_WAIT_MS)?;
    query.finish("GET /keys takes only the parameters prefix, after, limit and wait")?;
    let json = json_or(head, PLAIN_TEXT, false)?;
    let listing = Listing { prefix, after, limit };
    Ok(Operation::List { listing, json, preconditions: preconditions(head)?, wait_ms })
}

fn preconditions(head: &Head<'_>) -> Result<Preconditions, Response> {
    let (if_match, if_none_match) = ((head.header)("If-Match"), (head.header)("If-None-Match"));
    Preconditions::parse(if_match.as_deref(), if_none_match.as_deref()).ok_or_else(|| {
        Response::problem(
            400,
            "If-Match and If-None-Match must be * or a comma-separated list of quoted versions, as in ETag",
        )
    })
}

/// Refuses a body with a `Content-Encoding`: the encoding is not stored, so readers would not learn
/// of it.
fn check_encoding(head: &Head<'_>) -> Result<(), Response> {
    match (head.header)("Content-Encoding") {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => Err(Response::problem(
            415,
            "Content-Encoding is not supported: send the body unencoded",
        )),
        _ => Ok(()),
    }
}

fn accept(head: &Head<'_>) -> String {
    (head.header)("Accept").unwrap_or_default()
}

fn not_acceptable(media_type: &str) -> Response {
    Response::problem(406, format_args!("available: {media_type}; Accept includes none of it"))
}

/// Whether JSON is preferred to the usual representation. k8s-gossipcar ignores `Accept`: on its paths
/// a client that accepts neither gets the usual representation too.
fn json_or(head: &Head<'_>, usual: &str, is_lenient: bool) -> Result<bool, Response> {
    match prefers_second(&accept(head), usual, JSON) {
        Some(json) => Ok(json),
        None if is_lenient => Ok(false),
        None => Err(not_acceptable(&format!("{usual} and {JSON}"))),
    }
}
