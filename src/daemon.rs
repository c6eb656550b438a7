//! The life of the process: start, serve, drain, exit.

use crate::config::Config;
use crate::http::endpoint;
use crate::node::state::Node;
use crate::peer::{dns, gossip, responder};
use crate::sys::semaphore::Semaphore;
use crate::sys::signals::Signals;
use crate::sys::threads::supervise;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// After this many abandoned connections the process drains and exits, to be started again.
pub const MAX_ABANDONED_CONNECTIONS: usize = 100;

/// How often abandoned connections are counted.
const COUNT_ABANDONED_EVERY: Duration = Duration::from_secs(1);

/// While draining: how often to look whether the drain is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why the process could not start, or not go on: the last line on standard error.
#[derive(Debug)]
pub struct CannotServe(pub String);

impl std::error::Error for CannotServe {}

impl fmt::Display for CannotServe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for CannotServe {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Serves until a signal asks the process to exit.
pub fn serve(config: Config) -> Result<(), CannotServe> {
    // First of all: as PID 1 a process ignores signals for which it has no handler.
    let signals =
        Signals::new().map_err(|error| CannotServe(format!("cannot handle signals: {error}")))?;
    let node = start(config)?;
    let reason = wait_for_reason_to_exit(&node, &signals);
    log::info!("{reason}: draining, the last writes are being pushed to peers");
    drain(&node, &signals);
    Ok(())
}

/// Binds both ports and starts all threads.
fn start(config: Config) -> Result<Arc<Node>, CannotServe> {
    let peer_listeners = bind_all(&config.peer, "PEER_PORT", "PEER_BIND")?;
    let client_listeners = bind_all(&config.client, "CLIENT_PORT", "CLIENT_BIND")?;
    let (node, events) = Node::new(config);
    let node = Arc::new(node);
    let id = node.store().node();
    log::info!(
        "gossip-sidecar {} started: node {id:08x}, cluster {}, HTTP on {:?}, peers on {:?}",
        env!("CARGO_PKG_VERSION"),
        node.config.cluster,
        addresses(&client_listeners),
        addresses(&peer_listeners),
    );
    endpoint::start(&node, client_listeners)?;
    let permits = Semaphore::new(responder::MAX_RESPONSES_AT_A_TIME);
    for listener in peer_listeners {
        let (node, permits) = (node.clone(), permits.clone());
        supervise("accept", move || responder::listen(&node, &listener, &permits))?;
    }
    let gossiping = node.clone();
    supervise("gossip", move || gossip::gossip(&gossiping, &events))?;
    let resolving = node.clone();
    supervise("resolve", move || dns::keep_resolving(&resolving))?;
    Ok(node)
}

fn wait_for_reason_to_exit(node: &Node, signals: &Signals) -> String {
    loop {
        if let Some(signal) = signals.wait(COUNT_ABANDONED_EVERY) {
            return signal.name.to_owned();
        }
        let abandoned = node.leaked_connections.load(Relaxed);
        // Without a peer the process would come back with an empty map.
        if abandoned >= MAX_ABANDONED_CONNECTIONS && !node.members().listed().is_empty() {
            return format!("{abandoned} abandoned connections, which only a restart frees");
        }
    }
}

/// Hands everything over to peers that stay, for as long as `DRAIN_TIMEOUT` allows. The last line
/// says what has become of it.
fn drain(node: &Node, signals: &Signals) {
    node.drain();
    let began = Instant::now();
    let timeout = node.config.drain_timeout;
    loop {
        if node.has_nothing_to_hand_over() {
            return log::info!("exiting: nothing to hand over");
        }
        if node.is_drained() {
            return log::info!("exiting: peers have everything");
        }
        if node.members().has_always_been_alone() {
            return log::warn!("exiting without a peer: {}", loss(node));
        }
        let left = timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            return log::warn!("exiting after DRAIN_TIMEOUT: {}", loss(node));
        }
        if left <= timeout / 2 {
            // Clients that go on writing would keep the drain from ever ending.
            node.store().close();
        }
        if signals.wait(left.min(LOOK_EVERY)).is_some_and(|signal| signal.is_second) {
            return log::warn!("exiting at once after a second signal: {}", loss(node));
        }
    }
}

/// What may be lost with this process, which takes no more writes.
fn loss(node: &Node) -> String {
    node.store().close();
    match node.unconfirmed_writes() {
        0 => "only one peer has everything".to_owned(),
        1 => "1 write is not confirmed by any peer".to_owned(),
        writes => format!("{writes} writes are not confirmed by any peer"),
    }
}

/// Listens on all the addresses, except those of a family that this machine does not have.
fn bind_all(
    addresses: &[SocketAddr],
    port_setting: &str,
    bind_setting: &str,
) -> Result<Vec<TcpListener>, CannotServe> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for &address in addresses {
        // An unspecified IPv6 socket takes IPv4 connections too.
        let has_both_families = listeners.iter().any(|listener| {
            listener.local_addr().is_ok_and(|bound| bound.is_ipv6() && bound.ip().is_unspecified())
        });
        if address.is_ipv4() && address.ip().is_unspecified() && has_both_families {
            continue;
        }
        match TcpListener::bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                let is_last_hope = listeners.is_empty() && Some(&address) == addresses.last();
                if address.is_ipv6() && is_family_missing(&error) && !is_last_hope {
                    log::debug!("no IPv6 here: not listening on {address}");
                    continue;
                }
                let advice = advice(&error, port_setting, bind_setting);
                return Err(CannotServe(format!("cannot listen on {address}: {error}: {advice}")));
            }
        }
    }
    Ok(listeners)
}

fn is_family_missing(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT` on Linux, for which std has no kind.
    const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
}

fn advice(error: &io::Error, port_setting: &str, bind_setting: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another process has it; choose another with {port_setting}")
        }
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 need a privilege (in Kubernetes the pod sysctl \
             net.ipv4.ip_unprivileged_port_start=0); or choose another with {port_setting}, such as 8080"
        ),
        _ => format!("check {bind_setting} and {port_setting}"),
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}
