//! Several real nodes: what they agree on, what they survive, and what k8s-gossipcar did not.

use crate::support::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A change is everywhere by then; it takes milliseconds on an idle machine.
const SOON: Duration = Duration::from_secs(3);

/// A node that is told to leave, and finds its peers, is gone by then.
const GONE: Duration = Duration::from_secs(4);

/// So much is written and compared in a test with many keys that it may take longer.
const LATER: Duration = Duration::from_secs(30);

// Converging.

#[test]
fn three_nodes_converge_on_a_key() {
    let cluster = Cluster::start(3, &[]);
    // Who was called before it was up is left alone for a while.
    eventually(LATER, "all have found each other", || {
        same(cluster.nodes.iter().all(|node| node.count("nOutSyncs") >= 3), true)
    });
    let mut took = Vec::new();
    for index in 0..9 {
        let (key, writer) = (format!("key{}", index / 2), &cluster.nodes[index % 3]);
        writer.write(&key, format!("value {index}"));
        took.push(cluster.wait_for(SOON, &key, &format!("value {index}")));
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
            cluster.wait_for(SOON, "key", &value);
        }
    }
}

#[test]
fn values_of_any_kind_and_size_arrive_whole() {
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
    eventually(LATER, "all nodes have all values", || {
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
fn a_node_killed_and_restarted_empty_has_all_keys_before_it_is_ready() {
    let mut cluster = Cluster::start(3, &[]);
    for index in 0..200 {
        cluster.nodes[index % 3].write(&format!("key{index}"), format!("value {index}"));
    }
    let before = cluster.wait_for_agreement(SOON);
    assert_eq!(before.1, 200);
    for index in 0..3 {
        let node = &mut cluster.nodes[index];
        node.kill();
        let began = Instant::now();
        node.start_again(&[]);
        let mut client = node.client();
        eventually(SOON, "ready", || {
            // What is seen after it was ready must be complete.
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
        assert_eq!(cluster.wait_for_agreement(SOON), before);
    }
}

#[test]
fn a_node_that_comes_later_is_found_at_its_listed_address_within_two_intervals() {
    let places = Cluster::places(3);
    let settings = [("SYNC_INTERVAL", "1s")];
    let mut nodes: Vec<Node> = (0..2).map(|index| places.start(index, &settings)).collect();
    nodes.iter().for_each(Node::wait_until_ready);
    nodes[0].write("key", "value");
    nodes.push(places.start(2, &settings));
    let began = Instant::now();
    eventually(2 * Duration::from_secs(1), "the newcomer has the key", || {
        same(nodes[2].read("key"), "value".to_owned())
    });
    println!("a new node had the key {:?} after its start", began.elapsed());
    nodes[2].write("answer", "too");
    Cluster { nodes }.wait_for(SOON, "answer", "too");
}

#[test]
fn nodes_that_list_only_some_of_the_others_converge() {
    // A chain: each knows the next one only.
    let places = Cluster::places(4);
    let nodes = (0..4usize).map(|index| {
        let known = places.list_of(&[index, (index + 1).min(3)]);
        places.start(index, &[("SERVICE_DNS_NAME", &known), ("SYNC_INTERVAL", "100ms")])
    });
    let cluster = Cluster { nodes: nodes.collect() };
    cluster.nodes[0].write("from the first", "1");
    cluster.nodes[3].write("from the last", "2");
    cluster.wait_for(SOON, "from the first", "1");
    cluster.wait_for(SOON, "from the last", "2");
}

// What k8s-gossipcar got wrong.

#[test]
fn two_pods_create_one_key_at_once_and_settle() {
    let cluster = Cluster::start(3, &[]);
    at_once(&cluster, 2);
}

#[test]
fn a_converged_key_overwritten_on_all_three_at_once_settles() {
    let cluster = Cluster::start(3, &[]);
    for round in 0..10 {
        cluster.nodes[0].write(&format!("key{round}"), "before");
    }
    cluster.wait_for_agreement(SOON);
    at_once(&cluster, 3);
}

/// Has some nodes write each of ten keys at once, and waits until all agree on one of the values.
fn at_once(cluster: &Cluster, writers: usize) {
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
                    let answer = client.put(&map_target(&[key]), value.as_bytes());
                    assert!(answer.status < 300, "{answer:?}");
                });
            }
        });
        eventually(SOON, "all nodes have one of the values", || {
            let found: Vec<String> = cluster.nodes.iter().map(|node| node.read(&key)).collect();
            let is_one = found[0].starts_with("of node ");
            if is_one && found.iter().all(|value| *value == found[0]) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        });
    }
    cluster.wait_for_agreement(SOON);
}

