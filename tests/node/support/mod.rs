//! Runs the real binary: nodes as child processes, and HTTP clients.
//!
//! Each node has an address of its own in 127.0.0.0/8, so that all nodes of a cluster use the same
//! ports, as pods do. Nothing here waits for a fixed time: conditions are polled under a deadline.

mod node;

mod cluster;

mod client;

mod process;

mod addresses;

mod polling;

mod checks;

pub use node::*;

pub use cluster::*;

pub use client::*;

pub use process::*;

pub use addresses::*;

pub use polling::*;

pub use checks::*;
