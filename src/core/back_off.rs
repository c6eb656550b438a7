//! Addresses that failed, and for how long they are left alone.

use std::collections::BTreeMap;

/// How long an address is left alone after its first failure; doubled with each further one.
pub const MIN_BACK_OFF_MS: u64 = 1_000;

/// The longest time for which an address is left alone: a new pod may have it by then.
pub const MAX_BACK_OFF_MS: u64 = 30_000;

#[derive(Clone, Copy)]
struct Failing {
    /// Failures in a row.
    failures: u32,
    until_ms: u64,
}

/// The addresses whose last exchange failed.
pub struct BackOff<P>(BTreeMap<P, Failing>);

impl<P: Copy + Ord> BackOff<P> {
    /// Nothing has failed.
    pub fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Counts a failure.
    pub fn failed(&mut self, peer: P, now_ms: u64) {
        let failures = self.failures(&peer);
        let pause_ms = (MIN_BACK_OFF_MS << failures.min(16)).min(MAX_BACK_OFF_MS);
        self.0.insert(peer, Failing { failures: failures + 1, until_ms: now_ms + pause_ms });
    }

    /// The address works, or has contacted us.
    pub fn reset(&mut self, peer: &P) {
        self.0.remove(peer);
    }

    /// How often the address has failed in a row.
    pub fn failures(&self, peer: &P) -> u32 {
        self.0.get(peer).map_or(0, |failing| failing.failures)
    }

    /// Whether the address may be contacted.
    pub fn is_over(&self, peer: &P, now_ms: u64) -> bool {
        self.0.get(peer).is_none_or(|failing| failing.until_ms <= now_ms)
    }

    /// Drops the addresses that are no longer listed.
    pub fn retain(&mut self, is_listed: impl Fn(&P) -> bool) {
        self.0.retain(|peer, _| is_listed(peer));
    }
}
