//! What goes beyond k8s-gossipcar's contract: delete, raw values, expiry, forms, lists, waiting,
//! conditions and JSON, on one node and over gossip.

use crate::support::*;
use std::time::{Duration, Instant};

const NO_HEADERS: [(&str, &str); 0] = [];

fn tag(answer: &Answer) -> String {
    answer.header("ETag").unwrap_or_else(|| panic!("no ETag: {answer:?}")).to_owned()
}

// Deleting.

#[test]
fn a_delete_is_204_if_one_of_the_keys_was_there_and_404_otherwise() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    for key in ["a", "b", "c d"] {
        node.write(key, "1");
    }
    let mut delete = |target: &str| client.request("DELETE", target, &[], &[]).status;
    assert_eq!(delete("/map?k=a"), 204);
    assert_eq!(delete("/map?k=a"), 404);
    assert_eq!(delete("/map?k=a&k=b&k=absent"), 204);
    assert_eq!(delete("/map/c%20d"), 204);
    assert_eq!(delete("/map/c%20d"), 404);
    for target in ["/map", "/map?", "/map?x=1", "/map?k=a&x=1", "/map/a?x=1"] {
        assert_eq!(delete(target), 422, "{target}");
    }
    assert_eq!((node.count("keys"), node.count("tombstones")), (0, 3));
    assert_eq!(node.put("a", "2").status, 201, "what was deleted is new again");
}

#[test]
fn a_delete_with_a_body_does_nothing() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    for length in [1, 5000] {
        let answer = node.client().request("DELETE", "/map?k=a", &[], &vec![b'x'; length]);
        assert_refused(&answer, 400);
    }
    assert_eq!(node.read("a"), "1");
}

#[test]
fn a_delete_reaches_all_and_nothing_comes_back() {
    let mut cluster = Cluster::start(3, &[("SYNC_INTERVAL", "50ms")]);
    for index in 0..20 {
        cluster.nodes[index % 3].write(&format!("key {index}"), "value");
    }
    cluster.wait_for_agreement(ANSWER_LIMIT);
    // One of them misses it.
    cluster.nodes[2].signal("STOP");
    for index in 0..20 {
        let target = map_target(&[&format!("key {index}")]);
        assert_eq!(cluster.nodes[0].request("DELETE", &target, &[]).status, 204);
    }
    cluster.nodes[2].signal("CONT");
    let (_, keys) = cluster.wait_for_agreement(ANSWER_LIMIT);
    assert_eq!(keys, 0);
    cluster.nodes[1].kill();
    cluster.nodes[1].start_again(&[]);
    cluster.nodes[1].wait_until_ready();
    assert_eq!(cluster.wait_for_agreement(ANSWER_LIMIT).1, 0);
}

// One value, raw.

#[test]
fn a_raw_value_is_the_body_and_nothing_else() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let value: Vec<u8> = (0..=255).collect();
    let put = client.put("/map/a%2Fb%20%C3%A9+", &value);
    assert_eq!(put.status, 201);
    let get = client.get("/map/a/b%20%C3%A9+");
    assert_eq!((get.status, &get.body), (200, &value));
    assert_eq!(tag(&get), tag(&put));
    assert_eq!(get.header("Content-Type"), Some("application/octet-stream"));
    assert!(get.header("Last-Modified").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(tag(&client.get("/map?k=a/b%20%C3%A9%2B")), tag(&put), "the same by the query");
    let head = client.request("HEAD", "/map/a%2Fb%20%C3%A9+", &[], &[]);
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("256")));
    let again = client.put("/map/a%2Fb%20%C3%A9+", b"");
    assert_eq!(again.status, 204);
    assert!(tag(&again) > tag(&put), "versions sort as they follow each other");
    assert_eq!(client.get("/map/a%2Fb%20%C3%A9+").body, b"");
    assert_refused(&client.get("/map/absent"), 404);
    assert_refused(&client.get("/map/%zz"), 400);
    assert_refused(&client.get("/map/%FF"), 400);
    assert_refused(&client.get("/map/a?k=a"), 422);
    assert_refused(&client.request("POST", "/map/a", &[], b"a=1"), 405);
    let unwanted = client.request("GET", "/map/a/b%20%C3%A9+", &[("Accept", "text/html")], &[]);
    assert_refused(&unwanted, 406);
}

