//! A sidecar that replicates one small in-memory key-value map to every pod.
//!
//! The application in a pod talks HTTP to the sidecar beside it; the sidecars find each other
//! through DNS and gossip. Writes are local and never wait for peers unless asked to, every pod has
//! the whole map, and the greatest version of each key wins everywhere. There is no quorum, no
//! leader and no disk.
//!
//! `core/` is pure: it takes messages, time and randomness as arguments, and gives messages back. It
//! opens no socket, starts no thread and reads no clock; lints enforce this. The other
//! folders are a thin shell that does all the waiting. One rule ties the two together: the store is
//! locked for one call into the core at a time, never while waiting for anything. So whatever
//! threads can interleave, the simulator in `tests/core/simulator`, which runs the very code that
//! ships, can schedule.
//!
//! A *node* is one process, known by an id that it draws at its start. Its *peers* are the other
//! nodes; its *members* are the addresses at which DNS lists them. A *replica* of a write is a peer
//! that holds it. The HTTP interface is that of k8s-gossipcar, which this sidecar can replace, and
//! more.
//!
//! `docs/ARCHITECTURE.md` follows a value through the folders.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

// The modules, in the order in which they are best read.
mod core;

mod sys;

mod config;

mod node;

mod peer;

mod http;

mod daemon;

mod cli;

// The public API: what the binary, the tests, the fuzz targets and the examples use.
pub use crate::core::version::{Clock, END_OF_TIME_MS, MAX_CLOCK_LEAD_MS, Version};

pub use crate::core::digest::{Digest, FAN_OUT, Item, MAX_DEPTH, Prefix, key_hash};

pub use crate::core::entry::{Entry, Record};

pub use crate::core::recent_updates::{MAX_RECENT_UPDATES, RECENT_FOR_MS};

pub use crate::core::quota::{ENTRY_OVERHEAD_BYTES, EXPIRY_OVERHEAD_BYTES};

pub use crate::core::shards::{SHARD_DEPTH, SHARDS, shard_of, shards_of};
pub use crate::core::store::{Limits, MAX_PURGED_AT_ONCE, Merged, Put, Store};

pub use crate::core::dissemination::{RELAY_TREES, Subtree};

pub use crate::core::message::{
    Hello, MAX_CLUSTER_BYTES, MAX_KEY_BYTES, MAX_LINE_BYTES, MAX_LINE_ITEMS, MAX_VALUE_BYTES,
    Message, PROTOCOL_VERSION, ReadError, Refusal, is_cluster_name, write_record,
};

pub use crate::core::isolation::{LastComplete, isolated_since};

pub use crate::core::exchange::{
    Exchange, FULL_TURN_BYTES, Identity, MAX_CLOCK_AGE_MS, MAX_LISTED_ENTRIES, MAX_TURNS, Next,
    Summary,
};

pub use crate::core::scheduler::{Action, Everyone, Outcome, Scheduler};

pub use crate::core::members::Members;

/// What an HTTP request means.
pub mod api {
    pub use crate::core::api::response::{PLAIN_TEXT, Response};

    pub use crate::core::api::preconditions::Preconditions;

    pub use crate::core::api::listing::MAX_PAGE_KEYS;

    pub use crate::core::api::map::{Representation, delete, get, list, put, put_form};

    pub use crate::core::api::operation::{
        MAX_REPLICAS, MAX_TTL_MS, MAX_WAIT_MS, Operation, Replicas,
    };

    pub use crate::core::api::parameters::form;

    pub use crate::core::api::request::{Head, parse};
}

pub use crate::config::SETTINGS;

/// The HTTP client of the command line.
pub mod client {
    pub use crate::cli::client::{map_target, request};
}

pub use crate::sys::signals::Signals;

pub use crate::cli::run;

/// The property tests' configuration: the same cases in every run.
#[cfg(test)]
fn fixed_seed(cases: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    let rng_seed = RngSeed::Fixed(0x676f_7373_6970);
    Config { cases, rng_seed, failure_persistence: None, ..Config::default() }
}
