//! The network between the nodes, through which every packet of their gossip passes.
//!
//! The nodes' tunnels send each packet to one UDP socket. From there it goes to the tunnel of its
//! receiver, or it is lost, late, duplicated or reordered. Unlike netem, this works in every kernel
//! with VXLAN, and the same seed leads to the same decisions.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The VXLAN header in front of an Ethernet frame.
const VXLAN_BYTES: usize = 8;
/// Where the IPv4 header starts.
const IP_AT: usize = VXLAN_BYTES + 14;
/// How often the reader checks whether it should end.
const READ_FOR: Duration = Duration::from_millis(100);

/// What happens to packets.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The share of packets that are lost.
    pub loss: f64,
    /// The mean delay of a packet …
    pub delay: Duration,
    /// … and how far it may deviate.
    pub jitter: Duration,
    /// The share of packets that are duplicated.
    pub duplicate: f64,
    /// The share of packets that are held back until later ones have overtaken them.
    pub reorder: f64,
    /// Links, from sender to receiver, on which all packets are dropped.
    pub blocked: HashSet<(Ipv4Addr, Ipv4Addr)>,
}

/// How long a packet is held back.
const HELD_BACK: Duration = Duration::from_millis(15);

/// What happened to packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Sent to the receiver's tunnel.
    pub delivered: u64,
    /// Dropped because the link was blocked.
    pub blocked: u64,
    /// Dropped at random.
    pub lost: u64,
    /// Delivered with at least half of the wanted delay.
    pub late: u64,
    /// Delivered a second time.
    pub duplicated: u64,
    /// Delivered after one that was sent later on the same link.
    pub reordered: u64,
    /// Sent to an unused address.
    pub undeliverable: u64,
}

#[derive(Default)]
struct State {
    faults: Faults,
    counts: Counts,
    tunnels: HashMap<Ipv4Addr, (SocketAddr, [u8; 6])>,
    /// The numbers of the packet sent last and of the latest one delivered, on each link.
    links: HashMap<(Ipv4Addr, Ipv4Addr), (u64, u64)>,
}

/// A packet in flight, ordered by the time at which it is due.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    order: u64,
    link: (Ipv4Addr, Ipv4Addr),
    number: u64,
    sent: Instant,
    packet: Vec<u8>,
}

/// The network between the nodes.
pub struct Wire {
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
    port: u16,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// A network without faults, whose socket has this address.
    pub fn new(ip: Ipv4Addr, seed: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the wire's socket at {ip}: {error}");
        let socket = UdpSocket::bind((ip, 0)).map_err(failed)?;
        socket.set_read_timeout(Some(READ_FOR)).map_err(failed)?;
        let port = socket.local_addr().map_err(failed)?.port();
        let (state, ends) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let (sender, receiver) = mpsc::channel();
        // A thread that only reads, since packets that do not fit into the socket's small buffer
        // would be lost uncounted.
        let (reading, reader_ends) = (socket.try_clone().map_err(failed)?, ends.clone());
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while !reader_ends.load(Relaxed) {
                if let Ok(length) = reading.recv(&mut buffer) {
                    let _ = sender.send((Instant::now(), buffer[..length].to_vec()));
                }
            }
        });
        let forwarding = state.clone();
        let random = fastrand::Rng::with_seed(seed);
        let forwarder =
            std::thread::spawn(move || forward(&socket, &receiver, &forwarding, random));
        Ok(Self { state, ends, port, threads: vec![reader, forwarder] })
    }

    /// The port to which the tunnels must send.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the tunnel for this address, or removes it.
    pub fn attach(&self, data: Ipv4Addr, tunnel: Option<(SocketAddr, [u8; 6])>) {
        let mut state = self.state();
        match tunnel {
            Some(tunnel) => state.tunnels.insert(data, tunnel),
            None => state.tunnels.remove(&data),
        };
    }

    /// Replaces the current faults.
    pub fn set(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Forwards packets until the reader has ended.
fn forward(
    socket: &UdpSocket,
    packets: &Receiver<(Instant, Vec<u8>)>,
    state: &Mutex<State>,
    mut random: fastrand::Rng,
) {
    let mut waiting: BinaryHeap<Reverse<Due>> = BinaryHeap::new();
    let mut order = 0;
    loop {
        let now = Instant::now();
        while waiting.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Reverse(due) = waiting.pop().expect("it was just seen");
            deliver(socket, state, due);
        }
        let timeout = waiting
            .peek()
            .map_or(READ_FOR, |Reverse(due)| due.at.saturating_duration_since(Instant::now()));
        let (sent, packet) = match packets.recv_timeout(timeout) {
            Ok(packet) => packet,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(link) = link_of(&packet) else { continue };
        let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        let faults = &state.faults;
        if faults.blocked.contains(&link) {
            state.counts.blocked += 1;
            continue;
        }
        if faults.loss > 0.0 && random.f64() < faults.loss {
            state.counts.lost += 1;
            continue;
        }
        let times = if faults.duplicate > 0.0 && random.f64() < faults.duplicate { 2 } else { 1 };
        state.counts.duplicated += times - 1;
        let number = &mut state.links.entry(link).or_default().0;
        *number += 1;
        for _ in 0..times {
            let jitter = faults.jitter.mul_f64(2.0 * random.f64());
            let mut delay = (faults.delay + jitter).saturating_sub(faults.jitter);
            if faults.reorder > 0.0 && random.f64() < faults.reorder {
                delay += HELD_BACK;
            }
            order += 1;
            let packet = packet.clone();
            waiting.push(Reverse(Due {
                at: sent + delay,
                order,
                link,
                number: *number,
                sent,
                packet,
            }));
        }
    }
}

fn deliver(socket: &UdpSocket, state: &Mutex<State>, mut due: Due) {
    let tunnel = {
        let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        let Some(&(tunnel, mac)) = state.tunnels.get(&due.link.1) else {
            state.counts.undeliverable += 1;
            return;
        };
        due.packet[VXLAN_BYTES..VXLAN_BYTES + 6].copy_from_slice(&mac);
        state.counts.delivered += 1;
        let wanted = state.faults.delay;
        state.counts.late += u64::from(!wanted.is_zero() && due.sent.elapsed() * 2 >= wanted);
        let latest = &mut state.links.entry(due.link).or_default().1;
        state.counts.reordered += u64::from(due.number < *latest);
        *latest = due.number.max(*latest);
        tunnel
    };
    // A packet that cannot be sent is lost, as in any network.
    let _ = socket.send_to(&due.packet, tunnel);
}

/// The sender and the receiver of an IPv4 packet in a tunnel.
fn link_of(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let address = |at: usize| {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    let is_ipv4 = packet.get(IP_AT - 2..IP_AT)? == [8, 0];
    if is_ipv4 { Some((address(IP_AT + 12)?, address(IP_AT + 16)?)) } else { None }
}