#[test]
fn a_body_that_is_packed_or_a_part_is_refused() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let mut put =
        |name: &str, value: &str| client.request("PUT", "/map/a", &[(name, value)], b"v").status;
    assert_eq!(put("Content-Encoding", "gzip"), 415);
    assert_eq!(put("Content-Range", "bytes 0-0/1"), 400);
    assert_eq!(put("Content-Encoding", "identity"), 201);
    assert_eq!(put("Content-Type", "image/png"), 204);
}

// Expiry.

#[test]
fn a_value_is_gone_on_all_nodes_when_its_time_is_up() {
    let cluster = Cluster::start(3, &[("SYNC_INTERVAL", "50ms")]);
    let [first, second, third] = &cluster.nodes[..] else { panic!("three nodes") };
    let began = Instant::now();
    assert_eq!(first.request("PUT", "/map?k=short&ttl=1500ms", b"v").status, 201);
    assert_eq!(first.request("PUT", "/map/long?ttl=1h", b"v").status, 201);
    cluster.wait_for(ANSWER_LIMIT, "short", "v");
    let get = third.client().get("/map?k=short");
    let ttl = get.header("Ttl").and_then(|ttl| ttl.strip_suffix("ms")?.parse::<u64>().ok());
    assert!(ttl.is_some_and(|ms| ms <= 1500), "{get:?}");
    eventually(ANSWER_LIMIT, "it is gone", || same(second.get("short"), None));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1400), "gone too soon: {took:?}");
    assert!(took < Duration::from_secs(4), "gone too late: {took:?}");
    eventually(ANSWER_LIMIT, "gone everywhere", || {
        same((first.get("short"), third.get("short")), (None, None))
    });
    // The digests did not change with it: nobody had to be told.
    assert_eq!(cluster.wait_for_agreement(ANSWER_LIMIT).1, 1);
    assert_eq!(first.put("short", "again").status, 201, "it is new");
    assert_eq!(first.client().get("/map?k=short").header("Ttl"), None, "and stays");
    for ttl in ["0s", "0", "1", "soon", "-1s", "400days", ""] {
        let target = format!("/map?k=x&ttl={ttl}");
        assert_refused(&first.request("PUT", &target, b"v"), 422);
    }
    assert_refused(&first.request("PUT", "/map?k=x&ttl=1s&ttl=1s", b"v"), 422);
}

#[test]
fn a_value_that_expired_is_replaced_and_deleted_as_if_it_were_not_there() {
    let node = Node::alone(&[]);
    assert_eq!(node.request("PUT", "/map/a?ttl=20ms", b"v").status, 201);
    eventually(ANSWER_LIMIT, "it is gone", || same(node.get("a"), None));
    assert_eq!(node.request("DELETE", "/map/a", &[]).status, 404);
    assert_eq!(node.request("PUT", "/map/a?ttl=1h", b"v").status, 201);
    assert_eq!(node.request("PUT", "/map/a?ttl=1h", b"v").status, 204);
}

// Many at once.

