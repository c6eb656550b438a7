//! The pure core: takes messages, time and randomness as arguments, and gives messages back.
//!
//! It opens no socket or file, starts no thread, reads no clock or environment and draws no random
//! numbers of its own: the lints below refuse what `clippy.toml` lists.

#![deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod version;

pub mod digest;

pub mod entry;

pub mod changes;

pub mod recent_updates;

pub mod expiry_queue;

pub mod peer_clocks;

pub mod quota;

pub mod shards;

pub mod store;

pub mod dissemination;

pub mod message;

pub mod isolation;

pub mod exchange;

pub mod back_off;

pub mod token_bucket;

pub mod scheduler;

pub mod members;

pub mod api;
