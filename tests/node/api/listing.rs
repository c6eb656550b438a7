//! Lists of keys.

use super::etag;
use crate::support::{KIB, Node, assert_refused};
use std::time::{Duration, Instant};

#[test]
fn keys_are_listed_in_order_page_by_page() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let keys = ["", "a", "a/1", "a/2", "a/é &=%", "b\n"];
    for key in keys {
        node.write(key, "v");
    }
    let all = client.get("/keys");
    assert_eq!(all.text(), "\na\na%2F1\na%2F2\na%2F%C3%A9%20%26%3D%25\nb%0A\n");
    assert_eq!(all.header("Has-More"), Some("false"));
    for line in all.text().lines() {
        assert_eq!(client.get(&format!("/map?k={line}")).status, 200, "{line} can be pasted");
    }
    let page = client.get("/keys?prefix=a/&limit=2");
    assert_eq!((page.text().as_str(), page.header("Has-More")), ("a%2F1\na%2F2\n", Some("true")));
    let rest = client.get("/keys?prefix=a/&limit=2&after=a%2F2");
    assert_eq!(rest.text(), "a%2F%C3%A9%20%26%3D%25\n");
    assert_eq!(rest.header("Has-More"), Some("false"));
    assert_eq!(etag(&rest), etag(&page), "the ETag is that of the prefix");
    let none = client.get("/keys?prefix=nothing");
    assert_eq!((none.status, none.text().as_str()), (200, ""));
    for query in ["limit=0", "limit=10001", "limit=x", "x=1", "limit=1&limit=1", "k=a"] {
        assert_refused(&client.get(&format!("/keys?{query}")), 422);
    }
    let longer_than_any_key = "x".repeat(64 * KIB + 1);
    for name in ["prefix", "after"] {
        assert_refused(&client.get(&format!("/keys?{name}={longer_than_any_key}")), 400);
    }
    assert_eq!(client.request("GET", "/keys", &[("If-None-Match", &etag(&all))], &[]).status, 304);
}

#[test]
#[ignore = "a million keys; run by ./test.sh long"]
fn listing_a_million_keys_stalls_no_writer() {
    const KEYS: usize = 1_000_000;
    let node = Node::alone(&[("MAX_STORE_BYTES", "1GiB")]);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let mut client = node.client();
    for batch in 0..KEYS / 10_000 {
        let pairs: Vec<String> =
            (0..10_000).map(|index| format!("key-{:07}=v", batch * 10_000 + index)).collect();
        let response = client.request("POST", "/map", &form, pairs.join("&").as_bytes());
        assert_eq!(response.status, 204);
    }
    assert_eq!(node.count("keys"), KEYS as u64);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let (lists, mut latencies) = std::thread::scope(|scope| {
        let lists = scope.spawn(|| {
            let mut client = node.client();
            let mut lists = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let page = client.get("/keys?prefix=key-05&limit=10000");
                assert_eq!(page.text().lines().count(), 10_000);
                lists += 1;
            }
            lists
        });
        let mut client = node.client();
        let latencies: Vec<Duration> = (0..3_000)
            .map(|_| {
                let began = Instant::now();
                assert_eq!(client.put("/map?k=key-0500000", b"w").status, 204);
                began.elapsed()
            })
            .collect();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        (lists.join().unwrap(), latencies)
    });
    latencies.sort();
    let (median, p99) = (latencies[1_500], latencies[2_970]);
    println!("during {lists} lists a PUT takes {median:?}, p99 {p99:?}");
    assert!(lists > 0, "no list was read meanwhile");
    // A single list takes more than 100 ms.
    assert!(p99 < Duration::from_millis(30), "{p99:?}");
}
