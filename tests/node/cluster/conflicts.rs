//! Conflicting writes, which k8s-gossipcar got wrong.

use super::CONVERGENCE_LIMIT;
use crate::support::{Cluster, eventually, map_target, next_millisecond};
use std::sync::Barrier;

#[test]
fn two_nodes_that_create_a_key_at_once_agree() {
    let cluster = Cluster::start(3, &[]);
    write_at_once(&cluster, 2);
}

#[test]
fn three_nodes_that_overwrite_a_key_at_once_agree() {
    let cluster = Cluster::start(3, &[]);
    for round in 0..10 {
        cluster.nodes[0].write(&format!("key{round}"), "before");
    }
    cluster.wait_for_agreement(CONVERGENCE_LIMIT);
    write_at_once(&cluster, 3);
}

/// Lets several nodes write each of ten keys at once, and waits until all nodes agree on one of the
/// values.
fn write_at_once(cluster: &Cluster, writers: usize) {
    let barrier = Barrier::new(writers);
    for round in 0..10 {
        let key = format!("key{round}");
        std::thread::scope(|scope| {
            for (index, node) in cluster.nodes[..writers].iter().enumerate() {
                let (key, barrier) = (&key, &barrier);
                scope.spawn(move || {
                    let mut client = node.client();
                    barrier.wait();
                    let value = format!("of node {index}");
                    let response = client.put(&map_target(&[key]), value.as_bytes());
                    assert!(response.status < 300, "{response:?}");
                });
            }
        });
        eventually(CONVERGENCE_LIMIT, "all nodes have one of the values", || {
            let found: Vec<String> = cluster.nodes.iter().map(|node| node.read(&key)).collect();
            let is_one = found[0].starts_with("of node ");
            if is_one && found.iter().all(|value| *value == found[0]) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        });
    }
    cluster.wait_for_agreement(CONVERGENCE_LIMIT);
}

#[test]
fn a_later_write_beats_five_earlier_ones_of_another_node() {
    // Neither node knows the other, so that there is no exchange.
    let addresses = Cluster::addresses(2);
    let apart = |index: usize| {
        addresses.start(index, &[("SERVICE_DNS_NAME", addresses.list_of(&[index]).as_str())])
    };
    let (first, second) = (apart(0), apart(1));
    for round in 0..10 {
        let key = format!("key{round}");
        for index in 0..5 {
            first.write(&key, format!("early {index}"));
        }
        next_millisecond();
        second.write(&key, "late");
    }
    assert_eq!((first.read("key0"), second.read("key0")), ("early 4".into(), "late".into()));
    // A third node knows both.
    let third = Cluster::addresses(1);
    let list = format!("{}:{1},{2}:{1}", addresses.ips[0], addresses.peer_port, addresses.ips[1]);
    let third = third.start(0, &[("SERVICE_DNS_NAME", &list), ("SYNC_INTERVAL", "50ms")]);
    let cluster = Cluster { nodes: vec![first, second, third] };
    for round in 0..10 {
        cluster.wait_for(CONVERGENCE_LIMIT, &format!("key{round}"), "late");
    }
}
