//! Exchanges that we open.

use crate::core::dissemination::Subtree;
use crate::core::exchange::{Exchange, Next};
use crate::core::message::Refusal;
use crate::core::scheduler::Outcome;
use crate::node::metrics::Counter;
use crate::node::state::{Node, wall_ms};
use crate::peer::session::{Failure, run_exchange};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A peer that does not accept a connection within this time is taken to be dead.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Opens an exchange with a peer, and runs it to its end.
pub fn initiate(
    node: &Node,
    peer: SocketAddr,
    subtree: Option<Subtree>,
) -> Result<Outcome, Failure> {
    let summary = TcpStream::connect_timeout(&peer, CONNECT_TIMEOUT).map_err(Failure::Io).and_then(
        |stream| {
            let identity = node.identity();
            let exchange = Exchange::initiate(identity, &mut node.store(), wall_ms(), subtree);
            run_exchange(node, stream, exchange, Next::Speak)
        },
    );
    let summary = match summary {
        Ok(summary) => summary,
        Err(Failure::Refused(Refusal::OwnAddress)) => return Ok(Outcome::OwnAddress),
        Err(failure) => {
            node.metrics.count(Counter::FailedOutSyncs);
            return Err(failure);
        }
    };
    node.metrics.count(Counter::OutSyncs);
    node.record_exchange(Some(peer), &summary);
    Ok(match summary.peer {
        Some(_) if summary.complete => Outcome::Complete { was_news: summary.sent > 0 },
        _ => Outcome::Incomplete,
    })
}
