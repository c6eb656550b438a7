//! Draining: what a node does between a signal and its exit.

use super::{BULK_LIMIT, CONVERGENCE_LIMIT, fill};
use crate::support::{Cluster, Node, eventually, same};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// A node that reaches its peers exits within this time after a signal.
const EXIT_LIMIT: Duration = Duration::from_secs(4);

#[test]
fn a_write_right_before_sigterm_reaches_the_others_twenty_times_in_a_row() {
    let slowest_ms = AtomicU64::new(0);
    let rounds = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while rounds.fetch_add(1, Relaxed) < 20 {
                    let mut cluster = Cluster::start(3, &[("SYNC_INTERVAL", "1h")]);
                    let signal = if rounds.load(Relaxed) % 2 == 0 { "TERM" } else { "INT" };
                    let mut draining = cluster.nodes.remove(0);
                    draining.write("last", "words");
                    draining.signal(signal);
                    let began = Instant::now();
                    let status = draining.wait_for_end(EXIT_LIMIT);
                    slowest_ms.fetch_max(began.elapsed().as_millis() as u64, Relaxed);
                    assert_eq!(status.code(), Some(0), "{}", draining.log());
                    assert!(draining.log().contains(signal), "{}", draining.log());
                    // The others had it before the node exited.
                    for node in &cluster.nodes {
                        assert_eq!(node.read("last"), "words", "{}", draining.log());
                    }
                }
            });
        }
    });
    println!("left {} ms after the signal at most, of 20", slowest_ms.load(Relaxed));
}

#[test]
fn a_large_map_is_pushed_before_the_node_exits() {
    let addresses = Cluster::addresses(2);
    let own = addresses.list_of(&[0]);
    let mut full = addresses.start(0, &[("SERVICE_DNS_NAME", &own)]);
    fill(&full, 0, 20_000, 100);
    full.kill();
    // With two peers, and more than fits into one turn: 10 MB.
    let mut cluster = Cluster::start(3, &[("SYNC_INTERVAL", "1h"), ("DRAIN_TIMEOUT", "1m")]);
    let mut draining = cluster.nodes.remove(0);
    for index in 0..10 {
        draining.write(&format!("big{index}"), vec![b'x'; 1024 * 1024]);
    }
    draining.signal("TERM");
    assert_eq!(draining.wait_for_end(BULK_LIMIT).code(), Some(0));
    for node in &cluster.nodes {
        assert_eq!(node.count("keys"), 10);
    }
}

#[test]
fn a_lone_node_exits_at_once() {
    for signal in ["TERM", "INT"] {
        let mut node = Node::alone(&[("DRAIN_TIMEOUT", "1h")]);
        node.write("key", "value");
        node.signal(signal);
        let began = Instant::now();
        assert_eq!(node.wait_for_end(EXIT_LIMIT).code(), Some(0));
        println!("alone, it left {:?} after SIG{signal}", began.elapsed());
    }
}

#[test]
fn a_draining_node_is_unready_and_serves_until_a_second_signal_ends_it() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        // The other addresses are listed, but nothing runs there.
        let mut node =
            Cluster::addresses(3).start(0, &[("DRAIN_TIMEOUT", "1h"), ("READY_TIMEOUT", "0s")]);
        assert!(node.is_ready());
        node.write("key", "value");
        node.signal(first);
        eventually(CONVERGENCE_LIMIT, "unready", || same(node.is_ready(), false));
        assert!(node.request("GET", "/readyz", &[]).text().starts_with("draining"));
        assert_eq!(node.request("GET", "/healthz", &[]).status, 200);
        node.write("key", "written while draining");
        assert_eq!(node.read("key"), "written while draining");
        node.signal(second);
        assert_eq!(node.wait_for_end(CONVERGENCE_LIMIT).code(), Some(0));
        assert!(node.log().contains("second signal"), "{}", node.log());
    }
}

#[test]
fn a_node_that_reaches_no_peer_exits_after_drain_timeout() {
    let mut node = Cluster::addresses(3).start(0, &[("DRAIN_TIMEOUT", "300ms")]);
    node.write("key", "value");
    let began = Instant::now();
    node.signal("TERM");
    assert_eq!(node.wait_for_end(EXIT_LIMIT).code(), Some(0));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(node.log().contains("DRAIN_TIMEOUT"), "{}", node.log());
}

#[test]
fn a_write_made_while_draining_is_pushed_too() {
    // One peer runs and confirms, the other two do not: the drain goes on.
    let addresses = Cluster::addresses(4);
    let settings = [("DRAIN_TIMEOUT", "1h"), ("SYNC_INTERVAL", "1h")];
    let mut draining = addresses.start(0, &settings);
    let mut stays = addresses.start(1, &settings);
    draining.wait_until_ready();
    stays.wait_until_ready();
    draining.signal("TERM");
    eventually(CONVERGENCE_LIMIT, "it is draining", || same(draining.is_ready(), false));
    draining.write("late", "but not lost");
    eventually(CONVERGENCE_LIMIT, "it is pushed", || {
        same(stays.read("late"), "but not lost".to_owned())
    });
    // A second peer starts, and confirms as well.
    let _third = addresses.start(2, &settings);
    assert_eq!(draining.wait_for_end(BULK_LIMIT).code(), Some(0));
    stays.kill();
}
