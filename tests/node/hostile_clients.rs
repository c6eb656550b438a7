//! Hostile and clumsy HTTP clients: whatever they send, the process lives on and others are served.

use crate::support::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

// What is malformed.

/// Bodies that do not say clearly how long they are: none may be stored.
const UNCLEAR: [(&str, &str); 21] = [
    ("Content-Length: abc", "value"),
    ("Content-Length: -1", "value"),
    ("Content-Length: +5", "value"),
    ("Content-Length: 5x", "value"),
    ("Content-Length: 0x5", "value"),
    ("Content-Length: 5.0", "value"),
    ("Content-Length: ", ""),
    ("Content-Length: 5,5", "value"),
    ("Content-Length: 5 5", "value"),
    ("Content-Length: 99999999999999999999", ""),
    ("Content-Length: 5\r\nContent-Length: 5", "value"),
    ("Content-Length: 5\r\nContent-Length: 6", "value1"),
    ("Content-Length: 0\r\nContent-Length: 5", "value"),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked", "5\r\nvalue\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5", "5\r\nvalue\r\n0\r\n\r\n"),
    ("Transfer-Encoding: gzip", "5\r\nvalue\r\n0\r\n\r\n"),
    ("Transfer-Encoding: identity", "value"),
    ("Transfer-Encoding: gzip, chunked", "5\r\nvalue\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked, chunked", "5\r\nvalue\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "5\r\nvalue\r\n0\r\n\r\n"),
    ("Transfer-Encoding: ", "5\r\nvalue\r\n0\r\n\r\n"),
];

#[test]
fn an_unclear_length_is_refused_and_stores_nothing() {
    let node = Node::alone(&[]);
    node.write("old", "value");
    for (headers, body) in UNCLEAR {
        for key in ["old", "new"] {
            let mut client = node.client();
            client.send(format!(
                "PUT /map?k={key} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n\r\n{body}"
            ));
            let answer = client.answer();
            assert!(
                answer.status == 400 || (answer.status == 413 && headers.contains("9999")),
                "{headers}: {answer:?}"
            );
            assert_refused(&answer, answer.status);
            assert_eq!(node.read("old"), "value", "{headers}");
            assert_eq!(node.get("new"), None, "{headers}");
        }
    }
    assert_lives_on(&node);
}

/// Chunked bodies that are not.
const BAD_CHUNKS: [&str; 17] = [
    "xyz\r\nvalue\r\n0\r\n\r\n",
    "-5\r\nvalue\r\n0\r\n\r\n",
    "\r\nvalue\r\n0\r\n\r\n",
    "5\nvalue\r\n0\r\n\r\n",
    "5\r\nvalueX\r\n0\r\n\r\n",
    "5\r\nvalue0\r\n\r\n",
    "fffffffffffffffff\r\nvalue\r\n0\r\n\r\n",
    "5 5\r\nvalue\r\n0\r\n\r\n",
    "0x5\r\nvalue\r\n0\r\n\r\n",
    "5\r\nvalue\r\nzz\r\n",
    "5\r\nvalue\r\n0\r\nX",
    ";5\r\nvalue\r\n0\r\n\r\n",
    "7fffffffffffffff\r\nvalue\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nvalue\r\n0\r\n\r\n",
    "10000000000000000\r\nvalue\r\n0\r\n\r\n",
    "5\0\r\nvalue\r\n0\r\n\r\n",
    "\u{665}\r\nvalue\r\n0\r\n\r\n",
];

#[test]
fn a_chunked_body_that_is_broken_is_refused_and_stores_nothing() {
    let node = Node::alone(&[]);
    node.write("old", "value");
    for body in BAD_CHUNKS {
        for key in ["old", "new"] {
            let mut client = node.client();
            client.send(format!(
                "PUT /map?k={key} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
            ));
            // Some of them are known to be broken only when nothing more comes.
            let _ = client.stream.shutdown(Shutdown::Write);
            assert_refused(&client.answer(), 400);
            assert_eq!(node.read("old"), "value", "{body:?}");
            assert_eq!(node.get("new"), None, "{body:?}");
        }
    }
    assert_lives_on(&node);
}

#[test]
fn a_body_that_is_cut_off_stores_nothing() {
    let node = Node::alone(&[]);
    node.write("old", "value");
    let chunked = "Transfer-Encoding: chunked";
    for (headers, body) in [
        (chunked, "5\r\nval"),
        (chunked, "5\r\n"),
        (chunked, "5\r"),
        (chunked, "5"),
        (chunked, ""),
        (chunked, "5\r\nvalue"),
        (chunked, "5\r\nvalue\r\n"),
        (chunked, "5\r\nvalue\r\n0"),
        (chunked, "5\r\nvalue\r\n0\r\n"),
        (chunked, "5\r\nvalue\r\n5\r\nmo"),
        ("Content-Length: 5", "val"),
        ("Content-Length: 5", ""),
        ("Content-Length: 5000", "val"),
        ("Content-Length: 5000", ""),
        ("Content-Length: 1048576", "val"),
    ] {
        for half in [true, false] {
            for key in ["old", "new"] {
                let good = node.count("nGoodHttpReqs");
                let mut client = node.client();
                client.send(format!("PUT /map?k={key} HTTP/1.1\r\n{headers}\r\n\r\n{body}"));
                if half {
                    client.stream.shutdown(Shutdown::Write).unwrap();
                    // Either a refusal or, where tiny_http reads ahead, nothing at all.
                    let rest = client.rest();
                    assert!(
                        rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "),
                        "{headers} {body:?}: {:?}",
                        String::from_utf8_lossy(&rest)
                    );
                } else {
                    drop(client);
                }
                assert_eq!(node.read("old"), "value", "{headers} {body:?}");
                assert_eq!(node.get("new"), None, "{headers} {body:?}");
                // The node is done with it when it has said so; look again, now that it has.
                if !half && headers != "Content-Length: 5" {
                    let bad = node.count("nBadHttpReqs");
                    assert!(bad > 0 || good > 0);
                }
            }
        }
    }
    assert_eq!(node.read("old"), "value");
    assert_eq!(node.count("keys"), 1);
    assert_lives_on(&node);
}

#[test]
fn a_body_that_never_comes_takes_no_memory_and_stops_nobody() {
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
                let mut answer = client.answer_to("HEAD");
                if answer.status == 100 {
                    answer = client.answer_to(method);
                }
                if (method, target) == ("PUT", "/map?k=old") {
                    assert_eq!(answer.status, 413, "{answer:?}");
                }
                assert!(answer.status >= 200, "{method} {target} {length}: {answer:?}");
                drop(client);
                assert_eq!(node.read("old"), "value", "after {method} {target} {length}");
            }
        }
    }
    assert_lives_on(&node);
    let grown_kib = node.resident_kib().saturating_sub(before_kib);
    println!("60 bodies that never came: {grown_kib} KiB more");
    assert!(grown_kib < 20_000, "{grown_kib} KiB");
}

