//! Random operations, on the store and on a naive model of it.

use super::{TTL_MS, any_record, store_with_quota};
use crate::support::{Contents, WALL_MS, assert_consistent, contents, fixed_seed};
use gossip_sidecar::{
    Clock, ENTRY_OVERHEAD_BYTES, EXPIRY_OVERHEAD_BYTES, Entry, MAX_RECENT_UPDATES, Merged, Put,
    Record, Version,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

proptest! {
    #![proptest_config(fixed_seed(400))]

    #[test]
    fn the_store_behaves_like_the_model(
        operations in vec(any_operation(), 0..60), quota in 0..1_000u64,
    ) {
        let mut store = store_with_quota(quota);
        let mut model = Model {
            entries: Contents::new(),
            clock: Clock::new(1),
            max_store_bytes: quota,
            wall_ms: WALL_MS,
        };
        for operation in operations {
            let wall_ms = model.wall_ms;
            match operation {
                Operation::Put(key, value, ttl_ms) => {
                    let key = format!("key-{key}");
                    let put = store.put(&key, value.clone().into(), ttl_ms, wall_ms);
                    prop_assert_eq!(put, model.put(&key, &value, ttl_ms));
                }
                Operation::Delete(key) => {
                    let key = format!("key-{key}");
                    prop_assert_eq!(store.delete(&key, wall_ms), model.delete(&key));
                }
                Operation::Merge(record) => {
                    prop_assert_eq!(store.merge(record.clone(), wall_ms), model.merge(record));
                }
                Operation::Purge(key) => {
                    let key = format!("key-{key}");
                    store.purge(&key);
                    model.entries.remove(&*key);
                }
                Operation::PurgeExpired => {
                    prop_assert_eq!(store.purge_expired(wall_ms), model.purge_expired());
                }
                Operation::Wait(ms) => model.wall_ms += ms,
            }
            prop_assert_eq!(&contents(&store), &model.entries);
            for key in model.entries.keys() {
                prop_assert_eq!(store.get(key, model.wall_ms), model.get(key));
            }
            assert_consistent(&store);
            prop_assert!(store.recent_updates(model.wall_ms).len() <= MAX_RECENT_UPDATES);
        }
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Put(u8, Vec<u8>, Option<u64>),
    Delete(u8),
    Merge(Record),
    Purge(u8),
    PurgeExpired,
    Wait(u64),
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..6u8, vec(any::<u8>(), 0..40), option::of(1..2 * TTL_MS))
            .prop_map(|(key, value, ttl_ms)| Operation::Put(key, value, ttl_ms)),
        3 => (0..6u8).prop_map(Operation::Delete),
        4 => any_record().prop_map(Operation::Merge),
        1 => (0..6u8).prop_map(Operation::Purge),
        2 => Just(Operation::PurgeExpired),
        2 => prop_oneof![0..3u64, 0..2 * TTL_MS].prop_map(Operation::Wait),
    ]
}

/// A map that computes everything from scratch.
struct Model {
    entries: Contents,
    clock: Clock,
    max_store_bytes: u64,
    wall_ms: u64,
}

impl Model {
    fn bytes(&self) -> u64 {
        let entries = self.entries.iter();
        entries
            .map(|(key, entry)| {
                let value_bytes = entry.value().map_or(0, <[u8]>::len);
                let bytes = (key.len() + value_bytes) as u64 + ENTRY_OVERHEAD_BYTES;
                match entry.value().is_some() && entry.expires_ms().is_none() {
                    true => bytes,
                    false => bytes + key.len() as u64 + EXPIRY_OVERHEAD_BYTES,
                }
            })
            .sum()
    }

    fn is_outdated(&self, version: Version) -> bool {
        version.ms() + TTL_MS < self.wall_ms
    }

    fn has_value(&self, entry: &Entry) -> bool {
        entry.value().is_some() && entry.expires_ms().is_none_or(|ms| self.wall_ms < ms)
    }

    fn get(&self, key: &str) -> Option<&[u8]> {
        self.entries.get(key).filter(|entry| self.has_value(entry))?.value()
    }

    fn put(&mut self, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Put {
        let before = self.bytes();
        let had_value = self.get(key).is_some();
        let current = self.entries.get(key).cloned();
        let version = current.as_ref().map(|entry| entry.version);
        let expires_ms = ttl_ms.map(|ttl_ms| self.wall_ms + ttl_ms);
        // The size of an entry does not depend on its version.
        let priced = Entry::new(Version::new(0, 0, 0), value, expires_ms);
        self.entries.insert(key.into(), priced);
        if self.bytes() > self.max_store_bytes && self.bytes() > before {
            match current {
                Some(current) => self.entries.insert(key.into(), current),
                None => self.entries.remove(key),
            };
            return Put::Full;
        }
        let version = self.clock.next(self.wall_ms, version).unwrap();
        self.entries.get_mut(key).unwrap().version = version;
        if had_value { Put::Replaced(version) } else { Put::Created(version) }
    }

    fn delete(&mut self, key: &str) -> Option<Version> {
        self.get(key)?;
        let current = self.entries[key].version;
        let version = self.clock.next(self.wall_ms, Some(current)).unwrap();
        self.entries.insert(key.into(), Entry::tombstone(version));
        Some(version)
    }

    fn merge(&mut self, mut record: Record) -> Merged {
        let version = record.entry.version;
        self.clock.observe(version, self.wall_ms);
        if !self.has_value(&record.entry) {
            record.entry = Entry::tombstone(version);
        }
        match self.entries.get(&record.key) {
            Some(ours) if ours.version >= version => return Merged::Known,
            None if record.entry.value().is_none() && self.is_outdated(version) => {
                return Merged::Outdated;
            }
            _ => {}
        }
        self.entries.insert(record.key, record.entry);
        Merged::Taken
    }

    fn purge_expired(&mut self) -> usize {
        let mut purged = 0;
        for (key, entry) in self.entries.clone() {
            if !self.has_value(&entry) && entry.value().is_some() {
                self.entries.insert(key, Entry::tombstone(entry.version));
                purged += 1;
            }
        }
        for (key, entry) in self.entries.clone() {
            if entry.value().is_none() && self.is_outdated(entry.version) {
                self.entries.remove(&key);
                purged += 1;
            }
        }
        purged
    }
}
