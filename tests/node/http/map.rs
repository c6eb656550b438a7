//! `PUT` and `GET` of `/map`.

use super::without_date;
use crate::support::{Node, assert_refused};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::cell::RefCell;

#[test]
fn a_put_returns_201_for_a_new_key_and_204_for_an_existing_one_without_a_body() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let created = client.put("/map?k=a", b"1");
    assert_eq!(without_date(&created), "HTTP/1.1 201 Created|Content-Length: 0");
    let replaced = client.put("/map?k=a", b"2");
    assert_eq!(without_date(&replaced), "HTTP/1.1 204 No Content|Content-Length: 0");
    // If the responses before had a body, this one would begin with it.
    let found = client.get("/map?k=a");
    let etag = found.header("ETag").expect("the response for one key has its version");
    let modified = found.header("Last-Modified").expect("and its time");
    assert_eq!(
        without_date(&found),
        format!(
            "HTTP/1.1 200 OK|Content-Type: application/octet-stream|ETag: {etag}|Last-Modified: {modified}|Content-Length: 4"
        )
    );
    assert_eq!(found.body, b"a=2\n");
}

#[test]
fn a_get_returns_keys_in_the_order_requested_with_duplicates_and_without_absent_ones() {
    let node = Node::alone(&[]);
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        node.write(key, value);
    }
    let mut client = node.client();
    let mut get = |target: &str| {
        let response = client.get(target);
        (response.status, response.text())
    };
    let ok = |text: &str| (200, text.to_owned());
    assert_eq!(get("/map?k=c&k=a&k=b"), ok("c=3\na=1\nb=2\n"));
    assert_eq!(get("/map?k=a&k=a&k=b&k=a"), ok("a=1\na=1\nb=2\na=1\n"));
    assert_eq!(get("/map?k=absent&k=b&k=gone"), ok("b=2\n"));
    assert_eq!(get("/map?x=1&k=b&y&=z&k=a&"), ok("b=2\na=1\n"));
    assert_eq!(get("/map/?k=a"), ok("a=1\n"));
    // The absolute form, which HTTP requires every server to accept.
    assert_eq!(get("http://test:80/map?k=a"), ok("a=1\n"));
    assert_eq!(get("http://test").0, 404);
}

#[test]
fn a_get_or_put_with_wrong_parameters_is_refused_with_a_reason() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    assert_refused(&client.get("/map?k=absent"), 404);
    assert_refused(&client.get("/map?k=absent&k=too"), 404);
    for target in ["/map", "/map/", "/map?", "/map?x=1", "/map?K=a", "/map?kk=a"] {
        assert_refused(&client.get(target), 422);
        assert_refused(&client.put(target, b"v"), 422);
    }
    for target in ["/map?k=a&k=b", "/map?k=a&k=a", "/map?k=a&x=1", "/map?x=1&k=a"] {
        assert_refused(&client.put(target, b"v"), 422);
    }
    assert_refused(&client.get("/map?k=a&k=b"), 404);
    assert_eq!(node.count("keys"), 0);
}

#[test]
fn keys_are_percent_decoded_and_plus_is_a_space() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    for (query, key) in [
        ("k=a%20b", "a b"),
        ("k=c+d", "c d"),
        ("k=1%2B1", "1+1"),
        ("%6b=named", "named"),
        ("k=x=y", "x=y"),
        ("k=%26%3d%3D%25%23%3f", "&==%#?"),
        ("k=%D0%BA%D0%BB%D1%8E%D1%87", "ключ"),
        ("k=%F0%9F%A6%80", "🦀"),
        ("k=%00", "\0"),
        ("k=%0d%0A", "\r\n"),
        ("k=a/b?c", "a/b?c"),
        ("k=!$'()*,;:@-._~", "!$'()*,;:@-._~"),
        ("k=e%CC%81", "e\u{301}"),
        ("k=%C3%A9", "\u{e9}"),
    ] {
        let put = client.put(&format!("/map?{query}"), b"value");
        assert_eq!(put.status, 201, "{query}: {put:?}");
        let found = client.get(&format!("/map?{query}"));
        assert_eq!(found.body, format!("{key}=value\n").as_bytes(), "{query}");
        assert_eq!(node.read(key), "value", "{query}");
    }
}