#[test]
fn an_unclear_length_that_is_huge_takes_no_memory_and_stops_nobody() {
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
            let mut answer = client.answer_to("HEAD");
            if answer.status == 100 {
                answer = client.answer();
            }
            assert!([400, 413, 200].contains(&answer.status), "{headers}: {answer:?}");
            drop(client);
            assert_eq!(node.read("old"), "value", "after {method} {headers}");
        }
    }
    assert_lives_on(&node);
}

#[test]
fn what_is_not_http_is_answered_and_stops_nobody() {
    let node = Node::alone(&[]);
    for bytes in [
        &b"\r\n\r\n"[..],
        b"hello\r\n\r\n",
        b"GET /map?k=a\r\n\r\n",
        b"GET /map?k=a HTTP/9.9\r\n\r\n",
        b"GET  /map?k=a HTTP/1.1\r\n\r\n",
        b"GET /map?k=a HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /map?k=a HTTP/1.1\r\nExpect: the unexpected\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"GET /map?k=\xff\xfe HTTP/1.1\r\n\r\n",
        b"hello 1 default 00000001 019abcdef012 0 0000000000000000\n\n",
    ] {
        let mut client = node.client();
        client.send(bytes);
        client.stream.shutdown(Shutdown::Write).unwrap();
        let rest = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest:?}");
        assert_serves(&node);
    }
}

// Slow and stuck clients.

