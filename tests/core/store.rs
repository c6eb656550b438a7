//! The map's laws: what each operation does, and that all that is derived stays in step.

use crate::support::*;
use gossip_sidecar::{
    Clock, Digest, END_OF_TIME_MS, ENTRY_OVERHEAD_BYTES, EXPIRY_OVERHEAD_BYTES, Entry, FAN_OUT,
    Limits, MAX_PURGED_AT_ONCE, MAX_RECENT_UPDATES, Merged, Prefix, Put, RECENT_FOR_MS, Record,
    SHARD_DEPTH, SHARDS, Store, Version, shard_of, shards_of,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const TTL_MS: u64 = 60_000;

fn store_with_quota(max_store_bytes: u64) -> Store {
    Store::new(1, 2, Limits { max_store_bytes, tombstone_ttl_ms: TTL_MS })
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

/// All that can be seen of a store at a time.
fn everything(store: &Store) -> (Contents, Digest, u64, usize, usize, Vec<(u64, Version)>) {
    let recent =
        store.recent_updates(WALL_MS).iter().map(|item| (item.hash, item.version)).collect();
    let (live, tombstones) = (store.live(), store.tombstones());
    (contents(store), store.root(), store.bytes(), live, tombstones, recent)
}

#[test]
fn a_key_is_created_replaced_deleted_and_created_again() {
    let mut store = store_with_quota(1 << 20);
    assert_eq!(store.get("k", WALL_MS), None);
    assert_eq!(store.delete("k", WALL_MS), None, "there is nothing to delete");
    assert!(store.entry("k").is_none(), "and no tombstone for nothing");

    let Put::Created(first) = store.put("k", bytes("a"), None, WALL_MS) else { panic!() };
    assert_eq!(store.get("k", WALL_MS), Some(&b"a"[..]));
    let Put::Replaced(second) = store.put("k", bytes("b"), None, WALL_MS) else { panic!() };
    assert_eq!(store.get("k", WALL_MS), Some(&b"b"[..]));
    assert_eq!((store.live(), store.tombstones()), (1, 0));

    let third = store.delete("k", WALL_MS).unwrap();
    assert_eq!(store.get("k", WALL_MS), None);
    assert_eq!(store.entry("k"), Some(&Entry::tombstone(third)));
    assert_eq!(store.delete("k", WALL_MS), None, "it is deleted already");
    assert_eq!((store.live(), store.tombstones()), (0, 1));

    let Put::Created(fourth) = store.put("k", bytes("c"), None, WALL_MS) else { panic!() };
    assert_eq!(store.get("k", WALL_MS), Some(&b"c"[..]));
    assert_eq!((store.live(), store.tombstones()), (1, 0));
    assert!(first < second && second < third && third < fourth, "each beats what was before");
    assert_in_step(&store);
}

#[test]
fn a_write_beats_what_it_was_made_over_though_the_clock_is_behind() {
    let mut store = store_with_quota(1 << 20);
    let future = Version::new(WALL_MS + 100 * TTL_MS, 7, 9);
    assert_eq!(store.merge(value("k", future, b"future"), WALL_MS), Merged::Taken);
    let Put::Replaced(version) = store.put("k", bytes("now"), None, 0) else { panic!() };
    assert!(version > future);
    assert!(store.delete("k", 0).unwrap() > version);
}

#[test]
fn nothing_beats_the_last_version_of_all() {
    let mut store = store_with_quota(1 << 20);
    let last = Version::new(END_OF_TIME_MS - 1, u16::MAX, 9);
    assert_eq!(store.merge(value("k", last, b"last"), WALL_MS), Merged::Taken);
    let before = everything(&store);
    assert_eq!(store.put("k", bytes("later"), None, WALL_MS), Put::EndOfTime);
    assert_eq!(store.delete("k", WALL_MS), None);
    assert_eq!(everything(&store), before);
    assert!(matches!(store.put("other", bytes("v"), None, WALL_MS), Put::Created(_)));
}

#[test]
fn keys_with_one_hash_code_in_k8s_gossipcar_are_independent() {
    let mut store = store_with_quota(1 << 20);
    let keys = ["Aa", "BB", "id-1P", "id-21", ""];
    for key in keys {
        assert!(matches!(store.put(key, bytes(key), None, WALL_MS), Put::Created(_)));
    }
    for key in keys {
        assert_eq!(store.get(key, WALL_MS), Some(key.as_bytes()));
    }
    assert!(store.delete("Aa", WALL_MS).is_some());
    assert!(store.delete("id-21", WALL_MS).is_some());
    assert_eq!(keys.map(|key| store.get(key, WALL_MS).is_some()), [false, true, true, false, true]);
}

#[test]
fn a_value_is_any_bytes_and_a_key_any_text() {
    let mut store = store_with_quota(1 << 20);
    for value in [&b""[..], b"\0", b"\n", b"a=b\n", b"\xff\xfe", b"\xed\xa0\x80", &[0; 10_000]] {
        for key in ["", "\0", "\n", "=", "\u{10ffff}", &"k".repeat(10_000)] {
            let put = store.put(key, value.into(), None, WALL_MS);
            assert!(matches!(put, Put::Created(_) | Put::Replaced(_)));
            assert_eq!(store.get(key, WALL_MS), Some(value));
        }
    }
    assert_in_step(&store);
}

// ---- quota ----

#[test]
fn a_write_above_the_quota_changes_nothing() {
    let fits = ENTRY_OVERHEAD_BYTES + 3;
    let mut store = store_with_quota(fits);
    let before = everything(&store);
    assert_eq!(store.put("k", bytes("123"), None, WALL_MS), Put::Full);
    assert_eq!(everything(&store), before);
    assert!(matches!(store.put("k", bytes("12"), None, WALL_MS), Put::Created(_)));
    assert_eq!(store.bytes(), fits);

    let before = everything(&store);
    assert_eq!(store.put("k", bytes("123"), None, WALL_MS), Put::Full, "a replacement counts too");
    assert_eq!(store.put("", bytes(""), None, WALL_MS), Put::Full, "an entry has its price");
    assert_eq!(everything(&store), before);
    assert!(
        matches!(store.put("k", bytes("45"), None, WALL_MS), Put::Replaced(_)),
        "the same size fits"
    );
}

#[test]
fn a_store_above_its_quota_can_be_brought_down() {
    let mut store = store_with_quota(100);
    for key in ["a", "b"] {
        // Merges are never refused: replicas would differ for good.
        let record = value(key, Version::new(WALL_MS, 0, 9), &[0; 1000]);
        assert_eq!(store.merge(record, WALL_MS), Merged::Taken);
    }
    assert_eq!(store.put("c", bytes(""), None, WALL_MS), Put::Full);
    assert_eq!(store.put("a", [0; 1001].into(), None, WALL_MS), Put::Full);
    assert!(matches!(store.put("a", [1; 1000].into(), None, WALL_MS), Put::Replaced(_)));
    assert!(matches!(store.put("a", [1; 10].into(), None, WALL_MS), Put::Replaced(_)));
    assert!(store.delete("b", WALL_MS).is_some());
    assert_in_step(&store);
}

// ---- tombstones ----

#[test]
fn a_tombstone_is_purged_when_its_time_is_over_and_no_sooner() {
    let mut store = store_with_quota(1 << 20);
    let _ = store.put("k", bytes("v"), None, WALL_MS);
    let _ = store.put("stays", bytes("v"), None, WALL_MS);
    let deleted_ms = store.delete("k", WALL_MS).unwrap().ms();
    assert_eq!(store.purge_expired(deleted_ms + TTL_MS), 0);
    assert_eq!(store.tombstones(), 1);
    assert_eq!(store.purge_expired(deleted_ms + TTL_MS + 1), 1);
    assert_eq!((store.tombstones(), store.live()), (0, 1));
    assert!(store.entry("k").is_none());
    assert_eq!(store.get("stays", WALL_MS), Some(&b"v"[..]), "values never expire");
    assert_in_step(&store);
}

#[test]
fn an_expired_tombstone_counts_only_against_a_value() {
    let version = Version::new(WALL_MS, 0, 9);
    let at = |wall_ms| {
        let mut store = store_with_quota(1 << 20);
        store.merge(tombstone("k", version), wall_ms)
    };
    assert_eq!(at(WALL_MS + TTL_MS), Merged::Taken);
    assert_eq!(at(WALL_MS + TTL_MS + 1), Merged::Outdated);

    let mut store = store_with_quota(1 << 20);
    let older = Version::new(WALL_MS - 1, 0, 9);
    let _ = store.merge(value("k", older, b"v"), WALL_MS);
    let late_ms = WALL_MS + 10 * TTL_MS;
    assert_eq!(store.merge(tombstone("k", version), late_ms), Merged::Taken);
    assert_eq!(store.get("k", WALL_MS), None);
    assert_eq!(store.merge(value("k", older, b"v"), late_ms), Merged::Known, "and it keeps it out");
    assert_eq!(store.purge_expired(late_ms), 1);
}

#[test]
fn a_tombstone_that_follows_another_in_one_millisecond_is_purged() {
    let mut store = store_with_quota(1 << 20);
    for counter in [1, 2] {
        let later = tombstone("k", Version::new(WALL_MS, counter, 9));
        assert_eq!(store.merge(later, WALL_MS), Merged::Taken);
        assert_in_step(&store);
    }
    assert_eq!(store.purge_expired(WALL_MS + TTL_MS + 1), 1);
    assert_in_step(&store);
}

#[test]
fn purging_takes_so_many_at_a_time_the_oldest_first() {
    let mut store = store_with_quota(1 << 30);
    for index in 0..MAX_PURGED_AT_ONCE as u64 + 5 {
        let version = Version::new(WALL_MS + index, 0, 9);
        let _ = store.merge(tombstone(&format!("key-{index}"), version), WALL_MS);
    }
    let late_ms = WALL_MS + 10 * TTL_MS;
    assert_eq!(store.purge_expired(late_ms), MAX_PURGED_AT_ONCE);
    assert!(store.entry(&format!("key-{}", MAX_PURGED_AT_ONCE - 1)).is_none());
    assert!(store.entry(&format!("key-{MAX_PURGED_AT_ONCE}")).is_some());
    assert_eq!((store.purge_expired(late_ms), store.purge_expired(late_ms)), (5, 0));
    assert_eq!((store.bytes(), store.root()), (0, Digest::default()));
}

#[test]
fn putting_and_deleting_one_key_for_ever_leaves_nothing_behind() {
    // A debug build is ten times slower.
    let cycles = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let mut store = store_with_quota(1 << 20);
    let before = everything(&store);
    for cycle in 0..cycles {
        let wall_ms = WALL_MS + cycle / 1_000;
        assert!(matches!(store.put("k", bytes("v"), None, wall_ms), Put::Created(_)));
        assert!(store.delete("k", wall_ms).is_some());
        assert_eq!((store.tombstones(), store.live()), (1, 0));
    }
    assert_eq!(store.bytes(), ENTRY_OVERHEAD_BYTES + 1 + EXPIRY_OVERHEAD_BYTES + 1);
    let late_ms = WALL_MS + cycles + 2 * TTL_MS;
    assert_eq!(store.purge_expired(late_ms), 1);
    let (contents, root, bytes, live, tombstones, _) = everything(&store);
    let (had, was_root, was_bytes, was_live, were_tombstones, _) = before;
    assert_eq!((contents, root, bytes), (had, was_root, was_bytes));
    assert_eq!((live, tombstones), (was_live, were_tombstones));
    assert!(store.recent_updates(late_ms).is_empty());
}

// ---- recent changes ----

#[test]
fn the_hot_list_has_the_newest_changes_one_a_key() {
    let mut store = store_with_quota(1 << 20);
    for index in 0..MAX_RECENT_UPDATES + 4 {
        let _ = store.put(&format!("key-{index}"), bytes("v"), None, WALL_MS);
    }
    let recent = store.recent_updates(WALL_MS);
    assert_eq!(recent.len(), MAX_RECENT_UPDATES);
    assert!(recent.is_sorted());
    let is_recent = |store: &Store, key: &str| {
        let version = store.entry(key).unwrap().version;
        store.recent_updates(WALL_MS).iter().any(|item| item.version == version)
    };
    for index in 0..MAX_RECENT_UPDATES + 4 {
        assert_eq!(is_recent(&store, &format!("key-{index}")), index >= 4, "{index}");
    }
    // A second change of a key takes the place of its first, and merges are news too.
    let _ = store.put("key-9", bytes("w"), None, WALL_MS);
    let _ = store.delete("key-9", WALL_MS);
    let _ = store.merge(value("key-0", Version::new(WALL_MS + 1, 0, 9), b"w"), WALL_MS);
    assert!(is_recent(&store, "key-9") && is_recent(&store, "key-0"));
    let mut hashes: Vec<u64> = store.recent_updates(WALL_MS).iter().map(|item| item.hash).collect();
    hashes.dedup();
    assert_eq!(hashes.len(), store.recent_updates(WALL_MS).len());
}

#[test]
fn a_change_is_hot_for_so_long_and_no_longer() {
    let mut store = store_with_quota(1 << 20);
    let _ = store.put("a", bytes("v"), None, WALL_MS);
    let _ = store.put("b", bytes("v"), None, WALL_MS + 1);
    assert_eq!(store.recent_updates(WALL_MS + RECENT_FOR_MS).len(), 2);
    assert_eq!(store.recent_updates(WALL_MS + RECENT_FOR_MS + 1).len(), 1);
    assert_eq!(store.recent_updates(WALL_MS + RECENT_FOR_MS + 2).len(), 0);
    // What is known already is no news.
    let known = Record { key: "a".into(), entry: store.entry("a").unwrap().clone() };
    assert_eq!(store.merge(known, WALL_MS + 2 * RECENT_FOR_MS), Merged::Known);
    assert_eq!(store.recent_updates(WALL_MS + 2 * RECENT_FOR_MS).len(), 0);
}

// ---- merging ----

/// A record whose value follows from its key and version, as it does between honest nodes.
fn any_record() -> impl Strategy<Value = Record> {
    (0..6u8, 0..8u64, 0..3u16, 1..4u32).prop_map(|(key, ms, counter, node)| {
        let key = format!("key-{key}");
        let version = Version::new(WALL_MS + ms, counter, node);
        match (ms + u64::from(counter)) % 3 {
            0 => tombstone(&key, version),
            1 if node == 2 => {
                let expires_ms = Some(WALL_MS + 1_000 * (1 + ms));
                Record { key: key.into(), entry: Entry::new(version, *b"short", expires_ms) }
            }
            _ => value(&key, version, format!("{version:?}{key}").as_bytes()),
        }
    })
}

proptest! {
    #![proptest_config(fixed_seed(300))]

    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        (records, shuffled) in vec(any_record(), 0..25).prop_flat_map(|records| {
            // Each of them once in another order, and some of them more often.
            let again = prop::sample::subsequence(records.clone(), 0..=records.len());
            let twice = again.prop_map({
                let records = records.clone();
                move |again| [records.clone(), again].concat()
            });
            (Just(records), twice.prop_shuffle())
        }),
        split in any::<prop::sample::Index>(),
    ) {
        let forth = store_with(1, &records);
        let best = freshest(records.iter().map(|r| [(r.key.clone(), r.entry.clone())].into()));
        prop_assert_eq!(&contents(&forth), &best);

        let any_order = store_with(2, &shuffled);
        prop_assert_eq!(&contents(&any_order), &best);
        prop_assert_eq!(any_order.root(), forth.root());

        // Two nodes that each learned a part of it, and then one all that the other came to.
        let (left, right) = shuffled.split_at(split.index(shuffled.len() + 1));
        let (mut left, right) = (store_with(3, left), store_with(4, right));
        for (key, entry) in contents(&right) {
            let _ = left.merge(Record { key, entry }, WALL_MS);
        }
        prop_assert_eq!(&contents(&left), &best);
        prop_assert_eq!(left.root(), forth.root());
    }
}

// ---- everything together, against a naive model ----

#[derive(Clone, Debug)]
enum Operation {
    Put(u8, Vec<u8>, Option<u64>),
    Delete(u8),
    Merge(Record),
    Forget(u8),
    Collect,
    Wait(u64),
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..6u8, vec(any::<u8>(), 0..40), option::of(1..2 * TTL_MS))
            .prop_map(|(key, value, ttl_ms)| Operation::Put(key, value, ttl_ms)),
        3 => (0..6u8).prop_map(Operation::Delete),
        4 => any_record().prop_map(Operation::Merge),
        1 => (0..6u8).prop_map(Operation::Forget),
        2 => Just(Operation::Collect),
        2 => prop_oneof![0..3u64, 0..2 * TTL_MS].prop_map(Operation::Wait),
    ]
}