#[test]
fn n1_writes_five_times_and_the_later_write_of_n2_wins() {
    // No exchange comes between: the next timer is an hour away, and nobody else is listed.
    let places = Cluster::places(2);
    let apart = |index: usize| {
        places.start(index, &[("SERVICE_DNS_NAME", places.list_of(&[index]).as_str())])
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
    // Then somebody comes who knows both.
    let third = Cluster::places(1);
    let list = format!("{}:{1},{2}:{1}", places.ips[0], places.peer_port, places.ips[1]);
    let third = third.start(0, &[("SERVICE_DNS_NAME", &list), ("SYNC_INTERVAL", "50ms")]);
    let cluster = Cluster { nodes: vec![first, second, third] };
    for round in 0..10 {
        cluster.wait_for(SOON, &format!("key{round}"), "late");
    }
}

#[test]
fn a_put_after_a_restart_and_before_the_first_sync_is_kept() {
    let mut cluster = Cluster::start(3, &[]);
    for _ in 0..20 {
        cluster.nodes[0].write("key", "written often before");
    }
    cluster.wait_for(SOON, "key", "written often before");
    for round in 0..3 {
        let node = &mut cluster.nodes[round];
        node.kill();
        next_millisecond();
        // It answers before it has met anyone, and takes the write at once.
        node.start_again(&[]);
        let value = format!("after restart {round}");
        node.write("key", &value);
        cluster.wait_for(SOON, "key", &value);
        cluster.wait_for_agreement(SOON);
        assert_eq!(cluster.nodes[round].read("key"), value);
    }
}

#[test]
fn keys_whose_hashes_k8s_gossipcar_confused_are_two_keys() {
    let cluster = Cluster::start(3, &[]);
    for (index, key) in ["Aa", "BB", "id-1P", "id-21", "AaAa", "BBBB", "AaBB"].iter().enumerate() {
        cluster.nodes[index % 3].write(key, format!("value of {key}"));
    }
    for key in ["Aa", "BB", "id-1P", "id-21", "AaAa", "BBBB", "AaBB"] {
        cluster.wait_for(SOON, key, &format!("value of {key}"));
    }
    cluster.nodes[0].write("BB", "new");
    cluster.wait_for(SOON, "BB", "new");
    cluster.wait_for(SOON, "Aa", "value of Aa");
}

#[test]
fn an_idle_exchange_is_small_however_many_keys_there_are() {
    let cluster = Cluster::start(2, &[("SYNC_INTERVAL", "50ms")]);
    fill(&cluster.nodes[0], 0, 10_000, 10);
    cluster.wait_for_agreement(LATER);
    let measure = || {
        let numbers = ["nBytesSent", "nBytesReceived", "nOutSyncs", "nInSyncs"];
        let stats = cluster.nodes[0].stats();
        numbers.map(|name| stats[name].parse::<u64>().expect("it is a number"))
    };
    let mut before = measure();
    // The latest writes are named in each hello for some seconds; then nothing is.
    let bytes = eventually(LATER, "an exchange of equal nodes takes at most 128 bytes", || {
        let now = measure();
        let grown: Vec<u64> = now.iter().zip(before).map(|(now, before)| now - before).collect();
        let exchanges = grown[2] + grown[3];
        if exchanges < 20 {
            return Err("too few exchanges to measure".into());
        }
        before = now;
        // What one side has counted of an exchange under way, the other may count later.
        let bytes = (grown[0] + grown[1]) as f64 / exchanges as f64;
        if bytes <= 128.0 { Ok(bytes) } else { Err(format!("{bytes:.1} bytes")) }
    });
    println!("an idle exchange with 10 000 equal keys: {bytes:.1} bytes of payload, both ways");
    assert_eq!(cluster.nodes[0].count("keys"), 10_000);
}

#[test]
fn alone_or_with_an_unknown_name_it_stays_quiet() {
    let alone = Node::alone(&[]);
    let unknown = Node::alone(&[("SERVICE_DNS_NAME", "no-such-name.invalid")]);
    let nobody = Cluster::places(3).start(0, &[]);
    // Five seconds by the nodes' own clocks.
    eventually(LATER, "they have run for five seconds", || {
        same([&alone, &unknown, &nobody].iter().all(|node| node.count("upTimeSecs") >= 5), true)
    });
    for node in [&alone, &unknown, &nobody] {
        let lines = node.log_lines();
        println!("{lines} lines in five seconds");
        // That it has started and is ready, and five of each kind of trouble a minute.
        assert!(lines <= 7, "{lines} lines: {}", node.log());
        assert_eq!(node.request("GET", "/healthz", &[]).status, 200);
    }
    assert!(alone.is_ready());
    assert!(unknown.count("nFailedLookUps") > 0);
}

#[test]
fn exchanges_under_a_write_load_all_run_to_their_end() {
    const SECONDS: f64 = 2.0;
    let cluster = Cluster::start(3, &[("SYNC_INTERVAL", "100ms")]);
    let failures = ["nFailedCalls", "nBrokenAnswers", "nRefusedGrammar", "nRefusedBusy"];
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
                    // New keys and old ones, some of them written by all; values of changing length.
                    let key = match round % 3 {
                        0 => format!("/map?k=shared{}", round % 300),
                        _ => format!("/map?k=own{index}-{}", round % 2000),
                    };
                    let value = vec![b'a' + index as u8; (round * 7 % 700) as usize];
                    let answer = client.put(&key, &value);
                    assert!(answer.status < 300, "{answer:?}");
                    written.fetch_add(1, Relaxed);
                    round += 1;
                }
            });
        }
        eventually(LATER, "there was enough load", || {
            let is_enough = began.elapsed().as_secs_f64() > SECONDS && written.load(Relaxed) > 3000;
            same(is_enough, true)
        });
        stop.store(true, Relaxed);
    });
    let rate = written.load(Relaxed) as f64 / began.elapsed().as_secs_f64();
    let exchanges = cluster.sum("nOutSyncs") - exchanges;
    println!("{rate:.0} writes a second, and {exchanges} exchanges meanwhile");
    cluster.wait_for_agreement(SOON);
    assert_eq!(failures.map(|name| cluster.sum(name)), before, "{failures:?}");
    assert!(exchanges > 10, "{exchanges} exchanges under load");
}

