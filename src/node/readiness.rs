//! Whether this node should be sent work.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Starting, then ready, then draining; never backwards.
pub struct Readiness {
    started: Instant,
    /// The node is ready after this time in any case: a pod that is never ready is no use either.
    timeout: Duration,
    is_ready: AtomicBool,
    is_draining: AtomicBool,
    /// Whether the first look-up of the peers has ended, well or not.
    has_looked_up: AtomicBool,
}

impl Readiness {
    /// A node that has just started.
    pub fn new(timeout: Duration) -> Self {
        Self {
            started: Instant::now(),
            timeout,
            is_ready: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            has_looked_up: AtomicBool::new(false),
        }
    }

    /// How long this process has been running.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The same in milliseconds: the node's monotonic clock.
    pub fn age_ms(&self) -> u64 {
        self.age().as_millis() as u64
    }

    /// The node is ready from now on.
    pub fn become_ready(&self, reason: &str) {
        if !self.is_ready.swap(true, Relaxed) {
            log::info!("ready after {} ms: {reason}", self.age().as_millis());
        }
    }

    /// Whether the node has become ready; it may be draining since.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Relaxed) || self.age() >= self.timeout
    }

    /// A look-up of the peers has ended, and its result has been taken.
    pub fn looked_up(&self) {
        self.has_looked_up.store(true, Relaxed);
    }

    /// Whether a look-up of the peers has ended.
    pub fn has_looked_up(&self) -> bool {
        self.has_looked_up.load(Relaxed)
    }

    /// The drain begins: the node is not ready any more.
    pub fn drain(&self) {
        self.is_draining.store(true, Relaxed);
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// Why this node should not be sent work, if it should not.
    pub fn not_ready_reason(&self) -> Option<&'static str> {
        if self.is_draining() {
            return Some("draining: the last writes are being pushed to peers");
        }
        (!self.is_ready()).then_some(
            "no exchange with a ready peer has completed yet (READY_TIMEOUT bounds the wait)",
        )
    }
}
