//! The applications: what they write, where, and with which TTL.

use super::node::{Held, Notice};
use super::{Event, Simulator};
use gossip_sidecar::{Put, Version};

impl Simulator {
    /// Starts or stops the random workload.
    pub fn set_writing(&mut self, writing: bool) {
        let had_writers =
            std::mem::replace(&mut self.writing, writing && self.settings.writes_a_second > 0.0);
        if self.writing && !had_writers {
            self.schedule(0, Event::Write);
        }
    }

    pub(super) fn write_somewhere(&mut self) {
        if !self.writing {
            return;
        }
        let gap_us = 2_000_000.0 / self.settings.writes_a_second * self.rng.f64();
        self.schedule(1 + gap_us as u64, Event::Write);
        let node = self.rng.usize(..self.nodes.len());
        if self.nodes[node].is_up {
            self.write_at(node);
        }
    }

    /// One write of the random workload.
    pub(super) fn write_at(&mut self, node: usize) {
        if self.nodes[node].store.is_closed() {
            return;
        }
        let key = format!("key {}", self.rng.u32(..self.settings.keys));
        if self.chance(self.settings.deletes) {
            return self.delete(node, &key);
        }
        let value = format!("{key} by {node} at {} µs", self.now_us);
        let ttl_ms = self.chance(self.settings.expiring).then(|| self.draw_ttl_ms());
        self.put_for(node, &key, value.as_bytes(), ttl_ms);
    }

    /// Draws a TTL on a logarithmic scale: as likely between 1 and 10 ms as between 1 and 10 s.
    fn draw_ttl_ms(&mut self) -> u64 {
        let (least, most) = self.settings.ttl_ms;
        let times = (most as f64 / least as f64).powf(self.rng.f64());
        ((least as f64 * times) as u64).clamp(least, most)
    }

    /// A local write.
    pub fn put(&mut self, node: usize, key: &str, value: &[u8]) {
        self.put_for(node, key, value, None);
    }

    /// A local write of a value that expires after `ttl_ms`, if given.
    pub fn put_for(&mut self, node: usize, key: &str, value: &[u8], ttl_ms: Option<u64>) {
        let wall_ms = self.note_time(node);
        let store = &mut self.nodes[node].store;
        let before = store.entry(key).map(|entry| entry.version);
        let had_value = store.get(key, wall_ms).is_some();
        let expires_ms = ttl_ms.map(|ttl_ms| store.now_ms(wall_ms) + ttl_ms);
        let version = match store.put(key, value.into(), ttl_ms, wall_ms) {
            Put::Created(version) if !had_value => version,
            Put::Replaced(version) if had_value => version,
            verdict => panic!("node {node}, had a value: {had_value}, the verdict was {verdict:?}"),
        };
        assert!(Some(version) > before, "node {node}: the write is older than what it replaced");
        self.counters.writes += 1;
        self.counters.overwrites += u64::from(had_value);
        self.counters.expiring += u64::from(ttl_ms.is_some());
        self.oracle.wrote(key, version, Some(value), expires_ms);
        self.holds(node, key, version);
        self.wrote(node, key, version);
    }

    /// A local deletion, if the key has a value there.
    pub fn delete(&mut self, node: usize, key: &str) {
        let wall_ms = self.note_time(node);
        let store = &mut self.nodes[node].store;
        let before = store.entry(key).map(|entry| entry.version);
        let had_value = store.get(key, wall_ms).is_some();
        let deleted = store.delete(key, wall_ms);
        assert_eq!(deleted.is_some(), had_value, "node {node}: a key without a value was deleted");
        if let Some(version) = deleted {
            assert!(Some(version) > before, "node {node}: the deletion is older than the value");
            self.counters.writes += 1;
            self.counters.deletes += 1;
            self.oracle.wrote(key, version, None, None);
            self.holds(node, key, version);
            self.wrote(node, key, version);
        }
    }

    /// Writes a new value, and records from now on when each node learns of it.
    pub fn put_and_watch(&mut self, node: usize, key: &str) {
        self.learned_at_us.clear();
        self.put(node, key, format!("news at {} µs", self.now_us).as_bytes());
        let version = self.nodes[node].store.entry(key).expect("it was just written").version;
        self.watched = Some((key.to_owned(), version));
        self.learned_at_us.push(self.now_us);
    }

    /// A node now has this version of a key.
    pub(super) fn holds(&mut self, node: usize, key: &str, version: Version) {
        let it = &mut self.nodes[node];
        let is_value = it.store.entry(key).is_some_and(|entry| !entry.is_tombstone());
        it.held.insert(key.to_owned(), Held { version, is_value });
        if self.watched.as_ref().is_some_and(|(name, watched)| name == key && *watched == version) {
            self.learned_at_us.push(self.now_us);
        }
    }

    fn wrote(&mut self, node: usize, key: &str, version: Version) {
        let it = &mut self.nodes[node];
        if it.store.is_draining() {
            it.to_hand_over.insert(key.to_owned(), version);
        }
        // As in the shell, one notice stands for all writes made during an exchange.
        if self.settings.eager && !std::mem::replace(&mut self.nodes[node].wrote, true) {
            self.notify(node, Notice::Wrote);
        }
    }
}
