//! The peer port: other clusters, other programs, and hostile peers.

mod refusals;

mod grammar;

mod truncation;

mod floods;

mod idle_connections;

use crate::support::{Node, RESPONSE_LIMIT, eventually, same};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time within which a node reacts to an initiator.
const REACTION_LIMIT: Duration = Duration::from_secs(10);

/// The counters of everything that can go wrong with an initiator.
const FAILURE_COUNTERS: [&str; 6] = [
    "nFailedInSyncs",
    "nRefusedProtocol",
    "nRefusedCluster",
    "nRefusedSelf",
    "nRefusedBusy",
    "nRefusedGrammar",
];

/// A node that has no peers but the test.
fn node() -> Node {
    Node::alone(&[("LOG_LEVEL", "info")])
}

fn connect(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.peer).expect("the node listens");
    stream.set_read_timeout(Some(RESPONSE_LIMIT)).expect("the limit is not zero");
    stream.set_nodelay(true).expect("the socket is open");
    stream
}

fn clock_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// The hello of a node with an empty store.
fn hello(cluster: &str, node: &str) -> String {
    format!("hello 1 {cluster} {node} {:012x} 0 0000000000000000\n", clock_ms())
}

/// Sends bytes, and returns everything that the node replies until it closes.
fn send_and_read(node: &Node, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = connect(node);
    stream.write_all(bytes.as_ref()).expect("the node reads");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("the node closes in order");
    String::from_utf8_lossy(&reply).into_owned()
}

/// Asserts that this failure counter reaches a value, and that all others are zero.
#[track_caller]
fn assert_counted(node: &Node, name: &str, count: u64) {
    eventually(REACTION_LIMIT, &format!("{name} is {count}"), || same(node.count(name), count));
    let stats = node.stats();
    for other in FAILURE_COUNTERS.into_iter().filter(|other| *other != name) {
        assert_eq!(stats[other], "0", "{other}");
    }
}

/// A version that is written now.
pub fn version() -> String {
    format!("{:012x}0000-00000007", clock_ms())
}

fn one_key_exchange(key: &str, value: &str) -> String {
    exchange_of(&version(), key, value)
}

/// Everything that a peer with one entry sends: the entry in its first turn, and an empty second
/// turn, whatever the node asks for.
fn exchange_of(version: &str, key: &str, value: &str) -> String {
    let record = format!("put {version} {} {}\n{key}{value}\n", key.len(), value.len());
    format!("{}{record}\n\n", hello("default", "00000007"))
}

/// Replicates a key to the node.
#[track_caller]
pub fn replicate(node: &Node, version: &str, key: &str, value: &str) {
    let reply = send_and_read(node, exchange_of(version, key, value));
    assert!(reply.contains("done "), "{reply:?}");
}

/// Asserts that gossip and HTTP work: a peer brings a key, which can then be read.
#[track_caller]
fn assert_gossips(node: &Node, key: &str) {
    eventually(REACTION_LIMIT, "a peer is answered", || {
        let mut stream = connect(node);
        let mut reply = String::new();
        let outcome = stream
            .write_all(one_key_exchange(key, "value").as_bytes())
            .and_then(|()| stream.read_to_string(&mut reply));
        // Earlier initiators may still hold all permits.
        if reply.contains("done ") { Ok(()) } else { Err(format!("{outcome:?} {reply:?}")) }
    });
    assert_eq!(node.read(key), "value");
}
