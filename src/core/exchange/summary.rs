//! What goes into an exchange besides the store, and what comes out of it.

use crate::core::dissemination::Subtree;

/// What a node says of itself in an exchange.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name that both sides must share.
    pub cluster: Box<str>,
    /// Since when it has had everything that its cluster had, in Unix milliseconds; at first since
    /// its own start.
    pub complete_since_ms: u64,
    /// Since when it has been isolated, if it has: see [`isolation`](crate::core::isolation).
    pub isolated_since_ms: Option<u64>,
    /// Whether it has caught up with its cluster since it started.
    pub is_ready: bool,
}

/// What an exchange has come to so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// The peer's node id, once it has said it.
    pub peer: Option<u32>,
    /// How far the responder's clock is ahead of ours, in milliseconds, if we have opened the exchange
    /// and heard it within [`MAX_CLOCK_AGE_MS`].
    pub clock_offset_ms: Option<i64>,
    /// When the exchange began: see [`Store::begin_exchange`]. Later writes may not be part of it, and
    /// none of them is older.
    pub began_ms: u64,
    /// See [`Isolation::complete_since_ms`]; valid once the exchange is complete.
    pub complete_since_ms: u64,
    /// The part of a relay tree that the initiator has delegated.
    pub subtree: Option<Subtree>,
    /// Whether it ended with nothing left out, so that each side has what the other had.
    pub complete: bool,
    /// The initiator's [`Store::revision`] when it began: the exchange covers all of that.
    pub revision: u64,
    /// Whether the peer is known to hold all of that, and stays. Only an initiator knows: it has
    /// chosen whom to contact, and its peer says so last.
    pub confirmed: bool,
    /// Whether the peer has said that it is not ready yet.
    pub peer_is_starting: bool,
    /// Whether the peer has said that it drains.
    pub peer_is_draining: bool,
    /// Records sent.
    pub sent: u64,
    /// Records received that were fresher than ours.
    pub taken: u64,
    /// Entries purged because they were deleted while we were isolated.
    pub purged: u64,
}
