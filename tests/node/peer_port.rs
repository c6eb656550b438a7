//! Whoever connects to the peer port: other clusters, other programs, and those who mean harm.

use crate::support::*;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a node does about an initiator, it does in this time.
const SOON: Duration = Duration::from_secs(10);

/// All that a node counts of initiators that it does not get on with.
const TROUBLES: [&str; 6] = [
    "nBrokenAnswers",
    "nRefusedProtocol",
    "nRefusedCluster",
    "nRefusedSelf",
    "nRefusedBusy",
    "nRefusedGrammar",
];

/// A node that nobody calls but us.
fn node() -> Node {
    Node::alone(&[("LOG_LEVEL", "info")])
}

fn call(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.peer).expect("the node listens");
    stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("the limit is not zero");
    stream.set_nodelay(true).expect("the socket is open");
    stream
}

fn clock_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// The first line of a node that has nothing.
fn hello(cluster: &str, node: &str) -> String {
    format!("hello 1 {cluster} {node} {:012x} 0 0000000000000000\n", clock_ms())
}

/// Says something, and gives all that comes back until the node closes.
fn say(node: &Node, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = call(node);
    stream.write_all(bytes.as_ref()).expect("the node reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the node closes in order");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until the node has counted this much trouble, and none of another kind.
#[track_caller]
fn assert_counted(node: &Node, name: &str, count: u64) {
    eventually(SOON, &format!("{name} is {count}"), || same(node.count(name), count));
    let stats = node.stats();
    for other in TROUBLES.into_iter().filter(|other| *other != name) {
        assert_eq!(stats[other], "0", "{other}");
    }
}

/// What a peer says that has one entry: it sends that in its first turn, and in its second, whatever
/// it was asked, that it has nothing more.
fn visit(key: &str, value: &str) -> String {
    let version = format!("{:012x}0000-00000007", clock_ms());
    let record = format!("put {version} {} {}\n{key}{value}\n", key.len(), value.len());
    format!("{}{record}\n\n", hello("default", "00000007"))
}

/// That gossip and HTTP work: a peer of one key comes, and leaves it here.
#[track_caller]
fn assert_gossips(node: &Node, key: &str) {
    eventually(SOON, "a peer is answered", || {
        let mut stream = call(node);
        let mut answer = String::new();
        let outcome = stream
            .write_all(visit(key, "value").as_bytes())
            .and_then(|()| stream.read_to_string(&mut answer));
        // Those who came before may still have all the places.
        if answer.contains("done ") { Ok(()) } else { Err(format!("{outcome:?} {answer:?}")) }
    });
    assert_eq!(node.read(key), "value");
}

#[test]
fn a_peer_that_agrees_is_answered_in_one_line() {
    let node = node();
    let id = node.stats()["node"].clone();
    // Before it answers, a node that has not met anyone yet says so.
    let answer = say(&node, hello("default", "00000001") + "\n");
    let (remarks, last) = answer.trim_end().rsplit_once('\n').expect("there is more than one line");
    assert!(remarks.lines().any(|line| line == "cut 000000000000"), "{answer:?}");
    assert_eq!(last, format!("done {id}"));
    eventually(SOON, "it has met a peer", || {
        same(say(&node, hello("default", "00000001") + "\n"), format!("done {id}\n"))
    });
    eventually(SOON, "both are counted", || same(node.count("nInSyncs") >= 2, true));
    assert_gossips(&node, "key");
}

#[test]
fn another_cluster_is_refused_and_nothing_of_it_is_kept() {
    let node = node();
    node.write("ours", "secret");
    let record = format!("put {:012x}0000-00000001 1 1\nkv\n", clock_ms());
    let answer = say(&node, hello("other", "00000001"));
    assert_eq!(answer, "refuse cluster\n");
    assert_counted(&node, "nRefusedCluster", 1);
    // With all that would follow in the same breath.
    let mut stream = call(&node);
    let _ = stream.write_all(format!("{}{record}\n", hello("default2", "00000001")).as_bytes());
    let mut answer = String::new();
    // What it did not read resets the connection, maybe before the refusal was read.
    let _ = stream.read_to_string(&mut answer);
    assert!("refuse cluster\n".starts_with(&answer), "{answer:?}");
    assert_counted(&node, "nRefusedCluster", 2);
    assert_eq!(node.count("keys"), 1);
    assert!(node.log().contains("another cluster"), "{}", node.log());
    assert_gossips(&node, "still");
}

#[test]
fn two_clusters_that_list_each_other_stay_apart() {
    let places = Cluster::places(4);
    let start = |index: usize| {
        let cluster = if index < 2 { "blue" } else { "green" };
        places.start(index, &[("CLUSTER", cluster), ("SYNC_INTERVAL", "50ms")])
    };
    let mut blue = Cluster { nodes: (0..2).map(start).collect() };
    let green = Cluster { nodes: (2..4).map(start).collect() };
    blue.nodes[0].write("colour", "blue");
    green.nodes[0].write("colour", "green");
    blue.wait_for(SOON, "colour", "blue");
    green.wait_for(SOON, "colour", "green");
    for node in blue.nodes.iter().chain(&green.nodes) {
        eventually(SOON, "it has refused the others", || {
            same(node.count("nRefusedCluster") > 2, true)
        });
    }
    blue.wait_for(SOON, "colour", "blue");
    green.wait_for(SOON, "colour", "green");
    // An address comes back under another owner.
    blue.nodes[1].kill();
    blue.nodes[1].start_again(&[("CLUSTER", "green")]);
    let changed = blue.nodes.pop().expect("there are two");
    eventually(SOON, "it has the others' map", || same(changed.read("colour"), "green".into()));
    assert_eq!(blue.nodes[0].read("colour"), "blue");
}

#[test]
fn another_protocol_version_is_refused_as_such() {
    let node = node();
    for (index, version) in ["2", "0", "99999999999999999999", "x", ""].iter().enumerate() {
        let line = hello("default", "00000001").replacen(" 1 ", &format!(" {version} "), 1);
        assert_eq!(say(&node, line), "refuse protocol\n", "{version}");
        assert_counted(&node, "nRefusedProtocol", index as u64 + 1);
    }
    assert_eq!(say(&node, "hello 2 whatever comes then\n"), "refuse protocol\n");
    assert_gossips(&node, "still");
}

#[test]
fn a_call_from_itself_is_refused_as_such() {
    let node = node();
    let id = node.stats()["node"].clone();
    assert_eq!(say(&node, hello("default", &id)), "refuse self\n");
    assert_counted(&node, "nRefusedSelf", 1);
}

#[test]
fn what_is_not_the_protocol_is_refused_and_changes_nothing() {
    let node = node();
    node.write("ours", "value");
    let greeting = hello("default", "00000001");
    let before = node.stats()["digest"].clone();
    let after_hello = [
        "junk\n",
        "hello 1\n",
        "put\n",
        "put 019abcdef0110000-1a2b3c4d 1\n",
        "put 019abcdef0110000-1a2b3c4d -1 1\n",
        "put 019abcdef0110000-1a2b3c4d 01 1\n",
        "put 019abcdef0110000-1a2b3c4d 65537 1\n",
        "put 019abcdef0110000-1a2b3c4d 1 16777217\n",
        "put 019abcdef0110000-1a2b3c4d 1 18446744073709551616\n",
        "put 019ABCDEF0110000-1a2b3c4d 1 1\n",
        "put ffffffffffffffff-1a2b3c4d 1 1\n",
        "put 019abcdef0110000-1a2b3c4d 1 1\nkv!",
        "put 019abcdef0110000-1a2b3c4d 2 1\n\u{1}",
        "del 019abcdef0110000-1a2b3c4d 1\nk!",
        "want 1\n",
        "want 0000000000000002 0000000000000001\n",
        "list - 0:0\n",
        "row - ----\n",
        "row -  ----------------\n",
        "hot x\n",
        "cut 0\n",
        "tell 2 1\n",
        "tell 0 99999999999\n",
        "gone 0\n",
        "refuse something\n",
        "done 00000001\n",
        " \n",
        "rest \n",
    ];
    let mut refused = 0;
    for text in after_hello {
        let text = if text.ends_with('\u{1}') {
            "put 019abcdef0110000-1a2b3c4d 1 1\n\u{fffd}\n"
        } else {
            text
        };
        let answer = say(&node, format!("{greeting}{text}"));
        assert_eq!(answer, "refuse grammar\n", "{text:?}");
        refused += 1;
        assert_counted(&node, "nRefusedGrammar", refused);
    }
    for text in [
        "\n",
        "junk\n",
        "\r\n",
        "done 00000001\n",
        "hello 1 default 00000001\n",
        "hello 1 bad/name 00000001 019abcdef012 0 0000000000000000\n",
        "hello 1 default 0000001 019abcdef012 0 0000000000000000\n",
        "hello 1 default 00000001 ffffffffffff 0 0000000000000000\n",
        "hello 1 default 00000001 019abcdef012 -1 0000000000000000\n",
        "HELLO 1 default 00000001 019abcdef012 0 0000000000000000\n",
    ] {
        assert_eq!(say(&node, text), "refuse grammar\n", "{text:?}");
        refused += 1;
        assert_counted(&node, "nRefusedGrammar", refused);
    }
    assert_eq!(say(&node, b"\xff\xfe\x00\x01\n"), "refuse grammar\n");
    assert_eq!(node.stats()["digest"], before);
    // Forty of them, and a few lines.
    assert!(node.log_lines() < 10, "{}", node.log());
    assert_gossips(&node, "still");
}

#[test]
fn an_http_request_to_the_peer_port_is_refused() {
    let node = node();
    let mut stream = call(&node);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!("refuse grammar\n".starts_with(&answer), "{answer:?}");
    assert_counted(&node, "nRefusedGrammar", 1);
    assert!(node.log().contains("not the gossip protocol"), "{}", node.log());
    assert_gossips(&node, "still");
}

#[test]
fn who_connects_and_closes_without_a_word_is_not_worth_one() {
    let node = node();
    for half in [true, false] {
        for _ in 0..50 {
            let mut stream = call(&node);
            if half {
                stream.shutdown(Shutdown::Write).unwrap();
                // The node has taken note of it once it closes too.
                assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
            }
        }
    }
    assert_gossips(&node, "still");
    let stats = node.stats();
    for name in TROUBLES {
        // Of those that close at once some may still be there when the next one calls.
        assert!(stats[name] == "0" || name == "nRefusedBusy", "{name}");
    }
    let log = node.log();
    let warnings = log.lines().filter(|line| !line.contains("level=info"));
    assert_eq!(warnings.filter(|line| !line.contains("many exchanges")).count(), 0, "{log}");
}

#[test]
fn a_line_of_ten_megabytes_is_refused_and_takes_no_memory() {
    let node = node();
    let before_kib = node.resident_kib();
    for _ in 0..5 {
        let mut stream = call(&node);
        let piece = [b'a'; 64 * 1024];
        let mut sent = 0;
        while sent < 10 * 1024 * 1024 {
            match stream.write(&piece) {
                Ok(written) => sent += written,
                Err(error) => {
                    let kind = error.kind();
                    assert!([ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&kind));
                    break;
                }
            }
        }
        assert!(sent < 10 * 1024 * 1024, "it has read the whole line");
    }
    assert_counted(&node, "nRefusedGrammar", 5);
    let grown_kib = node.resident_kib().saturating_sub(before_kib);
    println!("five lines of 10 MB: {grown_kib} KiB more");
    assert!(grown_kib < 4096, "{grown_kib} KiB");
    assert_gossips(&node, "still");
}

#[test]
fn a_promise_of_sixteen_mebibytes_that_never_comes_takes_no_memory() {
    let node = node();
    let before_kib = node.resident_kib();
    let promise = format!("put {:012x}0000-00000001 3 16777216\nkey", clock_ms());
    let mut silent = Vec::new();
    for index in 0..6 {
        let mut stream = call(&node);
        let greeting = hello("default", &format!("0000000{index}"));
        stream.write_all(format!("{greeting}{promise}").as_bytes()).unwrap();
        silent.push(stream);
    }
    assert_gossips(&node, "meanwhile");
    let grown_kib = node.resident_kib().saturating_sub(before_kib);
    println!("six promises of 16 MiB: {grown_kib} KiB more");
    assert!(grown_kib < 4096, "{grown_kib} KiB");
    // Half of them go; of the others the node has had enough after some seconds.
    silent.truncate(3);
    assert_counted(&node, "nBrokenAnswers", 6);
    assert_eq!(node.get("key"), None);
    assert_gossips(&node, "still");
}

#[test]
fn a_hundred_callers_at_once_are_told_to_come_back_and_gossip_goes_on() {
    let node = node();
    let before_kib = node.resident_kib();
    let began = Instant::now();
    let mut initiators: Vec<TcpStream> = (0..100).map(|_| call(&node)).collect();
    let held = began.elapsed();
    let mut busy = 0;
    for initiator in &mut initiators {
        let mut answer = String::new();
        // Those who got a place say nothing, and lose it after a second.
        initiator.read_to_string(&mut answer).unwrap();
        match answer.as_str() {
            "refuse busy\n" => busy += 1,
            "" => {}
            other => panic!("{other:?}"),
        }
    }
    println!("{busy} of 100 were told that it is busy; they came within {held:?}");
    // Eight are answered at a time. On a busy machine the first may be gone before the last come.
    assert!(busy <= 92 && (busy == 92 || held > Duration::from_millis(500)), "{busy} in {held:?}");
    assert_eq!(node.count("nRefusedBusy"), busy);
    let grown_kib = node.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 4096, "{grown_kib} KiB");
    drop(initiators);
    assert_gossips(&node, "still");
}

