//! The life of the process: starting, finding and calling peers, and leaving in good order.

use crate::config::Config;
use crate::http::endpoint;
use crate::node::state::Node;
use crate::peer::{dns, gossip, responder};
use crate::sys::semaphore::Semaphore;
use crate::sys::signals::Signals;
use crate::sys::threads::supervise;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Past so many connections that had to be given up we leave in good order, to be started again.
pub const MAX_LOST_CONNECTIONS: usize = 100;

/// How long it may take until we see that there are too many.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// While we leave, how often we look whether we may.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why the process could not start, or not go on: for the last line on standard error.
#[derive(Debug)]
pub struct CannotServe(pub String);

impl std::error::Error for CannotServe {}

impl From<io::Error> for CannotServe {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

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

    let why = loop {
        if let Some(signal) = signals.wait(LOOK_WITHIN) {
            break signal;
        }
        // Alone we would come back with an empty map.
        let lost = node.abandoned_connections.load(Relaxed);
        if lost >= MAX_LOST_CONNECTIONS && !node.members().is_empty() {
            break "too many connections had to be given up, and a restart frees them";
        }
    };
    log::info!("{why}: leaving, the last writes are being pushed to peers");
    node.drain();
    let deadline = Instant::now() + node.config.drain_timeout;
    while !node.is_drained() {
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
