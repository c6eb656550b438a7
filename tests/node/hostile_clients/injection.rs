//! Requests that try to inject something into a response.

use crate::support::{Node, assert_healthy, assert_serves, map_target};
use std::net::Shutdown;

#[test]
fn nothing_from_a_request_is_echoed_into_a_header() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let known =
        ["Date", "Content-Type", "Content-Length", "Allow", "Connection", "ETag", "Last-Modified"];
    let evil = "%0d%0aEvil:%20yes%0d%0a%0d%0aEVIL";
    let mut responses = Vec::new();
    for target in [
        format!("/map?k={evil}"),
        format!("/map?{evil}=1&k={evil}"),
        format!("/map{evil}"),
        format!("/{evil}?k=a"),
        format!("/map?k=%zz{evil}"),
        format!("/map?k={}{evil}", "k".repeat(1025)),
    ] {
        for method in ["PUT", "GET", "HEAD", "DELETE", "EVIL", "G%0d%0aEvil:yes"] {
            let headers = [("Evil", "EVIL"), ("X", "%0d%0aEvil: yes"), ("Accept", "evil/evil")];
            responses.push(client.request(method, &target, &headers, &[]));
        }
    }
    for response in responses {
        assert!(!response.head.to_lowercase().contains("evil"), "{response:?}");
        for line in response.head.lines().skip(1) {
            let name = line.split(':').next().unwrap_or_default();
            assert!(known.contains(&name), "{response:?}");
        }
    }
    assert_healthy(&node);
}

#[test]
fn raw_control_bytes_in_a_request_inject_nothing_into_a_response() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    for trick in [
        "\r\nEvil: yes",
        "\nEvil: yes",
        "\rEvil: yes",
        "\0Evil: yes",
        "\r\n Evil: yes",
        "\r\n\tEvil: yes\r\n\r",
        "\u{b}Evil\u{c}",
        "\u{85}Evil\u{2028}",
    ] {
        for request in [
            format!("GET /map?k=a HTTP/1.1\r\nX{trick}: y\r\n\r\n"),
            format!("GET /map?k=a HTTP/1.1\r\nX: y{trick}\r\n\r\n"),
            format!("GET /map?k=absent{trick} HTTP/1.1\r\nX: y\r\n\r\n"),
            format!("GET{trick} /map?k=a HTTP/1.1\r\nX: y\r\n\r\n"),
            format!("GET /map?k=a HTTP/1.1{trick}\r\nX: y\r\n\r\n"),
            format!("PUT /map?k=b HTTP/1.1\r\nContent-Length: 1{trick}\r\n\r\n2"),
            format!("PUT /map?k=b HTTP/1.1\r\nTransfer-Encoding: chunked{trick}\r\n\r\n0\r\n\r\n"),
        ] {
            let mut client = node.client();
            client.send(&request);
            let _ = client.stream.shutdown(Shutdown::Write);
            let rest = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 "), "{request:?}: {rest:?}");
            assert!(!rest.to_lowercase().contains("evil"), "{request:?}: {rest:?}");
        }
    }
    assert_healthy(&node);
}

#[test]
fn control_bytes_in_a_key_stay_in_the_body() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    for bytes in ["\r\n", "\n", "\r", "\0", "\r\n\r\n", "\u{85}", "\u{2028}"] {
        let key = format!("{bytes}Evil: yes{bytes}");
        let target = map_target(&[&key]);
        let put = client.put(&target, key.as_bytes());
        let get = client.get(&target);
        assert_eq!((put.status, get.status), (201, 200), "{bytes:?}");
        for response in [&put, &get] {
            assert!(!response.head.contains("Evil"), "{response:?}");
            assert!(!response.head.replace("\r\n", "").contains(char::is_control), "{response:?}");
        }
        assert_eq!(get.body, format!("{key}={key}\n").as_bytes());
    }
    assert_healthy(&node);
}

#[test]
fn malformed_requests_are_refused_and_block_nobody() {
    let node = Node::alone(&[]);
    for bytes in [
        &b"\r\n\r\n"[..],
        b"hello\r\n\r\n",
        b"GET /map?k=a\r\n\r\n",
        b"GET /map?k=a HTTP/9.9\r\n\r\n",
        b"GET  /map?k=a HTTP/1.1\r\n\r\n",
        b"GET /map?k=a HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /map?k=a HTTP/1.1\r\nExpect: the unexpected\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"GET /map?k=\xff\xfe HTTP/1.1\r\n\r\n",
        b"hello 1 default 00000001 019abcdef012 0 0000000000000000\n\n",
    ] {
        let mut client = node.client();
        client.send(bytes);
        client.stream.shutdown(Shutdown::Write).unwrap();
        let rest = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest:?}");
        assert_serves(&node);
    }
}
