//! Local writes and deletions.

use super::{TTL_MS, bytes, everything, store_with_quota};
use crate::support::{WALL_MS, assert_consistent, value};
use gossip_sidecar::{END_OF_TIME_MS, Entry, Merged, Put, Store, Version};

#[test]
fn a_key_is_created_replaced_deleted_and_created_again() {
    let mut store = store_with_quota(1 << 20);
    assert_eq!(store.get("k", WALL_MS), None);
    assert_eq!(store.delete("k", WALL_MS), None, "the key is absent");
    assert!(store.entry("k").is_none(), "an absent key gets no tombstone");

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
    assert!(
        first < second && second < third && third < fourth,
        "each version beats the one before"
    );
    assert_consistent(&store);
}

#[test]
fn a_write_beats_what_it_replaces_even_if_the_clock_is_behind() {
    let mut store = store_with_quota(1 << 20);
    let future = Version::new(WALL_MS + 100 * TTL_MS, 7, 9);
    assert_eq!(store.merge(value("k", future, b"future"), WALL_MS), Merged::Taken);
    let Put::Replaced(version) = store.put("k", bytes("now"), None, 0) else { panic!() };
    assert!(version > future);
    assert!(store.delete("k", 0).unwrap() > version);
}

#[test]
fn nothing_beats_the_last_possible_version() {
    let mut store = store_with_quota(1 << 20);
    let last = Version::new(END_OF_TIME_MS - 1, u16::MAX, 9);
    assert_eq!(store.merge(value("k", last, b"last"), WALL_MS), Merged::Taken);
    let before = everything(&store);
    assert_eq!(store.put("k", bytes("later"), None, WALL_MS), Put::EndOfTime);
    assert_eq!(store.delete("k", WALL_MS), None);
    assert_eq!(everything(&store), before);
    assert!(matches!(store.put("other", bytes("v"), None, WALL_MS), Put::Created(_)));
    // Together with others: all of them or none.
    let before = everything(&store);
    let form = ["new", "k", "other"].map(|key| (key.to_owned(), bytes("later")));
    assert_eq!(store.put_all(form.into(), None, WALL_MS), Err(Put::EndOfTime));
    let keys = ["other", "k"].map(str::to_owned);
    assert_eq!(store.delete_all(&keys, WALL_MS), Err(Put::EndOfTime));
    assert_eq!(everything(&store), before);
    assert_eq!(store.delete_all(&["absent".to_owned(), "other".to_owned()], WALL_MS), Ok(1));
    assert_eq!(store.delete_all(&["absent".to_owned(), "other".to_owned()], WALL_MS), Ok(0));
}

#[test]
fn several_keys_need_as_many_versions_before_the_end_of_time() {
    let mut store = store_with_quota(1 << 20);
    let form = || ["a", "b"].map(|key| (key.to_owned(), bytes("v"))).to_vec();
    // All but the last version of the last millisecond are used up.
    for _ in 0..u16::MAX {
        let _ = store.put("k", bytes("v"), None, END_OF_TIME_MS);
    }
    let before = everything(&store);
    assert_eq!(store.put_all(form(), None, END_OF_TIME_MS), Err(Put::EndOfTime));
    assert_eq!(everything(&store), before);
    assert_eq!(store.put_all(form()[..1].to_vec(), None, END_OF_TIME_MS), Ok(()));
    assert_eq!(store.delete_all(&["k".to_owned()], END_OF_TIME_MS), Err(Put::EndOfTime));
}

#[test]
fn keys_that_collide_in_k8s_gossipcar_are_independent() {
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
    assert_consistent(&store);
}

#[test]
fn a_revision_counts_what_was_written_here_and_what_was_taken() {
    let mut store = store_with_quota(1 << 20);
    assert_eq!((store.revision(), store.to_hand_over()), (0, 0));
    let _ = store.put("k", bytes("v"), None, WALL_MS);
    let _ = store.put_all(vec![("a".into(), bytes("1")), ("b".into(), bytes("2"))], None, WALL_MS);
    let _ = store.delete("k", WALL_MS);
    assert_eq!(store.revision(), 4);
    assert_eq!(store.delete("k", WALL_MS), None);
    let record = value("other", Version::new(WALL_MS, 0, 9), b"v");
    for _ in 0..2 {
        let _ = store.merge(record.clone(), WALL_MS);
        assert_eq!((store.revision(), store.to_hand_over()), (5, 5), "it is taken once");
    }
}

#[test]
fn a_drain_covers_what_there_was_before_it_and_local_writes_since() {
    let mut store = store_with_quota(1 << 20);
    let mut merge = {
        let mut ms = WALL_MS;
        move |store: &mut Store| {
            ms += 1;
            let _ = store.merge(value("k", Version::new(ms, 0, 9), b"v"), WALL_MS);
        }
    };
    merge(&mut store);
    assert!(!store.is_draining());
    store.drain();
    assert!(store.is_draining());
    merge(&mut store);
    store.drain();
    assert_eq!((store.revision(), store.to_hand_over()), (2, 1), "whoever sends it knows");
    let _ = store.put("own", bytes("v"), None, WALL_MS);
    assert_eq!(store.to_hand_over(), 3);
    store.close_if_held(2);
    assert!(!store.is_closed(), "there was a write since");
    merge(&mut store);
    store.close_if_held(3);
    assert!(store.is_closed());
}

#[test]
fn a_store_may_be_closed_whatever_others_hold() {
    let mut store = store_with_quota(1 << 20);
    let _ = store.put("own", bytes("v"), None, WALL_MS);
    store.close();
    assert!(store.is_closed());
}
