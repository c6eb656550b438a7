//! What all threads of a sidecar share.

pub mod metrics;

pub mod members;

pub mod state;

pub mod watchers;
