//! What the other threads tell the gossip thread.

use crate::core::dissemination::Subtree;
use std::net::{IpAddr, SocketAddr};

/// One message to the gossip thread.
pub enum Event {
    /// There was a write here. At most one of these is on its way at a time: one exchange carries all
    /// news.
    Wrote,
    /// A client waits for other nodes to hold our writes.
    ReplicasAwaited,
    /// An exchange has brought news, or a subtree to relay news to, or both.
    Learned {
        /// Whether a fresher record was received.
        is_news: bool,
        /// The subtree that was delegated to us.
        subtree: Option<Subtree>,
    },
    /// The address at which others reach us.
    AdvertiseAddress(SocketAddr),
    /// A peer has contacted us from this address.
    Heard(IpAddr),
    /// The result of a look-up.
    Peers {
        /// The latest addresses, without our own.
        addresses: Vec<SocketAddr>,
        /// Whether our own address was among them.
        found_own_address: bool,
    },
}
