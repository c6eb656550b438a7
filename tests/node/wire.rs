//! What real nodes send over a real connection, byte for byte, against what the core counts.

#[path = "../core/support.rs"]
mod core_support;

use crate::support::{Node, eventually, free_port, fresh_ips, same};
use gossip_sidecar::Message;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The bytes of one connection.
#[derive(Clone, Default, Debug)]
struct Tape {
    initiator: Vec<u8>,
    responder: Vec<u8>,
}

/// Forwards connections to a node, and records their bytes.
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
            for (index, initiator) in listener.incoming().flatten().enumerate() {
                let responder = TcpStream::connect(node).expect("the node responds");
                kept.lock().expect("nobody panics under it").push(Tape::default());
                let ways = [(&initiator, &responder, true), (&responder, &initiator, false)];
                for (from, to, is_initiator) in ways {
                    let from = from.try_clone().expect("descriptors are left");
                    let to = to.try_clone().expect("descriptors are left");
                    let kept = kept.clone();
                    std::thread::spawn(move || pass(from, to, is_initiator, index, &kept));
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
    is_initiator: bool,
    index: usize,
    kept: &Mutex<Vec<Tape>>,
) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let mut tapes = kept.lock().expect("nobody panics under it");
        let tape = &mut tapes[index];
        let side = if is_initiator { &mut tape.initiator } else { &mut tape.responder };
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
fn the_bytes_on_the_wire_are_those_the_core_counts() {
    const KEYS: usize = 300;
    let ips = fresh_ips(3);
    let ip_addresses = ips.clone().into_iter().map(Into::into).collect::<Vec<_>>();
    let (http, peer) = (free_port(&ip_addresses), free_port(&ip_addresses));
    let addresses = |index: usize| ((ips[index], http).into(), (ips[index], peer).into());
    let (responder_http, responder_peer): (SocketAddr, SocketAddr) = addresses(0);
    let responder = Node::start(
        responder_http,
        responder_peer,
        &[("SERVICE_DNS_NAME", &responder_peer.to_string())],
    );
    for index in 0..KEYS {
        responder.write(&format!("key-{index}"), format!("value {index}"));
    }
    let proxy = Proxy::to(responder_peer, ips[2]);
    let (initiator_http, initiator_peer) = addresses(1);
    let mut initiator = Node::start(
        initiator_http,
        initiator_peer,
        &[("SERVICE_DNS_NAME", &proxy.address.to_string()), ("SYNC_INTERVAL", "100ms")],
    );

    // The steady state: both nodes have all keys, and none of them is a recent update.
    let is_idle =
        |tape: &Tape| messages(&tape.responder).len() == 1 && messages(&tape.initiator).len() == 2;
    let idle = eventually(Duration::from_secs(30), "an idle exchange", || {
        let idle =
            proxy.tapes().into_iter().find(|tape| !tape.responder.is_empty() && is_idle(tape));
        idle.ok_or_else(|| format!("{} exchanges so far", proxy.tapes().len()))
    });
    let records = core_support::values("key", KEYS);
    let (mut ours, mut theirs) =
        (core_support::store_with(1, &records), core_support::store_with(2, &records));
    let counted = core_support::exchange(&mut ours, &mut theirs, core_support::WALL_MS);
    // The two clocks may differ by some milliseconds, which is said in as many digits.
    let [Message::Done { node, .. }] = messages(&idle.responder)[..] else { panic!("{idle:?}") };
    let mut done = Vec::new();
    Message::Done { node, ahead_ms: 0 }.write(&mut done);
    assert_eq!(idle.initiator.len() + done.len(), counted.payload_bytes());
    assert!(idle.initiator.len() + idle.responder.len() <= 128);

    initiator.signal("TERM");
    initiator.wait_for_end(Duration::from_secs(10));
    // The responder has counted each byte. Its last ones may still be on their way to the proxy.
    eventually(Duration::from_secs(5), "the counters agree with the proxy", || {
        let bytes = |tape: &Tape| (tape.initiator.len() + tape.responder.len()) as u64;
        let counted = responder.count("nBytesReceived") + responder.count("nBytesSent");
        same(counted, proxy.tapes().iter().map(bytes).sum())
    });
    // Everything sent is in canonical form, with nothing between or behind the messages.
    for tape in proxy.tapes() {
        for said in [tape.initiator, tape.responder] {
            let mut written = Vec::new();
            messages(&said).iter().for_each(|message| message.write(&mut written));
            assert_eq!(written, said);
        }
    }
}
