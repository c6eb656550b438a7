//! The life of the process: starting, finding and calling peers, and leaving in good order.

use crate::config::Config;
use crate::digest::key_hash;
use crate::gossip::{Action, Ended, Gossip};
use crate::logger::Limiter;
use crate::metrics::Counter;
use crate::node::{Event, Node, wall_ms};
use crate::signals::Signals;
use crate::store::MAX_COLLECTED_AT_ONCE;
use crate::{http, peers};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Past so many connections that had to be given up we leave in good order, to be started again.
pub const MAX_LOST_CONNECTIONS: usize = 100;

/// How long it may take until we see that there are too many.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// While we leave, how often we look whether we may.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Until DNS has answered for the first time, it is asked this often.
const FIRST_LOOK_UPS_EVERY: Duration = Duration::from_millis(200);

/// How long a thread that panicked waits before it starts anew.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Why the process could not start, or not go on: for the last line on standard error.
#[derive(Debug)]
pub struct CannotServe(pub String);

impl std::fmt::Display for CannotServe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Serves until a signal says to leave.
pub fn serve(config: Config) -> Result<(), CannotServe> {
    // Before anything else: as PID 1 a signal without a handler is lost.
    let signals =
        Signals::new().map_err(|error| CannotServe(format!("cannot handle signals: {error}")))?;
    let peer_listeners = bind_all(&config.peer, "PEER_PORT", "PEER_BIND")?;
    let client_listeners = bind_all(&config.client, "CLIENT_PORT", "CLIENT_BIND")?;
    let node = Arc::new(Node::new(config));
    let id = node.store().node();
    log::info!(
        "gossip-sidecar {} started: node {id:08x}, cluster {}, HTTP on {:?}, peers on {:?}",
        env!("CARGO_PKG_VERSION"),
        node.config.cluster,
        addresses(&client_listeners),
        addresses(&peer_listeners),
    );
    http::start(&node, client_listeners)?;
    for listener in peer_listeners {
        let node = node.clone();
        keep_alive("accept", move || peers::listen(&node, &listener))?;
    }
    let gossiping = node.clone();
    keep_alive("gossip", move || gossip(&gossiping))?;
    let resolving = node.clone();
    keep_alive("resolve", move || resolve(&resolving))?;

    let why = loop {
        if let Some(signal) = signals.wait(LOOK_WITHIN) {
            break signal;
        }
        // Alone we would come back with an empty map.
        let lost = node.lost_connections.load(Relaxed);
        if lost >= MAX_LOST_CONNECTIONS && !node.roster().is_empty() {
            break "too many connections had to be given up, and a restart frees them";
        }
    };
    log::info!("{why}: leaving, the last writes are being pushed to peers");
    node.leave();
    let deadline = Instant::now() + node.config.drain_timeout;
    while !node.has_drained() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            log::warn!("left without a peer's word that it has everything (DRAIN_TIMEOUT)");
            return Ok(());
        }
        if signals.wait(left.min(LOOK_EVERY)).is_some() {
            log::warn!("second signal: leaving at once");
            return Ok(());
        }
    }
    log::info!("left: peers have everything");
    Ok(())
}

/// Listens on all the addresses, leaving out those of a family that this machine does not have.
fn bind_all(
    addresses: &[SocketAddr],
    port_setting: &str,
    bind_setting: &str,
) -> Result<Vec<TcpListener>, CannotServe> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for &address in addresses {
        let takes_both_families = |listener: &TcpListener| {
            listener.local_addr().is_ok_and(|bound| bound.is_ipv6() && bound.ip().is_unspecified())
        };
        if address.is_ipv4()
            && address.ip().is_unspecified()
            && listeners.iter().any(takes_both_families)
        {
            continue;
        }
        match TcpListener::bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                let is_last_hope = listeners.is_empty() && Some(&address) == addresses.last();
                let family_missing = error.kind() == io::ErrorKind::AddrNotAvailable
                    || error.kind() == io::ErrorKind::Unsupported
                    || error.raw_os_error() == Some(97);
                if address.is_ipv6() && family_missing && !is_last_hope {
                    log::debug!("no IPv6 here: not listening on {address}");
                    continue;
                }
                let advice = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        format!("another process has it; choose another with {port_setting}")
                    }
                    io::ErrorKind::PermissionDenied => format!(
                        "ports below 1024 need a privilege (in Kubernetes the pod sysctl \
                         net.ipv4.ip_unprivileged_port_start=0); or choose another with {port_setting}, such as 8080"
                    ),
                    _ => format!("check {bind_setting} and {port_setting}"),
                };
                return Err(CannotServe(format!("cannot listen on {address}: {error}: {advice}")));
            }
        }
    }
    Ok(listeners)
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Runs `body` in a thread of its own, and again if it panics.
pub fn keep_alive(name: &'static str, body: impl Fn() + Send + 'static) -> Result<(), CannotServe> {
    let run = move || {
        while catch_unwind(AssertUnwindSafe(&body)).is_err() {
            std::thread::sleep(RESTART_PAUSE);
        }
    };
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(drop)
        .map_err(|error| CannotServe(format!("cannot start the {name} thread: {error}")))
}

