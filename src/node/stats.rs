//! The texts of `/stats` and `/metrics`: counters, gauges and facts.

use crate::core::api::json;
use crate::node::metrics::COUNTERS;
use crate::node::state::Node;
use crate::sys::logger::PANICS;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

/// What is true of a node at this moment.
struct Gauge {
    /// Its name in `/stats`.
    stats_name: &'static str,
    /// Its name in `/metrics`, after `gossip_sidecar_`.
    metrics_name: &'static str,
    help: &'static str,
    value: u64,
}

/// k8s-gossipcar's `/stats`: `name=value` a line, its own names first; or the same as JSON.
pub fn stats(node: &Node, json: bool) -> String {
    let mut text = String::new();
    let mut object = json::Members::object();
    let mut write = |name: &str, value: &str, is_number: bool| match (json, is_number) {
        (false, _) => text.extend([name, "=", value, "\n"]),
        (true, true) => object.named(name).push_str(value),
        (true, false) => json::string(object.named(name), value),
    };
    write("upTimeSecs", &node.readiness.age().as_secs().to_string(), true);
    // k8s-gossipcar writes local date and time without a zone; this is UTC.
    let since = humantime::format_rfc3339_millis(node.started_at).to_string();
    write("upSince", since.trim_end_matches('Z'), false);
    for &(counter, name, ..) in &COUNTERS {
        write(name, &node.metrics.get(counter).to_string(), true);
    }
    for gauge in gauges(node) {
        write(gauge.stats_name, &gauge.value.to_string(), true);
    }
    for (name, fact) in facts(node) {
        write(name, &fact, false);
    }
    if json { object.finish() + "\n" } else { text }
}

/// The Prometheus text exposition format, version 0.0.4.
pub fn prometheus(node: &Node) -> String {
    let mut text = String::new();
    let mut write = |name: &str, help: &str, kind: &str, value: u64| {
        let name = format!("gossip_sidecar_{name}");
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
            .expect("writing to memory cannot fail");
    };
    for &(counter, _, name, help) in &COUNTERS {
        write(name, help, "counter", node.metrics.get(counter));
    }
    for gauge in gauges(node) {
        write(gauge.metrics_name, gauge.help, "gauge", gauge.value);
    }
    text
}

fn facts(node: &Node) -> [(&'static str, String); 5] {
    let (id, root) = {
        let store = node.store();
        (store.node(), store.root().xor)
    };
    [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("node", format!("{id:08x}")),
        ("pod", node.config.pod_name.clone().unwrap_or_default()),
        ("cluster", node.config.cluster.to_string()),
        ("digest", format!("{root:016x}")),
    ]
}

fn gauges(node: &Node) -> [Gauge; 8] {
    let (keys, tombstones, bytes) = {
        let store = node.store();
        (store.live() as u64, store.tombstones() as u64, store.bytes())
    };
    let peers = node.members().listed().len() as u64;
    let blocked = node.blocked_requests.load(Relaxed) as u64;
    let ready = u64::from(node.readiness.not_ready_reason().is_none());
    let up_secs = node.readiness.age().as_secs();
    let panics = PANICS.load(Relaxed);
    [
        gauge("keys", "keys", "keys that have a value", keys),
        gauge("tombstones", "tombstones", "deletions remembered", tombstones),
        gauge("storeBytes", "store_bytes", "what counts against MAX_STORE_BYTES", bytes),
        gauge("peers", "peers", "peers in the latest DNS answer", peers),
        gauge(
            "blockedRequests",
            "blocked_requests",
            "blocking queries and writes that wait for replicas",
            blocked,
        ),
        gauge("ready", "ready", "1 if ready", ready),
        gauge("upSecs", "up_seconds", "time since the start", up_secs),
        gauge("panics", "panics", "panics caught: each one is a bug", panics),
    ]
}

fn gauge(
    stats_name: &'static str,
    metrics_name: &'static str,
    help: &'static str,
    value: u64,
) -> Gauge {
    Gauge { stats_name, metrics_name, help, value }
}
