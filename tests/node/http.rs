//! The HTTP contract, to the byte, against a real node.

use crate::support::*;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// The whole answer, without the one line that differs each time.
fn without_date(answer: &Answer) -> String {
    assert!(answer.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{answer:?}");
    answer.head.lines().filter(|line| !line.starts_with("Date:")).collect::<Vec<_>>().join("|")
}

// Reading and writing.

#[test]
fn a_put_is_201_for_a_new_key_and_204_for_one_that_is_there_both_without_a_body() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let created = client.put("/map?k=a", b"1");
    assert_eq!(without_date(&created), "HTTP/1.1 201 Created|Content-Length: 0");
    let replaced = client.put("/map?k=a", b"2");
    assert_eq!(without_date(&replaced), "HTTP/1.1 204 No Content|Content-Length: 0");
    // Whatever came behind the heads would be taken for the start of this answer.
    let found = client.get("/map?k=a");
    let tag = found.header("ETag").expect("the answer for one key says its version");
    let modified = found.header("Last-Modified").expect("and its time");
    assert_eq!(
        without_date(&found),
        format!(
            "HTTP/1.1 200 OK|Content-Type: application/octet-stream|ETag: {tag}|Last-Modified: {modified}|Content-Length: 4"
        )
    );
    assert_eq!(found.body, b"a=2\n");
}

#[test]
fn a_get_gives_the_keys_in_the_order_asked_with_duplicates_and_without_the_absent() {
    let node = Node::alone(&[]);
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        node.write(key, value);
    }
    let mut client = node.client();
    let mut get = |target: &str| {
        let answer = client.get(target);
        (answer.status, answer.text())
    };
    let ok = |text: &str| (200, text.to_owned());
    assert_eq!(get("/map?k=c&k=a&k=b"), ok("c=3\na=1\nb=2\n"));
    assert_eq!(get("/map?k=a&k=a&k=b&k=a"), ok("a=1\na=1\nb=2\na=1\n"));
    assert_eq!(get("/map?k=absent&k=b&k=gone"), ok("b=2\n"));
    assert_eq!(get("/map?x=1&k=b&y&=z&k=a&"), ok("b=2\na=1\n"));
    assert_eq!(get("/map/?k=a"), ok("a=1\n"));
    // As to a proxy, which HTTP asks every server to take.
    assert_eq!(get("http://test:80/map?k=a"), ok("a=1\n"));
    assert_eq!(get("http://test").0, 404);
}

