//! Huge bodies and heads: they take no memory and block nobody.

use crate::support::{Client, MIB, Node, assert_healthy, assert_serves};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

#[test]
fn a_body_that_never_arrives_takes_no_memory_and_blocks_nobody() {
    let node = Node::alone(&[]);
    node.write("old", "value");
    let before_kib = node.resident_kib();
    for method in ["PUT", "GET", "POST", "HEAD", "DELETE"] {
        for target in ["/map?k=old", "/map", "/nowhere", "/healthz"] {
            for length in ["1000000000000", "9223372036854775807", "18446744073709551615"] {
                let mut client = node.client();
                client.send(format!(
                    "{method} {target} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
                ));
                let mut response = client.response_to("HEAD");
                if response.status == 100 {
                    response = client.response_to(method);
                }
                if (method, target) == ("PUT", "/map?k=old") {
                    assert_eq!(response.status, 413, "{response:?}");
                }
                assert!(response.status >= 200, "{method} {target} {length}: {response:?}");
                drop(client);
                assert_eq!(node.read("old"), "value", "after {method} {target} {length}");
            }
        }
    }
    assert_healthy(&node);
    let grown_kib = node.resident_kib().saturating_sub(before_kib);
    println!("60 bodies that never arrived: {grown_kib} KiB more");
    assert!(grown_kib < 20_000, "{grown_kib} KiB");
}

#[test]
fn a_huge_ambiguous_length_takes_no_memory_and_blocks_nobody() {
    let node = Node::alone(&[]);
    node.write("old", "value");
    for headers in [
        "Content-Length: 1000000000000\r\nContent-Length: 1000000000000",
        "Content-Length: 1000000000000\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 1000000000000",
        "Content-Length: +1000000000000",
        "Content-Length: 1000000000000\r\nTransfer-Encoding: chunked",
        "Content-Length: 1000000000000\r\nExpect: 100-continue\r\nContent-Length: 5",
        "Content-Length: 18446744073709551615\r\nContent-Length: 18446744073709551615",
        "Content-Length: 1000000000000\r\nConnection: Upgrade",
    ] {
        for method in ["PUT", "GET"] {
            let mut client = node.client();
            client.send(format!("{method} /map?k=old HTTP/1.1\r\n{headers}\r\n\r\nhello"));
            let mut response = client.response_to("HEAD");
            if response.status == 100 {
                response = client.response();
            }
            assert!([400, 413, 200].contains(&response.status), "{headers}: {response:?}");
            drop(client);
            assert_eq!(node.read("old"), "value", "after {method} {headers}");
        }
    }
    assert_healthy(&node);
}

#[test]
fn a_huge_length_is_refused_at_once_however_slowly_the_body_arrives() {
    let node = Node::alone(&[]);
    node.write("old", "value");
    let before_kib = node.resident_kib();
    let lengths = ["1000000000000", "9223372036854775807", "18446744073709551615"];
    let mut clients: Vec<Client> = lengths.iter().map(|_| node.client()).collect();
    for (client, length) in clients.iter_mut().zip(lengths) {
        client.send(format!("PUT /map?k=old HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"));
    }
    let (_, most_kib) = node.peaks_while(|| {
        for _ in 0..15 {
            for client in &mut clients {
                // The node may have closed the connection already.
                let _ = client.stream.write(b"x");
            }
            assert_eq!(node.read("old"), "value");
            // The pace of the body; no condition depends on it.
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    for (client, length) in clients.iter_mut().zip(lengths) {
        let mut response = client.response();
        if response.status == 100 {
            response = client.response();
        }
        assert_eq!(response.status, 413, "{length}: {response:?}");
    }
    let grown_kib = most_kib.saturating_sub(before_kib);
    assert!(grown_kib < 8_000, "{grown_kib} KiB");
    assert_healthy(&node);
}

#[test]
fn huge_heads_block_nobody() {
    let node = Node::alone(&[]);
    let heads = [
        format!("X: {}\r\n", "x".repeat(MIB)),
        format!("{}: x\r\n", "X".repeat(MIB)),
        (0..10_000).map(|index| format!("X-{index}: x\r\n")).collect(),
        "X: 12345\r\n".repeat(MIB / 10),
    ];
    let mut clients = Vec::new();
    for head in &heads {
        let mut client = node.client();
        // The node may refuse before it has read the whole head.
        let _ = client.stream.write_all(format!("GET /map?k=still HTTP/1.1\r\n{head}").as_bytes());
        clients.push(client);
    }
    assert_serves(&node);
    println!("four heads of up to 1 MiB: {} KiB", node.resident_kib());
    for mut client in clients {
        let _ = client.stream.write_all(b"\r\n");
        let _ = client.stream.shutdown(Shutdown::Write);
        let mut response = Vec::new();
        // A connection that is refused with unread data is reset.
        let _ = client.stream.read_to_end(&mut response);
        let text = String::from_utf8_lossy(&response);
        let is_refused = response.is_empty() || text.starts_with("HTTP/1.1 4");
        assert!(is_refused || text.ends_with("still=serving\n"), "{text:?}");
    }
    assert_healthy(&node);
}
