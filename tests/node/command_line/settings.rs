//! Settings, as variables and as flags.

use super::{COMMAND_LIMIT, assert_fails, error, text};
use crate::support::{Node, eventually, free_port, fresh_ips, run};
use gossip_sidecar::SETTINGS;
use std::net::{IpAddr, TcpListener};

/// For each setting: invalid values, and the valid example in the message.
const BAD_SETTINGS: [(&str, &[&str], &str); 15] = [
    ("CLIENT_PORT", &["0", "65536", "-1", "http", "80 ", "8080,8081"], "8080"),
    (
        "CLIENT_BIND",
        &["localhost", "127.0.0.1:80", "127.0.0", "127.0.0.1,", "[::1]"],
        "127.0.0.1,::1",
    ),
    ("PEER_PORT", &["0", "65536", "-1", "gossip", " 1"], "8080"),
    ("PEER_BIND", &["*", "eth0", "0.0.0.0/0", ","], "127.0.0.1,::1"),
    (
        "SERVICE_DNS_NAME",
        &["a b", "name:0", "name:x", "name:65536", ",", "a,,b", "http://name", "a/b", "[::1]", "ä"],
        "gossip-sidecar",
    ),
    ("MY_POD_IP", &["pod", "10.0.0", "10.0.0.7:80", "10.0.0.7,10.0.0.8"], "10.0.0.7"),
    ("CLUSTER", &["a b", "a/b", "ä", "line\nfeed", LONG_NAME], "shop-eu.1"),
    ("SYNC_INTERVAL", &["0s", "9ms", "2h", "1", "soon", "-1s"], "such as 1s"),
    ("MAX_KEY_BYTES", &["0", "65KiB", "1kb", "x", "-1", "1.5KiB", "+1", "1 KiB"], "such as 1KiB"),
    ("MAX_VALUE_BYTES", &["0", "17MiB", "1GiB", "x", "MiB"], "such as 1MiB"),
    (
        "MAX_STORE_BYTES",
        &["0", "2048GiB", "99999999999999999999", "17179869185GiB", "1TB"],
        "such as 64MiB",
    ),
    ("TOMBSTONE_TTL", &["0s", "999ms", "367days", "1", "never"], "such as 24h"),
    ("READY_TIMEOUT", &["x", "2h", "10", "-1s"], "such as 10s"),
    ("DRAIN_TIMEOUT", &["x", "61m", "5", "-5s"], "such as 5s"),
    (
        "LOG_LEVEL",
        &["verbose", "2", "info,debug", " info"],
        "off, error, warn, info, debug or trace",
    ),
];

const LONG_NAME: &str = "0123456789012345678901234567890123456789012345678901234567890123";

#[test]
fn an_invalid_setting_ends_the_start_with_a_valid_example() {
    for (name, values, right) in BAD_SETTINGS {
        for value in values {
            let shown = format!("{name}={value:?}");
            let from_variable = run(&[], &[(name, value)]);
            assert_fails(&from_variable, 2, &[&shown, right]);
            let flag = format!("--{}={value}", name.to_lowercase().replace('_', "-"));
            assert_fails(&run(&["serve", &flag], &[]), 2, &[&shown, right]);
        }
    }
    // The pod's name may be anything; every other setting is in the table.
    for setting in &SETTINGS {
        let is_listed = BAD_SETTINGS.iter().any(|(name, ..)| *name == setting.name);
        assert!(is_listed != (setting.name == "MY_POD_NAME"), "{}", setting.name);
    }
}

#[test]
fn the_smallest_and_largest_values_of_each_setting_are_accepted() {
    for (name, values) in [
        ("CLIENT_PORT", &["1", "65535"][..]),
        ("CLIENT_BIND", &["::1", "127.0.0.1, ::1", "0.0.0.0"]),
        ("PEER_PORT", &["1", "65535"]),
        ("SERVICE_DNS_NAME", &["a", "a.b.c.", "a:1,10.0.0.7,[::1]:1, ::1", "10.0.0.7:65535"]),
        ("MY_POD_IP", &["10.0.0.7", "fd00::7"]),
        ("MY_POD_NAME", &["pod", "any thing = at all"]),
        ("CLUSTER", &["a", "shop-eu.1_x", &LONG_NAME[1..]]),
        ("SYNC_INTERVAL", &["10ms", "1h", "1s 500ms", "1.5s"]),
        ("MAX_KEY_BYTES", &["1", "64KiB", "65536"]),
        ("MAX_VALUE_BYTES", &["1", "16MiB"]),
        ("MAX_STORE_BYTES", &["1", "1024GiB"]),
        ("TOMBSTONE_TTL", &["1s", "366days"]),
        ("READY_TIMEOUT", &["0s", "1h"]),
        ("DRAIN_TIMEOUT", &["0s", "1h"]),
        ("LOG_LEVEL", &["off", "error", "warn", "info", "debug", "trace", "INFO"]),
    ] {
        for value in values {
            // Every command checks all settings; this one then finds no server.
            let output = run(&["health", "--server", "127.0.0.1:1"], &[(name, value)]);
            assert_fails(&output, 1, &["no response from the sidecar at 127.0.0.1:1"]);
        }
    }
}

