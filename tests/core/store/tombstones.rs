//! Tombstones and when they are purged.

use super::{TTL_MS, bytes, everything, store_with_quota};
use crate::support::{WALL_MS, assert_consistent, tombstone, value};
use gossip_sidecar::{
    Digest, ENTRY_OVERHEAD_BYTES, EXPIRY_OVERHEAD_BYTES, MAX_PURGED_AT_ONCE, Merged, Put, Version,
};

#[test]
fn a_tombstone_is_purged_once_it_expires_and_no_sooner() {
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
    assert_consistent(&store);
}

#[test]
fn an_expired_tombstone_is_merged_only_over_a_value() {
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
    assert_eq!(
        store.merge(value("k", older, b"v"), late_ms),
        Merged::Known,
        "the tombstone blocks it"
    );
    assert_eq!(store.purge_expired(late_ms), 1);
}

#[test]
fn a_tombstone_that_replaces_another_of_the_same_millisecond_is_purged() {
    let mut store = store_with_quota(1 << 20);
    for counter in [1, 2] {
        let later = tombstone("k", Version::new(WALL_MS, counter, 9));
        assert_eq!(store.merge(later, WALL_MS), Merged::Taken);
        assert_consistent(&store);
    }
    assert_eq!(store.purge_expired(WALL_MS + TTL_MS + 1), 1);
    assert_consistent(&store);
}

#[test]
fn each_purge_is_limited_and_takes_the_oldest_first() {
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
fn a_million_puts_and_deletes_of_a_key_leave_nothing_behind() {
    // A debug build is ten times as slow.
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