#[test]
fn a_form_is_written_as_a_whole_or_not_at_all() {
    let node = Node::alone(&[("MAX_STORE_BYTES", "1000"), ("MAX_KEY_BYTES", "10")]);
    let mut client = node.client();
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let post = |client: &mut Client, target: &str, body: &[u8]| {
        client.request("POST", target, &form, body)
    };
    let posted = post(&mut client, "/map", b"a=1&b=2+2&c=%00%ff&d&=empty");
    assert_eq!((posted.status, posted.header("Content-Length")), (204, Some("0")));
    assert_eq!(client.get("/map?k=a&k=b&k=c&k=d&k=").body, b"a=1\nb=2 2\nc=\0\xff\nd=\n=empty\n");
    let digest = node.stats()["digest"].clone();
    let too_much = format!("a=9&f=2&g={}", "x".repeat(400));
    assert_refused(&post(&mut client, "/map", too_much.as_bytes()), 507);
    for (body, status) in [
        ("x=1&0123456789a=2", 400),
        ("x=1&y=%zz", 400),
        ("x=1&%ff=2", 400),
        ("x=1&y=2&x=3", 422),
        ("", 422),
        ("&&", 422),
    ] {
        assert_refused(&post(&mut client, "/map", body.as_bytes()), status);
    }
    assert_refused(&post(&mut client, "/map?k=a", b"x=1"), 422);
    assert_refused(&client.request("POST", "/map", &[("Content-Type", "text/plain")], b"x=1"), 415);
    assert_eq!(node.stats()["digest"], digest, "nothing has changed");
    assert_eq!(post(&mut client, "/map?ttl=20ms", b"a=short").status, 204);
    eventually(ANSWER_LIMIT, "it is gone", || same(node.get("a"), None));
}

// Lists.

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
    assert_eq!(tag(&rest), tag(&page), "the tag is that of the prefix");
    let none = client.get("/keys?prefix=nothing");
    assert_eq!((none.status, none.text().as_str()), (200, ""));
    for query in ["limit=0", "limit=10001", "limit=x", "x=1", "limit=1&limit=1", "k=a"] {
        assert_refused(&client.get(&format!("/keys?{query}")), 422);
    }
    assert_refused(&client.get(&format!("/keys?prefix={}", "x".repeat(2000))), 400);
    assert_eq!(client.request("GET", "/keys", &[("If-None-Match", &tag(&all))], &[]).status, 304);
}

// JSON.

#[test]
fn json_is_given_to_whoever_prefers_it() {
    let node = Node::alone(&[]);
    node.write("a\"", "x\ny");
    node.write("b", [0xff, 0]);
    let mut client = node.client();
    let mut json = |target: &str| {
        let answer = client.request("GET", target, &[("Accept", "application/json")], &[]);
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{answer:?}");
        answer.text()
    };
    assert_eq!(
        json("/map?k=b&k=a%22&k=b&k=absent"),
        "{\"a\\\"\":\"x\\ny\",\"b\":{\"base64\":\"/wA=\"}}\n"
    );
    assert_eq!(json("/keys"), "{\"keys\":[\"a\\\"\",\"b\"],\"more\":false}\n");
    assert_eq!(json("/peers"), "{\"peers\":[]}\n");
    assert!(json("/stats").contains("\"keys\":2,"));
    assert!(json("/stats").contains("\"cluster\":\"default\""));
    let mut accept = |target: &str, accept: &str| {
        let answer = client.request("GET", target, &[("Accept", accept)], &[]);
        (answer.status, answer.header("Content-Type").unwrap_or_default().to_owned())
    };
    let octets = (200, "application/octet-stream".to_owned());
    assert_eq!(accept("/map?k=b", "*/*"), octets);
    assert_eq!(accept("/map?k=b", "text/html, */*;q=0.1"), octets);
    // k8s-gossipcar never looked at it.
    assert_eq!(accept("/map?k=b", "text/html"), octets);
    assert_eq!(accept("/keys", "text/html").0, 406);
    assert_eq!(accept("/peers", "text/html").0, 406);
}

// Preconditions.

