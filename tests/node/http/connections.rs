//! Connections: keep-alive, pipelining, closing and upgrades.

use crate::support::{KIB, MIB, Node, assert_serves};

#[test]
fn a_connection_serves_a_hundred_requests() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    for index in 0..100 {
        let response = client.put("/map?k=a", index.to_string().as_bytes());
        assert!(response.status < 300 && response.header("Connection").is_none(), "{response:?}");
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
            assert_eq!(client.response().text(), format!("k{index}=value {index}\n"));
        }
    }
}

#[test]
fn an_http_1_0_connection_is_closed_unless_keep_alive_is_requested() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    let mut client = node.client();
    assert_eq!(client.send("GET /map?k=a HTTP/1.0\r\n\r\n").response().body, b"a=1\n");
    assert_eq!(client.rest(), b"");
    let mut client = node.client();
    for _ in 0..3 {
        client.send("GET /map?k=a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.response().body, b"a=1\n");
    }
    client.send("PUT /map?k=a HTTP/1.0\r\nContent-Length: 3\r\n\r\nnew");
    assert_eq!(client.response().status, 204);
    assert_eq!(client.rest(), b"");
    assert_eq!(node.read("a"), "new");
}

#[test]
fn connection_close_is_confirmed_and_honoured() {
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
        let response = client.request(method, target, &[("Connection", "close")], body);
        assert_eq!((response.status, response.header("Connection")), (status, Some("close")));
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn a_request_for_an_upgrade_gets_a_plain_response() {
    // Java's HttpClient and `curl --http2` send these headers with their first request.
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
    // If each of these kept a worker, all workers would be busy.
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
        assert_eq!(client.send(" there").response().status, 204);
    }
    assert_eq!(node.read("old"), "half there");
}