// Leaving.

#[test]
fn what_was_put_right_before_sigterm_is_on_the_others_twenty_times_in_a_row() {
    let slowest_ms = AtomicU64::new(0);
    let rounds = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while rounds.fetch_add(1, Relaxed) < 20 {
                    let mut cluster = Cluster::start(3, &[("SYNC_INTERVAL", "1h")]);
                    let signal = if rounds.load(Relaxed) % 2 == 0 { "TERM" } else { "INT" };
                    let mut leaving = cluster.nodes.remove(0);
                    leaving.write("last", "words");
                    leaving.signal(signal);
                    let began = Instant::now();
                    let status = leaving.wait_for_end(GONE);
                    slowest_ms.fetch_max(began.elapsed().as_millis() as u64, Relaxed);
                    assert_eq!(status.code(), Some(0), "{}", leaving.log());
                    assert!(leaving.log().contains(signal), "{}", leaving.log());
                    // Not some time later: before it left.
                    for node in &cluster.nodes {
                        assert_eq!(node.read("last"), "words", "{}", leaving.log());
                    }
                }
            });
        }
    });
    println!("left {} ms after the signal at most, of 20", slowest_ms.load(Relaxed));
}

#[test]
fn a_large_map_is_pushed_before_its_node_leaves() {
    let places = Cluster::places(2);
    let own = places.list_of(&[0]);
    let mut full = places.start(0, &[("SERVICE_DNS_NAME", &own)]);
    fill(&full, 0, 20_000, 100);
    full.kill();
    // Again with two peers, and with more than fits into one turn: 10 MB.
    let mut cluster = Cluster::start(3, &[("SYNC_INTERVAL", "1h"), ("DRAIN_TIMEOUT", "1m")]);
    let mut leaving = cluster.nodes.remove(0);
    for index in 0..10 {
        leaving.write(&format!("big{index}"), vec![b'x'; 1024 * 1024]);
    }
    leaving.signal("TERM");
    assert_eq!(leaving.wait_for_end(LATER).code(), Some(0));
    for node in &cluster.nodes {
        assert_eq!(node.count("keys"), 10);
    }
}

#[test]
fn a_node_alone_leaves_at_once() {
    for signal in ["TERM", "INT"] {
        let mut node = Node::alone(&[("DRAIN_TIMEOUT", "1h")]);
        node.write("key", "value");
        node.signal(signal);
        let began = Instant::now();
        assert_eq!(node.wait_for_end(GONE).code(), Some(0));
        println!("alone, it left {:?} after SIG{signal}", began.elapsed());
    }
}