#[test]
fn a_write_is_carried_out_only_if_the_version_is_as_it_says() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let mut request = |method: &str, header: (&str, &str), body: &[u8]| {
        client.request(method, "/map/lock", &[header], body)
    };
    assert_eq!(request("PUT", ("If-Match", "*"), b"v").status, 412);
    assert_eq!(request("DELETE", ("If-Match", "\"x\""), b"").status, 412);
    let first = request("PUT", ("If-None-Match", "*"), b"mine");
    assert_eq!(first.status, 201);
    assert_refused(&request("PUT", ("If-None-Match", "*"), b"yours"), 412);
    let second = request("PUT", ("If-Match", &tag(&first)), b"still mine");
    assert_eq!(second.status, 204);
    assert_refused(&request("PUT", ("If-Match", &tag(&first)), b"late"), 412);
    assert_refused(&request("PUT", ("If-Match", &format!("W/{}", tag(&second))), b"weak"), 412);
    assert_refused(&request("PUT", ("If-Match", "no quotes"), b"v"), 400);
    assert_refused(&request("DELETE", ("If-Match", &tag(&first)), b""), 412);
    assert_eq!(node.read("lock"), "still mine");
    let get = request("GET", ("If-None-Match", &tag(&second)), b"");
    assert_eq!((get.status, tag(&get), get.body.len()), (304, tag(&second), 0));
    assert_eq!(request("GET", ("If-None-Match", &tag(&first)), b"").status, 200);
    assert_refused(&request("GET", ("If-Match", &tag(&first)), b""), 412);
    assert_eq!(request("DELETE", ("If-Match", &tag(&second)), b"").status, 204);
    let two = node.client().request("GET", "/map?k=a&k=b", &[("If-None-Match", "*")], &[]);
    assert_refused(&two, 422);
}

// Waiting.

/// Sends a request that waits, and gives the client that will have the answer.
fn waiting(node: &Node, target: &str, known: Option<&str>) -> Client {
    let mut client = node.client();
    let headers: Vec<(&str, &str)> = known.map(|tag| ("If-None-Match", tag)).into_iter().collect();
    let before = node.count("waits");
    client.send(request_bytes("GET", target, &headers, &[]));
    eventually(ANSWER_LIMIT, "it waits", || same(node.count("waits"), before + 1));
    client
}

#[test]
fn who_waits_is_answered_when_the_key_changes_also_on_another_node() {
    let cluster = Cluster::start(2, &[("SYNC_INTERVAL", "50ms")]);
    let [near, far] = &cluster.nodes[..] else { panic!("two nodes") };
    near.write("k", "1");
    near.write("other", "1");
    cluster.wait_for(ANSWER_LIMIT, "k", "1");
    let known = tag(&near.client().get("/map/k"));
    // At once if it differs, or if there is nothing to wait for.
    assert_eq!(near.client().get("/map/k?wait=30s").status, 200);
    let differs = [("If-None-Match", "\"0000\"")];
    assert_eq!(near.client().request("GET", "/map?k=k&wait=30s", &differs, &[]).body, b"k=1\n");

    let mut by_path = waiting(near, "/map/k?wait=30s", Some(&known));
    let mut by_query = waiting(near, "/map?k=k&wait=30s", Some(&known));
    let mut for_other =
        waiting(near, "/map/other?wait=30s", Some(&tag(&near.client().get("/map/other"))));
    let mut for_new = waiting(near, "/map/new?wait=30s", None);
    far.write("k", "2");
    assert_eq!(by_path.answer().body, b"2");
    assert_eq!(by_query.answer().body, b"k=2\n");
    far.write("new", "born");
    assert_eq!(for_new.answer().body, b"born");
    // What did not change is still waited for.
    assert_eq!(near.count("waits"), 1);
    assert_eq!(far.request("DELETE", "/map/other", &[]).status, 204);
    assert_eq!(for_other.answer().status, 404);
    // The connections serve on.
    assert_eq!(by_path.get("/map/k").body, b"2");
}

#[test]
fn who_waits_is_answered_when_the_value_expires_and_when_the_wait_is_over() {
    let node = Node::alone(&[]);
    let put = node.request("PUT", "/map/short?ttl=800ms", b"v");
    let mut expiring = waiting(&node, "/map/short?wait=30s", Some(&tag(&put)));
    let began = Instant::now();
    assert_eq!(expiring.answer().status, 404);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    let put = node.request("PUT", "/map/k", b"v");
    let began = Instant::now();
    let mut unchanged = waiting(&node, "/map/k?wait=300ms", Some(&tag(&put)));
    let mut absent = waiting(&node, "/map/absent?wait=300ms", None);
    assert_eq!(tag(&unchanged.answer()), tag(&put));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(absent.answer().status, 404);
    assert_eq!(unchanged.get("/map/k").body, b"v");
    for wait in ["61s", "soon", "-1s", ""] {
        assert_refused(&node.client().get(&format!("/map/k?wait={wait}")), 422);
    }
    assert_refused(&node.client().get("/map?k=a&k=b&wait=1s"), 422);
}