/// Keeps looking the peers up, and passes each answer on. The last good answer stays in use while
/// look-ups fail or come back empty.
fn resolve(node: &Node) {
    let own_addresses = node.config.own_addresses();
    let (mut has_answered, mut is_failing) = (false, false);
    loop {
        match peers::resolve(&node.config.service) {
            Ok(addresses) if !addresses.is_empty() => {
                if is_failing {
                    log::info!(
                        "look-up of SERVICE_DNS_NAME: found {} addresses again",
                        addresses.len()
                    );
                }
                (has_answered, is_failing) = (true, false);
                let (own, peers): (Vec<_>, Vec<_>) =
                    addresses.into_iter().partition(|address| own_addresses.contains(address));
                node.events.send(Event::Peers(peers, !own.is_empty()));
            }
            failed => {
                node.metrics.count(Counter::FailedLookUps);
                if !is_failing && node.age() > Duration::from_secs(2) {
                    is_failing = true;
                    let why =
                        failed.map_or_else(|error| error.to_string(), |_| "no address".into());
                    log::warn!(
                        "look-up of SERVICE_DNS_NAME: {why}; going on with what was found before"
                    );
                }
            }
        }
        let interval = node.config.sync_interval;
        std::thread::sleep(if has_answered {
            interval
        } else {
            interval.min(FIRST_LOOK_UPS_EVERY)
        });
    }
}

/// Calls peers as the scheduler says.
fn gossip(node: &Node) {
    let now_ms = || node.age().as_millis() as u64;
    let interval_ms = node.config.sync_interval.as_millis() as u64;
    let mut gossip = Gossip::new(interval_ms, now_ms(), fastrand::Rng::new(), place_hash);
    node.config.own_addresses().first().into_iter().for_each(|&own| gossip.set_own_place(own));
    let peer_port = node.config.peer[0].port();
    // The writes that there were when it was last begun to leave.
    let mut drained_up_to: Option<u64> = None;
    loop {
        let patience = match gossip.next(now_ms()) {
            Action::Call { peer, duty } => {
                let called = peers::call(node, peer, duty);
                log_call(node, peer, &called);
                gossip.ended(peer, called.unwrap_or(Ended::Failed), now_ms());
                Duration::ZERO
            }
            Action::WaitUntil(ms) => {
                let due_in_ms = node.store().due_in_ms(wall_ms()).unwrap_or(u64::MAX);
                Duration::from_millis(ms.saturating_sub(now_ms()).min(due_in_ms))
            }
        };
        let mut next = node.events.receive(patience);
        // All that have come, before the next call: that may be to an address which takes long to
        // turn out dead, and the word that it is none any more may be among them.
        while let Some(event) = next {
            match event {
                Event::Wrote => {
                    node.has_told_of_write.store(false, Relaxed);
                    gossip.wrote(now_ms());
                }
                Event::Learned { is_news: true, duty } => gossip.learned(duty, now_ms()),
                Event::Learned { is_news: false, duty } => {
                    duty.into_iter().for_each(|duty| gossip.handed(duty));
                }
                Event::Seek => {}
                Event::Reached(own) => gossip.set_own_place(own),
                // All peers of a Service listen on the same port.
                Event::Heard(ip) => {
                    let peer = SocketAddr::new(ip, peer_port);
                    gossip.heard_from(peer);
                    if node.roster().answered(peer) {
                        log::info!("peer {peer} calls");
                    }
                }
                Event::Peers(peers, found_ourselves) => {
                    gossip.set_peers(peers, now_ms());
                    if gossip.peers().is_empty() && (found_ourselves || gossip.has_met_itself()) {
                        node.catch_up("DNS knows nobody but ourselves");
                    }
                }
            }
            next = node.events.receive(Duration::ZERO);
        }
        node.roster().set_addresses(gossip.peers());
        gossip.seek(node.unconfirmed.load(Relaxed) > 0, now_ms());
        if node.is_leaving() {
            let writes = node.store().writes();
            if drained_up_to.replace(writes) != Some(writes) {
                gossip.drain(now_ms());
            } else if gossip.is_drained() {
                node.store().close(writes);
            }
        }
        // Many deletions may fall due at once; the lock is given back between any thousand of them.
        while node.store_after_others().collect(wall_ms()) == MAX_COLLECTED_AT_ONCE {}
    }
}

/// Where an address stands in the order of the second wave. Part of the protocol.
fn place_hash(address: &SocketAddr) -> u64 {
    key_hash(&address.to_string())
}

/// Says once of each peer that it does not answer, and once that it does again.
fn log_call(node: &Node, peer: SocketAddr, called: &Result<Ended, peers::Failure>) {
    static LOG: Limiter = Limiter::new();
    match called {
        Err(failure) if node.roster().failed(peer) => {
            if let Some(more) = LOG.pass() {
                log::warn!("peer {peer} does not answer: {failure}{more}");
            }
        }
        Err(failure) => log::debug!("peer {peer} does not answer: {failure}"),
        Ok(_) if node.roster().answered(peer) => log::info!("peer {peer} answers"),
        Ok(_) => {}
    }
}
