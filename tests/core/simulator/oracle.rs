//! What the stores must hold, computed the simplest way: from every write, and from the greatest
//! version of each key that each live node ever had.

use super::node::Held;
use super::{BEGIN_MS, Simulator};
use gossip_sidecar::{Entry, MAX_PURGED_AT_ONCE, Record, Version};
use std::collections::{BTreeMap, BTreeSet};

/// A clock that is off by more is absurd: no value is meant to expire at such a time.
const PLAUSIBLE_MS: u64 = 12 * 3_600_000;

/// The entries written to a key, by version.
type Versions = BTreeMap<Version, Entry>;

/// Every write that was acknowledged.
#[derive(Default)]
pub struct Oracle {
    written: BTreeMap<String, Versions>,
    /// Values that a node has turned into tombstones, correctly by its clock. Other nodes take over
    /// such a tombstone even if it is early by theirs.
    expired: BTreeSet<(String, Version)>,
    /// Tombstones that a node has purged, correctly by its clock.
    purged: BTreeSet<(String, Version)>,
}

impl Oracle {
    pub(super) fn wrote(
        &mut self,
        key: &str,
        version: Version,
        value: Option<&[u8]>,
        expires_ms: Option<u64>,
    ) {
        let entry = match value {
            Some(value) => Entry::new(version, value, expires_ms),
            None => Entry::tombstone(version),
        };
        let twin = self.written.entry(key.to_owned()).or_default().insert(version, entry);
        assert!(twin.is_none(), "two writes of {key} have the version {version}");
    }

    /// Asserts that a record is what was written or, if it has expired on any node, its tombstone.
    pub(super) fn check_record(&self, record: &Record) {
        self.check_entry(&record.key, Some(&record.entry), "on its way");
    }

    fn check_entry(&self, key: &str, entry: Option<&Entry>, location: impl std::fmt::Display) {
        let entry = entry.unwrap_or_else(|| panic!("{location}, {key}: there is no entry"));
        let written = self.written(key, entry.version);
        let has_expired = || self.expired.contains(&(key.to_owned(), entry.version));
        assert!(
            written == Some(entry) || (written.is_some() && entry.is_tombstone() && has_expired()),
            "{location}, {key}: found {entry:?}, {written:?} was written"
        );
    }

    fn written(&self, key: &str, version: Version) -> Option<&Entry> {
        self.written.get(key)?.get(&version)
    }

    /// The latest value written on any node.
    pub fn latest(&self, key: &str) -> Option<&[u8]> {
        self.written.get(key)?.last_key_value()?.1.value()
    }

    /// Whether the writer's clock was so absurd that the value does not expire within a simulation.
    fn is_absurd(&self, key: &str, version: Version, world_ms: u64) -> bool {
        let expires_ms = self.written(key, version).and_then(Entry::expires_ms);
        expires_ms.is_some_and(|expires_ms| expires_ms > world_ms + PLAUSIBLE_MS)
    }
}

impl Simulator {
    /// The greatest version of each key that any live node has and has not purged.
    pub fn expected(&self) -> BTreeMap<String, Version> {
        let mut expected = BTreeMap::new();
        for node in self.live() {
            for (key, held) in &self.nodes[node].held {
                let best = expected.entry(key.clone()).or_insert(held.version);
                *best = held.version.max(*best);
            }
        }
        expected
    }

    /// Asserts that each live store has exactly what was written and merged there, with tombstones
    /// for what has expired: nothing is invented, and no version goes back.
    pub fn check_stores(&self) {
        for node in self.live() {
            let held = self.nodes[node].held.iter();
            self.check_store(node, &held.map(|(key, held)| (key.clone(), held.version)).collect());
        }
    }

    /// Asserts that each live store has exactly this.
    pub fn check_all_hold(&self, expected: &BTreeMap<String, Version>) {
        for node in self.live() {
            self.check_store(node, expected);
        }
    }

    /// Asserts that all nodes agree and that nothing is lost of what they had `before`, except
    /// tombstones that a node has purged: an older version may have replaced these.
    pub fn check_kept(&self, before: &BTreeMap<String, Version>) {
        let after = self.expected();
        self.check_all_hold(&after);
        for (key, version) in before {
            let is_purged = || self.oracle.purged.contains(&(key.clone(), *version));
            let is_kept = after.get(key).is_some_and(|after| after >= version);
            assert!(is_kept || is_purged(), "{key} {version} is lost");
        }
    }

