//! The quota on local writes.

use super::{bytes, everything, store_with_quota};
use crate::support::{WALL_MS, assert_consistent, contents, value};
use gossip_sidecar::{ENTRY_OVERHEAD_BYTES, Merged, Put, Version};

#[test]
fn a_write_beyond_the_quota_changes_nothing() {
    let fits = ENTRY_OVERHEAD_BYTES + 3;
    let mut store = store_with_quota(fits);
    let before = everything(&store);
    assert_eq!(store.put("k", bytes("123"), None, WALL_MS), Put::Full);
    assert_eq!(everything(&store), before);
    assert!(matches!(store.put("k", bytes("12"), None, WALL_MS), Put::Created(_)));
    assert_eq!(store.bytes(), fits);

    let before = everything(&store);
    assert_eq!(
        store.put("k", bytes("123"), None, WALL_MS),
        Put::Full,
        "a replacement counts as well"
    );
    assert_eq!(store.put("", bytes(""), None, WALL_MS), Put::Full, "an entry has overhead");
    assert_eq!(everything(&store), before);
    assert!(
        matches!(store.put("k", bytes("45"), None, WALL_MS), Put::Replaced(_)),
        "the same size fits"
    );
}

#[test]
fn a_store_above_its_quota_accepts_writes_that_do_not_grow_it() {
    let mut store = store_with_quota(100);
    for key in ["a", "b"] {
        // Merges are never refused, or replicas would differ for ever.
        let record = value(key, Version::new(WALL_MS, 0, 9), &[0; 1000]);
        assert_eq!(store.merge(record, WALL_MS), Merged::Taken);
    }
    assert_eq!(store.put("c", bytes(""), None, WALL_MS), Put::Full);
    assert_eq!(store.put("a", [0; 1001].into(), None, WALL_MS), Put::Full);
    assert!(matches!(store.put("a", [1; 1000].into(), None, WALL_MS), Put::Replaced(_)));
    assert!(matches!(store.put("a", [1; 10].into(), None, WALL_MS), Put::Replaced(_)));
    assert!(store.delete("b", WALL_MS).is_some());
    assert_consistent(&store);
}

#[test]
fn a_batch_is_written_if_its_end_result_fits_the_quota() {
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
    assert_consistent(&store);
}
