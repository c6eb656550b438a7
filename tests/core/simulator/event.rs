//! Everything that can happen, and when.

use super::session::Side;
use std::cmp::Ordering;

/// Everything that can happen.
#[derive(Debug)]
pub(super) enum Event {
    /// The time that a node's gossip thread waits for has come.
    Wake { node: usize, wait: u64 },
    /// A node asks DNS.
    LookUp { node: usize, incarnation: u32 },
    /// An address is listed.
    List { node: usize },
    /// An address is no longer listed.
    Unlist { node: usize },
    /// The call is connected.
    Connected { id: u64 },
    /// A turn arrives, or what came through of it.
    Arrive { id: u64, to: Side, bytes: Vec<u8>, is_reset: bool },
    /// One side of an exchange sees that it has failed.
    Broken { id: u64, side: Side },
    /// A node starts anew, with nothing.
    Start { node: usize },
    /// Somebody writes.
    Write,
    /// The next random fault.
    Fault,
}

/// An event in its place: at a time and, among those of one time, in the order they were made.
pub(super) struct Scheduled {
    pub(super) at_us: u64,
    pub(super) sequence: u64,
    pub(super) event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest first.
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
