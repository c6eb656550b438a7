//! The command line: settings, the small client, what the process says and how it ends.

use crate::support::*;
use gossip_sidecar::SETTINGS;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::process::{Child, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the small client and the demo do, they do in this time.
const SOON: Duration = Duration::from_secs(15);

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// That it ended with this code, and said one line that names all of this.
#[track_caller]
fn assert_fails(output: &Output, code: i32, named: &[&str]) {
    let error = error(output);
    assert_eq!(output.status.code(), Some(code), "for {named:?}: {error}");
    assert!(error.starts_with("gossip-sidecar: ") && error.lines().count() == 1, "{error:?}");
    for name in named {
        assert!(error.contains(name), "{name:?} is not in {error:?}");
    }
    assert_eq!(text(output), "");
}

// Settings.

/// For each setting: what does not do, and what the message shows as right.
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
fn a_setting_that_does_not_do_ends_the_start_and_shows_a_right_one() {
    for (name, values, right) in BAD_SETTINGS {
        for value in values {
            let shown = format!("{name}={value:?}");
            let from_variable = run(&[], &[(name, value)]);
            assert_fails(&from_variable, 2, &[&shown, right]);
            let flag = format!("--{}={value}", name.to_lowercase().replace('_', "-"));
            assert_fails(&run(&["serve", &flag], &[]), 2, &[&shown, right]);
        }
    }
    // Whatever names the pod is right, and that is the only setting that is not in the table.
    for setting in &SETTINGS {
        let is_listed = BAD_SETTINGS.iter().any(|(name, ..)| *name == setting.name);
        assert!(is_listed != (setting.name == "MY_POD_NAME"), "{}", setting.name);
    }
}

#[test]
fn the_least_and_the_greatest_of_each_setting_do() {
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
            // Any command checks all settings; this one goes on to a server that is not there.
            let output = run(&["health", "--server", "127.0.0.1:1"], &[(name, value)]);
            assert_fails(&output, 1, &["no answer from the sidecar at 127.0.0.1:1"]);
        }
    }
}

#[test]
fn flags_win_over_the_environment_and_the_last_one_wins() {
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
    assert_fails(&run(&["health", "--client-port", "1"], &right), 1, &["no answer"]);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let all: Vec<(&str, &str)> = SETTINGS.iter().map(|setting| (setting.name, "")).collect();
    let output = run(&["health", "--server", "127.0.0.1:1"], &all);
    assert_fails(&output, 1, &["no answer"]);
    let node =
        Node::alone(&[("CLUSTER", ""), ("MY_POD_IP", ""), ("MY_POD_NAME", ""), ("LOG_LEVEL", "")]);
    let stats = node.stats();
    assert_eq!((stats["cluster"].as_str(), stats["pod"].as_str()), ("default", ""));
}

#[test]
fn the_environment_of_k8s_gossipcar_is_taken() {
    let k8s_gossipcar = [
        ("PEER_PORT", "46747"),
        ("CLIENT_PORT", "80"),
        ("SERVICE_DNS_NAME", "gossipcar.default.svc.cluster.local"),
        ("MY_POD_NAME", "gossipcar-0"),
        ("MY_POD_IP", "10.1.2.3"),
    ];
    let output = run(&["health", "--server", "127.0.0.1:1"], &k8s_gossipcar);
    assert_fails(&output, 1, &["no answer"]);
    // At an address of our own.
    let ip = IpAddr::from(addresses(1)[0]);
    for port in [80, 46747] {
        if let Err(error) = TcpListener::bind((ip, port)) {
            println!("skipped: port {port} cannot be had here: {error}");
            return;
        }
    }
    let node = Node::start((ip, 80).into(), (ip, 46747).into(), &k8s_gossipcar);
    node.write("key", "value");
    assert_eq!(node.read("key"), "value");
    assert_eq!(node.stats()["pod"], "gossipcar-0");
}

