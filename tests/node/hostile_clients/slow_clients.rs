//! Clients that send or read slowly, or not at all.

use crate::support::{Client, KIB, MIB, Node, assert_healthy, assert_serves};
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn a_slow_upload_blocks_nobody() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let uploading = scope.spawn(|| {
            let mut client = node.client();
            client.send("PUT /map?k=slow HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
            let mut sent = 0;
            let stopped = stopped;
            while stopped.recv_timeout(Duration::from_millis(1))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                client.send("1\r\nx\r\n");
                sent += 1;
            }
            assert_eq!(client.send("0\r\n\r\n").response().status, 201);
            sent
        });
        let mut client = node.client();
        for _ in 0..100 {
            assert_eq!(client.get("/map?k=a").body, b"a=1\n");
            assert_eq!(client.put("/map?k=b", b"2").status / 100, 2);
            assert_eq!(node.get("slow"), None);
        }
        stop.send(()).unwrap();
        let sent = uploading.join().unwrap();
        assert_eq!(node.get("slow").map(|value| value.len()), Some(sent));
    });
}

#[test]
fn many_slow_uploads_block_nobody_and_all_arrive() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    // More than are read at the same time.
    let mut clients: Vec<Client> = (0..24).map(|_| node.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(format!("PUT /map?k=slow{index} HTTP/1.1\r\nContent-Length: 10000\r\n\r\n"));
        client.send([b'x'; 5000]);
    }
    let mut client = node.client();
    for _ in 0..100 {
        assert_eq!(client.get("/map?k=a").body, b"a=1\n");
        assert!(client.put("/map?k=b", b"2").status < 300);
    }
    assert_eq!(node.count("keys"), 2);
    for client in &mut clients {
        client.send([b'x'; 5000]);
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 201);
    }
    assert_eq!(node.count("keys"), 26);
}

#[test]
fn heads_and_bodies_sent_at_a_byte_a_second_block_nobody() {
    let node = Node::alone(&[]);
    // What is sent at once, and what is sent byte by byte. There are fewer bodies too long to be
    // read ahead than are read at the same time, so that those of others are read too.
    let kinds = [
        (20, "", "PUT /map?k=slow HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n".to_owned()),
        (20, "PUT /map?k=slow HTTP/1.1\r\nContent-Length: 100\r\n\r\n", "x".repeat(100)),
        (12, "PUT /map?k=slow HTTP/1.1\r\nContent-Length: 2000\r\n\r\n", "x".repeat(2000)),
    ];
    let mut trickles = Vec::new();
    for (count, at_once, slow) in &kinds {
        for _ in 0..*count {
            let mut client = node.client();
            client.send(at_once);
            trickles.push((client, slow.as_bytes()));
        }
    }
    let mut slowest = Duration::ZERO;
    let mut rounds = 0;
    std::thread::scope(|scope| {
        let trickling = scope.spawn(|| {
            for _ in 0..3 {
                for (client, slow) in &mut trickles {
                    client.send(&slow[..1]);
                    *slow = &slow[1..];
                }
                // The pace of the bytes; no condition depends on it.
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let mut client = node.client();
        while !trickling.is_finished() {
            let began = Instant::now();
            assert!(client.put("/map?k=a", b"1").status < 300);
            assert_eq!(client.get("/map?k=a").body, b"a=1\n");
            assert!(client.put("/map?k=b", &[b'2'; 2 * KIB]).status < 300);
            assert_eq!(node.get("slow"), None);
            slowest = slowest.max(began.elapsed());
            rounds += 1;
        }
    });
    println!("{rounds} rounds of another client, the slowest in {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    for (client, slow) in &mut trickles {
        assert!([201, 204].contains(&client.send(slow).response().status));
    }
    assert_healthy(&node);
}

#[test]
fn half_sent_requests_block_nobody() {
    let node = Node::alone(&[]);
    let mut idle: Vec<Client> = (0..50).map(|_| node.client()).collect();
    for (index, client) in idle.iter_mut().enumerate() {
        let request = "PUT /map?k=half HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf";
        client.send(&request[..index * request.len() / 50]);
    }
    for _ in 0..20 {
        assert_serves(&node);
    }
    assert_eq!(node.get("half"), None);
}

#[test]
fn clients_that_do_not_read_their_responses_block_nobody() {
    let node = Node::alone(&[]);
    node.write("big", vec![b'x'; MIB]);
    let mut stuck = Vec::new();
    for _ in 0..4 {
        // Far more than fits into the system's buffers.
        let mut client = node.client();
        client.send(format!("GET /map?k=big{} HTTP/1.1\r\n\r\n", "&k=big".repeat(63)));
        stuck.push(client);
    }
    let mut client = node.client();
    for _ in 0..20 {
        assert_eq!(client.get("/healthz").status, 200);
        assert!(client.put("/map?k=a", b"1").status < 300);
    }
    // A client that reads at last gets everything.
    let response = stuck[0].response();
    assert_eq!(response.body.len(), 64 * (MIB + 5));
}

#[test]
#[ignore = "takes the 30 s of an upload; run by ./test.sh long"]
fn an_upload_that_takes_too_long_is_refused() {
    let node = Node::alone(&[]);
    let mut bodies: Vec<Client> = (0..2).map(|_| node.client()).collect();
    bodies[0].send("PUT /map?k=slow HTTP/1.1\r\nContent-Length: 5000\r\n\r\n");
    bodies[1].send("PUT /map?k=slow HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    let began = Instant::now();
    while node.count("nBadHttpReqs") < 2 {
        let _ = bodies[0].stream.write(b"x");
        let _ = bodies[1].stream.write(b"1\r\nx\r\n");
        // The pace of the bytes.
        std::thread::sleep(Duration::from_millis(500));
        assert!(began.elapsed() < Duration::from_secs(100), "the bodies are still read");
    }
    let after = began.elapsed();
    for mut client in bodies {
        let mut response = client.response();
        if response.status == 100 {
            response = client.response();
        }
        assert_eq!(response.status, 408);
    }
    assert_eq!(node.get("slow"), None);
    assert_healthy(&node);
    // The README says 30 s.
    assert!((29..45).contains(&after.as_secs()), "{after:?}");
}