/// A map that does everything the long way.
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
        // Its price does not depend on the version.
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

    fn collect(&mut self) -> usize {
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

proptest! {
    #![proptest_config(fixed_seed(400))]

    #[test]
    fn the_store_does_what_the_model_does(
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
                Operation::Forget(key) => {
                    let key = format!("key-{key}");
                    store.purge(&key);
                    model.entries.remove(&*key);
                }
                Operation::Collect => prop_assert_eq!(store.purge_expired(wall_ms), model.collect()),
                Operation::Wait(ms) => model.wall_ms += ms,
            }
            prop_assert_eq!(&contents(&store), &model.entries);
            for key in model.entries.keys() {
                prop_assert_eq!(store.get(key, model.wall_ms), model.get(key));
            }
            assert_in_step(&store);
            prop_assert!(store.recent_updates(model.wall_ms).len() <= MAX_RECENT_UPDATES);
        }
    }

    #[test]
    fn digests_and_items_of_buckets_agree(records in vec((any::<u16>(), 0..9u64), 0..60)) {
        let records: Vec<Record> = records
            .iter()
            .map(|(key, ms)| value(&key.to_string(), Version::new(WALL_MS + ms, 0, 9), b"v"))
            .collect();
        let store = store_with(1, &records);
        let mut listed = 0;
        for shard in 0..SHARDS {
            let prefix = Prefix::of((shard as u64) << (64 - 4 * SHARD_DEPTH), SHARD_DEPTH);
            prop_assert_eq!(shards_of(prefix), shard..shard + 1);
            let items = store.items(shard);
            prop_assert!(items.is_sorted());
            let mut digest = Digest::default();
            for &item in &items {
                prop_assert_eq!(shard_of(item.hash), shard);
                digest.add(item);
            }
            prop_assert_eq!(store.digest(prefix), digest);
            let entries = store.entries(shard, |_| true);
            let hashes: Vec<u64> = entries.iter().map(|&(hash, ..)| hash).collect();
            prop_assert_eq!(hashes, items.iter().map(|item| item.hash).collect::<Vec<_>>());
            listed += items.len();
        }
        prop_assert_eq!(store.root().count, listed);
        let mut joined = Digest::default();
        for index in 0..FAN_OUT {
            joined.join(store.digest(Prefix::ROOT.child(index).unwrap()));
        }
        prop_assert_eq!(store.root(), joined);
    }
}

