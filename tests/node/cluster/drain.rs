//! Draining: what a node does between a signal and its exit.

use super::{BULK_LIMIT, CONVERGENCE_LIMIT, fill};
use crate::support::{Client, Cluster, Node, eventually, free_port, request_bytes, same};
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Asserts that the log's last line has this level, and this in it.
#[track_caller]
fn assert_last_line(node: &Node, level: &str, text: &str) {
    let log = node.log();
    let last = log.lines().last().unwrap_or_default().to_owned();
    let has_level = last.to_lowercase().contains(&level.to_lowercase());
    assert!(has_level && last.contains(text), "{log}");
}

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
        assert_last_line(&node, "WARN", "without a peer: 1 write is not confirmed by any peer");
    }
}

#[test]
fn a_node_that_never_had_anything_has_nothing_to_hand_over() {
    // The other addresses are listed, but nothing runs there.
    let mut node = Cluster::addresses(3).start(0, &[("DRAIN_TIMEOUT", "1h")]);
    node.signal("TERM");
    assert_eq!(node.wait_for_end(EXIT_LIMIT).code(), Some(0));
    assert_last_line(&node, "INFO", "exiting: nothing to hand over");
}

#[test]
fn what_a_node_has_received_is_handed_over_too() {
    let addresses = Cluster::addresses(2);
    let own = addresses.list_of(&[0]);
    let full = addresses.start(0, &[("SERVICE_DNS_NAME", &own)]);
    full.write("a", "1");
    full.write("b", "2");
    let mut other = addresses.start(1, &[("DRAIN_TIMEOUT", "300ms")]);
    eventually(CONVERGENCE_LIMIT, "it has both", || same(other.count("keys"), 2));
    drop(full);
    other.signal("TERM");
    assert_eq!(other.wait_for_end(EXIT_LIMIT).code(), Some(0));
    assert_last_line(&other, "WARN", "DRAIN_TIMEOUT: 2 writes are not confirmed by any peer");
}

#[test]
fn a_node_with_one_peer_of_two_says_so() {
    let addresses = Cluster::addresses(3);
    let settings = [("DRAIN_TIMEOUT", "500ms"), ("READY_TIMEOUT", "0s")];
    let stays = addresses.start(0, &settings);
    let mut draining = addresses.start(1, &settings);
    draining.write("key", "value");
    draining.signal("TERM");
    assert_eq!(draining.wait_for_end(EXIT_LIMIT).code(), Some(0));
    assert_last_line(&draining, "WARN", "DRAIN_TIMEOUT: only one peer has everything");
    assert_eq!(stays.read("key"), "value");
}

/// Writes keys of its own at each node, sends SIGTERM to all, and returns the keys.
fn write_and_drain(nodes: &[Node]) -> Vec<String> {
    let mut keys = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        for number in 0..8 {
            keys.push(format!("key-{index}-{number}"));
            node.write(&keys[keys.len() - 1], "acknowledged");
        }
    }
    nodes.iter().for_each(|node| node.signal("TERM"));
    keys
}

/// Waits until all have exited, and asserts that the others have what was written.
fn assert_handed_over(leaving: &mut [Node], staying: &[Node], keys: &[String]) {
    for node in leaving {
        assert_eq!(node.wait_for_end(BULK_LIMIT).code(), Some(0));
        assert_last_line(node, "INFO", "exiting: peers have everything");
    }
    for node in staying {
        eventually(CONVERGENCE_LIMIT, "the map has arrived", || {
            same(node.count("keys"), keys.len() as u64)
        });
        keys.iter().for_each(|key| assert_eq!(node.read(key), "acknowledged"));
    }
}

#[test]
fn pods_that_are_all_replaced_at_once_wait_for_the_new_ones() {
    // They start 1.5 s after the old ones were asked to exit.
    let addresses = Cluster::addresses(6);
    let settings = [("DRAIN_TIMEOUT", "20s"), ("READY_TIMEOUT", "1s")];
    let mut old: Vec<Node> = (0..3).map(|index| addresses.start(index, &settings)).collect();
    old.iter().for_each(Node::wait_until_ready);
    let keys = write_and_drain(&old);
    std::thread::sleep(Duration::from_millis(1500));
    let new: Vec<Node> =
        (3..6).map(|index| addresses.start(index, &[("SYNC_INTERVAL", "100ms")])).collect();
    assert_handed_over(&mut old, &new, &keys);
}

#[test]
fn a_draining_node_hands_over_to_a_new_one_that_dns_does_not_list_yet() {
    // Over the loopback interface all nodes connect from this address, so that is where they can be
    // contacted.
    let mut addresses = Cluster::addresses(3);
    addresses.ips[2] = Ipv4Addr::LOCALHOST.into();
    addresses.peer_port = free_port(&addresses.ips);
    let list = addresses.list_of(&[0, 1]);
    let settings =
        [("SERVICE_DNS_NAME", &*list), ("DRAIN_TIMEOUT", "30s"), ("READY_TIMEOUT", "1s")];
    let mut old: Vec<Node> = (0..2).map(|index| addresses.start(index, &settings)).collect();
    old.iter().for_each(Node::wait_until_ready);
    let keys = write_and_drain(&old);
    std::thread::sleep(Duration::from_millis(500));
    let new = addresses.start(2, &[("SYNC_INTERVAL", "100ms")]);
    assert_handed_over(&mut old, &[new], &keys);
}

