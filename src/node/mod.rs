//! What all threads of a sidecar share.

pub mod metrics;

pub mod members;

pub mod shared_store;

pub mod readiness;

pub mod event;

pub mod state;

pub mod stats;

pub mod watchers;