#[test]
fn a_cluster_converges_while_its_peer_ports_are_crowded() {
    let cluster = Cluster::start(3, &[("SYNC_INTERVAL", "100ms")]);
    for round in 0..5 {
        let crowd: Vec<TcpStream> =
            cluster.nodes.iter().flat_map(|node| (0..20).map(|_| call(node))).collect();
        cluster.nodes[round % 3].write("key", format!("value {round}"));
        drop(crowd);
        cluster.wait_for(SOON, "key", &format!("value {round}"));
    }
}

#[test]
fn a_hello_that_comes_byte_by_byte_is_answered() {
    let node = node();
    let mut stream = call(&node);
    for byte in (hello("default", "00000001") + "\n").bytes() {
        stream.write_all(&[byte]).unwrap();
        // Only so that the bytes travel one by one; nothing depends on how long this takes.
        std::thread::yield_now();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("done "), "{answer:?}");
    eventually(SOON, "it is counted", || same(node.count("nInSyncs"), 1));
    for name in TROUBLES {
        assert_eq!(node.count(name), 0, "{name}");
    }
}

#[test]
fn who_says_nothing_loses_the_connection_after_a_second() {
    let node = node();
    let began = Instant::now();
    let mut stream = call(&node);
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    let after = began.elapsed();
    assert!((900..5000).contains(&after.as_millis()), "{after:?}");
}

