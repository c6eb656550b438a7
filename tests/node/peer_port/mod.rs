//! Whoever connects to the peer port: other clusters, other programs, and those who mean harm.

mod refusals;

mod grammar;

mod truncation;

mod floods;

mod idle_connections;

use crate::support::{Node, RESPONSE_LIMIT, eventually, same};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a node does about an initiator, it does in this time.
const REACTION_LIMIT: Duration = Duration::from_secs(10);

/// All that a node counts of initiators that it does not get on with.
const FAILURE_COUNTERS: [&str; 6] = [
    "nBrokenAnswers",
    "nRefusedProtocol",
    "nRefusedCluster",
    "nRefusedSelf",
    "nRefusedBusy",
    "nRefusedGrammar",
];

/// A node that nobody calls but us.
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

/// The first line of a node that has nothing.
fn hello(cluster: &str, node: &str) -> String {
    format!("hello 1 {cluster} {node} {:012x} 0 0000000000000000\n", clock_ms())
}

/// Says something, and gives all that comes back until the node closes.
fn send_and_read(node: &Node, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = connect(node);
    stream.write_all(bytes.as_ref()).expect("the node reads");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("the node closes in order");
    String::from_utf8_lossy(&reply).into_owned()
}

/// Waits until the node has counted this much trouble, and none of another kind.
#[track_caller]
fn assert_counted(node: &Node, name: &str, count: u64) {
    eventually(REACTION_LIMIT, &format!("{name} is {count}"), || same(node.count(name), count));
    let stats = node.stats();
    for other in FAILURE_COUNTERS.into_iter().filter(|other| *other != name) {
        assert_eq!(stats[other], "0", "{other}");
    }
}

/// What a peer says that has one entry: it sends that in its first turn, and in its second, whatever
/// it was asked, that it has nothing more.
fn one_key_exchange(key: &str, value: &str) -> String {
    let version = format!("{:012x}0000-00000007", clock_ms());
    let record = format!("put {version} {} {}\n{key}{value}\n", key.len(), value.len());
    format!("{}{record}\n\n", hello("default", "00000007"))
}

/// That gossip and HTTP work: a peer of one key comes, and leaves it here.
#[track_caller]
fn assert_gossips(node: &Node, key: &str) {
    eventually(REACTION_LIMIT, "a peer is answered", || {
        let mut stream = connect(node);
        let mut reply = String::new();
        let outcome = stream
            .write_all(one_key_exchange(key, "value").as_bytes())
            .and_then(|()| stream.read_to_string(&mut reply));
        // Those who came before may still have all the addresses.
        if reply.contains("done ") { Ok(()) } else { Err(format!("{outcome:?} {reply:?}")) }
    });
    assert_eq!(node.read(key), "value");
}
