//! The line protocol: what two nodes say to each other, and how it is written.
//!
//! An exchange goes in turns. A turn is a sequence of lines and ends with an empty line, or with
//! `done` when the responder has nothing left to ask:
//!
//! ```text
//! initiator  hello 1 default 1a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5
//!
//! responder  list - 00a1…:019a…-1a2b3c4d …           (few entries: it lists them all)
//!
//! initiator  want 00a1c0ffee012345                   (what the initiator lacks)
//!            put 019abcdef0110000-1a2b3c4d 5 5       (what the responder lacks)
//!            helloworld
//!
//! responder  put 019abcdef0120000-5e6f7a8b 1 0
//!            k
//!            done 5e6f7a8b 1
//! ```
//!
//! `docs/PROTOCOL.md` has the whole grammar. Everything that comes in is checked against the limits
//! below before it is stored, and nothing is allocated by a length that was merely announced.

mod read;

mod write;

pub use self::read::ReadError;

pub use self::write::write_record;

use crate::core::digest::{FAN_OUT, Item, Prefix};
use crate::core::dissemination::Subtree;
use crate::core::entry::Record;
use std::fmt;

/// Said in the first message. Nodes of different versions do not exchange data.
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest line, without its line feed.
pub const MAX_LINE_BYTES: usize = 2048;

/// The most items or hashes on one line.
pub const MAX_LINE_ITEMS: usize = 32;

/// The longest cluster name.
pub const MAX_CLUSTER_BYTES: usize = 63;

/// The longest key that a node may be configured to take.
pub const MAX_KEY_BYTES: usize = 64 * 1024;

/// The longest value that a node may be configured to take.
pub const MAX_VALUE_BYTES: usize = 16 * 1024 * 1024;

/// One line of an exchange, with the key and value that follow it for a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// `hello 1 CLUSTER NODE CLOCK COUNT ROOT`: opens the initiator's first turn.
    Hello(Hello),
    /// `starting`: the sender is not ready, so it may lack most of what its cluster has.
    Starting,
    /// `leaving`: the sender drains, so nobody should count on what it takes.
    Draining,
    /// `since MS`: the sender has had everything that its cluster had since then. Both sides say so
    /// if one of them is isolated.
    CompleteSince(u64),
    /// `cut MS`: the sender has been isolated since then.
    Isolated(u64),
    /// `tell TREE SIZE`: the initiator delegates a part of a relay tree.
    Relay(Subtree),
    /// `hot HASH:VERSION …`: what has changed here lately, whether or not the digests differ.
    RecentUpdates(Vec<Item>),
    /// `check SHARD DIGEST`: what the salted fingerprints in one shard add up to, or `-` for an empty
    /// one. The store's own digests may be equal where the entries are not.
    Check(Prefix, Option<u32>),
    /// `row PREFIX CHILDREN`: the digests of a bucket's 16 children, 8 hex digits each, or `-` for
    /// an empty one.
    Row(Prefix, [Option<u32>; FAN_OUT]),
    /// `list PREFIX REST:VERSION …`: all that the sender has in a bucket; REST is what follows
    /// the prefix in the hash.
    List(Prefix, Vec<Item>),
    /// `want HASH …`: asks for these records.
    Want(Vec<u64>),
    /// `gone HASH …`: these were deleted while the peer was isolated, and the tombstones
    /// have been purged.
    Purged(Vec<u64>),
    /// `put VERSION KEYBYTES VALUEBYTES`, and when it expires if it does, then key and value; or
    /// `del VERSION KEYBYTES`, then the key.
    Record(Record),
    /// `rest`: the sender has left something out for lack of room; the next exchange brings it.
    Rest,
    /// An empty line: the turn ends, and the peer's begins.
    End,
    /// `done NODE AHEAD`: the responder has nothing left to ask, and says its node id and what time it
    /// is there.
    Done {
        /// The id that the responder's process drew.
        node: u32,
        /// How far the responder's wall clock is ahead of what the hello said, in milliseconds: it
        /// takes fewer bytes than the time itself.
        ahead_ms: i64,
    },
    /// `refuse REASON`: there will be no exchange.
    Refuse(Refusal),
}

/// What an initiator says first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Nodes of other clusters are refused: pod addresses come back under other owners.
    pub cluster: Box<str>,
    /// The id that the initiator's process drew.
    pub node: u32,
    /// The initiator's wall clock in Unix milliseconds. It only salts the exchange: a hello may wait
    /// long before it is read, and anybody may send one.
    pub clock_ms: u64,
    /// How many entries the initiator has, tombstones included.
    pub count: u64,
    /// The XOR of the fingerprints of all of them.
    pub root: u64,
}

/// Why a node refuses an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Refusal {
    /// The initiator speaks another version of the protocol.
    Protocol,
    /// The initiator belongs to another cluster.
    Cluster,
    /// The node has contacted itself: initiator and responder are one process.
    OwnAddress,
    /// The responder takes part in as many exchanges as it can at a time.
    Busy,
    /// A message that is not in the grammar, or not allowed at this point.
    Grammar,
}

impl Refusal {
    /// All of them, in the order of their counters.
    pub const ALL: [Refusal; 5] =
        [Self::Protocol, Self::Cluster, Self::OwnAddress, Self::Busy, Self::Grammar];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Cluster => "cluster",
            Self::OwnAddress => "self",
            Self::Busy => "busy",
            Self::Grammar => "grammar",
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "the peer speaks another version of the protocol",
            Self::Cluster => {
                "the peer belongs to another cluster: CLUSTER must be the same everywhere"
            }
            Self::OwnAddress => "the address is this node's own",
            Self::Busy => "too many exchanges at a time",
            Self::Grammar => "not the gossip protocol",
        })
    }
}

/// Whether `name` is a valid cluster name: one word of the hello.
pub fn is_cluster_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_CLUSTER_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}
