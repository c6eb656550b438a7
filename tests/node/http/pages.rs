//! The other endpoints: `/stats`, `/healthz`, `/readyz` and `/metrics`.

use crate::support::{Cluster, Node, assert_refused};

#[test]
fn stats_begins_with_the_names_of_k8s_gossipcar_and_counts_correctly() {
    // Ready from the start, so that its `/readyz` counts as a good request.
    let settings = [("MY_POD_NAME", "pod-7"), ("CLUSTER", "shop"), ("READY_TIMEOUT", "0s")];
    let node = Node::alone(&settings);
    let mut client = node.client();
    let before = node.stats();
    for _ in 0..5 {
        client.put("/map?k=a", b"1");
        client.get("/map?k=a");
        client.get("/map?k=absent");
    }
    client.get("/nowhere");
    client.request("PATCH", "/map?k=a", &[], &[]);
    client.request("HEAD", "/map?k=a", &[], &[]);
    client.get("/readyz");
    let response = client.get("/stats");
    assert_eq!(response.header("Content-Type"), Some("text/plain; charset=UTF-8"));
    let text = response.text();
    let names: Vec<&str> =
        text.lines().map(|line| line.split('=').next().unwrap_or_default()).collect();
    assert_eq!(
        names[..6],
        ["upTimeSecs", "upSince", "nOutSyncs", "nInSyncs", "nBadHttpReqs", "nGoodHttpReqs"]
    );
    let now = node.stats();
    let grown =
        |name: &str| now[name].parse::<u64>().unwrap() - before[name].parse::<u64>().unwrap();
    assert_eq!(grown("nBadHttpReqs"), 7);
    // Two requests for /stats are among them, each counted after its response was written.
    assert_eq!(grown("nGoodHttpReqs"), 12 + 2);
    // k8s-gossipcar's format is local time without a zone: 2018-05-05T12:00:00.123
    let since = now["upSince"].as_bytes();
    assert!(since.len() == 23 && since[10] == b'T' && since[19] == b'.', "{}", now["upSince"]);
    assert!(now["upTimeSecs"].parse::<u64>().unwrap() < 60);
    assert_eq!((now["pod"].as_str(), now["cluster"].as_str()), ("pod-7", "shop"));
    assert_eq!((now["keys"].as_str(), now["storeBytes"].as_str()), ("1", "98"));
    assert_eq!((now["panics"].as_str(), now["ready"].as_str()), ("0", "1"));
}

#[test]
fn stats_ignores_all_parameters_and_the_other_pages_take_none() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    for query in ["?", "?x=1", "?x", "?x=1&x=2&k=a", "?wait=1s", "?%zz", "?x=%ff", "?&&"] {
        let stats = client.get(&format!("/stats{query}"));
        assert!(stats.status == 200 && stats.text().starts_with("upTimeSecs="), "{query}");
        assert_eq!(client.request("HEAD", &format!("/stats{query}"), &[], &[]).status, 200);
        let json = client.request(
            "GET",
            &format!("/stats{query}"),
            &[("Accept", "application/json")],
            &[],
        );
        assert_eq!(json.header("Content-Type"), Some("application/json"), "{query}");
        assert_refused(&client.put(&format!("/stats{query}"), b"x"), 405);
    }
    for path in ["/peers", "/metrics", "/healthz", "/readyz"] {
        assert_eq!(client.get(&format!("{path}?")).status, 200);
        assert_refused(&client.get(&format!("{path}?x=1")), 422);
        assert_refused(&client.get(&format!("{path}?%zz")), 400);
    }
}

#[test]
fn healthz_and_readyz_report_the_state_of_the_node() {
    let addresses = Cluster::addresses(2);
    let first = addresses.start(0, &[("READY_TIMEOUT", "1h"), ("SYNC_INTERVAL", "50ms")]);
    let mut client = first.client();
    assert_eq!(client.get("/healthz").text(), "ok\n");
    let unready = client.get("/readyz");
    assert_refused(&unready, 503);
    assert!(unready.text().contains("no exchange with a ready peer"), "{unready:?}");
    // It accepts reads and writes meanwhile.
    assert_eq!(client.put("/map?k=a", b"1").status, 201);
    let second = addresses.start(1, &[("SYNC_INTERVAL", "50ms")]);
    first.wait_until_ready();
    assert_eq!(client.get("/readyz").text(), "ready\n");
    second.wait_until_ready();
    assert_eq!(second.read("a"), "1");
}

#[test]
fn a_node_without_peers_is_ready_after_ready_timeout() {
    let node = Cluster::addresses(2).start(0, &[("READY_TIMEOUT", "300ms")]);
    node.wait_until_ready();
    assert!(node.count("upSecs") < 10);
    assert_eq!(node.count("nOutSyncs"), 0);
}

/// The number of metrics, or why the text is not in the Prometheus text format.
fn check_prometheus(text: &str) -> Result<usize, String> {
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
        !name.is_empty() && name.bytes().all(allowed) && !name.as_bytes()[0].is_ascii_digit()
    };
    let mut seen = Vec::new();
    if !text.ends_with('\n') {
        return Err("the last line does not end with a line feed".into());
    }
    let mut lines = text.lines();
    while let Some(help) = lines.next() {
        let wrong = |what: &str| Err(format!("{what}: {help:?}"));
        let Some((name, text)) = help.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        else {
            return wrong("not a HELP line");
        };
        if !is_name(name) || text.is_empty() || seen.contains(&name) {
            return wrong("an invalid name, a repeated name, or no text");
        }
        seen.push(name);
        let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
        if !kind.is_some_and(|kind| ["counter", "gauge"].contains(&kind)) {
            return wrong("no TYPE line follows");
        }
        if (kind == Some("counter")) != name.ends_with("_total") {
            return wrong("counters end in _total, and only they do");
        }
        let value = lines.next().and_then(|line| line.strip_prefix(&format!("{name} ")));
        if value.is_none_or(|value| value.parse::<f64>().is_err()) {
            return wrong("no value follows");
        }
    }
    Ok(seen.len())
}

#[test]
fn metrics_are_in_the_prometheus_text_format() {
    let node = Node::alone(&[]);
    node.write("a", "1");
    let response = node.request("GET", "/metrics", &[]);
    assert_eq!(response.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = response.text();
    assert!(check_prometheus(&text).unwrap() > 20);
    assert!(text.contains("\ngossip_sidecar_keys 1\n"), "{text}");
    assert!(text.contains("\ngossip_sidecar_http_requests_good_total "), "{text}");
    let good = "# HELP a_total text\n# TYPE a_total counter\na_total 1\n";
    assert_eq!(check_prometheus(good), Ok(1));
    for bad in [
        "a_total 1\n",
        "# HELP a_total text\n# TYPE a_total counter\na_total x\n",
        "# HELP a_total text\n# TYPE a_total gauge\na_total 1\n",
        "# HELP a text\n# TYPE a counter\na 1\n",
        "# HELP a-b_total text\n# TYPE a-b_total counter\na-b_total 1\n",
        "# HELP a_total text\n# TYPE b_total counter\na_total 1\n",
        "# HELP a_total text\n# TYPE a_total counter\na_total 1",
        &good.repeat(2),
    ] {
        assert!(check_prometheus(bad).is_err(), "{bad:?}");
    }
}
