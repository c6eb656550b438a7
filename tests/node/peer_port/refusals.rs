//! Who is served and who is refused: other clusters, other protocols, and the node itself.

use super::{
    REACTION_LIMIT, assert_counted, assert_gossips, clock_ms, connect, hello, node, send_and_read,
};
use crate::support::{Cluster, eventually, same};
use std::io::{Read, Write};

#[test]
fn a_peer_with_an_equal_store_is_answered_in_one_line() {
    let node = node();
    let id = node.stats()["node"].clone();
    // A node that has never had an exchange reports that it is isolated.
    let reply = send_and_read(&node, hello("default", "00000001") + "\n");
    let (remarks, last) = reply.trim_end().rsplit_once('\n').expect("there is more than one line");
    assert!(remarks.lines().any(|line| line == "cut 000000000000"), "{reply:?}");
    let is_done = |line: &str| line.starts_with(&format!("done {id} "));
    assert!(is_done(last), "{last:?}");
    eventually(REACTION_LIMIT, "it has had an exchange", || {
        let reply = send_and_read(&node, hello("default", "00000001") + "\n");
        if is_done(&reply) && reply.lines().count() == 1 { Ok(()) } else { Err(reply) }
    });
    eventually(REACTION_LIMIT, "both are counted", || same(node.count("nInSyncs") >= 2, true));
    assert_gossips(&node, "key");
}

#[test]
fn another_cluster_is_refused_and_nothing_from_it_is_kept() {
    let node = node();
    node.write("ours", "secret");
    let record = format!("put {:012x}0000-00000001 1 1\nkv\n", clock_ms());
    let reply = send_and_read(&node, hello("other", "00000001"));
    assert_eq!(reply, "refuse cluster\n");
    assert_counted(&node, "nRefusedCluster", 1);
    // With everything that would follow sent at once.
    let mut stream = connect(&node);
    let _ = stream.write_all(format!("{}{record}\n", hello("default2", "00000001")).as_bytes());
    let mut reply = String::new();
    // Unread data resets the connection, perhaps before the refusal has been read.
    let _ = stream.read_to_string(&mut reply);
    assert!("refuse cluster\n".starts_with(&reply), "{reply:?}");
    assert_counted(&node, "nRefusedCluster", 2);
    assert_eq!(node.count("keys"), 1);
    node.wait_for_log("another cluster");
    assert_gossips(&node, "still");
}

#[test]
fn two_clusters_that_list_each_other_stay_apart() {
    let addresses = Cluster::addresses(4);
    let start = |index: usize| {
        let cluster = if index < 2 { "blue" } else { "green" };
        addresses.start(index, &[("CLUSTER", cluster), ("SYNC_INTERVAL", "50ms")])
    };
    let mut blue = Cluster { nodes: (0..2).map(start).collect() };
    let green = Cluster { nodes: (2..4).map(start).collect() };
    blue.nodes[0].write("colour", "blue");
    green.nodes[0].write("colour", "green");
    blue.wait_for(REACTION_LIMIT, "colour", "blue");
    green.wait_for(REACTION_LIMIT, "colour", "green");
    for node in blue.nodes.iter().chain(&green.nodes) {
        eventually(REACTION_LIMIT, "it has refused the others", || {
            same(node.count("nRefusedCluster") > 2, true)
        });
    }
    blue.wait_for(REACTION_LIMIT, "colour", "blue");
    green.wait_for(REACTION_LIMIT, "colour", "green");
    // An address comes back as a member of the other cluster.
    blue.nodes[1].kill();
    blue.nodes[1].start_again(&[("CLUSTER", "green")]);
    let changed = blue.nodes.pop().expect("there are two");
    eventually(REACTION_LIMIT, "it has the others' map", || {
        same(changed.read("colour"), "green".into())
    });
    assert_eq!(blue.nodes[0].read("colour"), "blue");
}

#[test]
fn another_protocol_version_is_refused_as_such() {
    let node = node();
    for (index, version) in ["2", "0", "99999999999999999999", "x", ""].iter().enumerate() {
        let line = hello("default", "00000001").replacen(" 1 ", &format!(" {version} "), 1);
        assert_eq!(send_and_read(&node, line), "refuse protocol\n", "{version}");
        assert_counted(&node, "nRefusedProtocol", index as u64 + 1);
    }
    assert_eq!(send_and_read(&node, "hello 2 whatever comes then\n"), "refuse protocol\n");
    assert_gossips(&node, "still");
}

#[test]
fn an_exchange_with_itself_is_refused_as_such() {
    let node = node();
    let id = node.stats()["node"].clone();
    assert_eq!(send_and_read(&node, hello("default", &id)), "refuse self\n");
    assert_counted(&node, "nRefusedSelf", 1);
}

#[test]
fn an_http_request_to_the_peer_port_is_refused() {
    let node = node();
    let mut stream = connect(&node);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    assert!("refuse grammar\n".starts_with(&reply), "{reply:?}");
    assert_counted(&node, "nRefusedGrammar", 1);
    node.wait_for_log("not the gossip protocol");
    assert_gossips(&node, "still");
}