#[test]
fn bad_percent_encoding_and_bad_utf8_are_refused() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    for key in [
        "%zz",
        "%",
        "%2",
        "a%",
        "a%4",
        "%4x",
        "%+1",
        "%%41",
        "%u0041",
        "%FF",
        "%C3",
        "%C3%28",
        "%ED%A0%80",
        "%F5%80%80%80",
        "%c0%af",
    ] {
        assert_refused(&client.put(&format!("/map?k={key}"), b"v"), 400);
        assert_refused(&client.get(&format!("/map?k={key}")), 400);
        assert_refused(&client.get(&format!("/map?k=ok&other={key}")), 400);
        assert_refused(&client.get(&format!("/map?{key}=x&k=ok")), 400);
    }
    assert_eq!(node.count("keys"), 0);
}

#[test]
fn keys_and_values_may_be_empty() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    assert_eq!(client.put("/map?k=", b"of the empty key").status, 201);
    for target in ["/map?k=", "/map?k", "/map?x=1&k"] {
        assert_eq!(client.get(target).body, b"=of the empty key\n", "{target}");
    }
    assert_eq!(client.put("/map?k", b"").status, 204);
    assert_eq!(client.get("/map?k").body, b"=\n");
    assert_eq!(client.put("/map?k=empty", b"").status, 201);
    assert_eq!(client.get("/map?k=empty").body, b"empty=\n");
    // A request without a body writes an empty value.
    let response = client.send("PUT /map?k=none HTTP/1.1\r\nHost: test\r\n\r\n").response();
    assert_eq!(response.status, 201);
    assert_eq!(client.get("/map?k=none").body, b"none=\n");
}

#[test]
fn values_are_returned_byte_for_byte() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let all_bytes: Vec<u8> = (0..=255).collect();
    for value in [
        &b"a=b=c"[..],
        b"two\nlines\n",
        b"\r\n\r\n",
        b"nul\0nul",
        b"\xff\xfe not UTF-8 \xc3",
        b"0\r\n\r\n",
        &all_bytes,
        &[0; 5000],
        &all_bytes.repeat(50),
    ] {
        assert!([201, 204].contains(&client.put("/map?k=v", value).status));
        assert_eq!(client.get("/map?k=v").body, [b"v=", value, b"\n"].concat());
    }
    for byte in 0..=255 {
        assert_eq!(client.put(&format!("/map?k=byte{byte}"), &[byte]).status, 201);
    }
    for byte in 0..=255 {
        let wanted = [format!("byte{byte}=").as_bytes(), &[byte, b'\n']].concat();
        assert_eq!(client.get(&format!("/map?k=byte{byte}")).body, wanted);
    }
}

/// Percent-encodes a key, each byte in its style: literally if that is allowed, or in lower- or
/// upper-case hex digits.
fn encode_in_styles(key: &str, styles: &[u8]) -> String {
    let styled = key.bytes().zip(styles.iter().cycle());
    let encoded = styled.map(|(byte, style)| match (style % 3, byte) {
        (0, b' ') => "+".to_owned(),
        (0, b'%' | b'+' | b'&' | b'#') | (1, _) => format!("%{byte:02x}"),
        (0, b'!'..=b'~') => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[test]
fn any_key_and_value_round_trip() {
    let node = Node::alone(&[]);
    let client = RefCell::new(node.client());
    let rng_seed = RngSeed::Fixed(0x6874_7470);
    let config = Config { cases: 300, rng_seed, failure_persistence: None, ..Config::default() };
    let strategy = (any::<String>(), vec(any::<u8>(), 1..50), vec(any::<u8>(), 0..3000));
    let outcome = TestRunner::new(config).run(&strategy, |(key, styles, value)| {
        let target = format!("/map?k={}", encode_in_styles(&key, &styles));
        let status = client.borrow_mut().put(&target, &value).status;
        prop_assert!([201, 204].contains(&status), "{}", status);
        let found = client.borrow_mut().get(&target);
        prop_assert_eq!(found.body, [key.as_bytes(), b"=", &value, b"\n"].concat());
        Ok(())
    });
    outcome.unwrap();
}