#[test]
fn pods_that_leave_one_shortly_after_the_other_do_not_count_on_each_other() {
    // Each has taken over from the one before, and wrote nothing itself.
    let addresses = Cluster::addresses(6);
    let settings = [("DRAIN_TIMEOUT", "20s"), ("READY_TIMEOUT", "1s"), ("SYNC_INTERVAL", "1h")];
    let mut old: Vec<Node> = (0..3).map(|index| addresses.start(index, &settings)).collect();
    old.iter().for_each(Node::wait_until_ready);
    old[0].write("key", "acknowledged");
    for node in &old {
        node.signal("TERM");
        std::thread::sleep(Duration::from_millis(300));
    }
    let new: Vec<Node> =
        (3..6).map(|index| addresses.start(index, &[("SYNC_INTERVAL", "100ms")])).collect();
    assert_handed_over(&mut old, &new, &["key".to_owned()]);
}

#[test]
fn a_writer_that_never_stops_does_not_keep_the_drain_from_ending() {
    let mut cluster = Cluster::start(
        3,
        &[("SYNC_INTERVAL", "1h"), ("DRAIN_TIMEOUT", "3s"), ("LOG_LEVEL", "info")],
    );
    let mut draining = cluster.nodes.remove(0);
    let (mut acknowledged, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let http = draining.http;
        let writer = scope.spawn(move || {
            let mut counts = [0, 0];
            let mut client = Client::connect(http);
            loop {
                let target = format!("/map?k=key-{}", counts[0]);
                let request = request_bytes("PUT", &target, &[], b"acknowledged");
                if client.stream.write_all(&request).is_err() {
                    return counts;
                }
                match client.try_response() {
                    Some(response) if response.status == 201 => counts[0] += 1,
                    Some(response) => {
                        assert_eq!(response.status, 503, "{response:?}");
                        assert!(response.text().starts_with("draining: writes are no longer"));
                        counts[1] += 1;
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    None => return counts,
                }
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        draining.signal("TERM");
        let began = Instant::now();
        assert_eq!(draining.wait_for_end(BULK_LIMIT).code(), Some(0));
        println!("it left {:?} after the signal", began.elapsed());
        [acknowledged, refused] = writer.join().expect("every response is as expected");
    });
    println!("{acknowledged} writes acknowledged, {refused} refused");
    assert_last_line(&draining, "INFO", "exiting: peers have everything");
    assert!(acknowledged > 100 && refused > 0);
    for node in &cluster.nodes {
        assert_eq!(node.count("keys"), acknowledged);
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
        let draining_since = Instant::now();
        assert!(node.request("GET", "/readyz", &[]).text().starts_with("draining"));
        assert_eq!(node.request("GET", "/healthz", &[]).status, 200);
        node.write("key", "written while draining");
        assert_eq!(node.read("key"), "written while draining");
        if first == second {
            // It counts after a second.
            std::thread::sleep(Duration::from_secs(1).saturating_sub(draining_since.elapsed()));
        }
        node.signal(second);
        assert_eq!(node.wait_for_end(CONVERGENCE_LIMIT).code(), Some(0));
        assert!(node.log().contains("second signal"), "{}", node.log());
    }
}

#[test]
fn the_same_signal_twice_within_a_second_is_one() {
    for signal in ["TERM", "INT"] {
        let mut node = Cluster::addresses(3).start(0, &[("DRAIN_TIMEOUT", "1h")]);
        node.write("key", "value");
        // Before it knows of others it has nobody to wait for.
        eventually(CONVERGENCE_LIMIT, "DNS lists others", || same(node.count("peers"), 2));
        let asked = Instant::now();
        // As `timeout 1 gossip-sidecar` does, which sends one to the process and one to its group.
        let kill =
            format!("kill -{signal} {0}; kill -{signal} {0}; kill -{signal} {0}", node.pid());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.expect("there is a shell").success());
        eventually(CONVERGENCE_LIMIT, "it is draining", || {
            let reason = node.request("GET", "/readyz", &[]).text();
            if reason.starts_with("draining") { Ok(()) } else { Err(reason) }
        });
        let draining_since = Instant::now();
        std::thread::sleep(Duration::from_millis(500));
        if asked.elapsed() < Duration::from_secs(1) {
            node.signal(signal);
        }
        node.write("key", "written while draining");
        assert!(!node.log().contains("second signal"), "{}", node.log());
        std::thread::sleep(Duration::from_secs(1).saturating_sub(draining_since.elapsed()));
        node.signal(signal);
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
    assert_last_line(&node, "WARN", "DRAIN_TIMEOUT: 1 write is not confirmed by any peer");
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
    draining.write("early", "and not lost either");
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
