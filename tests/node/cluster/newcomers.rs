//! Nodes that start empty: new ones, and those that restart.

use super::{BULK_LIMIT, CONVERGENCE_LIMIT, fill};
use crate::support::{Cluster, Node, eventually, next_millisecond, same};
use std::time::{Duration, Instant};

#[test]
fn a_killed_and_restarted_node_has_all_keys_before_it_is_ready() {
    let mut cluster = Cluster::start(3, &[]);
    for index in 0..200 {
        cluster.nodes[index % 3].write(&format!("key{index}"), format!("value {index}"));
    }
    let before = cluster.wait_for_agreement(CONVERGENCE_LIMIT);
    assert_eq!(before.1, 200);
    for index in 0..3 {
        let node = &mut cluster.nodes[index];
        node.kill();
        let began = Instant::now();
        node.start_again(&[]);
        let mut client = node.client();
        eventually(CONVERGENCE_LIMIT, "ready", || {
            // Once it is ready it must be complete.
            if client.get("/readyz").status != 200 {
                return Err("not ready".into());
            }
            assert!(
                client.get("/stats").text().contains("\nkeys=200\n"),
                "ready, and not complete"
            );
            Ok(())
        });
        println!("complete and ready {:?} after the start", began.elapsed());
        assert_eq!(cluster.wait_for_agreement(CONVERGENCE_LIMIT), before);
    }
}

#[test]
fn a_node_that_starts_later_is_found_within_two_intervals() {
    let addresses = Cluster::addresses(3);
    let settings = [("SYNC_INTERVAL", "1s")];
    let mut nodes: Vec<Node> = (0..2).map(|index| addresses.start(index, &settings)).collect();
    nodes.iter().for_each(Node::wait_until_ready);
    nodes[0].write("key", "value");
    nodes.push(addresses.start(2, &settings));
    let began = Instant::now();
    eventually(2 * Duration::from_secs(1), "the newcomer has the key", || {
        same(nodes[2].read("key"), "value".to_owned())
    });
    println!("a new node had the key {:?} after its start", began.elapsed());
    nodes[2].write("answer", "too");
    Cluster { nodes }.wait_for(CONVERGENCE_LIMIT, "answer", "too");
}

#[test]
fn a_write_between_a_restart_and_the_first_exchange_is_kept() {
    let mut cluster = Cluster::start(3, &[]);
    for _ in 0..20 {
        cluster.nodes[0].write("key", "written often before");
    }
    cluster.wait_for(CONVERGENCE_LIMIT, "key", "written often before");
    for round in 0..3 {
        let node = &mut cluster.nodes[round];
        node.kill();
        next_millisecond();
        // It accepts writes before its first exchange.
        node.start_again(&[]);
        let value = format!("after restart {round}");
        node.write("key", &value);
        cluster.wait_for(CONVERGENCE_LIMIT, "key", &value);
        cluster.wait_for_agreement(CONVERGENCE_LIMIT);
        assert_eq!(cluster.nodes[round].read("key"), value);
    }
}

#[test]
fn a_hundred_thousand_keys_reach_an_empty_node_in_either_role() {
    const KEYS: usize = 100_000;
    let addresses = Cluster::addresses(3);
    // The first two initiate no exchange, since they know no peer.
    let knows_no_peer = |index: usize| {
        addresses.start(index, &[("SERVICE_DNS_NAME", addresses.list_of(&[index]).as_str())])
    };
    let (full, empty) = (knows_no_peer(0), knows_no_peer(1));
    let began = Instant::now();
    fill(&full, 0, KEYS, 100);
    println!("{KEYS} keys written in {:?}", began.elapsed());
    assert_eq!(full.count("keys"), KEYS as u64);

    // The newcomer initiates exchanges with both: it fetches all keys from the full one, and brings
    // them to the empty one.
    let began = Instant::now();
    let list = addresses.list();
    let newcomer = addresses.start(2, &[("SERVICE_DNS_NAME", &list), ("SYNC_INTERVAL", "100ms")]);
    eventually(BULK_LIMIT, "the newcomer has all keys", || {
        same(newcomer.count("keys"), KEYS as u64)
    });
    println!("the initiator had them after {:?}", began.elapsed());
    eventually(BULK_LIMIT, "the responder has all keys", || same(empty.count("keys"), KEYS as u64));
    println!("the responder had them after {:?}", began.elapsed());
    let cluster = Cluster { nodes: vec![full, empty, newcomer] };
    cluster.wait_for_agreement(BULK_LIMIT);
    for node in &cluster.nodes {
        for index in [0, 1, KEYS / 2, KEYS - 1] {
            assert_eq!(node.read(&format!("key{index}")), format!("{index:0>100}"));
        }
    }
    assert_eq!(cluster.nodes[1].count("nOutSyncs"), 0);
    assert_eq!(cluster.sum("nFailedOutSyncs") + cluster.sum("nFailedInSyncs"), 0);
}