#[test]
fn the_seed_of_the_hash_maps_shows_nowhere() {
    let limits = Limits { max_store_bytes: 1 << 20, tombstone_ttl_ms: TTL_MS };
    let [one, other] = [7, 8].map(|seed| {
        let mut store = Store::new(1, seed, limits);
        for index in 0..500 {
            let _ = store.put(&format!("key-{index}"), bytes("v"), None, WALL_MS);
        }
        store
    });
    assert_eq!(one.root(), other.root());
    for shard in 0..SHARDS {
        assert_eq!(one.items(shard), other.items(shard));
        assert_eq!(one.entries(shard, |_| true), other.entries(shard, |_| true));
    }
}

#[test]
fn many_values_are_written_if_their_sum_fits_whatever_it_is_on_the_way() {
    let mut store = store_with_quota(3_000);
    assert!(matches!(store.put("b", [0; 2500].into(), None, WALL_MS), Put::Created(_)));
    let pair = |key: &str, bytes: usize| (key.to_owned(), vec![1; bytes].into_boxed_slice());
    let before = contents(&store);
    let too_much = vec![pair("x", 1), pair("a", 1000), pair("b", 2000)];
    assert_eq!(store.put_all(too_much, None, WALL_MS), Err(Put::Full));
    assert_eq!(contents(&store), before);
    let fits = vec![pair("x", 1), pair("a", 1000), pair("b", 1)];
    assert_eq!(store.put_all(fits, None, WALL_MS), Ok(()));
    assert_eq!((store.live(), store.get("b", WALL_MS)), (3, Some(&[1][..])));
    assert_in_step(&store);
}
