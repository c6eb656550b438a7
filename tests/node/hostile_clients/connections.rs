//! Many connections, idle ones, reset ones, and more than there are descriptors for.

use crate::support::{
    Client, Node, RESPONSE_LIMIT, allow_thousands_of_connections, assert_healthy, eventually,
    request_bytes, reset,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn a_burst_of_connections_is_served_while_all_of_them_stay_open() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    for round in 0..10 {
        let mut clients: Vec<Client> = (0..24).map(|_| node.client()).collect();
        for client in &mut clients {
            client.send(request_bytes("GET", "/map?k=a", &[], &[]));
        }
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.response().body, b"a=1\n", "round {round}, connection {index}");
        }
    }
}

#[test]
fn a_thousand_idle_connections_block_nobody_and_are_cleaned_up() {
    allow_thousands_of_connections();
    let node = Node::alone(&[]);
    let before_kib = node.resident_kib();
    let (threads, descriptors) = (node.threads(), node.descriptors());
    let mut idle: Vec<Client> = Vec::new();
    let (most_threads, most_kib) = node.peaks_while(|| {
        idle.extend((0..1000).map(|_| node.client()));
        assert_healthy(&node);
        for client in &mut idle {
            client.send("GET /ma");
        }
        assert_healthy(&node);
    });
    let grown_kib = most_kib.saturating_sub(before_kib);
    println!("1000 idle connections: {most_threads} threads, {grown_kib} KiB more");
    // One thread for each connection, and some that come and go.
    assert!(most_threads < threads + 1100, "{most_threads} threads");
    assert!(grown_kib < 50_000, "{grown_kib} KiB");
    // They are still served.
    let response = idle[500].send("p?k=still HTTP/1.1\r\n\r\n").response();
    assert_eq!(response.body, b"still=serving\n");
    drop(idle);
    eventually(3 * RESPONSE_LIMIT, "all threads and descriptors are released", || {
        let now = (node.threads(), node.descriptors());
        if now.0 < threads + 20 && now.1 < descriptors + 20 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    assert_healthy(&node);
}

#[test]
fn a_node_recovers_from_running_out_of_descriptors() {
    // Depending on whether the limit is odd, `accept` fails, or tiny_http's copy of the socket.
    for limit in ["ulimit -n 48", "ulimit -n 49"] {
        let node = Node::alone_after(Some(limit), &[]);
        node.write("a", "1");
        let mut idle: Vec<std::net::TcpStream> = Vec::new();
        // More than the node can accept; the rest waits in the system's queue.
        for _ in 0..60 {
            let mut stream = std::net::TcpStream::connect(node.http).unwrap();
            let _ = stream.write_all(b"GET /healthz HT");
            idle.push(stream);
        }
        drop(idle);
        eventually(3 * RESPONSE_LIMIT, "it serves again", || {
            let mut stream = std::net::TcpStream::connect(node.http).map_err(|e| e.to_string())?;
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let request = request_bytes("GET", "/map?k=a", &[("Connection", "close")], &[]);
            stream.write_all(&request).map_err(|error| error.to_string())?;
            let mut response = Vec::new();
            let read = std::io::Read::read_to_end(&mut stream, &mut response);
            if response.ends_with(b"a=1\n") { Ok(()) } else { Err(format!("{limit}: {read:?}")) }
        });
        assert_healthy(&node);
    }
}

#[test]
fn replacing_the_listener_leaves_no_threads_behind() {
    let node = Node::alone_after(Some("ulimit -n 48"), &[]);
    let threads = node.threads();
    let restarts = || -> Result<u64, String> {
        let mut stream = TcpStream::connect(node.http).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let request = request_bytes("GET", "/stats", &[("Connection", "close")], &[]);
        stream.write_all(&request).map_err(|error| error.to_string())?;
        let mut response = String::new();
        stream.read_to_string(&mut response).map_err(|error| error.to_string())?;
        let count = response.lines().find_map(|line| line.strip_prefix("nHttpRestarts="));
        count.and_then(|count| count.parse().ok()).ok_or(response)
    };
    let mut count = 0;
    for _ in 0..6 {
        // More than the node can accept, all closed at once.
        let crowd: Vec<Client> = (0..30).map(|_| node.client()).collect();
        drop(crowd);
        count = eventually(3 * RESPONSE_LIMIT, "it serves again", restarts);
    }
    // The threads of connections end after some idle seconds.
    let wanted = threads + 6;
    eventually(
        RESPONSE_LIMIT,
        &format!("{wanted} threads or fewer, after {count} restarts"),
        || {
            let now = node.threads();
            if now <= wanted { Ok(()) } else { Err(format!("{now}")) }
        },
    );
    assert_healthy(&node);
}

#[test]
fn reset_connections_block_nobody() {
    let node = Node::alone(&[]);
    let junk = vec![b'x'; 20_000];
    for _ in 0..500 {
        // A connection closed with unread data is reset.
        let mut client = node.client();
        client.send("GET /stats HTTP/1.1\r\n\r\nGET /stats HTTP/1.1\r\n\r\n");
        drop(client);
        let mut client = node.client();
        let _ = client.stream.write(&junk);
        drop(client);
    }
    assert_healthy(&node);
}

#[test]
fn three_thousand_connections_reset_on_arrival_block_nobody() {
    let node = Node::alone(&[]);
    let sent = [&b""[..], b"GET /stats HT", b"GET /stats HTTP/1.1\r\n\r\n"];
    let (threads, descriptors) = (node.threads(), node.descriptors());
    for index in 0..3000 {
        let mut client = node.client();
        client.send(sent[index % 3]);
        reset(client.stream);
    }
    assert_healthy(&node);
    // All of these are reset before the node accepts them, since it is stopped.
    node.signal("STOP");
    for index in 0..100 {
        let mut client = node.client();
        client.send(sent[index % 3]);
        reset(client.stream);
    }
    node.signal("CONT");
    assert_healthy(&node);
    eventually(3 * RESPONSE_LIMIT, "all threads and descriptors are released", || {
        let now = (node.threads(), node.descriptors());
        if now.0 < threads + 20 && now.1 < descriptors + 20 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    // tiny_http panics over some of them: these panics are counted, and must not flood the log.
    assert!(node.log_lines() < 50, "{}", node.log());
}
