//! Restarts after clients have left many connections unusable.

use crate::support::{Cluster, RESPONSE_LIMIT, assert_healthy};

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
            let mut response = client.response();
            if response.status == 100 {
                response = client.response();
            }
            assert_eq!(response.status, 413);
            held.push(client);
        }
        cluster.nodes[0].write("last", name);
        cluster.wait_for(RESPONSE_LIMIT, "last", name);
        let (digest, keys) = cluster.wait_for_agreement(RESPONSE_LIMIT);
        assert_eq!(keys, 21);
        let node = &mut cluster.nodes[0];
        node.signal(name);
        let status = node.wait_for_end(RESPONSE_LIMIT);
        assert_eq!(status.success(), name == "TERM", "{status}");
        node.start_again(&[]);
        node.wait_until_ready();
        assert_eq!(cluster.wait_for_agreement(RESPONSE_LIMIT), (digest, 21));
        assert_eq!(cluster.nodes[0].read("last"), name);
    }
    assert_healthy(&cluster.nodes[0]);
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
    assert!(node.wait_for_end(RESPONSE_LIMIT).success());
    assert!(node.log().contains("exiting: peers have everything"), "{}", node.log());
    node.start_again(&[]);
    node.wait_until_ready();
    assert_eq!(node.read("kept"), "value");
    assert_healthy(node);
}
