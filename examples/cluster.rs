//! A cluster of real processes on this machine, measured from outside.
//!
//! ```sh
//! cargo build --release
//! cargo run --release --example cluster -- --nodes 20 --writes 100
//! ```
//!
//! Each node has an address of its own (127.x.y.z). The table says how long single writes took to
//! be readable on all nodes, what they cost in exchanges and bytes, and what the nodes cost at
//! rest.

use gossip_sidecar::client::{map_target, request};
use lexopt::prelude::*;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HELP: &str = "Usage: cluster [--nodes N] [--dead N] [--writes N] [--gap-ms MS] [--keys N]
               [--storm WRITES_A_SECOND] [--idle SECONDS] [--binary PATH]

  --nodes    processes started                                          [3]
  --dead     addresses more, at which connections are not even refused  [0]
  --writes   writes to random nodes, one at a time                      [200]
  --gap-ms   the mean time between two of them                          [300]
  --keys     keys of 100 bytes written beforehand                       [0]
  --storm    then 5 s of so many writes a second to one node            [0]
  --idle     then seconds at rest; CPU time is known to 10 ms            [0]
  --binary   the program                        [target/release/gossip-sidecar]
";

const PEER_PORT: u16 = 46747;

struct Options {
    nodes: usize,
    dead: usize,
    writes: usize,
    gap_ms: u64,
    keys: usize,
    storm: u64,
    idle_s: u64,
    binary: String,
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options {
        nodes: 3,
        dead: 0,
        writes: 200,
        gap_ms: 300,
        keys: 0,
        storm: 0,
        idle_s: 0,
        binary: "target/release/gossip-sidecar".into(),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("nodes") => options.nodes = parser.value()?.parse()?,
            Long("dead") => options.dead = parser.value()?.parse()?,
            Long("writes") => options.writes = parser.value()?.parse()?,
            Long("gap-ms") => options.gap_ms = parser.value()?.parse()?,
            Long("keys") => options.keys = parser.value()?.parse()?,
            Long("storm") => options.storm = parser.value()?.parse()?,
            Long("idle") => options.idle_s = parser.value()?.parse()?,
            Long("binary") => options.binary = parser.value()?.string()?,
            Long("help") => {
                print!("{HELP}");
                std::process::exit(0);
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

/// An address that drops packets, like that of a pod that no longer exists: a listener whose
/// backlog is full and never accepted.
struct Dead {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Dead {
    fn at(ip: Ipv4Addr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((ip, PEER_PORT))?;
        let address = SocketAddr::from((ip, PEER_PORT));
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        Ok(Self { _listener: listener, _queue: std::iter::from_fn(connect).collect() })
    }
}

struct Node {
    http: SocketAddr,
    child: Child,
}

impl Node {
    fn start(binary: &str, ip: Ipv4Addr, all: &str) -> std::io::Result<Self> {
        let http = SocketAddr::from((ip, 8080));
        let child = Command::new(binary)
            .env("SERVICE_DNS_NAME", all)
            .env("CLIENT_BIND", ip.to_string())
            .env("CLIENT_PORT", "8080")
            .env("PEER_BIND", ip.to_string())
            .env("PEER_PORT", PEER_PORT.to_string())
            .env("CLUSTER", "measured")
            .env("SYNC_INTERVAL", "1s")
            .env("DRAIN_TIMEOUT", "0s")
            .env("LOG_LEVEL", "error")
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self { http, child })
    }

    fn get(&self, target: &str) -> Option<Vec<u8>> {
        let answer = request(self.http, "GET", target, &[]).ok()?;
        (answer.status == 200).then_some(answer.body)
    }

    fn put(&self, key: &str, value: &[u8]) -> bool {
        request(self.http, "PUT", &map_target([key]), value).is_ok_and(|answer| answer.status < 300)
    }

    fn stats(&self) -> HashMap<String, String> {
        let text = String::from_utf8(self.get("/stats").unwrap_or_default()).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn count(&self, name: &str) -> u64 {
        self.stats().get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// CPU time so far in ticks of 10 ms, including threads that have ended, and resident memory in
    /// kB.
    fn cost(&self) -> (u64, u64) {
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
        };
        let stat = read("stat");
        let fields: Vec<&str> =
            stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|f| f.parse().ok()).unwrap_or(0);
        let rss = read("status")
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        (ticks(11) + ticks(12), rss.unwrap_or(0))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() {
    let options = options().unwrap_or_else(|error| {
        eprintln!("cluster: {error}\n{HELP}");
        std::process::exit(2);
    });
    let net = (fastrand::u8(20..220), fastrand::u8(1..250));
    let ips: Vec<Ipv4Addr> = (0..options.nodes + options.dead)
        .map(|index| Ipv4Addr::new(127, net.0, net.1, 1 + index as u8))
        .collect();
    let all = ips.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(",");
    let _dead: Vec<Dead> =
        ips[options.nodes..].iter().map(|&ip| Dead::at(ip).expect("the port is free")).collect();
    let nodes: Vec<Node> = ips[..options.nodes]
        .iter()
        .map(|&ip| Node::start(&options.binary, ip, &all).expect("the program starts"))
        .collect();
    wait("all are ready", || nodes.iter().all(|node| node.get("/readyz").is_some()));
    for key in 0..options.keys {
        assert!(nodes[0].put(&format!("key-{key:08}"), &[b'v'; 100]), "a write is taken");
    }
    wait("all agree", || agree(&nodes));
    if options.writes > 0 {
        single_writes(&options, &nodes);
    }
    if options.storm > 0 {
        storm(&options, &nodes);
    }
    if options.idle_s > 0 {
        at_rest(&options, &nodes);
    }
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(120), "timed out waiting until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    began.elapsed()
}

fn agree(nodes: &[Node]) -> bool {
    let digest = |node: &Node| node.stats().remove("digest");
    let first = digest(&nodes[0]);
    first.is_some() && nodes.iter().all(|node| digest(node) == first)
}

fn total(nodes: &[Node], name: &str) -> u64 {
    nodes.iter().map(|node| node.count(name)).sum()
}

fn single_writes(options: &Options, nodes: &[Node]) {
    // Until the dead addresses have been tried once, and the rumor mongering of the earlier writes
    // is over.
    std::thread::sleep(Duration::from_secs(3));
    let before = ["nOutSyncs", "nBytesSent"].map(|name| total(nodes, name));
    let mut times = Vec::new();
    let began = Instant::now();
    for write in 0..options.writes {
        let key = format!("write-{write}");
        let target = map_target([key.as_str()]);
        assert!(nodes[fastrand::usize(..nodes.len())].put(&key, b"v"), "a write is taken");
        let mut without: Vec<&Node> = nodes.iter().collect();
        times.push(wait("the write is everywhere", || {
            without.retain(|node| node.get(&target).is_none());
            without.is_empty()
        }));
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..=2 * options.gap_ms)));
    }
    let after = ["nOutSyncs", "nBytesSent"].map(|name| total(nodes, name));
    let rounds = began.elapsed().as_secs_f64() * nodes.len() as f64;
    let exchanges = (after[0] - before[0]) as f64;
    times.sort();
    let ms = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!("{} nodes, {} dead addresses, {} writes", nodes.len(), options.dead, times.len());
    println!("to all nodes: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", ms(0.5), ms(0.99), ms(1.0));
    let writes = (times.len() * nodes.len()) as f64;
    println!(
        "exchanges a write and node: {:.2}, without the timer's",
        (exchanges - rounds) / writes
    );
    println!("bytes an exchange, both ways: {:.0}", (after[1] - before[1]) as f64 / exchanges);
}

fn storm(options: &Options, nodes: &[Node]) {
    const SECONDS: u64 = 5;
    let before = nodes.iter().map(|node| node.count("nOutSyncs")).collect::<Vec<_>>();
    let began = Instant::now();
    let mut written = 0;
    while began.elapsed() < Duration::from_secs(SECONDS) {
        while written < began.elapsed().as_millis() as u64 * options.storm / 1000 {
            assert!(nodes[0].put(&format!("storm-{written}"), b"v"), "a write is taken");
            written += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let rates = nodes
        .iter()
        .zip(before)
        .map(|(node, before)| (node.count("nOutSyncs") - before) as f64 / SECONDS as f64)
        .collect::<Vec<_>>();
    let lag = wait("all agree after the storm", || agree(nodes));
    let most = rates.iter().copied().fold(0.0, f64::max);
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    println!("storm: {} writes a second taken by one node", written / SECONDS);
    println!("exchanges called a second and node: mean {mean:.1}, most {most:.1}");
    println!("all agree {:.0} ms after the last write", lag.as_secs_f64() * 1e3);
}

fn at_rest(options: &Options, nodes: &[Node]) {
    wait("all agree", || agree(nodes));
    // The rumor mongering is over by then.
    std::thread::sleep(Duration::from_secs(2));
    let before: Vec<u64> = nodes.iter().map(|node| node.cost().0).collect();
    std::thread::sleep(Duration::from_secs(options.idle_s));
    for (node, before) in nodes.iter().zip(before) {
        let (ticks, rss) = node.cost();
        let percent = (ticks - before) as f64 / options.idle_s as f64;
        println!("at rest {}: {percent:.3} % of a core, {rss} kB resident", node.http.ip());
    }
}
