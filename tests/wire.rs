//! What real nodes say over a real connection, byte for byte: it is what the core counts.

#[path = "support/cluster.rs"]
mod cluster_support;
mod support;

use cluster_support::{addresses, eventually, free_port};
use gossip_sidecar::Message;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What went over one connection.
#[derive(Clone, Default)]
struct Tape {
    caller: Vec<u8>,
    called: Vec<u8>,
}

/// Passes connections on to a node and keeps what goes over them.
struct Proxy {
    address: SocketAddr,
    tapes: Arc<Mutex<Vec<Tape>>>,
}

impl Proxy {
    fn to(node: SocketAddr, ip: std::net::Ipv4Addr) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let tapes: Arc<Mutex<Vec<Tape>>> = Arc::default();
        let kept = tapes.clone();
        std::thread::spawn(move || {
            for (index, caller) in listener.incoming().flatten().enumerate() {
                let called = TcpStream::connect(node).expect("the node answers");
                kept.lock().expect("nobody panics under it").push(Tape::default());
                let ways = [(&caller, &called, true), (&called, &caller, false)];
                for (from, to, is_caller) in ways {
                    let from = from.try_clone().expect("descriptors are left");
                    let to = to.try_clone().expect("descriptors are left");
                    let kept = kept.clone();
                    std::thread::spawn(move || pass(from, to, is_caller, index, &kept));
                }
            }
        });
        Self { address, tapes }
    }

    fn tapes(&self) -> Vec<Tape> {
        self.tapes.lock().expect("nobody panics under it").clone()
    }
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    is_caller: bool,
    index: usize,
    kept: &Mutex<Vec<Tape>>,
) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let mut tapes = kept.lock().expect("nobody panics under it");
        let tape = &mut tapes[index];
        let side = if is_caller { &mut tape.caller } else { &mut tape.called };
        side.extend_from_slice(&buffer[..read]);
        drop(tapes);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        messages.push(Message::read(&mut bytes).expect("it keeps to the grammar"));
    }
    messages
}

#[test]
fn the_bytes_on_the_wire_are_those_that_the_core_counts() {
    const KEYS: usize = 300;
    let ips = addresses(3);
    let ip_addresses = ips.clone().into_iter().map(Into::into).collect::<Vec<_>>();
    let (http, peer) = (free_port(&ip_addresses), free_port(&ip_addresses));
    let place = |index: usize| ((ips[index], http).into(), (ips[index], peer).into());
    let (called_http, called_peer): (SocketAddr, SocketAddr) = place(0);
    let called = cluster_support::Node::start(
        called_http,
        called_peer,
        &[("SERVICE_DNS_NAME", &called_peer.to_string())],
    );
    for index in 0..KEYS {
        called.write(&format!("key-{index}"), format!("value {index}"));
    }
    let proxy = Proxy::to(called_peer, ips[2]);
    let (caller_http, caller_peer) = place(1);
    let mut caller = cluster_support::Node::start(
        caller_http,
        caller_peer,
        &[("SERVICE_DNS_NAME", &proxy.address.to_string()), ("SYNC_INTERVAL", "100ms")],
    );

    // The steady state: both have all keys, and none of them is news any more.
    let is_idle =
        |tape: &Tape| messages(&tape.called).len() == 1 && messages(&tape.caller).len() == 2;
    let idle = eventually(Duration::from_secs(30), "an idle exchange", || {
        let idle = proxy.tapes().into_iter().find(|tape| !tape.called.is_empty() && is_idle(tape));
        idle.ok_or_else(|| format!("{} exchanges so far", proxy.tapes().len()))
    });
    let records = support::values("key", KEYS);
    let (mut ours, mut theirs) =
        (support::store_with(1, &records), support::store_with(2, &records));
    let counted = support::exchange(&mut ours, &mut theirs, support::WALL_MS);
    assert_eq!(idle.caller.len() + idle.called.len(), counted.payload_bytes());
    assert!(counted.payload_bytes() <= 128);

    // Whatever was said is in the canonical form, with nothing between or behind.
    caller.signal("TERM");
    caller.wait_for_end(Duration::from_secs(10));
    for tape in proxy.tapes() {
        for said in [tape.caller, tape.called] {
            let mut written = Vec::new();
            messages(&said).iter().for_each(|message| message.write(&mut written));
            assert_eq!(written, said);
        }
    }
    // And the node that was called has counted each byte of it.
    let total: usize = proxy.tapes().iter().map(|tape| tape.caller.len() + tape.called.len()).sum();
    eventually(Duration::from_secs(5), "the counters agree with the proxy", || {
        let counted = called.count("nBytesReceived") + called.count("nBytesSent");
        cluster_support::same(counted, total as u64)
    });
}
