//! Deletion.

use crate::support::{Cluster, Node, RESPONSE_LIMIT, assert_refused, map_target};

#[test]
fn a_delete_returns_204_if_any_key_existed_and_404_otherwise() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    for key in ["a", "b", "c d"] {
        node.write(key, "1");
    }
    let mut delete = |target: &str| client.request("DELETE", target, &[], &[]).status;
    assert_eq!(delete("/map?k=a"), 204);
    assert_eq!(delete("/map?k=a"), 404);
    assert_eq!(delete("/map?k=a&k=b&k=absent"), 204);
    assert_eq!(delete("/map/c%20d"), 204);
    assert_eq!(delete("/map/c%20d"), 404);
    for target in ["/map", "/map?", "/map?x=1", "/map?k=a&x=1", "/map/a?x=1"] {
        assert_eq!(delete(target), 422, "{target}");
    }
    assert_eq!((node.count("keys"), node.count("tombstones")), (0, 3));
    assert_eq!(node.put("a", "2").status, 201, "a deleted key is new again");
}

#[test]
fn a_delete_with_a_body_is_refused() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    for length in [1, 5000] {
        let response = node.client().request("DELETE", "/map?k=a", &[], &vec![b'x'; length]);
        assert_refused(&response, 400);
    }
    assert_eq!(node.read("a"), "1");
}

#[test]
fn a_delete_reaches_every_node_and_nothing_is_resurrected() {
    let mut cluster = Cluster::start(3, &[("SYNC_INTERVAL", "50ms")]);
    for index in 0..20 {
        cluster.nodes[index % 3].write(&format!("key {index}"), "value");
    }
    cluster.wait_for_agreement(RESPONSE_LIMIT);
    // One of them misses the deletions.
    cluster.nodes[2].signal("STOP");
    for index in 0..20 {
        let target = map_target(&[&format!("key {index}")]);
        assert_eq!(cluster.nodes[0].request("DELETE", &target, &[]).status, 204);
    }
    cluster.nodes[2].signal("CONT");
    let (_, keys) = cluster.wait_for_agreement(RESPONSE_LIMIT);
    assert_eq!(keys, 0);
    cluster.nodes[1].kill();
    cluster.nodes[1].start_again(&[]);
    cluster.nodes[1].wait_until_ready();
    assert_eq!(cluster.wait_for_agreement(RESPONSE_LIMIT).1, 0);
}
