//! Writes that wait until other nodes have them.

use crate::support::{Cluster, assert_refused};
use std::time::{Duration, Instant};

#[test]
fn a_write_with_replicas_is_acknowledged_once_that_many_others_have_it() {
    // An interval so long that the timer does not spread the writes.
    let mut cluster = Cluster::start(4, &[("SYNC_INTERVAL", "30s")]);
    for wanted in 1..=3 {
        let target = format!("/map?k=key{wanted}&replicas={wanted}&wait=20s");
        assert_eq!(cluster.nodes[0].request("PUT", &target, b"v").status, 201);
        let key = format!("key{wanted}");
        let others = cluster.nodes[1..].iter().filter(|node| node.get(&key).is_some()).count();
        assert!(others >= wanted, "{others} of {wanted}");
    }
    // A body that is read in a blocking way, a form, and a deletion.
    let node = &cluster.nodes[0];
    assert_eq!(node.request("PUT", "/map/key1?replicas=3", &[b'x'; 5000]).status, 204);
    assert!(
        cluster.nodes[1..].iter().all(|node| node.get("key1").is_some_and(|v| v.len() == 5000))
    );
    assert_eq!(node.request("POST", "/map?replicas=3", b"a=1&b=2").status, 204);
    assert!(cluster.nodes[1..].iter().all(|node| node.read("b") == "2"));
    assert_eq!(node.request("DELETE", "/map/b?replicas=3", &[]).status, 204);
    assert!(cluster.nodes[1..].iter().all(|node| node.get("b").is_none()));

    cluster.nodes[3].kill();
    let began = Instant::now();
    let response = cluster.nodes[0].request("PUT", "/map?k=late&replicas=3&wait=700ms", b"v");
    assert_refused(&response, 504);
    assert!(response.text().starts_with("2 of 3 "), "{response:?}");
    assert!(began.elapsed() >= Duration::from_millis(700));
    assert_eq!(cluster.nodes[0].read("late"), "v", "the value is written all the same");
    for query in ["replicas=0", "replicas=1001", "replicas=x", "wait=1s", "replicas=1&wait=61s"] {
        let response = cluster.nodes[0].request("PUT", &format!("/map?k=x&{query}"), b"v");
        assert_refused(&response, 422);
    }
}
