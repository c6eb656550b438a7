//! Operations on the map: each one call on the store.

use crate::core::api::json;
use crate::core::api::preconditions::Preconditions;
use crate::core::entry::Entry;

use crate::core::api::listing::Page;
use crate::core::api::response::{JSON, OCTET_STREAM, PLAIN_TEXT, Response};
use crate::core::store::{Pairs, Put, Store};
use std::fmt::Write;

/// How a response represents keys and values (RFC 9110, section 8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Representation {
    /// A `KEY=VALUE` line for each key.
    Pairs,
    /// The value of one key, and nothing else.
    Value,
    /// A JSON object with the keys as names.
    Json,
}

fn etag(entry: Option<&Entry>) -> Option<String> {
    entry.map(|entry| entry.version.to_string())
}

/// Reads keys, in the order requested. Absent ones are left out.
pub fn get(
    store: &Store,
    keys: &[String],
    representation: Representation,
    preconditions: &Preconditions,
    wall_ms: u64,
) -> Response {
    let find = |key: &String| store.find(key, wall_ms);
    let only = if let [key] = keys { find(key) } else { None };
    let etag = etag(only);
    if preconditions.mismatches(etag.as_deref()) {
        return Response::precondition_failed();
    }
    if preconditions.client_has(etag.as_deref()) {
        return Response::not_modified(etag);
    }
    let found = || {
        let entries = keys.iter().filter_map(|key| Some((key, find(key)?)));
        entries.filter_map(|(key, entry)| Some((key, entry.value()?)))
    };
    let Some((_, first)) = found().next() else {
        return Response::problem(404, "none of these keys is present");
    };
    let (content_type, body) = match representation {
        Representation::Value => (OCTET_STREAM, first.to_vec()),
        Representation::Pairs => {
            let size = found().map(|(key, value)| key.len() + value.len() + 2).sum();
            let mut body = Vec::with_capacity(size);
            for (key, value) in found() {
                body.extend_from_slice(key.as_bytes());
                body.push(b'=');
                body.extend_from_slice(value);
                body.push(b'\n');
            }
            (OCTET_STREAM, body)
        }
        Representation::Json => {
            let mut object = json::Members::object();
            // Names in an object are unique.
            let mut names: Vec<&str> = keys.iter().map(String::as_str).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let value = store.get(name, wall_ms);
                value.into_iter().for_each(|value| json::value(object.named(name), value));
            }
            (JSON, (object.finish() + "\n").into_bytes())
        }
    };
    let expires_ms = only.and_then(Entry::expires_ms);
    Response {
        etag,
        modified_ms: only.map(|entry| entry.version.ms()),
        ttl_ms: expires_ms.map(|expires_ms| expires_ms.saturating_sub(store.now_ms(wall_ms))),
        ..Response::ok(content_type, body)
    }
}

/// Writes a value: 201 if the key had none, 204 if it had.
pub fn put(
    store: &mut Store,
    key: &str,
    value: Box<[u8]>,
    ttl_ms: Option<u64>,
    preconditions: &Preconditions,
    wall_ms: u64,
) -> Response {
    if store.is_closed() {
        return Response::draining();
    }
    if !allows(store, key, preconditions, wall_ms) {
        return Response::precondition_failed();
    }
    let (status, version) = match store.put(key, value, ttl_ms, wall_ms) {
        Put::Created(version) => (201, version),
        Put::Replaced(version) => (204, version),
        refused => return refusal(refused),
    };
    Response { etag: Some(version.to_string()), ..Response::empty(status) }
}

/// Writes all values, or none.
pub fn put_form(store: &mut Store, form: Pairs, ttl_ms: Option<u64>, wall_ms: u64) -> Response {
    if store.is_closed() {
        return Response::draining();
    }
    match store.put_all(form, ttl_ms, wall_ms) {
        Ok(()) => Response::empty(204),
        Err(refused) => refusal(refused),
    }
}

fn refusal(refused: Put) -> Response {
    let reason = match refused {
        Put::EndOfTime => {
            "a key's version is the greatest possible, and nothing can replace or delete it: use another key"
        }
        _ => "the store is full (MAX_STORE_BYTES): delete something, or raise the limit",
    };
    Response::problem(507, reason)
}

/// Deletes all the keys, or none: 204 if at least one of them was present.
pub fn delete(
    store: &mut Store,
    keys: &[String],
    preconditions: &Preconditions,
    wall_ms: u64,
) -> Response {
    if store.is_closed() {
        return Response::draining();
    }
    if keys.iter().any(|key| !allows(store, key, preconditions, wall_ms)) {
        return Response::precondition_failed();
    }
    match store.delete_all(keys, wall_ms) {
        Ok(0) => Response::problem(404, "none of these keys is present"),
        Ok(_) => Response::empty(204),
        Err(refused) => refusal(refused),
    }
}

/// Whether the preconditions of a write hold.
fn allows(store: &Store, key: &str, preconditions: &Preconditions, wall_ms: u64) -> bool {
    if preconditions.is_empty() {
        return true;
    }
    let etag = etag(store.find(key, wall_ms));
    !preconditions.mismatches(etag.as_deref()) && !preconditions.client_has(etag.as_deref())
}

/// A page of keys, as JSON or as a line each, percent-encoded.
pub fn list(page: Page, json: bool, preconditions: &Preconditions) -> Response {
    let etag = Some(page.etag());
    if preconditions.mismatches(etag.as_deref()) {
        return Response::precondition_failed();
    }
    if preconditions.client_has(etag.as_deref()) {
        return Response::not_modified(etag);
    }
    let (keys, has_more) = page.finish();
    let answer = if json {
        let mut names = json::Members::array();
        keys.iter().for_each(|key| json::string(names.item(), key));
        let mut object = json::Members::object();
        object.named("keys").push_str(&names.finish());
        object.named("more").push_str(if has_more { "true" } else { "false" });
        Response::ok(JSON, (object.finish() + "\n").into_bytes())
    } else {
        let mut text = String::new();
        for key in &keys {
            encode(&mut text, key);
            text.push('\n');
        }
        Response::ok(PLAIN_TEXT, text.into_bytes())
    };
    Response { etag, has_more: Some(has_more), ..answer }
}

/// Appends a key, percent-encoded but for unreserved characters (RFC 3986, section 2.3).
pub fn encode(out: &mut String, key: &str) {
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to memory cannot fail");
        }
    }
}
