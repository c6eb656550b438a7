//! The events of a simulation, in the order in which they happen.

use super::session::Side;
use std::cmp::Ordering;

/// Everything that can happen.
#[derive(Debug)]
pub(super) enum Event {
    /// The time has come for which a node's gossip thread waits.
    Wake { node: usize, wait: u64 },
    /// A node looks up its peers.
    LookUp { node: usize, incarnation: u32 },
    /// DNS begins to list an address.
    List { node: usize },
    /// DNS no longer lists an address.
    Unlist { node: usize },
    /// A connection is established.
    Connected { id: u64 },
    /// A turn arrives, or the part of it that was not lost.
    Arrive { id: u64, to: Side, bytes: Vec<u8>, is_reset: bool },
    /// One side of an exchange notices that it has failed.
    Broken { id: u64, side: Side },
    /// A node restarts with an empty store.
    Start { node: usize },
    /// A node that drains takes no more local writes from now on.
    Close { node: usize, incarnation: u32 },
    /// A node exits, whether or not it has handed over everything.
    DrainTimeout { node: usize, incarnation: u32 },
    /// An application writes.
    Write,
    /// The next random fault.
    Fault,
}

/// An event and its place in the order: by time, then by when it was scheduled.
pub(super) struct Scheduled {
    pub(super) at_us: u64,
    pub(super) sequence: u64,
    pub(super) event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap returns the greatest first.
        (other.at_us, other.sequence).cmp(&(self.at_us, self.sequence))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}