#[test]
fn flags_override_the_environment_and_the_last_one_wins() {
    let node = Node::alone(&[]);
    let (ip, port) = (node.http.ip().to_string(), node.http.port().to_string());
    let wrong = [("CLIENT_BIND", "not an address"), ("CLIENT_PORT", "1")];
    for arguments in [
        &["health", "--client-bind", &ip, "--client-port", &port][..],
        &["--client-bind", &ip, "health", "--client-port", &port],
        &[&format!("--client-bind={ip}"), &format!("--client-port={port}"), "health"],
        &[
            "--client-bind=x",
            "--client-port=x",
            "health",
            "--client-port",
            &port,
            "--client-bind",
            &ip,
        ],
    ] {
        let output = run(arguments, &wrong);
        assert_eq!(
            (output.status.code(), text(&output)),
            (Some(0), "ok\n".into()),
            "{}",
            error(&output)
        );
    }
    let right = [("CLIENT_BIND", ip.as_str()), ("CLIENT_PORT", port.as_str())];
    assert_eq!(run(&["health"], &right).status.code(), Some(0));
    assert_fails(&run(&["health", "--client-port", "1"], &right), 1, &["no response"]);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let all: Vec<(&str, &str)> = SETTINGS.iter().map(|setting| (setting.name, "")).collect();
    let output = run(&["health", "--server", "127.0.0.1:1"], &all);
    assert_fails(&output, 1, &["no response"]);
    let node =
        Node::alone(&[("CLUSTER", ""), ("MY_POD_IP", ""), ("MY_POD_NAME", ""), ("LOG_LEVEL", "")]);
    let stats = node.stats();
    assert_eq!((stats["cluster"].as_str(), stats["pod"].as_str()), ("default", ""));
}

#[test]
fn the_environment_of_k8s_gossipcar_is_accepted() {
    let k8s_gossipcar = [
        ("PEER_PORT", "46747"),
        ("CLIENT_PORT", "80"),
        ("SERVICE_DNS_NAME", "gossipcar.default.svc.cluster.local"),
        ("MY_POD_NAME", "gossipcar-0"),
        ("MY_POD_IP", "10.1.2.3"),
    ];
    let output = run(&["health", "--server", "127.0.0.1:1"], &k8s_gossipcar);
    assert_fails(&output, 1, &["no response"]);
    // With k8s-gossipcar's ports, at an address that no other test uses.
    let ip = IpAddr::from(fresh_ips(1)[0]);
    for port in [80, 46747] {
        if let Err(error) = TcpListener::bind((ip, port)) {
            println!("skipped: port {port} cannot be bound here: {error}");
            return;
        }
    }
    let node = Node::start((ip, 80).into(), (ip, 46747).into(), &k8s_gossipcar);
    node.write("key", "value");
    assert_eq!(node.read("key"), "value");
    assert_eq!(node.stats()["pod"], "gossipcar-0");
}

#[test]
fn a_port_in_use_is_reported_with_its_setting() {
    let node = Node::alone(&[]);
    let ip = node.http.ip();
    let (http, peer) = (node.http.port().to_string(), node.peer.port().to_string());
    let (ip, free) = (ip.to_string(), free_port(&[ip]).to_string());
    let start = |client: (&str, &str), peer_port: &str| {
        let (bind, port) = client;
        let settings = [
            ("CLIENT_BIND", bind),
            ("CLIENT_PORT", port),
            ("PEER_BIND", &ip),
            ("PEER_PORT", peer_port),
        ];
        run(&[], &settings)
    };
    // A child process that another test is starting may hold the free port for a moment.
    let fails = |client: (&str, &str), peer_port: &str, named: [&str; 3]| {
        let output = eventually(COMMAND_LIMIT, "it names the port in use", || {
            let output = start(client, peer_port);
            if error(&output).contains(named[0]) { Ok(output) } else { Err(error(&output)) }
        });
        assert_fails(&output, 1, &named);
    };
    fails((&ip, &http), &free, ["CLIENT_PORT", "another process has it", &ip]);
    fails((&ip, &free), &peer, ["PEER_PORT", "another process has it", &ip]);
    // An address reserved for documentation, which no machine has.
    fails(("192.0.2.1", &http), &free, ["CLIENT_BIND", "192.0.2.1", "CLIENT_PORT"]);
    assert_eq!(node.request("GET", "/healthz", &[]).status, 200);
}
