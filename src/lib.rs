//! A sidecar that keeps one small key-value map the same in every pod.
//!
//! The application in a pod talks HTTP to the sidecar beside it; the sidecars find each other
//! through DNS and gossip. Writes are local and never wait for others, every pod has the whole map,
//! and the greatest version of each key wins everywhere. There is no quorum, no leader and no disk.
//!
//! The modules are listed in the order in which they are best read. Up to [`request`] they are the
//! *core*: pure code that takes messages, time and randomness as arguments and gives messages back.
//! It opens no socket, starts no thread and reads no clock; a test holds it to that. The simulator
//! in `tests/simulator` runs the very code that ships. From [`config`] on it is the *shell*, which
//! does all the waiting.
//!
//! One rule ties the two together: the store is locked for one call into the core at a time, never
//! while waiting for anything. So what threads can interleave, the simulator can.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

// The core.
pub mod version;

pub mod digest;

pub mod entry;

pub mod changes;

pub mod store;

pub mod message;

pub mod exchange;

pub mod gossip;

pub mod condition;

pub mod json;

pub mod listing;

pub mod api;

pub mod request;

// The shell.
pub mod config;

pub mod metrics;

pub mod logger;

pub mod mailbox;

pub mod roster;

pub mod node;

pub mod peers;

pub mod crew;

pub mod lanes;

pub mod waits;

pub mod handler;

pub mod door;

pub mod body;

pub mod answer;

pub mod http;

pub mod signals;

pub mod daemon;

pub mod client;

#[cfg(feature = "demo")]
pub mod demo;

/// The property tests' configuration: the same cases in every run.
#[cfg(test)]
fn fixed_seed(cases: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    let rng_seed = RngSeed::Fixed(0x676f_7373_6970);
    Config { cases, rng_seed, failure_persistence: None, ..Config::default() }
}