#[test]
fn help_names_every_command_and_setting_with_its_default() {
    for arguments in [&["--help"][..], &["-h"], &["serve", "--help"], &["put", "-h"]] {
        // Whatever the environment says.
        let output = run(arguments, &[("CLIENT_PORT", "bad")]);
        assert_eq!((output.status.code(), error(&output)), (Some(0), String::new()));
        let help = text(&output);
        for setting in &SETTINGS {
            let line = help.lines().find(|line| line.trim_start().starts_with(setting.name));
            let line = line.unwrap_or_else(|| panic!("{} is not in {help}", setting.name));
            let default = if setting.default.is_empty() { "none" } else { setting.default };
            assert!(line.ends_with(&format!("[{default}]")), "{line:?}");
        }
        for command in [
            "serve",
            "demo",
            "get KEY",
            "put KEY",
            "del KEY",
            "ls [PREFIX]",
            "watch KEY",
            "stats",
            "peers",
            "health",
            "--ttl",
            "--server",
            "--client-port",
        ] {
            assert!(help.contains(command), "{command}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
    }
}

#[test]
fn version_is_the_one_of_the_package() {
    for argument in ["--version", "-V"] {
        let output = run(&[argument], &[]);
        assert_eq!(text(&output), format!("gossip-sidecar {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn what_is_not_known_on_the_command_line_is_named() {
    for (arguments, named) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--CLIENT_PORT", "1"], "--CLIENT_PORT"),
        (&["--client_port", "1"], "--client_port"),
        (&["-x"], "-x"),
        (&["serve", "--port=1"], "--port"),
        (&["--client-port"], "--client-port"),
        (&["start"], "start"),
        (&["Serve"], "Serve"),
        (&[""], "\"\""),
        (&["serve", "now"], "serve"),
        (&["demo", "3"], "demo"),
        (&["health", "x"], "health"),
        (&["get"], "get"),
        (&["put"], "put"),
        (&["put", "key", "value", "more"], "put"),
        (&["get", "--ready", "key"], "--ready"),
        (&["health", "--server", "nonsense"], "nonsense"),
        (&["health", "--server", "127.0.0.1"], "127.0.0.1:80"),
    ] {
        assert_fails(&run(arguments, &[]), 2, &[named]);
    }
}

#[test]
fn a_port_that_is_taken_is_said_with_its_setting() {
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
    // The free port may be held for a moment by a child that another test is about to start.
    let fails = |client: (&str, &str), peer_port: &str, named: [&str; 3]| {
        let output = eventually(SOON, "it names what is taken", || {
            let output = start(client, peer_port);
            if error(&output).contains(named[0]) { Ok(output) } else { Err(error(&output)) }
        });
        assert_fails(&output, 1, &named);
    };
    fails((&ip, &http), &free, ["CLIENT_PORT", "another process has it", &ip]);
    fails((&ip, &free), &peer, ["PEER_PORT", "another process has it", &ip]);
    // An address of documentation: nobody has it.
    fails(("192.0.2.1", &http), &free, ["CLIENT_BIND", "192.0.2.1", "CLIENT_PORT"]);
    assert_eq!(node.request("GET", "/healthz", &[]).status, 200);
}

// The small client.

#[test]
fn put_get_and_health_round_trip() {
    let node = Node::alone(&[]);
    let server = node.http.to_string();
    let ask = |arguments: &[&str], input: &[u8]| {
        run_with_input(&[&["--server", &server], arguments].concat(), &[], input)
    };
    let put = |arguments: &[&str], input: &[u8]| {
        let output = ask(&[&["put"], arguments].concat(), input);
        assert_eq!(
            (output.status.code(), text(&output)),
            (Some(0), String::new()),
            "{}",
            error(&output)
        );
    };
    put(&["key", "value"], b"");
    put(&["key", "new value"], b"");
    put(&["from stdin", "-"], b"with - \n");
    put(&["from stdin too"], b"with nothing\n");
    let binary: Vec<u8> = (0..=255).collect();
    put(&["binary"], &binary);
    put(&["ключ &=?%+", "ü"], b"");
    put(&["", "of the empty key"], b"");
    put(&["empty", ""], b"not read");
    put(&["--", "-key", "-value"], b"");
    put(&["big"], &binary.repeat(4096));
    let get = |keys: &[&str]| {
        let output = ask(&[&["get"], keys].concat(), b"");
        assert_eq!((output.status.code(), error(&output)), (Some(0), String::new()));
        output.stdout
    };
    assert_eq!(get(&["key"]), b"key=new value\n");
    assert_eq!(
        get(&["from stdin", "absent", "from stdin too"]),
        b"from stdin=with - \n\nfrom stdin too=with nothing\n\n"
    );
    assert_eq!(get(&["binary"]), [b"binary=", &binary[..], b"\n"].concat());
    assert_eq!(get(&["ключ &=?%+"]), "ключ &=?%+=ü\n".as_bytes());
    assert_eq!(get(&[""]), b"=of the empty key\n");
    assert_eq!(get(&["empty"]), b"empty=\n");
    assert_eq!(get(&["--", "-key"]), b"-key=-value\n");
    assert_eq!(get(&["big"]), [b"big=", &binary.repeat(4096)[..], b"\n"].concat());
    assert_eq!(node.get("big"), Some(binary.repeat(4096)));

    assert_fails(&ask(&["get", "absent"], b""), 1, &["404", "none of these keys"]);
    assert_fails(&ask(&["put", &"k".repeat(1025), "v"], b""), 1, &["400", "MAX_KEY_BYTES"]);
    assert_fails(&ask(&["put", "big"], &binary.repeat(4097)), 1, &["413", "MAX_VALUE_BYTES"]);
    assert_eq!(node.get("big"), Some(binary.repeat(4096)));
    let health = ask(&["health"], b"");
    assert_eq!((health.status.code(), text(&health)), (Some(0), "ok\n".into()));
    let ready = ask(&["health", "--ready"], b"");
    assert_eq!((ready.status.code(), text(&ready)), (Some(0), "ready\n".into()));
}

#[test]
fn health_of_nobody_is_1_and_so_is_that_of_an_unready_one() {
    assert_fails(&run(&["health", "--server", "127.0.0.1:1"], &[]), 1, &["127.0.0.1:1"]);
    let waiting = Cluster::places(2).start(0, &[("READY_TIMEOUT", "1h")]);
    let server = waiting.http.to_string();
    let health =
        |arguments: &[&str]| run(&[&["health", "--server", &server], arguments].concat(), &[]);
    assert_eq!(health(&[]).status.code(), Some(0));
    let unready = health(&["--ready"]);
    assert_eq!(unready.status.code(), Some(1));
    assert!(text(&unready).contains("no exchange with a peer"), "{}", text(&unready));
}

#[test]
fn what_does_not_speak_http_is_no_sidecar() {
    let node = Node::alone(&[]);
    // The peer port talks, but not so.
    let output = run(&["health", "--server", &node.peer.to_string()], &[]);
    assert_fails(&output, 1, &["no answer from the sidecar"]);
}

// IPv6.

#[test]
fn two_nodes_converge_over_ipv6() {
    let ip = IpAddr::from(Ipv6Addr::LOCALHOST);
    if let Err(error) = TcpListener::bind((ip, 0)) {
        println!("skipped: no IPv6 on this machine: {error}");
        return;
    }
    let ports: Vec<u16> = (0..4).map(|_| free_port(&[ip])).collect();
    let places = [(ports[0], ports[1]), (ports[2], ports[3])];
    let list = format!("[::1]:{},[::1]:{}", ports[1], ports[3]);
    let start = |&(http, peer): &(u16, u16)| {
        Node::start(
            SocketAddr::new(ip, http),
            SocketAddr::new(ip, peer),
            &[("SERVICE_DNS_NAME", &list)],
        )
    };
    let cluster = Cluster { nodes: places.iter().map(start).collect() };
    cluster.nodes.iter().for_each(Node::wait_until_ready);
    cluster.nodes[0].write("key", "value");
    cluster.wait_for(SOON, "key", "value");
    // A chunked upload asks the system whether its client is still there.
    let mut client = cluster.nodes[1].client();
    client.send(
        "PUT /map?k=chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(client.answer().status, 201);
    cluster.wait_for(SOON, "chunked", "abc");
    let output = run(&["get", "key", "--server", &format!("[::1]:{}", ports[0])], &[]);
    assert_eq!(output.stdout, b"key=value\n");
}

#[test]
fn an_ipv4_client_of_a_socket_for_both_families_is_served_like_any_other() {
    let v4 = IpAddr::from(addresses(1)[0]);
    let all = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    if TcpListener::bind((all, 0)).is_err() {
        println!("skipped: no IPv6 on this machine");
        return;
    }
    let (http, peer) = (free_port(&[v4, all]), free_port(&[v4]));
    let own = v4.to_string();
    let settings = [("CLIENT_BIND", "::"), ("SERVICE_DNS_NAME", own.as_str())];
    let node = Node::start((v4, http).into(), (v4, peer).into(), &settings);
    for ip in [v4, Ipv6Addr::LOCALHOST.into()] {
        let mut client = Client::connect((ip, http).into());
        // The system is asked whether the client is still there, and lists it in another table.
        let head = "PUT /map?k=chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}3\r\nabc\r\n0\r\n\r\n"));
        assert!(client.answer().status < 300);
        client.send(format!("{head}3\r\nx")).stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.answer().status, 400);
        assert_eq!(node.read("chunked"), "abc");
    }
}

#[test]
fn one_port_for_all_addresses_serves_both_families() {
    let v4 = IpAddr::from(addresses(1)[0]);
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    if TcpListener::bind((v6, 0)).is_err() {
        println!("skipped: no IPv6 on this machine");
        return;
    }
    let (http, peer) = (free_port(&[v4, v6]), free_port(&[v4, v6]));
    let own = format!("{v4},{v6}");
    let all =
        [("CLIENT_BIND", own.as_str()), ("PEER_BIND", "::,0.0.0.0"), ("SERVICE_DNS_NAME", &own)];
    let node = Node::start((v4, http).into(), (v4, peer).into(), &all);
    for ip in [v4, v6] {
        let answer = Client::connect((ip, http).into()).get("/healthz");
        assert_eq!(answer.body, b"ok\n");
    }
    // It finds itself at both addresses, and knows nobody else then.
    eventually(SOON, "ready, and alone", || {
        same((node.is_ready(), node.stats()["peers"].clone()), (true, "0".to_owned()))
    });
}

// The demo.

/// A running demo, with all that it has printed.
struct Demo {
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl Demo {
    fn start() -> Self {
        let mut child =
            binary().arg("demo").stdout(Stdio::piped()).spawn().expect("the binary was built");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let printed = Arc::new(Mutex::new(String::new()));
        let all = printed.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                *all.lock().expect("nobody panics under it") += &(line + "\n");
            }
        });
        Self { child, printed }
    }

    fn printed(&self) -> String {
        self.printed.lock().expect("nobody panics under it").clone()
    }

    fn wait_for(&self, what: &str) {
        eventually(SOON, &format!("the demo prints {what:?}"), || {
            let printed = self.printed();
            if printed.contains(what) { Ok(()) } else { Err(printed) }
        });
    }

    /// Address and process of each node, as printed at the start.
    fn nodes(&self) -> Vec<(SocketAddr, u32)> {
        let node = |line: &str| {
            let (address, rest) = line.split_once(": http://")?.1.split_once("  (process ")?;
            Some((address.parse().ok()?, rest.strip_suffix(')')?.parse().ok()?))
        };
        self.printed().lines().filter_map(node).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        for child in children_of(self.child.id()) {
            signal(child, "KILL");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes that a process has started, and not yet taken leave of.
fn children_of(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("there is /proc");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, in parentheses, may hold anything; state and parent follow.
        let parent_of = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        parent_of == Some(parent.to_string().as_str())
    })
    .collect()
}

#[test]
fn the_demo_shows_a_write_and_a_recovery_and_leaves_nothing_behind() {
    let mut demo = Demo::start();
    demo.wait_for("all three have found each other");
    let nodes = demo.nodes();
    assert_eq!(nodes.len(), 3, "{}", demo.printed());
    let mut before: Vec<u32> = nodes.iter().map(|&(_, pid)| pid).collect();
    before.sort();
    let mut children = children_of(demo.child.id());
    children.sort();
    assert_eq!(children, before);

    let put = Client::connect(nodes[0].0).put("/map?k=greeting", b"hello");
    assert_eq!(put.status, 201);
    demo.wait_for("a write has reached all three");
    assert!(demo.printed().contains("ms or less: 1 key\n"), "{}", demo.printed());
    for (http, _) in &nodes {
        assert_eq!(Client::connect(*http).get("/map?k=greeting").body, b"greeting=hello\n");
    }

    // As the printed lines propose.
    assert!(demo.printed().contains(&format!("kill -9 {}", nodes[2].1)), "{}", demo.printed());
    signal(nodes[2].1, "KILL");
    demo.wait_for("node 3 is gone");
    demo.wait_for("node 3 is back with 1 key");
    assert_eq!(Client::connect(nodes[2].0).get("/map?k=greeting").body, b"greeting=hello\n");

    let children = children_of(demo.child.id());
    assert_eq!(children.len(), 3);
    demo_ends(&mut demo, "INT");
    demo.wait_for("nothing is left behind");
    for pid in children {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
    }
}

#[test]
fn the_demo_ends_at_any_time_without_leaving_anything() {
    // Before it has printed anything, perhaps before it has started anyone.
    let mut demo = Demo::start();
    eventually(SOON, "it has begun to start nodes", || {
        same(!children_of(demo.child.id()).is_empty(), true)
    });
    let children = children_of(demo.child.id());
    demo_ends(&mut demo, "TERM");
    for pid in children {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
    }
}

fn demo_ends(demo: &mut Demo, with: &str) {
    signal(demo.child.id(), with);
    let child = &mut demo.child;
    let status = eventually(SOON, "the end of the demo", || {
        child.try_wait().expect("it is our child").ok_or_else(|| "still running".to_owned())
    });
    assert_eq!(status.code(), Some(0));
}
