//! A request with any method, target, headers and body is parsed into an operation and executed, or
//! refused with one line. The input is split into lines like an HTTP request.
#![no_main]

use gossip_sidecar::api::{
    self, Head, MAX_PAGE_KEYS, MAX_REPLICAS, MAX_TTL_MS, MAX_WAIT_MS, Operation, PLAIN_TEXT,
    Preconditions, Replicas, Representation, Response, form, parse,
};
use gossip_sidecar::client::map_target;
use gossip_sidecar::{MAX_KEY_BYTES, SHARDS, Store};
use gossip_sidecar_fuzz::{WALL_MS, assert_consistent, store};
use libfuzzer_sys::fuzz_target;

/// The setting `MAX_KEY_BYTES`, so small that inputs reach it.
const MOST_WRITTEN_KEY_BYTES: usize = 40;

/// A refusal has one line that says what is wrong.
fn check_refusal(refusal: &Response) {
    let text = std::str::from_utf8(&refusal.body).expect("an error is text");
    assert!((400..500).contains(&refusal.status) || refusal.status == 507, "{refusal:?}");
    assert_eq!(refusal.content_type, Some(PLAIN_TEXT));
    assert!(text.len() < 300 && text.strip_suffix('\n').is_some_and(|line| !line.is_empty()));
    assert_eq!(text.find(char::is_control), Some(text.len() - 1), "more than a line: {text:?}");
    assert_eq!(refusal.allow.is_some(), refusal.status == 405);
}

fn encoded(key: &str) -> String {
    let target = map_target([key]);
    let text = target.strip_prefix("/map?k=").expect("the key is the only parameter");
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
    text.to_owned()
}

/// A key to be written is within the setting.
fn check_written_key(key: &str) {
    assert!(key.len() <= MOST_WRITTEN_KEY_BYTES, "{} bytes", key.len());
    check_key(key);
}

/// An accepted key can be encoded so that it is parsed as the same key.
fn check_key(key: &str) {
    assert!(key.len() <= MAX_KEY_BYTES, "{} bytes", key.len());
    let targets = [format!("/map?k={}", encoded(key)), format!("/map/{}", encoded(key))];
    // `/map/` is the same as `/map`, so that the empty key can only be in the query.
    for target in targets.iter().take(if key.is_empty() { 1 } else { 2 }) {
        let head = Head { method: "GET", target, header: &|_| None };
        match parse(&head, MOST_WRITTEN_KEY_BYTES) {
            Ok(Operation::Get { keys, .. }) => assert_eq!(keys, [key], "{target}"),
            other => panic!("{target}: {other:?}"),
        }
    }
}

fn check_keys(keys: &[String], preconditions: &Preconditions) {
    assert!(!keys.is_empty() && (keys.len() == 1 || preconditions.is_empty()));
    keys.iter().for_each(|key| check_key(key));
}

fn check_times(ttl_ms: Option<u64>, wait_ms: Option<u64>, replicas: Option<Replicas>) {
    assert!(ttl_ms.is_none_or(|ttl_ms| (1..=MAX_TTL_MS).contains(&ttl_ms)));
    let wait_ms = wait_ms.or(replicas.map(|replicas| replicas.wait_ms));
    assert!(wait_ms.is_none_or(|wait_ms| wait_ms <= MAX_WAIT_MS));
    assert!(replicas.is_none_or(|replicas| (1..=MAX_REPLICAS).contains(&replicas.wanted)));
}

/// Executes an operation, after checking its limits.
fn execute(operation: Operation, body: &[u8], store: &mut Store) -> Option<Response> {
    let response = match operation {
        Operation::Get { keys, representation, preconditions, wait_ms } => {
            check_keys(&keys, &preconditions);
            check_times(None, wait_ms, None);
            let response = api::get(store, &keys, representation, &preconditions, WALL_MS);
            if response.status == 200 && representation == Representation::Json {
                let text = std::str::from_utf8(&response.body).expect("JSON is UTF-8");
                assert_eq!(text.find(char::is_control), Some(text.len() - 1), "{text:?}");
            }
            response
        }
        Operation::Put { key, ttl_ms, preconditions, replicas, .. } => {
            check_written_key(&key);
            check_times(ttl_ms, None, replicas);
            let response = api::put(store, &key, body.into(), ttl_ms, &preconditions, WALL_MS);
            let is_done = matches!(response.status, 201 | 204);
            assert!(!is_done || store.get(&key, WALL_MS) == Some(body));
            response
        }
        Operation::PutForm { ttl_ms, replicas } => {
            check_times(ttl_ms, None, replicas);
            return None;
        }
        Operation::Delete { keys, preconditions, replicas } => {
            check_keys(&keys, &preconditions);
            check_times(None, None, replicas);
            let response = api::delete(store, &keys, &preconditions, WALL_MS);
            let is_done = response.status == 204;
            assert!(!is_done || keys.iter().all(|key| store.get(key, WALL_MS).is_none()));
            response
        }
        Operation::List { listing, json, preconditions, wait_ms } => {
            check_key(&listing.prefix);
            listing.after.iter().for_each(|key| check_key(key));
            check_times(None, wait_ms, None);
            assert!((1..=MAX_PAGE_KEYS).contains(&listing.limit));
            let mut page = listing.page();
            (0..SHARDS).for_each(|shard| page.visit(store, shard, WALL_MS));
            api::list(page, json, &preconditions)
        }
        _ => return None,
    };
    Some(response)
}

fn check_form(body: &[u8], store: &mut Store) {
    let pairs = match form(body, MOST_WRITTEN_KEY_BYTES) {
        Ok(pairs) => pairs,
        Err(refusal) => return check_refusal(&refusal),
    };
    assert!(!pairs.is_empty());
    let mut again = String::new();
    for (key, value) in &pairs {
        check_written_key(key);
        let Ok(value) = std::str::from_utf8(value) else { return };
        again += &format!("{}={}&", encoded(key), encoded(value));
    }
    assert_eq!(form(again.as_bytes(), MOST_WRITTEN_KEY_BYTES).as_ref(), Ok(&pairs), "{again}");
    let response = api::put_form(store, pairs.clone(), None, WALL_MS);
    assert_eq!(response.status, 204);
    for (key, value) in &pairs {
        assert_eq!(store.get(key, WALL_MS), Some(&**value));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((bytes, &b""[..]), |end| (&bytes[..end], &bytes[end + 2..]));
    let Ok(head) = std::str::from_utf8(head) else { return };
    let mut lines = head.split('\n');
    let (method, target) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or_default();
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let header = |name: &'static str| {
        let found = headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let values: Vec<&str> = found.map(|(_, value)| *value).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    let mut store = store(1);
    for key in ["", "a", "a/b", "key-7", "é"] {
        let _ = store.put(key, (*b"value").into(), None, WALL_MS);
    }
    match parse(&Head { method, target, header: &header }, MOST_WRITTEN_KEY_BYTES) {
        Ok(operation) => {
            let response = execute(operation, body, &mut store);
            response.iter().filter(|it| it.status >= 400).for_each(check_refusal);
        }
        Err(refusal) => check_refusal(&refusal),
    }
    check_form(body, &mut store);
    assert_consistent(&store);
});
