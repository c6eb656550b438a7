//! Restarts.

use crate::support::{ANSWER_LIMIT, Cluster, assert_lives_on};

#[test]
fn after_abandoned_connections_a_restart_recovers_the_map() {
    let mut cluster = Cluster::start(2, &[("SYNC_INTERVAL", "50ms")]);
    for index in 0..20 {
        cluster.nodes[0].write(&format!("key {index}"), "value");
    }
    for name in ["TERM", "KILL"] {
        let mut held = Vec::new();
        for _ in 0..20 {
            let mut client = cluster.nodes[0].client();
            client.send("PUT /map?k=huge HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n");
            let mut answer = client.answer();
            if answer.status == 100 {
                answer = client.answer();
            }
            assert_eq!(answer.status, 413);
            held.push(client);
        }
        cluster.nodes[0].write("last", name);
        cluster.wait_for(ANSWER_LIMIT, "last", name);
        let (digest, keys) = cluster.wait_for_agreement(ANSWER_LIMIT);
        assert_eq!(keys, 21);
        let node = &mut cluster.nodes[0];
        node.signal(name);
        let status = node.wait_for_end(ANSWER_LIMIT);
        assert_eq!(status.success(), name == "TERM", "{status}");
        node.start_again(&[]);
        node.wait_until_ready();
        assert_eq!(cluster.wait_for_agreement(ANSWER_LIMIT), (digest, 21));
        assert_eq!(cluster.nodes[0].read("last"), name);
    }
    assert_lives_on(&cluster.nodes[0]);
}

#[test]
fn after_too_many_abandoned_connections_the_node_drains_and_a_restart_recovers_the_map() {
    let mut cluster = Cluster::start(2, &[("SYNC_INTERVAL", "50ms")]);
    cluster.nodes[0].write("kept", "value");
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut client = cluster.nodes[0].client();
        client.send("PUT /map?k=huge HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n");
        held.push(client);
    }
    let node = &mut cluster.nodes[0];
    assert!(node.wait_for_end(ANSWER_LIMIT).success());
    assert!(node.log().contains("left: peers have everything"), "{}", node.log());
    node.start_again(&[]);
    node.wait_until_ready();
    assert_eq!(node.read("kept"), "value");
    assert_lives_on(node);
}