#[test]
fn a_slow_upload_holds_up_nobody() {
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
            assert_eq!(client.send("0\r\n\r\n").answer().status, 201);
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
fn many_slow_uploads_hold_up_nobody_and_all_arrive() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    // More than are read at a time.
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
        assert_eq!(client.answer().status, 201);
    }
    assert_eq!(node.count("keys"), 26);
}

#[test]
fn connections_that_come_in_a_burst_are_all_served_while_all_stay_open() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    for round in 0..10 {
        let mut clients: Vec<Client> = (0..24).map(|_| node.client()).collect();
        for client in &mut clients {
            client.send(request_bytes("GET", "/map?k=a", &[], &[]));
        }
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.answer().body, b"a=1\n", "round {round}, connection {index}");
        }
    }
}

#[test]
fn clients_that_send_half_a_request_hold_up_nobody() {
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
fn a_huge_length_is_refused_at_once_however_slowly_its_body_comes() {
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
                // It may have been given up already.
                let _ = client.stream.write(b"x");
            }
            assert_eq!(node.read("old"), "value");
            // The pace of the body; nothing waits for it.
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    for (client, length) in clients.iter_mut().zip(lengths) {
        let mut answer = client.answer();
        if answer.status == 100 {
            answer = client.answer();
        }
        assert_eq!(answer.status, 413, "{length}: {answer:?}");
    }
    let grown_kib = most_kib.saturating_sub(before_kib);
    assert!(grown_kib < 8_000, "{grown_kib} KiB");
    assert_lives_on(&node);
}

#[test]
fn heads_and_bodies_that_come_a_byte_a_second_hold_up_nobody() {
    let node = Node::alone(&[]);
    // What is said at once, and what comes in trickles. Of the bodies that are too long to be read
    // ahead there are fewer than are read at a time: others' shall be read too.
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
                // The pace of the bytes; nothing waits for it.
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
    println!("{rounds} rounds of the others, the slowest in {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    for (client, slow) in &mut trickles {
        assert!([201, 204].contains(&client.send(slow).answer().status));
    }
    assert_lives_on(&node);
}