#[test]
fn while_it_waits_to_leave_it_is_unready_and_serves_and_a_second_signal_ends_it() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        // The others are listed, and nobody is there.
        let mut node =
            Cluster::places(3).start(0, &[("DRAIN_TIMEOUT", "1h"), ("READY_TIMEOUT", "0s")]);
        assert!(node.is_ready());
        node.write("key", "value");
        node.signal(first);
        eventually(SOON, "unready", || same(node.is_ready(), false));
        assert!(node.request("GET", "/readyz", &[]).text().starts_with("leaving"));
        assert_eq!(node.request("GET", "/healthz", &[]).status, 200);
        node.write("key", "written while leaving");
        assert_eq!(node.read("key"), "written while leaving");
        node.signal(second);
        assert_eq!(node.wait_for_end(SOON).code(), Some(0));
        assert!(node.log().contains("second signal"), "{}", node.log());
    }
}

#[test]
fn without_a_peer_it_leaves_when_its_time_is_up() {
    let mut node = Cluster::places(3).start(0, &[("DRAIN_TIMEOUT", "300ms")]);
    node.write("key", "value");
    node.signal("TERM");
    let began = Instant::now();
    assert_eq!(node.wait_for_end(GONE).code(), Some(0));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(node.log().contains("DRAIN_TIMEOUT"), "{}", node.log());
}

#[test]
fn a_write_that_comes_while_it_leaves_is_pushed_too() {
    // One peer is there and confirms, the other two are not: it goes on waiting.
    let places = Cluster::places(4);
    let settings = [("DRAIN_TIMEOUT", "1h"), ("SYNC_INTERVAL", "1h")];
    let mut leaving = places.start(0, &settings);
    let mut stays = places.start(1, &settings);
    leaving.wait_until_ready();
    stays.wait_until_ready();
    leaving.signal("TERM");
    eventually(SOON, "it is leaving", || same(leaving.is_ready(), false));
    leaving.write("late", "but not lost");
    eventually(SOON, "it is pushed", || same(stays.read("late"), "but not lost".to_owned()));
    // A second peer comes: with its word the first may go.
    let _third = places.start(2, &settings);
    assert_eq!(leaving.wait_for_end(LATER).code(), Some(0));
    stays.kill();
}

// Many keys.

/// Writes keys by several connections at once, each with many requests on their way.
fn fill(node: &Node, first: usize, count: usize, value_bytes: usize) {
    const CONNECTIONS: usize = 4;
    const AT_ONCE: usize = 64;
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            scope.spawn(move || {
                let mut client = node.client();
                let own: Vec<usize> =
                    (first..first + count).skip(connection).step_by(CONNECTIONS).collect();
                for part in own.chunks(AT_ONCE) {
                    let request = |index: &usize| {
                        let value = format!("{index:0>value_bytes$}");
                        request_bytes("PUT", &format!("/map?k=key{index}"), &[], value.as_bytes())
                    };
                    client.send(part.iter().flat_map(request).collect::<Vec<u8>>());
                    for _ in part {
                        assert_eq!(client.answer().status, 201);
                    }
                }
            });
        }
    });
}

#[test]
fn a_hundred_thousand_keys_reach_an_empty_newcomer_whoever_calls() {
    const KEYS: usize = 100_000;
    let places = Cluster::places(3);
    // The first two never call anyone, for they know of nobody.
    let never_calls = |index: usize| {
        places.start(index, &[("SERVICE_DNS_NAME", places.list_of(&[index]).as_str())])
    };
    let (full, called) = (never_calls(0), never_calls(1));
    let began = Instant::now();
    fill(&full, 0, KEYS, 100);
    println!("{KEYS} keys written in {:?}", began.elapsed());
    assert_eq!(full.count("keys"), KEYS as u64);

    // The newcomer calls the full one, and fetches all of it; and calls the empty one, and brings
    // all of it there.
    let began = Instant::now();
    let list = places.list();
    let newcomer = places.start(2, &[("SERVICE_DNS_NAME", &list), ("SYNC_INTERVAL", "100ms")]);
    eventually(LATER, "the newcomer has all keys", || same(newcomer.count("keys"), KEYS as u64));
    println!("the newcomer that called had them after {:?}", began.elapsed());
    eventually(LATER, "the responder has all keys", || same(called.count("keys"), KEYS as u64));
    println!("the one that was called had them after {:?}", began.elapsed());
    let cluster = Cluster { nodes: vec![full, called, newcomer] };
    cluster.wait_for_agreement(LATER);
    for node in &cluster.nodes {
        for index in [0, 1, KEYS / 2, KEYS - 1] {
            assert_eq!(node.read(&format!("key{index}")), format!("{index:0>100}"));
        }
    }
    assert_eq!(cluster.nodes[1].count("nOutSyncs"), 0);
    assert_eq!(cluster.sum("nFailedCalls") + cluster.sum("nBrokenAnswers"), 0);
}
