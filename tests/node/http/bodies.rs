//! Bodies: chunked ones, and those announced with `Expect`.

use crate::support::{KIB, MIB, Node, assert_serves};
use std::time::{Duration, Instant};

#[test]
fn chunked_bodies_are_reassembled() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let mut put = |key: &str, body: &[u8]| {
        client.send(format!("PUT /map?k={key} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"));
        client.send(body).response().status
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
    // Neither the header's name nor the coding's is case-sensitive.
    client
        .send("PUT /map?k=case HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 201);
    assert_eq!(node.read("case"), "ok");
}

#[test]
fn expect_100_continue_is_answered_and_the_body_is_stored() {
    let node = Node::alone(&[]);
    for length in [1, 100, KIB, KIB + 1, 100 * KIB, MIB] {
        let mut client = node.client();
        client.send(format!(
            "PUT /map?k={length} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        ));
        let interim = client.response();
        assert!(interim.head.starts_with("HTTP/1.1 100 "), "{interim:?}");
        assert_eq!(client.send(vec![b'x'; length]).response().status, 201);
        assert_eq!(
            client.get(&format!("/map?k={length}")).body.len(),
            1 + length.to_string().len() + length + 1
        );
    }
    let mut client = node.client();
    client.send(
        "PUT /map?k=chunked HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(client.response().status, 100);
    assert_eq!(client.send("3\r\nabc\r\n0\r\n\r\n").response().status, 201);
    assert_eq!(node.read("chunked"), "abc");
}

#[test]
fn an_unacceptable_body_announced_with_expect_is_refused_before_it_is_sent() {
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
        let mut response = client.response();
        if length > 16 * MIB && response.status == 100 {
            // tiny_http cannot be kept from sending this interim response.
            response = client.response();
        }
        assert_eq!(response.status, status, "{target} {length}: {response:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(response.text().lines().count(), 1);
    }
    assert_eq!(node.count("keys"), 0);
    assert_serves(&node);
}
