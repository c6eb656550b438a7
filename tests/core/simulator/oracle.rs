//! What must come of it all, kept by a dumb alternative: every write, and the highest version of
//! each key that each living node ever had.

use super::node::Held;
use super::{BEGIN_MS, Simulator};
use gossip_sidecar::{Entry, MAX_PURGED_AT_ONCE, Record, Version};
use std::collections::{BTreeMap, BTreeSet};

/// A clock that is off by more is mad: nobody means a value to expire at such a time.
const PLAUSIBLE_MS: u64 = 12 * 3_600_000;

/// What was written to a key, by version, as all nodes should have it.
type Versions = BTreeMap<Version, Entry>;

/// Every write that was acknowledged.
#[derive(Default)]
pub struct Oracle {
    written: BTreeMap<String, Versions>,
    /// What a node has made a tombstone of, rightly by its own clocks. Who had not heard of it
    /// takes the tombstone, be it early by its own.
    expired: BTreeSet<(String, Version)>,
    /// The tombstones that a node has purged, rightly by its own clocks.
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
        assert!(twin.is_none(), "two writes of {key} carry the version {version}");
    }

    /// Nothing travels but what somebody wrote, or its tombstone once it has expired for somebody.
    pub(super) fn check_record(&self, record: &Record) {
        self.check_entry(&record.key, Some(&record.entry), "on its way");
    }

    fn check_entry(&self, key: &str, entry: Option<&Entry>, place: impl std::fmt::Display) {
        let entry = entry.unwrap_or_else(|| panic!("{place}, {key}: nothing is there"));
        let written = self.written(key, entry.version);
        let has_expired = || self.expired.contains(&(key.to_owned(), entry.version));
        assert!(
            written == Some(entry) || (written.is_some() && entry.is_tombstone() && has_expired()),
            "{place}, {key}: {entry:?} is there, {written:?} was written"
        );
    }

    fn written(&self, key: &str, version: Version) -> Option<&Entry> {
        self.written.get(key)?.get(&version)
    }

    /// The latest value that anybody wrote, whoever knows of it.
    pub fn latest(&self, key: &str) -> Option<&[u8]> {
        self.written.get(key)?.last_key_value()?.1.value()
    }

    /// Whether this was written by a clock so mad that it never expires in this world.
    fn is_absurd(&self, key: &str, version: Version, world_ms: u64) -> bool {
        let expires_ms = self.written(key, version).and_then(Entry::expires_ms);
        expires_ms.is_some_and(|expires_ms| expires_ms > world_ms + PLAUSIBLE_MS)
    }
}

impl Simulator {
    /// The highest version of each key that any living node has and has not purged.
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

    /// Each living store has exactly what was written and merged there, except that what has
    /// expired is a tombstone: nothing is invented, and nothing goes back.
    pub fn check_stores(&self) {
        for node in self.live() {
            let held = self.nodes[node].held.iter();
            self.check_store(node, &held.map(|(key, held)| (key.clone(), held.version)).collect());
        }
    }

    /// Each living store has exactly this.
    pub fn check_all_hold(&self, expected: &BTreeMap<String, Version>) {
        for node in self.live() {
            self.check_store(node, expected);
        }
    }

    /// All agree, and nothing of what they had `before` is lost but tombstones that a node has
    /// purged: those, it may be, to an older version.
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
            // Be it purged or not: nobody is given it any more.
            let expires_ms = entry.and_then(Entry::expires_ms);
            let is_over = expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms);
            assert_eq!(store.get(key, wall_ms), value.filter(|_| !is_over), "node {node}, {key}");
            values += usize::from(value.is_some());
        }
        let count = store.root().count;
        assert_eq!((count, store.live()), (expected.len(), values), "node {node} has other keys");
    }

    /// A record was fresher: the store must have it, or, if it has expired, its tombstone.
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

    /// After something was purged: only values past their time became tombstones, and only
    /// tombstones past theirs were purged.
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
                "node {node}, {key} {version}: not purged in its time"
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

    /// After entries were purged for good reason.
    pub(super) fn drop_held(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.held.retain(|key, _| node.store.entry(key).is_some());
    }

    /// Sets all clocks so far ahead that all is over that is to expire in this world.
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

    /// The keys that not all living nodes show alike, or whose time is up and which have a value
    /// somewhere. Left out are values that a mad clock has written to last for years: each node may
    /// have those or, if its clocks have ever been that mad, their tombstones.
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
