//! Exchanges that end early, or arrive slowly.

use super::{
    FAILURE_COUNTERS, REACTION_LIMIT, assert_counted, assert_gossips, clock_ms, connect, hello,
    node, one_key_exchange, send_and_read,
};
use crate::support::{eventually, same};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

#[test]
fn a_truncated_exchange_stores_complete_records_only() {
    let node = node();
    let whole = one_key_exchange("key", "value");
    let is_said = whole.find("value\n").map(|start| start + "value\n".len());
    for length in 0..whole.len() {
        let mut stream = connect(&node);
        stream.write_all(&whole.as_bytes()[..length]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        let is_there = node.get("key").is_some();
        assert_eq!(is_there, is_said.is_some_and(|said| length >= said), "after {length} bytes");
    }
    assert!(send_and_read(&node, whole).contains("done "));
    assert_eq!(node.read("key"), "value");
}

#[test]
fn half_closed_exchanges_count_as_broken_and_end_at_once() {
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
        let mut stream = connect(&node);
        stream.write_all(said.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0, "{said:?}");
        assert!(began.elapsed() < Duration::from_secs(4), "{said:?}: {:?}", began.elapsed());
        broken += 1;
        assert_counted(&node, "nFailedInSyncs", broken);
    }
    assert_eq!(node.count("keys"), 0);
    // A peer that has sent everything may close its side.
    let mut stream = connect(&node);
    stream.write_all(one_key_exchange("key", "value").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("done "), "{reply:?}");
    assert_gossips(&node, "still");
}

#[test]
fn a_hello_sent_byte_by_byte_is_answered() {
    let node = node();
    let mut stream = connect(&node);
    for byte in (hello("default", "00000001") + "\n").bytes() {
        stream.write_all(&[byte]).unwrap();
        // Lets the bytes travel one by one; no condition depends on it.
        std::thread::yield_now();
    }
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("done "), "{reply:?}");
    eventually(REACTION_LIMIT, "it is counted", || same(node.count("nInSyncs"), 1));
    for name in FAILURE_COUNTERS {
        assert_eq!(node.count(name), 0, "{name}");
    }
}

#[test]
#[ignore = "takes the 30 s of an exchange; run by ./test.sh long"]
fn trickling_exchanges_are_disconnected_at_their_deadline() {
    let node = node();
    let version = format!("{:012x}0000-00000001", clock_ms());
    let greeting = hello("default", "00000001");
    // Each of them goes on sending something: the first line, empty wants, a value.
    let value = format!("{greeting}put {version} 3 10000\nkey{}", "x".repeat(10_000));
    let said = [
        (0, greeting.clone()),
        (greeting.len(), greeting.clone() + &"want\n".repeat(1000)),
        (value.len() - 10_000, value),
    ];
    let began = Instant::now();
    let trickle = |at_once: usize, text: &str| {
        let mut stream = connect(&node);
        stream.write_all(&text.as_bytes()[..at_once]).unwrap();
        for byte in text.as_bytes()[at_once..].iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            // The pace of the bytes.
            std::thread::sleep(Duration::from_millis(500));
            assert!(began.elapsed() < Duration::from_secs(60), "the exchange is still read");
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
    assert_counted(&node, "nFailedInSyncs", 3);
    assert_eq!(node.get("key"), None);
    node.wait_for_log("took longer than 30 s");
    assert_gossips(&node, "still");
}
