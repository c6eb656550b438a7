//! The order in which values expire and tombstones are purged.

use std::collections::BTreeSet;

/// Keys by the last millisecond at which nothing has to be done about them; the next one first.
#[derive(Default)]
pub struct ExpiryQueue(BTreeSet<(u64, Box<str>)>);

impl ExpiryQueue {
    /// Adds a key that is due after `last_ms`.
    pub fn insert(&mut self, last_ms: u64, key: impl Into<Box<str>>) {
        self.0.insert((last_ms, key.into()));
    }

    /// Removes a key that was added with the same time.
    pub fn remove(&mut self, last_ms: u64, key: impl Into<Box<str>>) {
        self.0.remove(&(last_ms, key.into()));
    }

    /// The next key, if it is due at that time.
    pub fn next_due(&self, now_ms: u64) -> Option<Box<str>> {
        let (last_ms, key) = self.0.first()?;
        (*last_ms < now_ms).then(|| key.clone())
    }

    /// In how many milliseconds the next key is due, if there is one.
    pub fn next_in_ms(&self, now_ms: u64) -> Option<u64> {
        let (last_ms, _) = self.0.first()?;
        Some((last_ms + 1).saturating_sub(now_ms))
    }
}