#[test]
fn a_thousand_idle_connections_hold_up_nobody_and_leave_nothing_behind() {
    allow_thousands_of_connections();
    let node = Node::alone(&[]);
    let before_kib = node.resident_kib();
    let (threads, descriptors) = (node.threads(), node.descriptors());
    let mut idle: Vec<Client> = Vec::new();
    let (most_threads, most_kib) = node.peaks_while(|| {
        idle.extend((0..1000).map(|_| node.client()));
        assert_lives_on(&node);
        for client in &mut idle {
            client.send("GET /ma");
        }
        assert_lives_on(&node);
    });
    let grown_kib = most_kib.saturating_sub(before_kib);
    println!("1000 idle connections: {most_threads} threads, {grown_kib} KiB more");
    // A thread for each, and some that come and go.
    assert!(most_threads < threads + 1100, "{most_threads} threads");
    assert!(grown_kib < 50_000, "{grown_kib} KiB");
    // They are not forgotten either.
    let answer = idle[500].send("p?k=still HTTP/1.1\r\n\r\n").answer();
    assert_eq!(answer.body, b"still=serving\n");
    drop(idle);
    eventually(3 * ANSWER_LIMIT, "all is given back", || {
        let now = (node.threads(), node.descriptors());
        if now.0 < threads + 20 && now.1 < descriptors + 20 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    assert_lives_on(&node);
}

#[test]
fn clients_that_do_not_read_their_answers_hold_up_nobody() {
    let node = Node::alone(&[]);
    node.write("big", vec![b'x'; MIB]);
    let mut stuck = Vec::new();
    for _ in 0..4 {
        // Far more than the system's buffers take.
        let mut client = node.client();
        client.send(format!("GET /map?k=big{} HTTP/1.1\r\n\r\n", "&k=big".repeat(63)));
        stuck.push(client);
    }
    let mut client = node.client();
    for _ in 0..20 {
        assert_eq!(client.get("/healthz").status, 200);
        assert!(client.put("/map?k=a", b"1").status < 300);
    }
    // Those that read in the end get all of it.
    let answer = stuck[0].answer();
    assert_eq!(answer.body.len(), 64 * (MIB + 5));
}

#[test]
fn out_of_descriptors_it_comes_back_once_there_are_some() {
    // Both parities: what fails is `accept`, or the copy of the socket that tiny_http makes next.
    for limit in ["ulimit -n 48", "ulimit -n 49"] {
        let node = Node::alone_after(Some(limit), &[]);
        node.write("a", "1");
        let mut idle: Vec<std::net::TcpStream> = Vec::new();
        // More than it can have; those that wait in the system's queue come up in turn.
        for _ in 0..60 {
            let mut stream = std::net::TcpStream::connect(node.http).unwrap();
            let _ = stream.write_all(b"GET /healthz HT");
            idle.push(stream);
        }
        drop(idle);
        eventually(3 * ANSWER_LIMIT, "it answers again", || {
            let mut stream = std::net::TcpStream::connect(node.http).map_err(|e| e.to_string())?;
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let request = request_bytes("GET", "/map?k=a", &[("Connection", "close")], &[]);
            stream.write_all(&request).map_err(|error| error.to_string())?;
            let mut answer = Vec::new();
            let read = std::io::Read::read_to_end(&mut stream, &mut answer);
            if answer.ends_with(b"a=1\n") { Ok(()) } else { Err(format!("{limit}: {read:?}")) }
        });
        assert_lives_on(&node);
    }
}

#[test]
fn connections_that_are_reset_stop_nobody() {
    let node = Node::alone(&[]);
    let junk = vec![b'x'; 20_000];
    for _ in 0..500 {
        // Closed with something unread, a connection is reset.
        let mut client = node.client();
        client.send("GET /stats HTTP/1.1\r\n\r\nGET /stats HTTP/1.1\r\n\r\n");
        drop(client);
        let mut client = node.client();
        let _ = client.stream.write(&junk);
        drop(client);
    }
    assert_lives_on(&node);
}

#[test]
fn three_thousand_connections_reset_on_arrival_stop_nobody() {
    let node = Node::alone(&[]);
    let sent = [&b""[..], b"GET /stats HT", b"GET /stats HTTP/1.1\r\n\r\n"];
    let (threads, descriptors) = (node.threads(), node.descriptors());
    for index in 0..3000 {
        let mut client = node.client();
        client.send(sent[index % 3]);
        reset(client.stream);
    }
    assert_lives_on(&node);
    // All of them reset before the node has even looked: it is halted, and they wait for it.
    node.signal("STOP");
    for index in 0..100 {
        let mut client = node.client();
        client.send(sent[index % 3]);
        reset(client.stream);
    }
    node.signal("CONT");
    assert_lives_on(&node);
    eventually(3 * ANSWER_LIMIT, "all is given back", || {
        let now = (node.threads(), node.descriptors());
        if now.0 < threads + 20 && now.1 < descriptors + 20 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    // Panics that tiny_http has over them are counted; they may not flood the log.
    assert!(node.log_lines() < 50, "{}", node.log());
}

#[test]
fn huge_heads_stop_nobody() {
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
        // It may refuse before it has seen all of it.
        let _ = client.stream.write_all(format!("GET /map?k=still HTTP/1.1\r\n{head}").as_bytes());
        clients.push(client);
    }
    assert_serves(&node);
    println!("four heads of up to 1 MiB: {} KiB", node.resident_kib());
    for mut client in clients {
        let _ = client.stream.write_all(b"\r\n");
        let _ = client.stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        // Refused with something unread, the connection is reset.
        let _ = client.stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        let is_refused = answer.is_empty() || text.starts_with("HTTP/1.1 4");
        assert!(is_refused || text.ends_with("still=serving\n"), "{text:?}");
    }
    assert_lives_on(&node);
}

#[test]
fn after_connections_were_given_up_a_restart_brings_the_map_back() {
    let mut cluster = Cluster::start(2, &[("SYNC_INTERVAL", "50ms")]);
    for index in 0..20 {
        cluster.nodes[0].write(&format!("key {index}"), "value");
    }
    for name in ["TERM", "KILL"] {
        let mut held = Vec::new();
        for _ in 0..20 {
            let mut client = cluster.nodes[0].client();
            client.send("PUT /map?k=huge HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n");
            let mut answer = client.answer();
            if answer.status == 100 {
                answer = client.answer();
            }
            assert_eq!(answer.status, 413);
            held.push(client);
        }
        cluster.nodes[0].write("last", name);
        cluster.wait_for(ANSWER_LIMIT, "last", name);
        let (digest, keys) = cluster.wait_for_agreement(ANSWER_LIMIT);
        assert_eq!(keys, 21);
        let node = &mut cluster.nodes[0];
        node.signal(name);
        let status = node.wait_for_end(ANSWER_LIMIT);
        assert_eq!(status.success(), name == "TERM", "{status}");
        node.start_again(&[]);
        node.wait_until_ready();
        assert_eq!(cluster.wait_for_agreement(ANSWER_LIMIT), (digest, 21));
        assert_eq!(cluster.nodes[0].read("last"), name);
    }
    assert_lives_on(&cluster.nodes[0]);
}

#[test]
fn after_too_many_connections_were_given_up_it_leaves_in_order_and_comes_back_with_the_map() {
    let mut cluster = Cluster::start(2, &[("SYNC_INTERVAL", "50ms")]);
    cluster.nodes[0].write("kept", "value");
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut client = cluster.nodes[0].client();
        client.send("PUT /map?k=huge HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n");
        held.push(client);
    }
    let node = &mut cluster.nodes[0];
    assert!(node.wait_for_end(ANSWER_LIMIT).success());
    assert!(node.log().contains("left: peers have everything"), "{}", node.log());
    node.start_again(&[]);
    node.wait_until_ready();
    assert_eq!(node.read("kept"), "value");
    assert_lives_on(node);
}

// What breaks out of its place.

#[test]
fn nothing_of_a_request_is_in_a_header() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let known =
        ["Date", "Content-Type", "Content-Length", "Allow", "Connection", "ETag", "Last-Modified"];
    let evil = "%0d%0aEvil:%20yes%0d%0a%0d%0aEVIL";
    let mut answers = Vec::new();
    for target in [
        format!("/map?k={evil}"),
        format!("/map?{evil}=1&k={evil}"),
        format!("/map{evil}"),
        format!("/{evil}?k=a"),
        format!("/map?k=%zz{evil}"),
        format!("/map?k={}{evil}", "k".repeat(1025)),
    ] {
        for method in ["PUT", "GET", "HEAD", "DELETE", "EVIL", "G%0d%0aEvil:yes"] {
            let headers = [("Evil", "EVIL"), ("X", "%0d%0aEvil: yes"), ("Accept", "evil/evil")];
            answers.push(client.request(method, &target, &headers, &[]));
        }
    }
    for answer in answers {
        assert!(!answer.head.to_lowercase().contains("evil"), "{answer:?}");
        for line in answer.head.lines().skip(1) {
            let name = line.split(':').next().unwrap_or_default();
            assert!(known.contains(&name), "{answer:?}");
        }
    }
    assert_lives_on(&node);
}

#[test]
fn raw_control_bytes_of_a_request_are_in_no_answer() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    for trick in [
        "\r\nEvil: yes",
        "\nEvil: yes",
        "\rEvil: yes",
        "\0Evil: yes",
        "\r\n Evil: yes",
        "\r\n\tEvil: yes\r\n\r",
        "\u{b}Evil\u{c}",
        "\u{85}Evil\u{2028}",
    ] {
        for request in [
            format!("GET /map?k=a HTTP/1.1\r\nX{trick}: y\r\n\r\n"),
            format!("GET /map?k=a HTTP/1.1\r\nX: y{trick}\r\n\r\n"),
            format!("GET /map?k=absent{trick} HTTP/1.1\r\nX: y\r\n\r\n"),
            format!("GET{trick} /map?k=a HTTP/1.1\r\nX: y\r\n\r\n"),
            format!("GET /map?k=a HTTP/1.1{trick}\r\nX: y\r\n\r\n"),
            format!("PUT /map?k=b HTTP/1.1\r\nContent-Length: 1{trick}\r\n\r\n2"),
            format!("PUT /map?k=b HTTP/1.1\r\nTransfer-Encoding: chunked{trick}\r\n\r\n0\r\n\r\n"),
        ] {
            let mut client = node.client();
            client.send(&request);
            let _ = client.stream.shutdown(Shutdown::Write);
            let rest = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 "), "{request:?}: {rest:?}");
            assert!(!rest.to_lowercase().contains("evil"), "{request:?}: {rest:?}");
        }
    }
    assert_lives_on(&node);
}

