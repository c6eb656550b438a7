//! Methods and paths: `HEAD`, unsupported methods and unknown paths.

use super::without_date;
use crate::support::{Node, assert_refused};

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
    // If any of the responses before had a body, this one would begin with it.
    assert_eq!(client.get("/map?k=a").body, b"a=value\n");
}

#[test]
fn other_methods_get_405_with_allow() {
    let node = Node::alone(&[]);
    node.write("a", "value");
    let mut client = node.client();
    let others = ["PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND", "X-Y"];
    for method in others {
        for body in [&b""[..], b"some body", &[b'x'; 5000]] {
            let response = client.request(method, "/map?k=a", &[], body);
            assert_refused(&response, 405);
            assert_eq!(response.header("Allow"), Some("GET, HEAD, PUT, POST, DELETE"));
            let response = client.request(method, "/map/a", &[], body);
            assert_refused(&response, 405);
            assert_eq!(response.header("Allow"), Some("GET, HEAD, PUT, DELETE"));
        }
    }
    for target in ["/keys", "/peers", "/stats", "/metrics", "/healthz", "/readyz"] {
        for method in others.into_iter().chain(["PUT", "POST", "DELETE"]) {
            let response = client.request(method, target, &[], &[]);
            assert_refused(&response, 405);
            assert_eq!(response.header("Allow"), Some("GET, HEAD"));
        }
    }
    assert_eq!(client.get("/map?k=a").body, b"a=value\n");
}

#[test]
fn an_unknown_path_gets_404() {
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
