//! Convergence: a write reaches all nodes.

use super::{BULK_LIMIT, CONVERGENCE_LIMIT};
use crate::support::{Cluster, eventually, same};

#[test]
fn three_nodes_converge_on_a_key() {
    let cluster = Cluster::start(3, &[]);
    // A node that was not up yet when another connected to it is left alone for a while.
    eventually(BULK_LIMIT, "all have found each other", || {
        same(cluster.nodes.iter().all(|node| node.count("nOutSyncs") >= 3), true)
    });
    let mut took = Vec::new();
    for index in 0..9 {
        let (key, writer) = (format!("key{}", index / 2), &cluster.nodes[index % 3]);
        writer.write(&key, format!("value {index}"));
        took.push(cluster.wait_for(CONVERGENCE_LIMIT, &key, &format!("value {index}")));
    }
    took.sort();
    println!("a write was on all three nodes after {:?}, and {:?} at most", took[4], took[8]);
}

#[test]
fn an_overwrite_on_another_node_wins() {
    let cluster = Cluster::start(3, &[]);
    for round in 0..10 {
        for (index, node) in cluster.nodes.iter().enumerate() {
            let value = format!("{round} of node {index}");
            node.write("key", &value);
            cluster.wait_for(CONVERGENCE_LIMIT, "key", &value);
        }
    }
}

#[test]
fn values_of_any_kind_and_size_arrive_intact() {
    let cluster = Cluster::start(3, &[]);
    let all_bytes: Vec<u8> = (0..=255).collect();
    let values = [
        ("", b"of the empty key".to_vec()),
        ("empty", Vec::new()),
        ("line feeds", b"\n\nput 0 0 0\n\ndone 00000000\n".to_vec()),
        ("ключ\n\0 &=%", all_bytes.clone()),
        (&"k".repeat(1024), b"of the longest key".to_vec()),
        ("big", all_bytes.repeat(4096)),
    ];
    for (index, (key, value)) in values.iter().enumerate() {
        cluster.nodes[index % 3].write(key, value);
    }
    eventually(BULK_LIMIT, "all nodes have all values", || {
        for node in &cluster.nodes {
            for (key, value) in &values {
                let found = node.get(key);
                let length = found.as_ref().map(|found| found.len());
                if found.as_ref() != Some(value) {
                    return Err(format!("{key:?} at {}: {length:?} bytes", node.http));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn nodes_that_know_only_some_of_the_others_converge() {
    // A chain: each node knows the next one only.
    let addresses = Cluster::addresses(4);
    let nodes = (0..4usize).map(|index| {
        let known = addresses.list_of(&[index, (index + 1).min(3)]);
        addresses.start(index, &[("SERVICE_DNS_NAME", &known), ("SYNC_INTERVAL", "100ms")])
    });
    let cluster = Cluster { nodes: nodes.collect() };
    cluster.nodes[0].write("from the first", "1");
    cluster.nodes[3].write("from the last", "2");
    cluster.wait_for(CONVERGENCE_LIMIT, "from the first", "1");
    cluster.wait_for(CONVERGENCE_LIMIT, "from the last", "2");
}

#[test]
fn keys_that_k8s_gossipcar_confused_are_distinct() {
    let cluster = Cluster::start(3, &[]);
    for (index, key) in ["Aa", "BB", "id-1P", "id-21", "AaAa", "BBBB", "AaBB"].iter().enumerate() {
        cluster.nodes[index % 3].write(key, format!("value of {key}"));
    }
    for key in ["Aa", "BB", "id-1P", "id-21", "AaAa", "BBBB", "AaBB"] {
        cluster.wait_for(CONVERGENCE_LIMIT, key, &format!("value of {key}"));
    }
    cluster.nodes[0].write("BB", "new");
    cluster.wait_for(CONVERGENCE_LIMIT, "BB", "new");
    cluster.wait_for(CONVERGENCE_LIMIT, "Aa", "value of Aa");
}