#[test]
fn who_waits_for_a_prefix_is_answered_when_any_of_its_keys_changes() {
    let node = Node::alone(&[]);
    node.write("a/1", "v");
    let known = tag(&node.client().get("/keys?prefix=a/"));
    let mut value = waiting(&node, "/keys?prefix=a/&wait=30s", Some(&known));
    node.write("b", "v");
    assert_eq!(node.count("waits"), 1, "another prefix");
    node.write("a/1", "w");
    let answer = value.answer();
    assert_eq!(answer.text(), "a%2F1\n");
    let known = tag(&answer);
    let mut page = waiting(&node, "/keys?prefix=a/&limit=1&wait=30s", Some(&known));
    node.write("a/2", "v");
    let answer = page.answer();
    assert_eq!((answer.text().as_str(), answer.header("Has-More")), ("a%2F1\n", Some("true")));
    let known = tag(&answer);
    let mut gone = waiting(&node, "/keys?prefix=a/&wait=30s", Some(&known));
    assert_eq!(node.request("DELETE", "/map?k=a/1&k=a/2", &[]).status, 204);
    assert!(["", "a%2F2\n"].contains(&gone.answer().text().as_str()));
}

#[test]
fn five_hundred_waiters_cost_little_and_hold_up_nobody() {
    // Each connection takes tiny_http two descriptors.
    let node = Node::alone_after(Some("ulimit -n 4096"), &[]);
    allow_thousands_of_connections();
    let put = node.request("PUT", "/map/k", b"1");
    let before_kib = node.resident_kib();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..512 {
        let mut client = node.client();
        let known = tag(&put);
        client.send(request_bytes("GET", "/map/k?wait=60s", &[("If-None-Match", &known)], &[]));
        clients.push(client);
    }
    eventually(Duration::from_secs(30), "all of them wait", || same(node.count("waits"), 512));
    let grown_kib = node.resident_kib().saturating_sub(before_kib);
    println!("512 waiters take {grown_kib} KiB");
    assert!(grown_kib < 24 * 1024, "{grown_kib} KiB");
    assert_serves(&node);
    let known = [("If-None-Match", tag(&put))];
    let known = known.each_ref().map(|(name, tag)| (*name, tag.as_str()));
    assert_refused(&node.client().request("GET", "/map/k?wait=60s", &known, &[]), 503);
    // Those who are gone give their places back once they are needed.
    clients.truncate(500);
    let mut late = node.client();
    late.send(request_bytes("GET", "/map/k?wait=60s", &known, &[]));
    eventually(ANSWER_LIMIT, "there is room again", || same(node.count("waits"), 501));
    node.write("k", "2");
    for client in clients.iter_mut().chain([&mut late]) {
        assert_eq!(client.answer().body, b"2");
    }
    assert_eq!(node.count("waits"), 0);
}

#[test]
fn who_asks_for_more_behind_a_wait_keeps_nobody_waiting() {
    let node = Node::alone(&[]);
    let put = node.request("PUT", "/map/k", b"1");
    let mut clients: Vec<Client> =
        (0..8).map(|_| waiting(&node, "/map/k?wait=30s", Some(&tag(&put)))).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(request_bytes("PUT", &format!("/map/after{index}"), &NO_HEADERS, b"v"));
        client.send(request_bytes("GET", &format!("/map/after{index}"), &NO_HEADERS, b""));
    }
    assert_serves(&node);
    assert_eq!(node.get("after0"), None, "its turn has not come");
    node.write("k", "2");
    for client in &mut clients {
        assert_eq!(client.answer().body, b"2");
        assert_eq!(client.answer().status, 201);
        assert_eq!(client.answer().body, b"v");
    }
}

// Who is there.

