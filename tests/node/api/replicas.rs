//! Writes that wait until other nodes have them.

use crate::support::{Cluster, RESPONSE_LIMIT, assert_refused, eventually, same};
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

#[test]
fn a_node_that_drains_does_not_count_as_a_replica() {
    // The second one goes on draining, since the third is listed and does not run.
    let addresses = Cluster::addresses(3);
    let settings = [("DRAIN_TIMEOUT", "1h"), ("READY_TIMEOUT", "0s")];
    let nodes = [addresses.start(0, &settings), addresses.start(1, &settings)];
    assert_eq!(nodes[0].request("PUT", "/map?k=before&replicas=1", b"v").status, 201);
    nodes[1].signal("TERM");
    eventually(RESPONSE_LIMIT, "it is draining", || same(nodes[1].is_ready(), false));
    let response = nodes[0].request("PUT", "/map?k=late&replicas=1&wait=700ms", b"v");
    assert_refused(&response, 504);
    assert!(response.text().starts_with("0 of 1 "), "{response:?}");
    assert_eq!(nodes[1].read("late"), "v", "it takes the write all the same");
}

#[test]
fn a_killed_replica_and_the_process_that_replaces_it_are_one_replica() {
    let addresses = Cluster::addresses(3);
    let settings = [("READY_TIMEOUT", "0s"), ("SYNC_INTERVAL", "100ms")];
    for replacement in [2, 1] {
        let writer = addresses.start(0, &settings);
        let mut killed = addresses.start(1, &settings);
        // Once it has responded, the writer tries its address again after a second.
        let mut third = addresses.start(2, &settings);
        let both = writer.request("PUT", "/map?k=before&replicas=2&wait=10s", b"v");
        assert_eq!(both.status, 201);
        third.kill();
        let response = std::thread::scope(|scope| {
            let written =
                scope.spawn(|| writer.request("PUT", "/map?k=key&replicas=2&wait=4s", b"v"));
            eventually(RESPONSE_LIMIT, "one has it", || same(killed.read("key"), "v".into()));
            killed.kill();
            let _replacement = addresses.start(replacement, &settings);
            written.join().expect("there is a response")
        });
        assert_refused(&response, 504);
        assert!(response.text().starts_with("1 of 2 "), "{response:?}");
    }
}
