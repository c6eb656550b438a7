//! The recent-update list: what an initiator tells right after its hello, before anything is compared.
//!
//! (Demers et al., "Epidemic Algorithms for Replicated Database Maintenance", 1987, section 1.3.)

use crate::core::digest::Item;
use std::collections::VecDeque;

/// How many updates are kept: as many as travel well in one packet with the hello.
pub const MAX_RECENT_UPDATES: usize = 16;

/// For how long after it was written an update is news, in milliseconds. What a newcomer has just
/// been given was written long ago, and is no news to the others.
pub const RECENT_FOR_MS: u64 = 5_000;

/// The latest updates of a store, the oldest first.
pub struct RecentUpdates(VecDeque<Item>);

impl RecentUpdates {
    /// An empty list.
    pub fn new() -> Self {
        Self(VecDeque::with_capacity(MAX_RECENT_UPDATES))
    }

    /// Adds an update, in place of the oldest one if the list is full.
    pub fn push(&mut self, item: Item) {
        if self.0.len() == MAX_RECENT_UPDATES {
            self.0.pop_front();
        }
        self.0.push_back(item);
    }

    /// Those that are still news, one a key, in the order of their hashes.
    pub fn items(&self, wall_ms: u64) -> Vec<Item> {
        let mut latest: Vec<Item> = Vec::new();
        for &item in self.0.iter().rev() {
            let is_news = wall_ms.abs_diff(item.version.ms()) <= RECENT_FOR_MS;
            if is_news && !latest.iter().any(|newer| newer.hash == item.hash) {
                latest.push(item);
            }
        }
        latest.sort_unstable();
        latest
    }
}