#[test]
fn control_bytes_in_a_key_stay_in_the_body() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    for bytes in ["\r\n", "\n", "\r", "\0", "\r\n\r\n", "\u{85}", "\u{2028}"] {
        let key = format!("{bytes}Evil: yes{bytes}");
        let target = map_target(&[&key]);
        let put = client.put(&target, key.as_bytes());
        let get = client.get(&target);
        assert_eq!((put.status, get.status), (201, 200), "{bytes:?}");
        for answer in [&put, &get] {
            assert!(!answer.head.contains("Evil"), "{answer:?}");
            assert!(!answer.head.replace("\r\n", "").contains(char::is_control), "{answer:?}");
        }
        assert_eq!(get.body, format!("{key}={key}\n").as_bytes());
    }
    assert_lives_on(&node);
}

// What is still read where the body of a request is not clear, or for too long.

#[test]
fn what_follows_an_unclear_body_is_not_taken_for_a_request() {
    let node = Node::alone(&[]);
    let chunked = "Transfer-Encoding: chunked";
    let mut taken = Vec::new();
    for (index, (headers, body)) in [
        ("Content-Length: 5\r\nContent-Length: 5", "value"),
        ("Content-Length: 0\r\nContent-Length: 50", ""),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", ""),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", ""),
        ("Transfer-Encoding: gzip", ""),
        ("Transfer-Encoding: identity", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, chunked", ""),
        ("Content-Length: abc", ""),
        (chunked, "xyz\r\n"),
        (chunked, "xyz\r\nxyz\r\n"),
        (chunked, "-5\r\n-5\r\n"),
        (chunked, "5\r\nvalueX"),
    ]
    .into_iter()
    .enumerate()
    {
        let hidden = format!("PUT /map?k=hidden{index} HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
        let mut client = node.client();
        client.send(format!("PUT /map?k=a HTTP/1.1\r\n{headers}\r\n\r\n{body}{hidden}"));
        assert_eq!(client.answer().status, 400);
        // Whoever does not know where a request ends must close (RFC 9112, section 6.3).
        let _ = client.stream.shutdown(Shutdown::Write);
        let _ = client.stream.read_to_end(&mut Vec::new());
        if node.get(&format!("hidden{index}")).is_some() {
            taken.push(format!("{headers} {body:?}"));
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
}

#[test]
#[ignore = "takes the 30 s of an upload; run by test.sh in release"]
fn a_body_that_takes_too_long_is_refused() {
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
        assert!(began.elapsed() < Duration::from_secs(100), "they are still read");
    }
    let after = began.elapsed();
    for mut client in bodies {
        let mut answer = client.answer();
        if answer.status == 100 {
            answer = client.answer();
        }
        assert_eq!(answer.status, 408);
    }
    assert_eq!(node.get("slow"), None);
    assert_lives_on(&node);
    // The README says 30 s.
    assert!((29..45).contains(&after.as_secs()), "{after:?}");
}

#[test]
fn to_listen_anew_leaves_no_threads_behind() {
    let node = Node::alone_after(Some("ulimit -n 48"), &[]);
    let threads = node.threads();
    let restarts = || -> Result<u64, String> {
        let mut stream = TcpStream::connect(node.http).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let request = request_bytes("GET", "/stats", &[("Connection", "close")], &[]);
        stream.write_all(&request).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
        let count = answer.lines().find_map(|line| line.strip_prefix("nHttpRestarts="));
        count.and_then(|count| count.parse().ok()).ok_or(answer)
    };
    let mut count = 0;
    for _ in 0..6 {
        // More than it can have, all of them gone at once.
        let crowd: Vec<Client> = (0..30).map(|_| node.client()).collect();
        drop(crowd);
        count = eventually(3 * ANSWER_LIMIT, "it answers again", restarts);
    }
    // Those of connections end after some idle seconds.
    let wanted = threads + 6;
    eventually(ANSWER_LIMIT, &format!("{wanted} threads or fewer, after {count} restarts"), || {
        let now = node.threads();
        if now <= wanted { Ok(()) } else { Err(format!("{now}")) }
    });
    assert_lives_on(&node);
}