#[test]
fn a_exchange_that_is_cut_off_changes_nothing_it_had_not_said() {
    let node = node();
    let whole = visit("key", "value");
    let is_said = whole.find("value\n").map(|start| start + "value\n".len());
    for length in 0..whole.len() {
        let mut stream = call(&node);
        stream.write_all(&whole.as_bytes()[..length]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let is_there = node.get("key").is_some();
        assert_eq!(is_there, is_said.is_some_and(|said| length >= said), "after {length} bytes");
    }
    assert!(say(&node, whole).contains("done "));
    assert_eq!(node.read("key"), "value");
}

#[test]
fn random_bytes_change_nothing() {
    let node = node();
    node.write("ours", "value");
    let before = node.stats()["digest"].clone();
    let mut rng = fastrand::Rng::with_seed(11);
    let words = [
        "hello 1 default ",
        "put ",
        "del ",
        "list - ",
        "row - ",
        "want ",
        "\n",
        " ",
        "0",
        "f",
        "-",
    ];
    for round in 0..300 {
        let mut bytes = Vec::new();
        if round % 2 == 0 {
            bytes.extend_from_slice(hello("default", "00000001").as_bytes());
        }
        for _ in 0..rng.usize(1..60) {
            match rng.usize(0..3) {
                0 => bytes.push(rng.u8(..)),
                _ => bytes.extend_from_slice(words[rng.usize(0..words.len())].as_bytes()),
            }
        }
        let mut stream = call(&node);
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(node.stats()["digest"], before);
    assert_eq!(node.read("ours"), "value");
    assert_eq!(node.count("panics"), 0);
    // Each of them is counted once, as one thing or another.
    eventually(SOON, "all are counted", || {
        let stats = node.stats();
        let count = |name: &str| stats[name].parse::<u64>().expect("it is a number");
        same(TROUBLES.into_iter().map(count).sum::<u64>() + count("nInSyncs"), 300)
    });
    assert!(node.count("nRefusedGrammar") > 100, "{}", node.count("nRefusedGrammar"));
    assert!(node.log_lines() < 15, "{}", node.log());
    assert_gossips(&node, "still");
}

// Those who never stop, never start or never go.

/// The most that a node reads in one turn.
const MAX_TURN_BYTES: u64 = 25_233_408;

/// Writes the same thing again and again until the node closes; gives how many bytes it took, and
/// what it said.
fn go_on_for_ever(stream: &mut TcpStream, mut next: impl FnMut() -> Vec<u8>) -> (u64, String) {
    const TEN_GB: u64 = 10_000_000_000;
    stream.set_write_timeout(Some(ANSWER_LIMIT)).expect("the limit is not zero");
    let mut sent = 0;
    while sent < TEN_GB {
        match stream.write(&next()) {
            Ok(written) => sent += written as u64,
            Err(error) => {
                let kind = error.kind();
                let is_closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&kind);
                assert!(is_closed, "after {sent} bytes: {error}");
                break;
            }
        }
    }
    let mut answer = Vec::new();
    // What it did not read resets the connection, maybe before its last word was read.
    let _ = stream.read_to_end(&mut answer);
    (sent, String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn ten_gigabytes_of_records_in_one_turn_are_cut_off_and_take_no_memory() {
    let node = node();
    let before_kib = node.resident_kib();
    let threads = node.threads();
    let start_ms = clock_ms();
    let (most_threads, most_kib) = node.peaks_while(|| {
        let mut stream = call(&node);
        stream.write_all(hello("default", "00000001").as_bytes()).unwrap();
        let mut index = 0;
        // One key, so that what is kept does not grow.
        let (sent, answer) = go_on_for_ever(&mut stream, || {
            index += 1;
            let head = format!("put {start_ms:012x}{index:04x}-00000001 3 60000\nkey");
            [head.as_bytes(), &[b'x'; 60_000], b"\n"].concat()
        });
        println!("{sent} bytes were sent, {index} records");
        // Beyond what it reads there is what the system's buffers hold.
        assert!((MAX_TURN_BYTES - 100..2 * MAX_TURN_BYTES).contains(&sent), "{sent}");
        assert_eq!(answer, "", "a turn that is too long is closed without a word");
    });
    assert_counted(&node, "nBrokenAnswers", 1);
    assert_eq!(node.count("nBytesReceived"), MAX_TURN_BYTES);
    let grown_kib = most_kib.saturating_sub(before_kib);
    println!("{most_threads} threads, {grown_kib} KiB more");
    assert!(most_threads <= threads + 8, "{most_threads} threads");
    assert!(grown_kib < 8192, "{grown_kib} KiB");
    assert!(node.log_lines() < 10, "{}", node.log());
    assert_eq!((node.count("keys"), node.get("key")), (1, Some(vec![b'x'; 60_000])));
    assert_gossips(&node, "still");
}

#[test]
fn ten_gigabytes_without_a_line_feed_are_cut_off_after_the_first_few() {
    let node = node();
    let before_kib = node.resident_kib();
    let (_, most_kib) = node.peaks_while(|| {
        for greeting in [hello("default", "00000001"), String::new()] {
            let mut stream = call(&node);
            stream.write_all(greeting.as_bytes()).unwrap();
            let (sent, answer) =
                go_on_for_ever(&mut stream, || b"want 0123456789abcdef".repeat(1000));
            println!("{sent} bytes were sent");
            assert!("refuse grammar\n".starts_with(&answer), "{answer:?}");
        }
    });
    assert_counted(&node, "nRefusedGrammar", 2);
    // What it reads at a time, once each, whatever the line's limit is.
    let read = node.count("nBytesReceived");
    assert!(read <= 2 * (16 * 1024 + 100), "{read}");
    let grown_kib = most_kib.saturating_sub(before_kib);
    assert!(grown_kib < 4096, "{grown_kib} KiB");
    assert!(node.log_lines() < 10, "{}", node.log());
    assert_gossips(&node, "still");
}

#[test]
fn hundreds_of_callers_that_never_speak_take_few_threads_and_lines_of_log() {
    let node = node();
    let before_kib = node.resident_kib();
    let threads = node.threads();
    let descriptors = node.descriptors();
    let mut answers = Vec::new();
    let (most_threads, most_kib) = node.peaks_while(|| {
        let initiators: Vec<TcpStream> = (0..400).map(|_| call(&node)).collect();
        // HTTP does not wait for them.
        node.write("meanwhile", "served");
        for mut initiator in initiators {
            let mut answer = String::new();
            initiator.read_to_string(&mut answer).unwrap();
            answers.push(answer);
        }
    });
    let busy = answers.iter().filter(|answer| *answer == "refuse busy\n").count();
    let silent = answers.iter().filter(|answer| answer.is_empty()).count();
    println!("{busy} busy, {silent} silent, {most_threads} threads");
    assert_eq!(busy + silent, 400, "{answers:?}");
    assert!(busy >= 200, "{busy}");
    eventually(SOON, "each is counted", || {
        let counts = (node.count("nRefusedBusy"), node.count("nBrokenAnswers"));
        same(counts, (busy as u64, silent as u64))
    });
    assert!(most_threads <= threads + 8 + 8, "{most_threads} threads");
    let grown_kib = most_kib.saturating_sub(before_kib);
    assert!(grown_kib < 4096, "{grown_kib} KiB");
    assert!(node.log_lines() < 15, "{}", node.log());
    assert_gossips(&node, "still");
    eventually(SOON, "all is given back", || {
        same(node.descriptors() <= descriptors + 4 && node.threads() <= threads + 8, true)
    });
}

#[test]
fn callers_that_never_close_hold_nothing() {
    let node = node();
    let threads = node.threads();
    let descriptors = node.descriptors();
    let mut kept = Vec::new();
    for index in 0..40 {
        let greeting = match index % 4 {
            0 => hello("default", "00000001") + "\n",
            1 => hello("other", "00000001"),
            2 => "hello 2\n".to_owned(),
            _ => "junk\n".to_owned(),
        };
        // Whoever came before may still have his place for a moment.
        eventually(SOON, "it is answered", || {
            let mut stream = call(&node);
            stream.write_all(greeting.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let is_busy = answer.contains("busy");
            kept.push(stream);
            if is_busy { Err(answer) } else { Ok(()) }
        });
    }
    eventually(SOON, "all is given back", || {
        let now = (node.threads(), node.descriptors());
        let is_back = now.0 <= threads + 8 && now.1 <= descriptors + 4;
        if is_back { Ok(()) } else { Err(format!("{now:?} instead of {threads}, {descriptors}")) }
    });
    let stats = node.stats();
    for name in ["nInSyncs", "nRefusedCluster", "nRefusedProtocol", "nRefusedGrammar"] {
        assert_eq!(stats[name], "10", "{name}");
    }
    assert!(node.log_lines() < 10, "{}", node.log());
    assert_gossips(&node, "still");
}

#[test]
fn half_closed_exchanges_are_broken_ones_and_end_at_once() {
    let node = node();
    let version = format!("{:012x}0000-00000001", clock_ms());
    let greeting = hello("default", "00000001");
    let mut broken = 0;
    for said in [
        "hello 1".to_owned(),
        greeting.clone(),
        format!("{greeting}list"),
        format!("{greeting}put {version} 3 5\nke"),
        format!("{greeting}put {version} 3 16777216\nkeyvalue"),
        format!("{greeting}put {version} 3 5\nkeyvalue"),
    ] {
        let began = Instant::now();
        let mut stream = call(&node);
        stream.write_all(said.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0, "{said:?}");
        assert!(began.elapsed() < Duration::from_secs(4), "{said:?}: {:?}", began.elapsed());
        broken += 1;
        assert_counted(&node, "nBrokenAnswers", broken);
    }
    assert_eq!(node.count("keys"), 0);
    // Who has said all that he will say may close his side.
    let mut stream = call(&node);
    stream.write_all(visit("key", "value").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("done "), "{answer:?}");
    assert_gossips(&node, "still");
}

#[test]
fn counts_and_lengths_that_lie_are_refused_or_do_no_harm() {
    let node = node();
    node.write("ours", "value");
    let before = node.stats()["digest"].clone();
    let before_kib = node.resident_kib();
    let greeting = hello("default", "00000001");
    let version = format!("{:012x}0000-00000001", clock_ms());
    let items = |count: u64| -> String {
        (0..count).map(|index| format!(" {index:016x}:{version}")).collect()
    };
    let hashes =
        |count: u64| -> String { (0..count).map(|hash| format!(" {hash:016x}")).collect() };
    let mut refused = 0;
    for said in [
        // More follows than was said: there is no line feed where one should be.
        format!("put {version} 3 4\nkeyvalue\n"),
        format!("put {version} 2 5\nkeyvalue\n"),
        format!("put {version} 0 0\nkeyvalue\n"),
        format!("del {version} 2\nkey\n"),
        // Less follows, and what comes next is taken for the rest of it.
        format!("put {version} 3 7\nkeyvalue\n\nx"),
        format!("put {version} 1 1\n\u{e9}"),
        format!("list -{}\n", items(33)),
        format!("hot{}\n", items(33)),
        format!("want{}\n", hashes(33)),
        format!("gone{}\n", hashes(33)),
        format!("put {version} 18446744073709551615 18446744073709551615\n"),
        format!("put {version} 3 99999999999999999999\n"),
        "tell 0 4294967296\n".to_owned(),
        "since ffffffffffff\n".to_owned(),
    ] {
        assert_eq!(say(&node, format!("{greeting}{said}")), "refuse grammar\n", "{said:?}");
        refused += 1;
        assert_counted(&node, "nRefusedGrammar", refused);
    }
    let hello_with = |count: &str| {
        format!("hello 1 default 00000001 {:012x} {count} ffffffffffffffff\n", clock_ms())
    };
    for count in ["18446744073709551616", "-1", "1e9"] {
        assert_eq!(say(&node, hello_with(count)), "refuse grammar\n", "{count}");
        refused += 1;
        assert_counted(&node, "nRefusedGrammar", refused);
    }
    assert_eq!(node.stats()["digest"], before);
    // A digest and a count of what is not there, as many items as may be, and nothing of it sent.
    for count in ["18446744073709551615", "0"] {
        for lie in [
            "\n\n".to_owned(),
            format!("hot{}\n\n\n", items(32)),
            format!("want{}\n\n\n", hashes(32)),
            format!("gone{}\n\n\n", hashes(32)),
            "tell 0 4294967295\n\n\n".to_owned(),
        ] {
            let answer = say(&node, hello_with(count) + &lie);
            assert!(answer.contains("done "), "{count} {lie:?}: {answer:?}");
        }
    }
    assert_eq!(node.stats()["digest"], before);
    assert_counted(&node, "nRefusedGrammar", refused);
    let grown_kib = node.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 4096, "{grown_kib} KiB");
    assert!(node.log_lines() < 10, "{}", node.log());
    assert_gossips(&node, "still");
}

#[test]
#[ignore = "takes the 30 s of an exchange; run by test.sh in release"]
fn exchanges_that_trickle_are_cut_off_when_their_time_is_up() {
    let node = node();
    let version = format!("{:012x}0000-00000001", clock_ms());
    let greeting = hello("default", "00000001");
    // Each keeps on saying something: the first line, lines that ask for nothing, a value.
    let value = format!("{greeting}put {version} 3 10000\nkey{}", "x".repeat(10_000));
    let said = [
        (0, greeting.clone()),
        (greeting.len(), greeting.clone() + &"want\n".repeat(1000)),
        (value.len() - 10_000, value),
    ];
    let began = Instant::now();
    let trickle = |at_once: usize, text: &str| {
        let mut stream = call(&node);
        stream.write_all(&text.as_bytes()[..at_once]).unwrap();
        for byte in text.as_bytes()[at_once..].iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            // The pace of the bytes.
            std::thread::sleep(Duration::from_millis(500));
            assert!(began.elapsed() < Duration::from_secs(60), "it is still read");
        }
        began.elapsed()
    };
    std::thread::scope(|scope| {
        let ends: Vec<_> = said
            .iter()
            .map(|(at_once, text)| scope.spawn(move || trickle(*at_once, text)))
            .collect();
        for _ in 0..5 {
            assert_gossips(&node, "meanwhile");
        }
        for end in ends {
            let after = end.join().unwrap();
            assert!((29..40).contains(&after.as_secs()), "{after:?}");
        }
    });
    assert_counted(&node, "nBrokenAnswers", 3);
    assert_eq!(node.get("key"), None);
    assert!(node.log().contains("took too long"), "{}", node.log());
    assert_gossips(&node, "still");
}
