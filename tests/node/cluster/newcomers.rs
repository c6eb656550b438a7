//! Nodes that start empty: new ones, and those that restart.

use super::{BULK_LIMIT, CONVERGENCE_LIMIT, fill};
use crate::support::{Cluster, Node, assert_refused, eventually, next_millisecond, same};
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
fn newcomers_that_meet_each_other_first_are_not_ready_before_they_meet_the_others() {
    let addresses = Cluster::addresses(3);
    let settings = [("READY_TIMEOUT", "1h"), ("SYNC_INTERVAL", "100ms")];
    let own = addresses.list_of(&[0]);
    let old = addresses.start(0, &[("SERVICE_DNS_NAME", &own)]);
    old.write("key", "old");
    // It accepts connections, and says nothing.
    old.signal("STOP");
    let newcomers = [1, 2].map(|index| addresses.start(index, &settings));
    std::thread::scope(|scope| {
        let waiting: Vec<_> = newcomers
            .iter()
            .map(|node| scope.spawn(|| node.request("GET", "/map/key?wait=20s", &[])))
            .collect();
        newcomers[0].write("new", "value");
        eventually(BULK_LIMIT, "the newcomers have met", || {
            same(newcomers[1].read("new"), "value".to_owned())
        });
        std::thread::sleep(Duration::from_secs(1));
        for node in &newcomers {
            assert!(!node.is_ready(), "{}", node.log());
            for target in ["/map/key", "/map?k=key", "/map?k=new&k=key"] {
                let response = node.request("GET", target, &[]);
                assert_refused(&response, 503);
                assert!(response.text().starts_with("starting: "), "{response:?}");
            }
            assert_eq!(node.request("GET", "/map/new", &[]).status, 200, "what it has it serves");
        }
        old.signal("CONT");
        for response in waiting {
            let response = response.join().expect("there is a response");
            assert_eq!((response.status, response.text().as_str()), (200, "old"));
        }
    });
    for node in &newcomers {
        node.wait_until_ready();
        assert_eq!(node.request("GET", "/map/absent", &[]).status, 404);
    }
}

#[test]
fn nodes_that_are_all_new_are_ready_without_waiting_for_others() {
    let cluster = Cluster::start(5, &[("READY_TIMEOUT", "1h"), ("SYNC_INTERVAL", "1h")]);
    for node in &cluster.nodes {
        assert_eq!(node.request("GET", "/map/absent", &[]).status, 404, "{}", node.log());
    }
}

#[test]
fn a_restarted_node_never_says_that_a_key_is_absent_before_it_knows() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.nodes[0].write("key", "value");
    cluster.wait_for(CONVERGENCE_LIMIT, "key", "value");
    let node = &mut cluster.nodes[0];
    for _ in 0..10 {
        node.kill();
        node.start_again(&[]);
        let mut client = node.client();
        eventually(CONVERGENCE_LIMIT, "it has the key", || {
            let status = client.get("/map/key").status;
            assert_ne!(status, 404);
            same(status, 200)
        });
    }
}

#[test]
fn an_exchange_that_a_peer_opens_does_not_make_a_node_ready() {
    let addresses = Cluster::addresses(3);
    let nobody = addresses.list_of(&[2]);
    let newcomer = addresses.start(0, &[("SERVICE_DNS_NAME", &nobody), ("READY_TIMEOUT", "1h")]);
    let here = addresses.list_of(&[0]);
    let other = addresses.start(
        1,
        &[("SERVICE_DNS_NAME", &here), ("READY_TIMEOUT", "0s"), ("SYNC_INTERVAL", "50ms")],
    );
    other.write("key", "value");
    eventually(CONVERGENCE_LIMIT, "it is given the key", || {
        same(newcomer.read("key"), "value".to_owned())
    });
    assert!(newcomer.count("nInSyncs") > 0 && !newcomer.is_ready());
    assert_eq!(newcomer.request("GET", "/map/absent", &[]).status, 503);
    assert_eq!(newcomer.request("PUT", "/map/own", b"v").status, 201, "it takes writes");
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
