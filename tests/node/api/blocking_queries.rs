//! Blocking queries: requests with `wait=` return when what they watch changes.

use super::etag;
use crate::support::{
    Client, Cluster, Node, RESPONSE_LIMIT, allow_thousands_of_connections, assert_refused,
    assert_serves, eventually, request_bytes, same,
};
use std::time::{Duration, Instant};

const NO_HEADERS: [(&str, &str); 0] = [];

/// Sends a request that blocks, and returns the client that will get its response.
fn blocking_query(node: &Node, target: &str, known: Option<&str>) -> Client {
    let mut client = node.client();
    let headers: Vec<(&str, &str)> = known.map(|tag| ("If-None-Match", tag)).into_iter().collect();
    let before = node.count("blockedRequests");
    client.send(request_bytes("GET", target, &headers, &[]));
    eventually(RESPONSE_LIMIT, "it blocks", || same(node.count("blockedRequests"), before + 1));
    client
}

#[test]
fn a_blocking_query_returns_when_the_key_changes_on_any_node() {
    let cluster = Cluster::start(2, &[("SYNC_INTERVAL", "50ms")]);
    let [near, far] = &cluster.nodes[..] else { panic!("two nodes") };
    near.write("k", "1");
    near.write("other", "1");
    cluster.wait_for(RESPONSE_LIMIT, "k", "1");
    let known = etag(&near.client().get("/map/k"));
    // Returns at once if the version differs, or if none is given.
    assert_eq!(near.client().get("/map/k?wait=30s").status, 200);
    let differs = [("If-None-Match", "\"0000\"")];
    assert_eq!(near.client().request("GET", "/map?k=k&wait=30s", &differs, &[]).body, b"k=1\n");

    let mut by_path = blocking_query(near, "/map/k?wait=30s", Some(&known));
    let mut by_query = blocking_query(near, "/map?k=k&wait=30s", Some(&known));
    let mut for_other =
        blocking_query(near, "/map/other?wait=30s", Some(&etag(&near.client().get("/map/other"))));
    let mut for_new = blocking_query(near, "/map/new?wait=30s", None);
    far.write("k", "2");
    assert_eq!(by_path.response().body, b"2");
    assert_eq!(by_query.response().body, b"k=2\n");
    far.write("new", "born");
    assert_eq!(for_new.response().body, b"born");
    // The query for the other key still blocks.
    assert_eq!(near.count("blockedRequests"), 1);
    assert_eq!(far.request("DELETE", "/map/other", &[]).status, 204);
    assert_eq!(for_other.response().status, 404);
    // The connection can be used further.
    assert_eq!(by_path.get("/map/k").body, b"2");
}

#[test]
fn a_blocking_query_returns_when_the_value_expires_and_when_its_wait_is_over() {
    let node = Node::alone(&[]);
    let put = node.request("PUT", "/map/short?ttl=800ms", b"v");
    let mut expiring = blocking_query(&node, "/map/short?wait=30s", Some(&etag(&put)));
    let began = Instant::now();
    assert_eq!(expiring.response().status, 404);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    let put = node.request("PUT", "/map/k", b"v");
    let began = Instant::now();
    let mut unchanged = blocking_query(&node, "/map/k?wait=300ms", Some(&etag(&put)));
    let mut absent = blocking_query(&node, "/map/absent?wait=300ms", None);
    assert_eq!(etag(&unchanged.response()), etag(&put));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(absent.response().status, 404);
    assert_eq!(unchanged.get("/map/k").body, b"v");
    for wait in ["61s", "soon", "-1s", ""] {
        assert_refused(&node.client().get(&format!("/map/k?wait={wait}")), 422);
    }
    assert_refused(&node.client().get("/map?k=a&k=b&wait=1s"), 422);
}

#[test]
fn a_blocking_query_for_a_prefix_returns_when_any_of_its_keys_changes() {
    let node = Node::alone(&[]);
    node.write("a/1", "v");
    let known = etag(&node.client().get("/keys?prefix=a/"));
    let mut value = blocking_query(&node, "/keys?prefix=a/&wait=30s", Some(&known));
    node.write("b", "v");
    assert_eq!(node.count("blockedRequests"), 1, "another prefix");
    node.write("a/1", "w");
    let response = value.response();
    assert_eq!(response.text(), "a%2F1\n");
    let known = etag(&response);
    let mut page = blocking_query(&node, "/keys?prefix=a/&limit=1&wait=30s", Some(&known));
    node.write("a/2", "v");
    let response = page.response();
    assert_eq!((response.text().as_str(), response.header("Has-More")), ("a%2F1\n", Some("true")));
    let known = etag(&response);
    let mut emptied = blocking_query(&node, "/keys?prefix=a/&wait=30s", Some(&known));
    assert_eq!(node.request("DELETE", "/map?k=a/1&k=a/2", &[]).status, 204);
    assert!(["", "a%2F2\n"].contains(&emptied.response().text().as_str()));
}

#[test]
fn five_hundred_blocking_queries_take_little_memory_and_block_nobody() {
    // tiny_http needs two descriptors for each connection.
    let node = Node::alone_after(Some("ulimit -n 4096"), &[]);
    allow_thousands_of_connections();
    let put = node.request("PUT", "/map/k", b"1");
    let before_kib = node.resident_kib();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..512 {
        let mut client = node.client();
        let known = etag(&put);
        client.send(request_bytes("GET", "/map/k?wait=60s", &[("If-None-Match", &known)], &[]));
        clients.push(client);
    }
    eventually(Duration::from_secs(30), "all of them block", || {
        same(node.count("blockedRequests"), 512)
    });
    let grown_kib = node.resident_kib().saturating_sub(before_kib);
    println!("512 blocking queries take {grown_kib} KiB");
    assert!(grown_kib < 24 * 1024, "{grown_kib} KiB");
    assert_serves(&node);
    let known = [("If-None-Match", etag(&put))];
    let known = known.each_ref().map(|(name, tag)| (*name, tag.as_str()));
    assert_refused(&node.client().request("GET", "/map/k?wait=60s", &known, &[]), 503);
    // Clients that have hung up return their permits once others need them.
    clients.truncate(500);
    let mut late = node.client();
    late.send(request_bytes("GET", "/map/k?wait=60s", &known, &[]));
    eventually(RESPONSE_LIMIT, "there is room again", || same(node.count("blockedRequests"), 501));
    node.write("k", "2");
    for client in clients.iter_mut().chain([&mut late]) {
        assert_eq!(client.response().body, b"2");
    }
    assert_eq!(node.count("blockedRequests"), 0);
}

#[test]
fn requests_pipelined_behind_a_blocking_query_block_nobody_else() {
    let node = Node::alone(&[]);
    let put = node.request("PUT", "/map/k", b"1");
    let mut clients: Vec<Client> =
        (0..8).map(|_| blocking_query(&node, "/map/k?wait=30s", Some(&etag(&put)))).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(request_bytes("PUT", &format!("/map/after{index}"), &NO_HEADERS, b"v"));
        client.send(request_bytes("GET", &format!("/map/after{index}"), &NO_HEADERS, b""));
    }
    assert_serves(&node);
    assert_eq!(node.get("after0"), None, "the request before it is not answered yet");
    node.write("k", "2");
    for client in &mut clients {
        assert_eq!(client.response().body, b"2");
        assert_eq!(client.response().status, 201);
        assert_eq!(client.response().body, b"v");
    }
}
