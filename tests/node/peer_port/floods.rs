//! Peers that send or announce far too much.

use super::{assert_counted, assert_gossips, clock_ms, connect, hello, node};
use crate::support::RESPONSE_LIMIT;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

#[test]
fn a_line_of_ten_megabytes_is_refused_and_takes_no_memory() {
    let node = node();
    let before_kib = node.resident_kib();
    for _ in 0..5 {
        let mut stream = connect(&node);
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
        assert!(sent < 10 * 1024 * 1024, "the node has read the whole line");
    }
    assert_counted(&node, "nRefusedGrammar", 5);
    let grown_kib = node.resident_kib().saturating_sub(before_kib);
    println!("five lines of 10 MB took {grown_kib} KiB more");
    assert!(grown_kib < 4096, "{grown_kib} KiB");
    assert_gossips(&node, "still");
}

#[test]
fn an_announced_value_of_16_mib_that_never_arrives_takes_no_memory() {
    let node = node();
    let before_kib = node.resident_kib();
    let promise = format!("put {:012x}0000-00000001 3 16777216\nkey", clock_ms());
    let mut silent = Vec::new();
    for index in 0..6 {
        let mut stream = connect(&node);
        let greeting = hello("default", &format!("0000000{index}"));
        stream.write_all(format!("{greeting}{promise}").as_bytes()).unwrap();
        silent.push(stream);
    }
    assert_gossips(&node, "meanwhile");
    let grown_kib = node.resident_kib().saturating_sub(before_kib);
    println!("six announced values of 16 MiB took {grown_kib} KiB more");
    assert!(grown_kib < 4096, "{grown_kib} KiB");
    // Half of them close; the others time out after some seconds.
    silent.truncate(3);
    assert_counted(&node, "nFailedInSyncs", 6);
    assert_eq!(node.get("key"), None);
    assert_gossips(&node, "still");
}

/// The limit of what a node reads in one turn.
const MAX_TURN_BYTES: u64 = 25_233_408;

/// Writes until the node closes. Returns how many bytes it accepted, and its reply.
fn write_until_closed(stream: &mut TcpStream, mut next: impl FnMut() -> Vec<u8>) -> (u64, String) {
    const TEN_GB: u64 = 10_000_000_000;
    stream.set_write_timeout(Some(RESPONSE_LIMIT)).expect("the limit is not zero");
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
    let mut reply = Vec::new();
    // Unread data resets the connection, perhaps before the reply has been read.
    let _ = stream.read_to_end(&mut reply);
    (sent, String::from_utf8_lossy(&reply).into_owned())
}

#[test]
fn an_endless_turn_is_disconnected_and_takes_no_memory() {
    let node = node();
    let before_kib = node.resident_kib();
    let threads = node.threads();
    let start_ms = clock_ms();
    let (most_threads, most_kib) = node.peaks_while(|| {
        let mut stream = connect(&node);
        stream.write_all(hello("default", "00000001").as_bytes()).unwrap();
        let mut index = 0;
        // One key, so that the store does not grow.
        let (sent, reply) = write_until_closed(&mut stream, || {
            index += 1;
            let head = format!("put {start_ms:012x}{index:04x}-00000001 3 60000\nkey");
            [head.as_bytes(), &[b'x'; 60_000], b"\n"].concat()
        });
        println!("{sent} bytes were sent, {index} records");
        // The system's buffers hold some more than the node reads.
        assert!((MAX_TURN_BYTES - 100..2 * MAX_TURN_BYTES).contains(&sent), "{sent}");
        assert_eq!(reply, "", "a turn that is too long is closed without a reply");
    });
    assert_counted(&node, "nFailedInSyncs", 1);
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
fn an_endless_line_is_disconnected_after_its_first_kilobytes() {
    let node = node();
    let before_kib = node.resident_kib();
    let (_, most_kib) = node.peaks_while(|| {
        for greeting in [hello("default", "00000001"), String::new()] {
            let mut stream = connect(&node);
            stream.write_all(greeting.as_bytes()).unwrap();
            let (sent, reply) =
                write_until_closed(&mut stream, || b"want 0123456789abcdef".repeat(1000));
            println!("{sent} bytes were sent");
            assert!("refuse grammar\n".starts_with(&reply), "{reply:?}");
        }
    });
    assert_counted(&node, "nRefusedGrammar", 2);
    // One buffer for each connection, whatever the line's limit is.
    let read = node.count("nBytesReceived");
    assert!(read <= 2 * (16 * 1024 + 100), "{read}");
    let grown_kib = most_kib.saturating_sub(before_kib);
    assert!(grown_kib < 4096, "{grown_kib} KiB");
    assert!(node.log_lines() < 10, "{}", node.log());
    assert_gossips(&node, "still");
}
