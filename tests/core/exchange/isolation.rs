//! Nodes that were isolated: what they purge when they meet a peer again, and what they keep.

use super::{any_learned, any_step, hello, store_that_learned};
use crate::support::{
    Contents, WALL_MS, assert_consistent, contents, exchange_as, exchange_with, fixed_seed,
    freshest, isolated_member, keys_in, member, store, store_with, tombstone, value, values,
};
use gossip_sidecar::{
    Exchange, Identity, MAX_CLOCK_LEAD_MS, Message, Next, Prefix, Record, Version, key_hash,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::ControlFlow;

/// The time since which the nodes of these tests have been isolated.
const ISOLATED_MS: u64 = WALL_MS - 7_200_000;

fn before(key: &str) -> Record {
    value(key, Version::new(ISOLATED_MS - 1, u16::MAX, 9), b"before the isolation")
}

fn since(key: &str) -> Record {
    value(key, Version::new(ISOLATED_MS, 0, 9), b"since the isolation")
}

/// Runs exchanges between two nodes and checks what each then has: with either of them as the
/// initiator, and with more and more entries in common, so that differences show up in lists, in
/// rows and among the recent updates.
fn assert_after_exchanges(
    ours: &[Record],
    we_are_isolated_since: Option<u64>,
    theirs: &[Record],
    they_are_isolated_since: Option<u64>,
    check: impl Fn(&Contents, &Contents),
) {
    let in_common = values("common", 2_000);
    for common in [0, 1, 20, 300, 2_000] {
        for we_initiate in [true, false] {
            for lately in [true, false] {
                let mut we = store_with(1, &in_common[..common]);
                let mut they = store_with(2, &in_common[..common]);
                let learned_ms = if lately { WALL_MS } else { WALL_MS - 3_600_000 };
                for record in ours {
                    let _ = we.merge(record.clone(), learned_ms);
                }
                for record in theirs {
                    let _ = they.merge(record.clone(), learned_ms);
                }
                let identity = |isolated_since_ms| Identity { isolated_since_ms, ..member() };
                let us = (&mut we, identity(we_are_isolated_since));
                let them = (&mut they, identity(they_are_isolated_since));
                let outcome = match we_initiate {
                    true => exchange_as(us, them, WALL_MS),
                    false => exchange_as(them, us, WALL_MS),
                };
                assert!(outcome.initiator.complete && outcome.responder.complete);
                assert_consistent(&we);
                assert_consistent(&they);
                check(&contents(&we), &contents(&they));
                let context =
                    format!("{common} in common, we initiate: {we_initiate}, recent: {lately}");
                assert_eq!(contents(&we), contents(&they), "{context}");
            }
        }
    }
}

#[test]
fn an_isolated_node_purges_what_was_deleted_meanwhile() {
    let crowd = keys_in(Prefix::of(0x5a00 << 48, 2), "shard", 12);
    let mut ours: Vec<Record> = crowd.iter().map(|key| before(key)).collect();
    ours.extend([before("lone"), tombstone("dead", before("dead").entry.version)]);
    ours.extend([since("kept"), since(&crowd[3])]);
    let theirs = [before("theirs"), since("their news")];
    assert_after_exchanges(&ours, Some(ISOLATED_MS), &theirs, None, |we, they| {
        for has in [we, they] {
            for deleted in crowd.iter().map(String::as_str).chain(["lone", "dead"]) {
                assert_eq!(has.contains_key(deleted), deleted == crowd[3], "{deleted}");
            }
            for kept in ["kept", "theirs", "their news"] {
                assert!(has.contains_key(kept), "{kept}");
            }
        }
    });
}

#[test]
fn a_key_that_the_peer_has_in_another_version_is_not_purged() {
    let older = value("key", Version::new(ISOLATED_MS - 9, 0, 8), b"older");
    for (ours, theirs) in [(before("key"), older.clone()), (older, before("key"))] {
        assert_after_exchanges(&[ours], Some(ISOLATED_MS), &[theirs], None, |we, they| {
            assert_eq!(we["key"], before("key").entry);
            assert_eq!(they["key"], before("key").entry);
        });
    }
}

#[test]
fn two_isolated_nodes_lose_nothing() {
    for they_are_isolated_since in [ISOLATED_MS - 1, ISOLATED_MS, WALL_MS, 0] {
        assert_after_exchanges(
            &[before("a"), since("b")],
            Some(ISOLATED_MS),
            &[before("c"), since("d")],
            Some(they_are_isolated_since),
            |we, _| {
                for key in ["a", "b", "c", "d"] {
                    assert!(we.contains_key(key), "{key}");
                }
            },
        );
    }
}

#[test]
fn a_newcomer_loses_nothing_and_makes_nobody_lose_anything() {
    // A node that never had a peer has been isolated since the beginning of time.
    for they_are_isolated_since in [None, Some(0), Some(ISOLATED_MS)] {
        for ours in [vec![], vec![before("ours"), since("our news")]] {
            let theirs = [before("theirs"), since("their news")];
            assert_after_exchanges(&ours, Some(0), &theirs, they_are_isolated_since, |we, they| {
                for record in ours.iter().chain(&theirs) {
                    assert_eq!(we[&record.key], record.entry);
                    assert_eq!(they[&record.key], record.entry);
                }
            });
        }
    }
}

#[test]
fn nodes_that_were_never_isolated_purge_nothing() {
    assert_after_exchanges(&[before("ours")], None, &[before("theirs")], None, |we, they| {
        assert!(we.contains_key("ours") && they.contains_key("ours"));
        assert!(we.contains_key("theirs") && they.contains_key("theirs"));
    });
    // Not even if the peer claims that a key was deleted and purged.
    let mut ours = store_with(1, &[before("ours")]);
    let mut responder = Exchange::respond(member());
    for message in [hello(2), Message::Purged(vec![key_hash("ours")])] {
        assert_eq!(responder.receive(&mut ours, message, WALL_MS), Ok(Next::Listen));
    }
    assert!(ours.get("ours", WALL_MS).is_some());
}

#[test]
fn a_peer_that_started_after_the_isolation_cannot_make_us_purge() {
    // One pod is alone for a night; two new ones meet each other first, and then the old one.
    for complete_since_ms in [ISOLATED_MS + 1, WALL_MS] {
        let newer = Identity { complete_since_ms, ..member() };
        for left_initiates in [true, false] {
            let mut left = store_with(1, &values("old", 300));
            let mut fresh = store_with(2, &[since("new")]);
            let ours = (&mut left, isolated_member(ISOLATED_MS));
            let theirs = (&mut fresh, newer.clone());
            let outcome = match left_initiates {
                true => exchange_as(ours, theirs, WALL_MS),
                false => exchange_as(theirs, ours, WALL_MS),
            };
            assert_eq!(outcome.initiator.purged + outcome.responder.purged, 0);
            assert_eq!(contents(&left).len(), 301);
            assert_eq!(contents(&left), contents(&fresh));
            // From now on neither of them knows what was there before the newer one started.
            assert_eq!(
                (outcome.initiator.complete_since_ms, outcome.responder.complete_since_ms),
                (complete_since_ms, complete_since_ms)
            );
        }
        let mut left = store_with(1, &[before("old")]);
        let mut responder = Exchange::respond(isolated_member(ISOLATED_MS));
        for message in [
            hello(2),
            Message::CompleteSince(complete_since_ms),
            Message::Purged(vec![key_hash("old")]),
        ] {
            assert_eq!(responder.receive(&mut left, message, WALL_MS), Ok(Next::Listen));
        }
        assert!(left.get("old", WALL_MS).is_some());
    }
}

#[test]
fn complete_since_is_inherited_from_the_peer() {
    let complete_since_after_exchange = |we: Identity, they: Identity| {
        let mut ours = store_with(1, &[since("ours")]);
        let mut theirs = store_with(2, &[since("theirs")]);
        let outcome = exchange_as((&mut ours, we), (&mut theirs, they), WALL_MS);
        (outcome.initiator.complete_since_ms, outcome.responder.complete_since_ms)
    };
    let old = Identity { complete_since_ms: 5, ..member() };
    let newcomer = Identity { complete_since_ms: WALL_MS - 1, ..isolated_member(0) };
    assert_eq!(complete_since_after_exchange(newcomer.clone(), old.clone()), (5, 5));
    assert_eq!(complete_since_after_exchange(old.clone(), newcomer.clone()), (5, 5));
    // Of two isolated nodes neither knows what was written meanwhile.
    assert_eq!(
        complete_since_after_exchange(newcomer, isolated_member(ISOLATED_MS)),
        (WALL_MS, WALL_MS)
    );
    assert_eq!(complete_since_after_exchange(member(), old.clone()), (0, 5));
    // The member has no turn in which to say since when it is complete, so nothing is inherited.
    let newcomer = Identity { complete_since_ms: WALL_MS - 1, ..isolated_member(0) };
    let (mut ours, mut theirs) = (store(1), store(2));
    let outcome = exchange_as((&mut ours, old), (&mut theirs, newcomer), WALL_MS);
    assert_eq!(
        (outcome.initiator.complete_since_ms, outcome.responder.complete_since_ms),
        (5, WALL_MS)
    );
}

#[test]
fn a_write_made_while_isolated_is_kept_whatever_the_peer_says() {
    let mut ours = store_with(1, &[before("old"), since("new")]);
    let mut responder = Exchange::respond(isolated_member(ISOLATED_MS));
    let mut purged = vec![key_hash("old"), key_hash("new")];
    purged.sort_unstable();
    for message in [hello(2), Message::CompleteSince(ISOLATED_MS), Message::Purged(purged)] {
        assert_eq!(responder.receive(&mut ours, message, WALL_MS), Ok(Next::Listen));
    }
    assert_eq!(
        (ours.get("old", WALL_MS), ours.get("new", WALL_MS)),
        (None, Some(&b"since the isolation"[..]))
    );
    assert_eq!(responder.summary().purged, 1);
    assert_consistent(&ours);
}

#[test]
fn what_is_written_after_an_exchange_began_is_never_older_than_it() {
    let records = values("key", 3);
    let (mut initiator, mut responder) = (store_with(1, &records), store_with(2, &records));
    let mut has_written = false;
    let set_back_ms = WALL_MS - 5_000;
    exchange_with(
        (&mut initiator, member()),
        (&mut responder, member()),
        WALL_MS,
        &mut |initiator, responder, messages| {
            // Once the responder has taken the hello, both sides have begun.
            if messages > 0 && !std::mem::replace(&mut has_written, true) {
                for store in [initiator, responder] {
                    let _ = store.put("during", [1].into(), None, set_back_ms);
                }
            }
            ControlFlow::Continue(())
        },
    );
    for store in [&mut initiator, &mut responder] {
        let _ = store.put("after", [1].into(), None, set_back_ms);
        for key in ["during", "after"] {
            assert!(store.entry(key).unwrap().version.ms() >= WALL_MS, "{key}");
        }
    }
}

#[test]
fn an_exchange_during_which_the_clock_is_mad_does_not_take_later_writes_along() {
    let (mut ours, mut theirs) = (store(1), store(2));
    let ten_years_ms = 10 * 365 * 86_400_000;
    let mad_ms = WALL_MS + ten_years_ms;
    for node in [2, 3] {
        ours.record_peer_clock(node, -(ten_years_ms as i64), mad_ms);
    }
    let mut initiator = Exchange::initiate(member(), &mut ours, mad_ms, None);
    let mut responder = Exchange::respond(member());
    let said = super::turn(&mut initiator, &mut ours);
    let mut input = &said[..];
    while let Ok(message) = Message::read(&mut input) {
        let _ = responder.receive(&mut theirs, message, WALL_MS);
    }
    assert_eq!(initiator.summary().began_ms, WALL_MS + MAX_CLOCK_LEAD_MS);
    let _ = ours.put("key", [1].into(), None, WALL_MS);
    assert_eq!(ours.entry("key").unwrap().version.ms(), WALL_MS + MAX_CLOCK_LEAD_MS);
}

proptest! {
    #![proptest_config(fixed_seed(300))]

    #[test]
    fn any_two_stores_keep_the_isolation_rule(
        both in any_learned(60), ours in any_learned(40), theirs in any_learned(40),
        offset_ms in 0..14u64, we_initiate: bool,
    ) {
        let isolated_since_ms = WALL_MS - 7_200_000 + offset_ms;
        let mut we = store_that_learned(1, &[both.clone(), ours].concat());
        let mut they = store_that_learned(2, &[both, theirs].concat());
        let theirs = contents(&they);
        let kept = contents(&we)
            .into_iter()
            .filter(|(key, entry)| {
                entry.version.ms() >= isolated_since_ms || theirs.contains_key(key)
            })
            .collect();
        let best = freshest([kept, theirs]);
        let us = (&mut we, isolated_member(isolated_since_ms));
        let them = (&mut they, member());
        match we_initiate {
            true => exchange_as(us, them, WALL_MS),
            false => exchange_as(them, us, WALL_MS),
        };
        prop_assert_eq!(&contents(&we), &best);
        prop_assert_eq!(&contents(&they), &best);
        assert_consistent(&we);
    }
}

proptest! {
    #![proptest_config(fixed_seed(150))]

    #[test]
    fn the_isolation_rule_purges_no_concurrent_write(
        both in any_learned(40), ours in any_learned(25), theirs in any_learned(25),
        steps in vec(any_step(), 1..80), offset_ms in 0..14u64, isolated_initiates: bool,
    ) {
        let isolated_since_ms = WALL_MS - 7_200_000 + offset_ms;
        let mut initiator = store_that_learned(1, &[both.clone(), ours].concat());
        let mut responder = store_that_learned(2, &[both, theirs].concat());
        let mut seen = [vec![contents(&initiator)], vec![contents(&responder)]];
        let mut steps = steps.iter();
        let [initiator_is, responder_is] = match isolated_initiates {
            true => [isolated_member(isolated_since_ms), member()],
            false => [member(), isolated_member(isolated_since_ms)],
        };
        exchange_with(
            (&mut initiator, initiator_is),
            (&mut responder, responder_is),
            WALL_MS,
            &mut |initiator, responder, _| {
                if let Some(step) = steps.next() {
                    step.apply(initiator, responder, WALL_MS);
                    seen[0].push(contents(initiator));
                    seen[1].push(contents(responder));
                }
                ControlFlow::Continue(())
            },
        );
        assert_consistent(&initiator);
        assert_consistent(&responder);
        // Everything that the member ever had is kept, and so is what the other wrote while
        // isolated.
        let [mut isolated, mut other] = seen.map(freshest);
        if !isolated_initiates {
            std::mem::swap(&mut isolated, &mut other);
        }
        isolated.retain(|_, entry| entry.version.ms() >= isolated_since_ms);
        let left = freshest([contents(&initiator), contents(&responder)]);
        for (key, entry) in freshest([isolated, other]) {
            let version = left.get(&key).map(|entry| entry.version);
            prop_assert!(version >= Some(entry.version), "{key:?} is {version:?}, was {entry:?}");
        }
    }
}
