//! Deletion.

use super::etag;
use crate::peer_port::{replicate, version};
use crate::support::{
    Cluster, KIB, Node, RESPONSE_LIMIT, assert_refused, encode, eventually, map_target, same,
};
use gossip_sidecar::{END_OF_TIME_MS, Version};

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
fn a_key_with_the_last_possible_version_cannot_be_deleted_and_says_so() {
    let node = Node::alone(&[]);
    let last = Version::new(END_OF_TIME_MS - 1, u16::MAX, 7).to_string();
    replicate(&node, &last, "last", "stays");
    node.write("other", "value");
    let before = node.stats()["digest"].clone();
    let mut client = node.client();
    for target in ["/map/last", "/map?k=last", "/map?k=other&k=last", "/map?k=last&replicas=1"] {
        assert_refused(&client.request("DELETE", target, &[], &[]), 507);
    }
    assert_refused(&client.put("/map/last", b"new"), 507);
    assert_refused(&client.request("POST", "/map", &[], b"new=1&last=2&other=3"), 507);
    assert_eq!(node.stats()["digest"], before, "nothing has changed");
    assert_eq!((node.read("last").as_str(), node.read("other").as_str()), ("stays", "value"));
    assert_eq!(client.request("DELETE", "/map/other", &[], &[]).status, 204);
}

#[test]
fn a_replicated_key_longer_than_clients_can_write_is_read_listed_and_deleted_like_any_other() {
    let node = Node::alone(&[("MAX_KEY_BYTES", "10")]);
    let mut client = node.client();
    // The longest that the protocol has takes three times as many bytes in a URL.
    for key in ["elevenbytes", &"k".repeat(2000), &"é".repeat(32 * KIB)] {
        replicate(&node, &version(), key, "value");
        let encoded = encode(key.as_bytes());
        for target in [format!("/map/{encoded}"), format!("/map?k={encoded}")] {
            assert!(client.get(&target).text().trim_end().ends_with("value"));
            let head = client.request("HEAD", &target, &[], &[]);
            assert_eq!(head.status, 200);
            let known = [("If-None-Match", &*etag(&head))];
            let waiting =
                format!("{target}{}wait=50ms", if target.contains('?') { '&' } else { '?' });
            assert_eq!(client.request("GET", &waiting, &known, &[]).status, 304);
            assert_refused(&client.put(&target, b"new"), 400);
        }
        assert_refused(
            &client.request("POST", "/map", &[], format!("{encoded}=v").as_bytes()),
            400,
        );
        let page = client.get(&format!("/keys?prefix={encoded}"));
        assert_eq!(page.text().lines().count(), 1);
        let rest = client.get(&format!("/keys?after={encoded}"));
        assert_eq!((rest.status, rest.text().as_str()), (200, ""));
        let waiting = [("If-None-Match", &*etag(&page))];
        let listed =
            client.request("GET", &format!("/keys?prefix={encoded}&wait=50ms"), &waiting, &[]);
        assert_eq!(listed.status, 304);
        assert_eq!(client.request("DELETE", &format!("/map?k={encoded}"), &[], &[]).status, 204);
        assert_refused(&client.get(&format!("/map/{encoded}")), 404);
    }
    // No node has a key that is longer still.
    let longer = "k".repeat(64 * KIB + 1);
    for target in ["/map?k=", "/map/", "/keys?prefix=", "/keys?after="] {
        assert_refused(&client.get(&format!("{target}{longer}")), 400);
    }
    assert_refused(&client.request("DELETE", &format!("/map/{longer}"), &[], &[]), 400);
}

#[test]
fn a_blocking_query_waits_for_a_key_longer_than_clients_can_write() {
    let node = Node::alone(&[("MAX_KEY_BYTES", "10")]);
    let key = "k".repeat(2000);
    std::thread::scope(|scope| {
        let query = scope.spawn(|| node.client().get(&format!("/map/{key}?wait=10s")));
        eventually(RESPONSE_LIMIT, "it blocks", || same(node.count("blockedRequests"), 1));
        replicate(&node, &version(), &key, "here");
        assert_eq!(query.join().expect("it does not panic").body, b"here");
    });
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
