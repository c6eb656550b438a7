//! Values with a TTL.

use crate::support::{Cluster, Node, RESPONSE_LIMIT, assert_refused, eventually, same};
use std::time::{Duration, Instant};

#[test]
fn a_value_with_a_ttl_expires_on_all_nodes() {
    let cluster = Cluster::start(3, &[("SYNC_INTERVAL", "50ms")]);
    let [first, second, third] = &cluster.nodes[..] else { panic!("three nodes") };
    let began = Instant::now();
    assert_eq!(first.request("PUT", "/map?k=short&ttl=1500ms", b"v").status, 201);
    assert_eq!(first.request("PUT", "/map/long?ttl=1h", b"v").status, 201);
    cluster.wait_for(RESPONSE_LIMIT, "short", "v");
    let get = third.client().get("/map?k=short");
    let ttl = get.header("Ttl").and_then(|ttl| ttl.strip_suffix("ms")?.parse::<u64>().ok());
    assert!(ttl.is_some_and(|ms| ms <= 1500), "{get:?}");
    eventually(RESPONSE_LIMIT, "it has expired", || same(second.get("short"), None));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1400), "expired too soon: {took:?}");
    assert!(took < Duration::from_secs(4), "expired too late: {took:?}");
    eventually(RESPONSE_LIMIT, "it has expired everywhere", || {
        same((first.get("short"), third.get("short")), (None, None))
    });
    // Expiry changes no digest, so no exchange was needed.
    eventually(RESPONSE_LIMIT, "it is counted as a tombstone everywhere", || {
        same(cluster.wait_for_agreement(RESPONSE_LIMIT).1, 1)
    });
    assert_eq!(first.put("short", "again").status, 201, "it is new");
    assert_eq!(first.client().get("/map?k=short").header("Ttl"), None, "and does not expire");
    for ttl in ["0s", "0", "1", "soon", "-1s", "400days", ""] {
        let target = format!("/map?k=x&ttl={ttl}");
        assert_refused(&first.request("PUT", &target, b"v"), 422);
    }
    assert_refused(&first.request("PUT", "/map?k=x&ttl=1s&ttl=1s", b"v"), 422);
}

#[test]
fn put_and_delete_treat_an_expired_value_as_absent() {
    let node = Node::alone(&[]);
    assert_eq!(node.request("PUT", "/map/a?ttl=20ms", b"v").status, 201);
    eventually(RESPONSE_LIMIT, "it has expired", || same(node.get("a"), None));
    assert_eq!(node.request("DELETE", "/map/a", &[]).status, 404);
    assert_eq!(node.request("PUT", "/map/a?ttl=1h", b"v").status, 201);
    assert_eq!(node.request("PUT", "/map/a?ttl=1h", b"v").status, 204);
}