    fn check_store(&self, node: usize, expected: &BTreeMap<String, Version>) {
        let (store, wall_ms) = (&self.nodes[node].store, self.wall_ms(node));
        let now_ms = store.now_ms(wall_ms);
        let mut values = 0;
        for (key, &version) in expected {
            let entry = store.entry(key);
            self.oracle.check_entry(key, entry, format_args!("node {node}"));
            let (found, value) = entry.map(|entry| (entry.version, entry.value())).unzip();
            assert_eq!(found, Some(version), "node {node}, {key}");
            let value = value.flatten();
            let held = Held { version, is_value: value.is_some() };
            assert_eq!(self.nodes[node].held.get(key), Some(&held), "node {node}, {key}");
            // An expired value is not returned, whether or not it is a tombstone already.
            let expires_ms = entry.and_then(Entry::expires_ms);
            let is_over = expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms);
            assert_eq!(store.get(key, wall_ms), value.filter(|_| !is_over), "node {node}, {key}");
            values += usize::from(value.is_some());
        }
        let count = store.root().count;
        assert_eq!(
            (count, store.live()),
            (expected.len(), values),
            "node {node} has keys that it must not have"
        );
    }

    /// Asserts that the store has taken a newer record or, if that has expired, its tombstone.
    pub(super) fn check_taken(&mut self, node: usize, record: &Record) {
        let Record { key, entry } = record;
        let store = &self.nodes[node].store;
        let now_ms = store.now_ms(self.wall_ms(node));
        let is_over = entry.expires_ms().is_some_and(|expires_ms| expires_ms <= now_ms);
        let tombstone = is_over.then(|| Entry::tombstone(entry.version));
        assert_eq!(store.entry(key), Some(tombstone.as_ref().unwrap_or(entry)), "node {node}");
        if is_over {
            self.counters.expired_on_the_way += 1;
            self.oracle.expired.insert((key.to_string(), entry.version));
        }
    }

    /// Asserts, after a purge, that only expired values became tombstones and only expired
    /// tombstones were purged.
    pub(super) fn check_purged(&mut self, node: usize, purged: usize) {
        let now_ms = self.nodes[node].store.now_ms(self.wall_ms(node));
        let it = &mut self.nodes[node];
        let (oracle, counters) = (&mut self.oracle, &mut self.counters);
        it.held.retain(|key, held| {
            let version = held.version;
            let entry = it.store.entry(key);
            let is_value = entry.is_some_and(|entry| !entry.is_tombstone());
            let expires_ms = oracle.written(key, version).and_then(Entry::expires_ms);
            let is_over = expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms);
            let was_value = std::mem::replace(&mut held.is_value, is_value);
            assert!(
                !(is_value && is_over) || purged == MAX_PURGED_AT_ONCE,
                "node {node}, {key} {version}: expired and was not purged"
            );
            if was_value && !is_value {
                assert!(is_over, "node {node}, {key} {version}: expired before its time");
                counters.expired += 1;
                oracle.expired.insert((key.clone(), version));
            }
            if entry.is_none() {
                let until_ms = version.ms() + self.settings.tombstone_ttl_ms;
                assert!(until_ms < now_ms, "node {node}, {key} {version}: purged too early");
                counters.tombstones_purged += 1;
                oracle.purged.insert((key.clone(), version));
            }
            entry.is_some()
        });
    }

    /// Takes note of entries that the isolation rule has purged.
    pub(super) fn drop_held(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.held.retain(|key, _| node.store.entry(key).is_some());
    }

    /// Sets all clocks so far ahead that every TTL is over.
    pub fn expire_all(&mut self) {
        let world_ms = BEGIN_MS + self.now_us / 1000;
        let entries = self.oracle.written.values().flat_map(BTreeMap::values);
        let is_plausible = |ms: &u64| ms.abs_diff(world_ms) <= PLAUSIBLE_MS;
        let last_ms = entries.filter_map(Entry::expires_ms).filter(is_plausible).max();
        let walls = self.live().map(|node| self.wall_ms(node)).filter(is_plausible);
        let (Some(last_ms), Some(slowest_ms)) = (last_ms, walls.min()) else { return };
        let by_ms = (last_ms + 1).saturating_sub(slowest_ms) as i64;
        self.nodes.iter_mut().for_each(|node| node.wall.ahead_ms += by_ms);
    }

    /// The keys on which the live nodes differ, and those that have expired and still have a value
    /// somewhere. Values that an absurd clock wrote to last for years are left out: each node may
    /// have either the value or, if its own clock was ever that absurd, the tombstone.
    pub fn unsettled(&self) -> BTreeSet<&str> {
        let world_ms = BEGIN_MS + self.now_us / 1000;
        let first = self.live().next().map(|node| &self.nodes[node].held);
        let mut unsettled = BTreeSet::new();
        for node in self.live() {
            let it = &self.nodes[node];
            for (key, held) in &it.held {
                let entry = it.store.entry(key);
                let has_expired = held.is_value && entry.is_some_and(|e| e.expires_ms().is_some());
                let differs = first.and_then(|first| first.get(key)) != Some(held);
                let is_absurd = || self.oracle.is_absurd(key, held.version, world_ms);
                if (has_expired || differs) && !is_absurd() {
                    unsettled.insert(&**key);
                }
            }
        }
        unsettled
    }
}
