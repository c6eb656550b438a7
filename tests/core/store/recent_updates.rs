//! Recent updates: what goes along with a hello.

use super::{bytes, store_with_quota};
use crate::support::{WALL_MS, value};
use gossip_sidecar::{MAX_RECENT_UPDATES, Merged, RECENT_FOR_MS, Record, Store, Version};

#[test]
fn recent_updates_are_the_newest_changes_one_for_each_key() {
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
    // A second change of a key replaces the first, and merges count as changes.
    let _ = store.put("key-9", bytes("w"), None, WALL_MS);
    let _ = store.delete("key-9", WALL_MS);
    let _ = store.merge(value("key-0", Version::new(WALL_MS + 1, 0, 9), b"w"), WALL_MS);
    assert!(is_recent(&store, "key-9") && is_recent(&store, "key-0"));
    let mut hashes: Vec<u64> = store.recent_updates(WALL_MS).iter().map(|item| item.hash).collect();
    hashes.dedup();
    assert_eq!(hashes.len(), store.recent_updates(WALL_MS).len());
}

#[test]
fn a_change_is_recent_for_a_limited_time() {
    let mut store = store_with_quota(1 << 20);
    let _ = store.put("a", bytes("v"), None, WALL_MS);
    let _ = store.put("b", bytes("v"), None, WALL_MS + 1);
    assert_eq!(store.recent_updates(WALL_MS + RECENT_FOR_MS).len(), 2);
    assert_eq!(store.recent_updates(WALL_MS + RECENT_FOR_MS + 1).len(), 1);
    assert_eq!(store.recent_updates(WALL_MS + RECENT_FOR_MS + 2).len(), 0);
    // A record that is known already is not an update.
    let known = Record { key: "a".into(), entry: store.entry("a").unwrap().clone() };
    assert_eq!(store.merge(known, WALL_MS + 2 * RECENT_FOR_MS), Merged::Known);
    assert_eq!(store.recent_updates(WALL_MS + 2 * RECENT_FOR_MS).len(), 0);
}