#[test]
fn what_a_get_or_put_lacks_is_said() {
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
fn the_key_and_the_value_may_be_empty() {
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
    // No body at all is an empty value too.
    let answer = client.send("PUT /map?k=none HTTP/1.1\r\nHost: test\r\n\r\n").answer();
    assert_eq!(answer.status, 201);
    assert_eq!(client.get("/map?k=none").body, b"none=\n");
}

#[test]
fn values_come_back_byte_for_byte() {
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

/// Percent-encodes a key, each byte in the style that it is given: as itself, if it may be, or in
/// lower or upper hex digits.
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

// Limits.

#[test]
fn a_value_of_the_greatest_length_is_taken_and_one_byte_more_is_not() {
    let node = Node::alone(&[]);
    let value: Vec<u8> = (0..MIB).map(|index| (index % 251) as u8).collect();
    assert_eq!(node.put("big", &value).status, 201);
    assert_eq!(node.get("big").as_ref(), Some(&value));
    let longer = [&value[..], b"x"].concat();
    assert_refused(&node.put("big", &longer), 413);
    assert_refused(&node.put("new", &longer), 413);
    // Length by length of what tiny_http reads ahead and what it does not.
    let mut client = node.client();
    for length in [1, KIB - 1, KIB, KIB + 1, 16 * KIB, 32 * KIB, 64 * KIB + 1] {
        assert!(client.put("/map?k=v", &value[..length]).status < 300);
        assert_eq!(client.get("/map?k=v").body.len(), length + 3);
    }
    assert_eq!(node.get("big").as_ref(), Some(&value));
    assert_eq!(node.get("new"), None);
}

#[test]
fn after_a_value_that_is_too_large_the_connection_serves_on() {
    let node = Node::alone(&[("MAX_VALUE_BYTES", "10")]);
    let mut client = node.client();
    assert_eq!(client.put("/map?k=a", b"0123456789").status, 201);
    for length in [11, KIB, KIB + 1, 100 * KIB, 2 * MIB] {
        assert_refused(&client.put("/map?k=a", &vec![b'x'; length]), 413);
        assert_eq!(client.get("/map?k=a").body, b"a=0123456789\n", "after {length}");
    }
    let chunk = [&b"20000\r\n"[..], &vec![b'x'; 0x20000], b"\r\n0\r\n\r\n"].concat();
    client.send("PUT /map?k=a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").send(chunk);
    assert_refused(&client.answer(), 413);
    assert_eq!(client.get("/map?k=a").body, b"a=0123456789\n");
}

#[test]
fn a_key_of_the_greatest_length_is_taken_and_one_byte_more_is_not() {
    let node = Node::alone(&[]);
    let longest = "k".repeat(1024);
    assert_eq!(node.put(&longest, "1").status, 201);
    assert_eq!(node.read(&longest), "1");
    // 1024 bytes, and three times as many in the URL.
    let accented = "é".repeat(512);
    assert_eq!(node.put(&accented, "2").status, 201);
    assert_eq!(node.read(&accented), "2");
    for too_long in ["k".repeat(1025), "é".repeat(512) + "k"] {
        assert_refused(&node.put(&too_long, "3"), 400);
        assert_refused(&node.request("GET", &map_target(&[&too_long]), &[]), 400);
        assert_refused(&node.request("GET", &map_target(&["a", &too_long]), &[]), 400);
    }
    assert_eq!(node.count("keys"), 2);
}

#[test]
fn a_url_may_be_64_kib_long_and_no_longer() {
    let node = Node::alone(&[]);
    node.write("k", "v");
    let padded = |length: usize| format!("{:=<length$}", "/map?k=k&k");
    let mut client = node.client();
    assert_eq!(client.get(&padded(1000)).status, 200);
    let at_limit = format!("/map?k=k{}", "&k=k".repeat((64 * KIB - 8) / 4));
    assert_eq!(at_limit.len(), 64 * KIB);
    assert_eq!(client.get(&at_limit).body.len(), 4 * (1 + (64 * KIB - 8) / 4));
    assert_refused(&client.get(&(at_limit + "&")), 414);
    assert_eq!(client.get("/map?k=k").status, 200);
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
fn a_full_store_refuses_and_keeps_what_it_has() {
    // Each entry counts 96 bytes beside its key and value.
    let node = Node::alone(&[("MAX_STORE_BYTES", "1KiB")]);
    let mut client = node.client();
    assert_eq!(client.put("/map?k=a", &[b'1'; 415]).status, 201);
    assert_eq!(client.put("/map?k=b", &[b'2'; 415]).status, 201);
    let before = node.stats();
    assert_eq!(before["storeBytes"], "1024");
    for (target, length) in [("/map?k=c", 0), ("/map?k=c", 100), ("/map?k=a", 416), ("/map?k=", 1)]
    {
        assert_refused(&client.put(target, &vec![b'x'; length]), 507);
    }
    let after = node.stats();
    for name in ["keys", "storeBytes", "digest"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    assert_eq!(node.get("a"), Some(vec![b'1'; 415]));
    assert_eq!(node.get("c"), None);
    // What takes less room, or no more, is taken.
    assert_eq!(client.put("/map?k=a", &[b'3'; 415]).status, 204);
    assert_eq!(client.put("/map?k=a", b"small").status, 204);
    assert_eq!(client.put("/map?k=c", &[b'4'; 100]).status, 201);
}

// Methods and paths.

#[test]
fn head_is_get_without_a_body() {
    let node = Node::alone(&[]);
    node.write("a", "value");
    let mut client = node.client();
    for target in
        ["/map?k=a", "/map?k=absent", "/map", "/map?k=%zz", "/healthz", "/readyz", "/nothing"]
    {
        let get = client.request("GET", target, &[], &[]);
        let head = client.request("HEAD", target, &[], &[]);
        assert_eq!(without_date(&get), without_date(&head), "{target}");
        assert_eq!(head.body, b"");
    }
    for target in ["/stats", "/metrics"] {
        let head = client.request("HEAD", target, &[], &[]);
        assert_eq!(head.status, 200, "{target}");
        assert_eq!(head.body, b"");
    }
    // Had any of them a body, the next answer would begin with it.
    assert_eq!(client.get("/map?k=a").body, b"a=value\n");
}

#[test]
fn other_methods_are_405_with_allow() {
    let node = Node::alone(&[]);
    node.write("a", "value");
    let mut client = node.client();
    let others = ["PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND", "X-Y"];
    for method in others {
        for body in [&b""[..], b"some body", &[b'x'; 5000]] {
            let answer = client.request(method, "/map?k=a", &[], body);
            assert_refused(&answer, 405);
            assert_eq!(answer.header("Allow"), Some("GET, HEAD, PUT, POST, DELETE"));
            let answer = client.request(method, "/map/a", &[], body);
            assert_refused(&answer, 405);
            assert_eq!(answer.header("Allow"), Some("GET, HEAD, PUT, DELETE"));
        }
    }
    for target in ["/keys", "/peers", "/stats", "/metrics", "/healthz", "/readyz"] {
        for method in others.into_iter().chain(["PUT", "POST", "DELETE"]) {
            let answer = client.request(method, target, &[], &[]);
            assert_refused(&answer, 405);
            assert_eq!(answer.header("Allow"), Some("GET, HEAD"));
        }
    }
    assert_eq!(client.get("/map?k=a").body, b"a=value\n");
}

#[test]
fn an_unknown_path_is_404() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    for target in [
        "/",
        "/Map?k=a",
        "/map2?k=a",
        "/maps/x",
        "/keys/",
        "//map?k=a",
        "/map%3Fk=a",
        "/stats/",
        "/m%61p",
        "*",
        "map?k=a",
        "?k=a",
        "/../map?k=a",
        "/favicon.ico",
    ] {
        assert_refused(&client.get(target), 404);
        assert_refused(&client.put(target, b"v"), 404);
    }
}

// Connections.

#[test]
fn a_connection_serves_a_hundred_requests() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    for index in 0..100 {
        let answer = client.put("/map?k=a", index.to_string().as_bytes());
        assert!(answer.status < 300 && answer.header("Connection").is_none(), "{answer:?}");
        assert_eq!(client.get("/map?k=a").text(), format!("a={index}\n"));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let node = Node::alone(&[]);
    for index in 0..50 {
        node.write(&format!("k{index}"), format!("value {index}"));
    }
    let mut client = node.client();
    for _ in 0..20 {
        let requests: String = (0..50)
            .map(|index| format!("GET /map?k=k{index} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .collect();
        client.send(requests);
        for index in 0..50 {
            assert_eq!(client.answer().text(), format!("k{index}=value {index}\n"));
        }
    }
}

#[test]
fn http_1_0_is_answered_and_closed_unless_asked_otherwise() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    let mut client = node.client();
    assert_eq!(client.send("GET /map?k=a HTTP/1.0\r\n\r\n").answer().body, b"a=1\n");
    assert_eq!(client.rest(), b"");
    let mut client = node.client();
    for _ in 0..3 {
        client.send("GET /map?k=a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.answer().body, b"a=1\n");
    }
    client.send("PUT /map?k=a HTTP/1.0\r\nContent-Length: 3\r\n\r\nnew");
    assert_eq!(client.answer().status, 204);
    assert_eq!(client.rest(), b"");
    assert_eq!(node.read("a"), "new");
}

#[test]
fn connection_close_is_said_and_done() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    for (method, target, body, status) in [
        ("GET", "/map?k=a", &b""[..], 200),
        ("GET", "/map?k=b", b"", 404),
        ("PUT", "/map?k=a", b"2", 204),
        ("PUT", "/map?k=a", &[b'x'; 5000], 204),
        ("PUT", "/map?k=a", &[b'x'; MIB + 1], 413),
    ] {
        let mut client = node.client();
        let answer = client.request(method, target, &[("Connection", "close")], body);
        assert_eq!((answer.status, answer.header("Connection")), (status, Some("close")));
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn what_is_announced_with_expect_is_asked_for_and_then_stored() {
    let node = Node::alone(&[]);
    for length in [1, 100, KIB, KIB + 1, 100 * KIB, MIB] {
        let mut client = node.client();
        client.send(format!(
            "PUT /map?k={length} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        ));
        let interim = client.answer();
        assert!(interim.head.starts_with("HTTP/1.1 100 "), "{interim:?}");
        assert_eq!(client.send(vec![b'x'; length]).answer().status, 201);
        assert_eq!(
            client.get(&format!("/map?k={length}")).body.len(),
            1 + length.to_string().len() + length + 1
        );
    }
    let mut client = node.client();
    client.send(
        "PUT /map?k=chunked HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.send("3\r\nabc\r\n0\r\n\r\n").answer().status, 201);
    assert_eq!(node.read("chunked"), "abc");
}

#[test]
fn what_is_announced_with_expect_and_not_wanted_is_refused_before_it_is_sent() {
    let node = Node::alone(&[]);
    for (target, length, status) in [
        ("/map?k=a", MIB + 1, 413),
        ("/map?k=a", 10 * MIB, 413),
        ("/map?k=a", 10_000_000_000, 413),
        ("/map", 10, 422),
        ("/map", 10_000, 422),
        ("/map?k=%zz", MIB, 400),
        ("/nowhere", MIB, 404),
    ] {
        let mut client = node.client();
        client.send(format!(
            "PUT {target} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        ));
        let began = Instant::now();
        let mut answer = client.answer();
        if length > 16 * MIB && answer.status == 100 {
            // The one interim answer that tiny_http can be made to give and be left by.
            answer = client.answer();
        }
        assert_eq!(answer.status, status, "{target} {length}: {answer:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(answer.text().lines().count(), 1);
    }
    assert_eq!(node.count("keys"), 0);
    assert_serves(&node);
}

#[test]
fn chunked_bodies_are_put_together() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let mut put = |key: &str, body: &[u8]| {
        client.send(format!("PUT /map?k={key} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"));
        client.send(body).answer().status
    };
    let value: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let bytes: Vec<u8> =
        value.iter().flat_map(|&byte| [b'1', b'\r', b'\n', byte, b'\r', b'\n']).collect();
    assert_eq!(put("bytes", &[&bytes[..], b"0\r\n\r\n"].concat()), 201);
    let big = [&b"f0000\r\n"[..], &value.repeat(400)[..0xf0000], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(put("big", &big), 201);
    assert_eq!(put("extension", b"3;name=value\r\nabc\r\n0;last\r\n\r\n"), 201);
    assert_eq!(put("upper", b"A\r\n0123456789\r\n00A\r\n0123456789\r\n0\r\n\r\n"), 201);
    assert_eq!(put("empty", b"0\r\n\r\n"), 201);
    assert_eq!(put("looks", b"7\r\n0\r\n\r\nab\r\n0\r\n\r\n"), 201);
    assert_eq!(put("cut", &[&b"100000\r\n"[..], &vec![b'x'; MIB], b"\r\n0\r\n\r\n"].concat()), 201);
    assert_eq!(
        put("over", &[&b"100001\r\n"[..], &vec![b'x'; MIB + 1], b"\r\n0\r\n\r\n"].concat()),
        413
    );
    assert_eq!(node.get("bytes").as_ref(), Some(&value));
    assert_eq!(node.get("big").as_deref(), Some(&value.repeat(400)[..0xf0000]));
    assert_eq!(node.read("extension"), "abc");
    assert_eq!(node.read("upper"), "01234567890123456789");
    assert_eq!(node.get("empty"), Some(Vec::new()));
    assert_eq!(node.read("looks"), "0\r\n\r\nab");
    assert_eq!(node.get("cut").map(|value| value.len()), Some(MIB));
    assert_eq!(node.get("over"), None);
    // The hex digits of the encoding's name don't matter, nor do its letters' cases.
    client
        .send("PUT /map?k=case HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 201);
    assert_eq!(node.read("case"), "ok");
}

#[test]
fn a_client_that_asks_for_an_upgrade_gets_its_answer_and_no_upgrade() {
    // Java's HttpClient and `curl --http2` send these headers with each first request.
    let node = Node::alone(&[]);
    node.write("old", "value");
    let upgrade =
        [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AA")];
    for length in [0, 1, 100, KIB, KIB + 1, 100 * KIB] {
        let mut client = node.client();
        let put =
            client.request("PUT", &format!("/map?k=k{length}"), &upgrade, &vec![b'x'; length]);
        assert_eq!(put.status, 201, "{length}: {put:?}");
        assert_eq!(node.get(&format!("k{length}")), Some(vec![b'x'; length]), "{length}");
        let get = node.client().request("GET", "/map?k=old", &upgrade, &[]);
        assert_eq!(get.body, b"old=value\n");
    }
    // With so many of them every worker would be stuck, were it kept by one.
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = node.client();
        client.send(
            "PUT /map?k=old HTTP/1.1\r\nConnection: Upgrade\r\nContent-Length: 10\r\n\r\nhalf",
        );
        waiting.push(client);
    }
    assert_serves(&node);
    for client in &mut waiting {
        assert_eq!(client.send(" there").answer().status, 204);
    }
    assert_eq!(node.read("old"), "half there");
}

// The other pages.

#[test]
fn stats_has_the_names_of_k8s_gossipcar_first_and_counts_right() {
    let node = Node::alone(&[("MY_POD_NAME", "pod-7"), ("CLUSTER", "shop")]);
    let mut client = node.client();
    let before = node.stats();
    for _ in 0..5 {
        client.put("/map?k=a", b"1");
        client.get("/map?k=a");
        client.get("/map?k=absent");
    }
    client.get("/nowhere");
    client.request("PATCH", "/map?k=a", &[], &[]);
    client.request("HEAD", "/map?k=a", &[], &[]);
    client.get("/readyz");
    let answer = client.get("/stats");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=UTF-8"));
    let text = answer.text();
    let names: Vec<&str> =
        text.lines().map(|line| line.split('=').next().unwrap_or_default()).collect();
    assert_eq!(
        names[..6],
        ["upTimeSecs", "upSince", "nOutSyncs", "nInSyncs", "nBadHttpReqs", "nGoodHttpReqs"]
    );
    let now = node.stats();
    let grown =
        |name: &str| now[name].parse::<u64>().unwrap() - before[name].parse::<u64>().unwrap();
    assert_eq!(grown("nBadHttpReqs"), 7);
    // Both looks at /stats are among them, each counted after it was written.
    assert_eq!(grown("nGoodHttpReqs"), 12 + 2);
    // Local date and time without a zone, in k8s-gossipcar's format: 2018-05-05T12:00:00.123
    let since = now["upSince"].as_bytes();
    assert!(since.len() == 23 && since[10] == b'T' && since[19] == b'.', "{}", now["upSince"]);
    assert!(now["upTimeSecs"].parse::<u64>().unwrap() < 60);
    assert_eq!((now["pod"].as_str(), now["cluster"].as_str()), ("pod-7", "shop"));
    assert_eq!((now["keys"].as_str(), now["storeBytes"].as_str()), ("1", "98"));
    assert_eq!((now["panics"].as_str(), now["ready"].as_str()), ("0", "1"));
}

#[test]
fn healthz_and_readyz_say_how_it_is() {
    let places = Cluster::places(2);
    let first = places.start(0, &[("READY_TIMEOUT", "1h"), ("SYNC_INTERVAL", "50ms")]);
    let mut client = first.client();
    assert_eq!(client.get("/healthz").text(), "ok\n");
    let unready = client.get("/readyz");
    assert_refused(&unready, 503);
    assert!(unready.text().contains("no exchange with a peer"), "{unready:?}");
    // It can be read and written meanwhile.
    assert_eq!(client.put("/map?k=a", b"1").status, 201);
    let second = places.start(1, &[("SYNC_INTERVAL", "50ms")]);
    first.wait_until_ready();
    assert_eq!(client.get("/readyz").text(), "ready\n");
    second.wait_until_ready();
    assert_eq!(second.read("a"), "1");
}

#[test]
fn ready_without_any_peer_once_the_time_is_up() {
    let node = Cluster::places(2).start(0, &[("READY_TIMEOUT", "300ms")]);
    node.wait_until_ready();
    assert!(node.count("upSecs") < 10);
    assert_eq!(node.count("nOutSyncs"), 0);
}

/// Why a text is not in Prometheus's text format, if it is not.
fn check_prometheus(text: &str) -> Result<usize, String> {
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
        !name.is_empty() && name.bytes().all(allowed) && !name.as_bytes()[0].is_ascii_digit()
    };
    let mut seen = Vec::new();
    if !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    let mut lines = text.lines();
    while let Some(help) = lines.next() {
        let wrong = |what: &str| Err(format!("{what}: {help:?}"));
        let Some((name, text)) = help.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        else {
            return wrong("not a HELP line");
        };
        if !is_name(name) || text.is_empty() || seen.contains(&name) {
            return wrong("a bad name, a name that comes twice, or no text");
        }
        seen.push(name);
        let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
        if !kind.is_some_and(|kind| ["counter", "gauge"].contains(&kind)) {
            return wrong("no TYPE line follows");
        }
        if (kind == Some("counter")) != name.ends_with("_total") {
            return wrong("counters end in _total, and only they do");
        }
        let value = lines.next().and_then(|line| line.strip_prefix(&format!("{name} ")));
        if value.is_none_or(|value| value.parse::<f64>().is_err()) {
            return wrong("no value follows");
        }
    }
    Ok(seen.len())
}

#[test]
fn metrics_are_in_the_format_of_prometheus() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    let answer = node.request("GET", "/metrics", &[]);
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    assert!(check_prometheus(&text).unwrap() > 20);
    assert!(text.contains("\ngossip_sidecar_keys 1\n"), "{text}");
    assert!(text.contains("\ngossip_sidecar_http_requests_good_total "), "{text}");
    let good = "# HELP a_total text\n# TYPE a_total counter\na_total 1\n";
    assert_eq!(check_prometheus(good), Ok(1));
    for bad in [
        "a_total 1\n",
        "# HELP a_total text\n# TYPE a_total counter\na_total x\n",
        "# HELP a_total text\n# TYPE a_total gauge\na_total 1\n",
        "# HELP a text\n# TYPE a counter\na 1\n",
        "# HELP a-b_total text\n# TYPE a-b_total counter\na-b_total 1\n",
        "# HELP a_total text\n# TYPE b_total counter\na_total 1\n",
        "# HELP a_total text\n# TYPE a_total counter\na_total 1",
        &good.repeat(2),
    ] {
        assert!(check_prometheus(bad).is_err(), "{bad:?}");
    }
}
