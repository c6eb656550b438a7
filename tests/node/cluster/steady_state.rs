//! Nodes in the steady state, and under a steady load.

use super::{BULK_LIMIT, CONVERGENCE_LIMIT, fill};
use crate::support::{Cluster, Node, eventually, same};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

#[test]
fn an_idle_exchange_is_small_however_many_keys_there_are() {
    let cluster = Cluster::start(2, &[("SYNC_INTERVAL", "50ms")]);
    fill(&cluster.nodes[0], 0, 10_000, 10);
    cluster.wait_for_agreement(BULK_LIMIT);
    let measure = || {
        let numbers = ["nBytesSent", "nBytesReceived", "nOutSyncs", "nInSyncs"];
        let stats = cluster.nodes[0].stats();
        numbers.map(|name| stats[name].parse::<u64>().expect("it is a number"))
    };
    let mut before = measure();
    // For some seconds the recent updates go along with each hello.
    let bytes =
        eventually(BULK_LIMIT, "an exchange of equal nodes takes at most 128 bytes", || {
            let now = measure();
            let grown: Vec<u64> =
                now.iter().zip(before).map(|(now, before)| now - before).collect();
            let exchanges = grown[2] + grown[3];
            if exchanges < 20 {
                return Err("too few exchanges to measure".into());
            }
            before = now;
            // The two sides of an exchange count its bytes at different times.
            let bytes = (grown[0] + grown[1]) as f64 / exchanges as f64;
            if bytes <= 128.0 { Ok(bytes) } else { Err(format!("{bytes:.1} bytes")) }
        });
    println!("an idle exchange with 10 000 equal keys: {bytes:.1} bytes of payload, both ways");
    assert_eq!(cluster.nodes[0].count("keys"), 10_000);
}

#[test]
fn a_node_alone_or_with_an_unknown_service_name_logs_little() {
    let alone = Node::alone(&[]);
    let unknown = Node::alone(&[("SERVICE_DNS_NAME", "no-such-name.invalid")]);
    let nobody = Cluster::addresses(3).start(0, &[]);
    // Five seconds by the nodes' clocks.
    eventually(BULK_LIMIT, "they have run for five seconds", || {
        same([&alone, &unknown, &nobody].iter().all(|node| node.count("upTimeSecs") >= 5), true)
    });
    for node in [&alone, &unknown, &nobody] {
        let lines = node.log_lines();
        println!("{lines} lines in five seconds");
        // The start, readiness, and up to five lines a minute for each kind of problem.
        assert!(lines <= 7, "{lines} lines: {}", node.log());
        assert_eq!(node.request("GET", "/healthz", &[]).status, 200);
    }
    assert!(alone.is_ready());
    assert!(unknown.count("nFailedLookUps") > 0);
}

#[test]
fn every_exchange_completes_under_a_write_load() {
    const SECONDS: f64 = 2.0;
    let cluster = Cluster::start(3, &[("SYNC_INTERVAL", "100ms")]);
    let failures = ["nFailedOutSyncs", "nFailedInSyncs", "nRefusedGrammar", "nRefusedBusy"];
    let before = failures.map(|name| cluster.sum(name));
    let exchanges = cluster.sum("nOutSyncs");
    let (written, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for (index, node) in cluster.nodes.iter().enumerate() {
            let (written, stop) = (&written, &stop);
            scope.spawn(move || {
                let mut client = node.client();
                let mut round: u64 = 0;
                while !stop.load(Relaxed) {
                    // New keys and old ones, some of them shared by all writers, with values of
                    // varying length.
                    let key = match round % 3 {
                        0 => format!("/map?k=shared{}", round % 300),
                        _ => format!("/map?k=own{index}-{}", round % 2000),
                    };
                    let value = vec![b'a' + index as u8; (round * 7 % 700) as usize];
                    let response = client.put(&key, &value);
                    assert!(response.status < 300, "{response:?}");
                    written.fetch_add(1, Relaxed);
                    round += 1;
                }
            });
        }
        eventually(BULK_LIMIT, "enough was written", || {
            let is_enough = began.elapsed().as_secs_f64() > SECONDS && written.load(Relaxed) > 3000;
            same(is_enough, true)
        });
        stop.store(true, Relaxed);
    });
    let rate = written.load(Relaxed) as f64 / began.elapsed().as_secs_f64();
    let exchanges = cluster.sum("nOutSyncs") - exchanges;
    println!("{rate:.0} writes a second, and {exchanges} exchanges meanwhile");
    cluster.wait_for_agreement(CONVERGENCE_LIMIT);
    assert_eq!(failures.map(|name| cluster.sum(name)), before, "{failures:?}");
    assert!(exchanges > 10, "{exchanges} exchanges under load");
}
