//! Exchanges that peers open.

use crate::core::exchange::{Exchange, Next};
use crate::core::message::{Message, Refusal};
use crate::node::metrics::Counter;
use crate::node::state::Node;
use crate::peer::session::{Failure, run_exchange, send};
use crate::sys::logger::Limiter;
use crate::sys::semaphore::Semaphore;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// The most exchanges responded to at a time. Initiators beyond them are refused, and come back.
pub const MAX_RESPONSES_AT_A_TIME: usize = 8;

/// How long to wait before accepting again after `accept` has failed.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Accepts peers until the end of the process; each exchange has a thread of its own.
pub fn listen(node: &Arc<Node>, listener: &TcpListener, permits: &Semaphore) {
    static LOG: Limiter = Limiter::new();
    loop {
        let accepted = listener.accept().and_then(|(stream, peer)| {
            let Some(permit) = permits.try_acquire() else {
                return refuse_busy(node, stream);
            };
            let node = node.clone();
            let respond = move || {
                let _permit = permit;
                respond(&node, stream, peer);
            };
            std::thread::Builder::new().name("responder".into()).spawn(respond).map(drop)
        });
        if let Err(error) = accepted {
            // Most likely out of descriptors or threads: some will be free soon.
            if let Some(suppressed) = LOG.pass() {
                log::warn!("cannot accept a peer: {error}{suppressed}");
            }
            std::thread::sleep(ACCEPT_AGAIN_AFTER);
        }
    }
}

fn refuse_busy(node: &Node, stream: TcpStream) -> io::Result<()> {
    node.metrics.refused(Refusal::Busy);
    stream.set_nonblocking(true)?;
    // A peer that cannot take these few bytes at once learns it from the closed connection.
    let _ = send(&mut &stream, &Message::Refuse(Refusal::Busy));
    Ok(())
}

fn respond(node: &Node, stream: TcpStream, peer: SocketAddr) {
    let own = stream.local_addr();
    match run_exchange(node, stream, Exchange::respond(node.identity()), Next::Listen) {
        Ok(summary) => {
            node.metrics.count(Counter::InSyncs);
            own.into_iter().for_each(|own| node.was_contacted(own, peer));
            node.record_exchange(None, &summary);
        }
        Err(failure) => record_failure(node, peer, &failure),
    }
}

fn record_failure(node: &Node, peer: SocketAddr, failure: &Failure) {
    static LOG: Limiter = Limiter::new();
    match failure {
        Failure::Silence => return log::debug!("exchange from {peer} failed: {failure}"),
        // This is how a node finds out which of the listed addresses is its own.
        Failure::Refused(refusal @ Refusal::OwnAddress) => return node.metrics.refused(*refusal),
        Failure::Refused(refusal) => node.metrics.refused(*refusal),
        Failure::Grammar(_) => node.metrics.refused(Refusal::Grammar),
        Failure::Io(_) => node.metrics.count(Counter::FailedInSyncs),
    }
    // Addresses come back under other owners, and ports are scanned: neither may flood the log.
    if let Some(suppressed) = LOG.pass() {
        log::warn!("exchange from {peer} failed: {failure}{suppressed}");
    }
}