#[test]
fn the_peers_are_listed_with_how_they_are() {
    let mut cluster = Cluster::start(3, &[("SYNC_INTERVAL", "50ms")]);
    cluster.nodes[0].write("a", "1");
    cluster.wait_for(ANSWER_LIMIT, "a", "1");
    let peers = |node: &Node| node.client().get("/peers").text();
    eventually(ANSWER_LIMIT, "all agree", || {
        let text = peers(&cluster.nodes[0]);
        let all = text.lines().count() == 2
            && text
                .lines()
                .all(|line| line.contains(" state=agree ") && line.ends_with(" failures=0"));
        if all { Ok(()) } else { Err(text) }
    });
    eventually(ANSWER_LIMIT, "the clocks are known", || {
        let text = peers(&cluster.nodes[0]);
        if text.contains("clockOffsetMs=unknown") { Err(text) } else { Ok(()) }
    });
    cluster.nodes[2].kill();
    eventually(ANSWER_LIMIT, "one fails", || {
        let text = peers(&cluster.nodes[0]);
        let failing = text.lines().filter(|line| !line.ends_with(" failures=0")).count();
        if failing == 1 { Ok(()) } else { Err(text) }
    });
}

// Writes that others have.

#[test]
fn a_write_with_replicas_is_answered_once_so_many_others_have_it() {
    // Far apart, so that it is not the timer which tells them.
    let mut cluster = Cluster::start(4, &[("SYNC_INTERVAL", "30s")]);
    for wanted in 1..=3 {
        let target = format!("/map?k=key{wanted}&replicas={wanted}&wait=20s");
        assert_eq!(cluster.nodes[0].request("PUT", &target, b"v").status, 201);
        let key = format!("key{wanted}");
        let others = cluster.nodes[1..].iter().filter(|node| node.get(&key).is_some()).count();
        assert!(others >= wanted, "{others} of {wanted}");
    }
    // A body that is read by a thread of its own, a form, and a deletion.
    let node = &cluster.nodes[0];
    assert_eq!(node.request("PUT", "/map/key1?replicas=3", &[b'x'; 5000]).status, 204);
    assert!(
        cluster.nodes[1..].iter().all(|node| node.get("key1").is_some_and(|v| v.len() == 5000))
    );
    assert_eq!(node.request("POST", "/map?replicas=3", b"a=1&b=2").status, 204);
    assert!(cluster.nodes[1..].iter().all(|node| node.read("b") == "2"));
    assert_eq!(node.request("DELETE", "/map/b?replicas=3", &[]).status, 204);
    assert!(cluster.nodes[1..].iter().all(|node| node.get("b").is_none()));

    cluster.nodes[3].kill();
    let began = Instant::now();
    let answer = cluster.nodes[0].request("PUT", "/map?k=late&replicas=3&wait=700ms", b"v");
    assert_refused(&answer, 504);
    assert!(answer.text().starts_with("2 of 3 "), "{answer:?}");
    assert!(began.elapsed() >= Duration::from_millis(700));
    assert_eq!(cluster.nodes[0].read("late"), "v", "it is written all the same");
    for query in ["replicas=0", "replicas=1001", "replicas=x", "wait=1s", "replicas=1&wait=61s"] {
        let answer = cluster.nodes[0].request("PUT", &format!("/map?k=x&{query}"), b"v");
        assert_refused(&answer, 422);
    }
}

#[test]
#[ignore = "a million keys; run by test.sh in release"]
fn listing_a_million_keys_stalls_no_writer() {
    const KEYS: usize = 1_000_000;
    let node = Node::alone(&[("MAX_STORE_BYTES", "1GiB")]);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let mut client = node.client();
    for batch in 0..KEYS / 10_000 {
        let pairs: Vec<String> =
            (0..10_000).map(|index| format!("key-{:07}=v", batch * 10_000 + index)).collect();
        let answer = client.request("POST", "/map", &form, pairs.join("&").as_bytes());
        assert_eq!(answer.status, 204);
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
    println!("beside {lists} lists a PUT takes {median:?}, p99 {p99:?}");
    assert!(lists > 0, "there was a list beside them");
    // A list takes more than 100 ms.
    assert!(p99 < Duration::from_millis(30), "{p99:?}");
}
