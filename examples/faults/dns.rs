//! A small DNS server that gives each node the answers that a scenario wants.
//!
//! Answers A queries over UDP, and over TCP where an answer is too long for UDP (RFC 1035, RFC
//! 7766).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// More addresses than this do not fit into 512 bytes, the least that UDP must take.
const MAX_UDP_ADDRESSES: usize = 28;
/// How often the threads check whether they should end.
const WAIT_FOR: Duration = Duration::from_millis(50);
const TYPE_A: [u8; 2] = [0, 1];
const HEADER_BYTES: usize = 12;

/// What a node gets when it looks up its peers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// These, in random order.
    Addresses(Vec<Ipv4Addr>),
    /// The name exists and has no address (NOERROR, no records).
    Nothing,
    /// The name does not exist.
    NoSuchName,
    /// The server fails (SERVFAIL).
    ServerFailure,
    /// The server does not answer.
    Silence,
}

impl Answer {
    /// The name under which the answer is counted; a long answer does not fit into UDP.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Addresses(list) if list.len() > MAX_UDP_ADDRESSES => "long",
            Self::Addresses(_) => "addresses",
            Self::Nothing => "nothing",
            Self::NoSuchName => "NXDOMAIN",
            Self::ServerFailure => "SERVFAIL",
            Self::Silence => "silence",
        }
    }
}

#[derive(Default)]
struct State {
    answers: HashMap<Ipv4Addr, Answer>,
    /// A queries, by who asked and the kind of the answer.
    counts: HashMap<(Ipv4Addr, &'static str), u64>,
    /// Answers that were truncated, so that the query had to be repeated over TCP.
    truncated: u64,
}

/// The server.
pub struct Dns {
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Dns {
    /// Serves at port 53 of this address.
    pub fn new(ip: Ipv4Addr) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the DNS server at {ip}:53: {error}");
        let udp = UdpSocket::bind((ip, 53)).map_err(failed)?;
        udp.set_read_timeout(Some(WAIT_FOR)).map_err(failed)?;
        let tcp = TcpListener::bind((ip, 53)).map_err(failed)?;
        tcp.set_nonblocking(true).map_err(failed)?;
        let (state, ends) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let (by_udp, udp_ends) = (state.clone(), ends.clone());
        let udp_thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !udp_ends.load(Relaxed) {
                let Ok((length, from)) = udp.recv_from(&mut buffer) else { continue };
                if let Some(reply) = reply(&by_udp, &buffer[..length], from.ip(), true) {
                    let _ = udp.send_to(&reply, from);
                }
            }
        });
        let (by_tcp, tcp_ends) = (state.clone(), ends.clone());
        let tcp_thread = std::thread::spawn(move || {
            while !tcp_ends.load(Relaxed) {
                match tcp.accept() {
                    // Each thread ends by itself when its node is silent for a second.
                    Ok((stream, from)) => {
                        let state = by_tcp.clone();
                        std::thread::spawn(move || run_exchange(&state, stream, from.ip()));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Ok(Self { state, ends, threads: vec![udp_thread, tcp_thread] })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the answer for the node with this control address.
    pub fn set(&self, asker: Ipv4Addr, answer: Answer) {
        self.state().answers.insert(asker, answer);
    }

    /// How often this node got this kind of answer.
    pub fn count(&self, asker: Ipv4Addr, kind: &'static str) -> u64 {
        self.state().counts.get(&(asker, kind)).copied().unwrap_or(0)
    }

    /// How many answers were truncated.
    pub fn truncated(&self) -> u64 {
        self.state().truncated
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Answers the queries of one TCP connection, where a length precedes each message.
fn run_exchange(state: &Mutex<State>, mut stream: TcpStream, from: IpAddr) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    // glibc sends both its queries over one connection, and closes it.
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        if let Some(reply) = reply(state, &question, from, false) {
            stream.write_all(&[&(reply.len() as u16).to_be_bytes()[..], &reply[..]].concat())?;
        }
    }
}

/// The reply to a message with one question, if there is one.
fn reply(state: &Mutex<State>, message: &[u8], from: IpAddr, by_udp: bool) -> Option<Vec<u8>> {
    let IpAddr::V4(asker) = from else { return None };
    let (question, is_a) = question(message)?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = state.answers.get(&asker).cloned().unwrap_or(Answer::NoSuchName);
    if is_a {
        *state.counts.entry((asker, answer.kind())).or_default() += 1;
    }
    let (code, mut addresses) = match answer {
        Answer::Silence => return None,
        Answer::NoSuchName => (3, Vec::new()),
        Answer::ServerFailure => (2, Vec::new()),
        Answer::Nothing => (0, Vec::new()),
        Answer::Addresses(list) => (0, if is_a { list } else { Vec::new() }),
    };
    let is_cut = by_udp && addresses.len() > MAX_UDP_ADDRESSES;
    if is_cut {
        state.truncated += 1;
        addresses.truncate(MAX_UDP_ADDRESSES);
    }
    drop(state);
    fastrand::shuffle(&mut addresses);
    // A response, authoritative, perhaps truncated; recursion is available, and desired as in the
    // query.
    let flags = [0x84 | u8::from(is_cut) << 1 | message[2] & 1, 0x80 | code];
    let mut reply = message[..2].to_vec();
    reply.extend(flags);
    reply.extend([0, 1]);
    reply.extend((addresses.len() as u16).to_be_bytes());
    reply.extend([0, 0, 0, 0]);
    reply.extend(question);
    for address in addresses {
        // A pointer to the question's name; class IN, no time to live, four bytes.
        reply.extend([0xc0, HEADER_BYTES as u8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}

/// The bytes of a message's question, and whether it asks for IPv4 addresses.
fn question(message: &[u8]) -> Option<(&[u8], bool)> {
    let is_query = message.get(2)? & 0x80 == 0 && message.get(4..6)? == [0, 1];
    let mut end = HEADER_BYTES;
    while *message.get(end)? > 0 {
        end += 1 + usize::from(message[end]);
    }
    let question = message.get(HEADER_BYTES..end + 5)?;
    is_query.then_some((question, question[question.len() - 4..][..2] == TYPE_A))
}
