//! Input that violates the grammar, or claims what is not true.

use super::{
    FAILURE_COUNTERS, REACTION_LIMIT, assert_counted, assert_gossips, clock_ms, connect, hello,
    node, send_and_read,
};
use crate::support::{eventually, same};
use std::io::{Read, Write};
use std::net::Shutdown;

#[test]
fn bad_grammar_is_refused_and_changes_nothing() {
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
        "done 00000001 --1\n",
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
        let reply = send_and_read(&node, format!("{greeting}{text}"));
        assert_eq!(reply, "refuse grammar\n", "{text:?}");
        refused += 1;
        assert_counted(&node, "nRefusedGrammar", refused);
    }
    for text in [
        "\n",
        "junk\n",
        "\r\n",
        "done 00000001 --1\n",
        "hello 1 default 00000001\n",
        "hello 1 bad/name 00000001 019abcdef012 0 0000000000000000\n",
        "hello 1 default 0000001 019abcdef012 0 0000000000000000\n",
        "hello 1 default 00000001 ffffffffffff 0 0000000000000000\n",
        "hello 1 default 00000001 019abcdef012 -1 0000000000000000\n",
        "HELLO 1 default 00000001 019abcdef012 0 0000000000000000\n",
    ] {
        assert_eq!(send_and_read(&node, text), "refuse grammar\n", "{text:?}");
        refused += 1;
        assert_counted(&node, "nRefusedGrammar", refused);
    }
    assert_eq!(send_and_read(&node, b"\xff\xfe\x00\x01\n"), "refuse grammar\n");
    assert_eq!(node.stats()["digest"], before);
    // About forty refusals, and a few lines of log.
    assert!(node.log_lines() < 10, "{}", node.log());
    assert_gossips(&node, "still");
}

#[test]
fn false_counts_and_lengths_are_refused_or_harmless() {
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
        // More bytes follow than announced, so that there is no line feed where one is expected.
        format!("put {version} 3 4\nkeyvalue\n"),
        format!("put {version} 2 5\nkeyvalue\n"),
        format!("put {version} 0 0\nkeyvalue\n"),
        format!("del {version} 2\nkey\n"),
        // Fewer bytes follow than announced, so that the next message is read as part of the
        // record.
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
        assert_eq!(
            send_and_read(&node, format!("{greeting}{said}")),
            "refuse grammar\n",
            "{said:?}"
        );
        refused += 1;
        assert_counted(&node, "nRefusedGrammar", refused);
    }
    let hello_with = |count: &str| {
        format!("hello 1 default 00000001 {:012x} {count} ffffffffffffffff\n", clock_ms())
    };
    for count in ["18446744073709551616", "-1", "1e9"] {
        assert_eq!(send_and_read(&node, hello_with(count)), "refuse grammar\n", "{count}");
        refused += 1;
        assert_counted(&node, "nRefusedGrammar", refused);
    }
    assert_eq!(node.stats()["digest"], before);
    // A digest and a count of entries that do not exist, and as many items as allowed, none of
    // which is sent.
    for count in ["18446744073709551615", "0"] {
        for lie in [
            "\n\n".to_owned(),
            format!("hot{}\n\n\n", items(32)),
            format!("want{}\n\n\n", hashes(32)),
            format!("gone{}\n\n\n", hashes(32)),
            "tell 0 4294967295\n\n\n".to_owned(),
        ] {
            let reply = send_and_read(&node, hello_with(count) + &lie);
            assert!(reply.contains("done "), "{count} {lie:?}: {reply:?}");
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
        let mut stream = connect(&node);
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(node.stats()["digest"], before);
    assert_eq!(node.read("ours"), "value");
    assert_eq!(node.count("panics"), 0);
    // Each connection is counted once.
    eventually(REACTION_LIMIT, "all connections are counted", || {
        let stats = node.stats();
        let count = |name: &str| stats[name].parse::<u64>().expect("it is a number");
        same(FAILURE_COUNTERS.into_iter().map(count).sum::<u64>() + count("nInSyncs"), 300)
    });
    assert!(node.count("nRefusedGrammar") > 100, "{}", node.count("nRefusedGrammar"));
    assert!(node.log_lines() < 15, "{}", node.log());
    assert_gossips(&node, "still");
}
