//! After an exchange both stores have the greatest version of each key.

use super::{any_learned, any_step, hello, store_that_learned, turn, written};
use crate::support::{
    WALL_MS, assert_consistent, contents, exchange, exchange_with, fixed_seed, freshest, keys_in,
    member, store, store_with, values,
};
use gossip_sidecar::{
    END_OF_TIME_MS, Exchange, MAX_LISTED_ENTRIES, Message, Next, Prefix, Put, RECENT_FOR_MS,
    key_hash,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::ControlFlow;

proptest! {
    #![proptest_config(fixed_seed(600))]

    #[test]
    fn any_two_stores_converge_on_the_greatest_version_of_each_key(
        both in any_learned(60), ours in any_learned(40), theirs in any_learned(40),
    ) {
        let mut initiator = store_that_learned(1, &[both.clone(), ours].concat());
        let mut responder = store_that_learned(2, &[both, theirs].concat());
        let best = freshest([contents(&initiator), contents(&responder)]);
        let initiator_recent = initiator.recent_updates(WALL_MS).len();
        let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
        prop_assert!(outcome.initiator.complete && outcome.responder.complete);
        prop_assert_eq!(&contents(&initiator), &best);
        prop_assert_eq!(&contents(&responder), &best);
        assert_consistent(&initiator);
        assert_consistent(&responder);
        // No record is sent in vain, except that the walk may send again what the recent updates
        // have sent.
        let recent = initiator_recent as u64;
        prop_assert!((0..=recent).contains(&(outcome.initiator.sent - outcome.responder.taken)));
        prop_assert!((0..=recent).contains(&(outcome.responder.sent - outcome.initiator.taken)));
        prop_assert_eq!(outcome.initiator.peer, Some(2));
        prop_assert_eq!(outcome.responder.peer, Some(1));
        prop_assert_eq!(outcome.initiator.clock_offset_ms, Some(0));
        prop_assert_eq!(outcome.responder.clock_offset_ms, None);
        // Once the stores are equal, an exchange ends after one round trip.
        let idle = exchange(&mut initiator, &mut responder, WALL_MS + RECENT_FOR_MS + 1);
        prop_assert_eq!(idle.round_trips(), 1);
    }
}

proptest! {
    #![proptest_config(fixed_seed(400))]

    #[test]
    fn writes_between_any_two_steps_are_safe(
        both in any_learned(40), ours in any_learned(25), theirs in any_learned(25),
        steps in vec(any_step(), 1..120),
    ) {
        let mut initiator = store_that_learned(1, &[both.clone(), ours].concat());
        let mut responder = store_that_learned(2, &[both, theirs].concat());
        let mut seen = vec![contents(&initiator), contents(&responder)];
        let mut steps = steps.iter();
        let outcome = exchange_with(
            (&mut initiator, member()),
            (&mut responder, member()),
            WALL_MS,
            &mut |initiator, responder, _| {
                if let Some(step) = steps.next() {
                    step.apply(initiator, responder, WALL_MS);
                    seen.push(contents(initiator));
                    seen.push(contents(responder));
                }
                ControlFlow::Continue(())
            },
        );
        prop_assert!(outcome.over);
        assert_consistent(&initiator);
        assert_consistent(&responder);
        // Everything that was there before the exchange began has been transferred.
        let best = freshest(seen[..2].to_vec());
        for store in [&initiator, &responder] {
            for (key, entry) in &best {
                let now = store.entry(key).map(|entry| entry.version);
                prop_assert!(now >= Some(entry.version), "{key:?} is {now:?}, was {entry:?}");
            }
        }
        // Nothing is lost or invented, and the next exchange makes the stores equal.
        let best = freshest(seen);
        prop_assert_eq!(&freshest([contents(&initiator), contents(&responder)]), &best);
        prop_assert!(exchange(&mut responder, &mut initiator, WALL_MS + 1).responder.complete);
        prop_assert_eq!(&contents(&initiator), &best);
        prop_assert_eq!(&contents(&responder), &best);
    }
}

proptest! {
    #![proptest_config(fixed_seed(60))]

    #[test]
    fn an_exchange_interrupted_anywhere_is_completed_by_the_next(
        both in any_learned(40), ours in any_learned(25), theirs in any_learned(25),
    ) {
        let ours = [both.clone(), ours].concat();
        let theirs = [both, theirs].concat();
        let best =
            freshest([&ours, &theirs].map(|learned| contents(&store_that_learned(3, learned))));
        for stops_after in 0.. {
            let mut initiator = store_that_learned(1, &ours);
            let mut responder = store_that_learned(2, &theirs);
            let interrupted = exchange_with(
                (&mut initiator, member()),
                (&mut responder, member()),
                WALL_MS,
                &mut |_, _, messages| match messages {
                    _ if messages < stops_after => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                },
            );
            prop_assert!(!interrupted.initiator.complete || interrupted.messages == stops_after);
            assert_consistent(&initiator);
            assert_consistent(&responder);
            let left = [contents(&initiator), contents(&responder)];
            prop_assert_eq!(freshest(left), best.clone(), "{} messages", stops_after);
            let next = exchange(&mut initiator, &mut responder, WALL_MS + 1);
            prop_assert!(next.initiator.complete);
            prop_assert_eq!(&contents(&initiator), &best);
            prop_assert_eq!(&contents(&responder), &best);
            if interrupted.over || interrupted.initiator.peer.is_some() {
                break;
            }
        }
    }
}

#[test]
fn equal_stores_agree_in_one_round_trip() {
    for count in [0, 1, 3, 8, 9, 100, 10_000] {
        let records = values("key", count);
        let (mut initiator, mut responder) = (store_with(1, &records), store_with(2, &records));
        let idle = exchange(&mut initiator, &mut responder, WALL_MS);
        assert_eq!(idle.round_trips(), 1, "{count} entries");
        assert!(idle.payload_bytes() <= 128, "{count} entries: {} bytes", idle.payload_bytes());
        assert!(idle.initiator.complete && idle.responder.complete);
        assert_eq!((idle.initiator.sent, idle.responder.sent), (0, 0));
        assert_eq!((contents(&initiator).len(), contents(&responder).len()), (count, count));
    }
}

#[test]
fn small_stores_converge_whatever_they_hold() {
    // Sizes around the threshold between a list and a row, in either role, with nothing, something
    // or everything in common.
    let sizes = [0, 1, 2, MAX_LISTED_ENTRIES - 1, MAX_LISTED_ENTRIES, MAX_LISTED_ENTRIES + 1, 20];
    let records = values("key", 40);
    for ours in sizes {
        for theirs in sizes {
            for shift in [0, 1, 20] {
                let mut initiator = store_with(1, &records[..ours]);
                let mut responder = store_with(2, &records[shift..shift + theirs]);
                let best = freshest([contents(&initiator), contents(&responder)]);
                let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
                assert!(outcome.initiator.complete && outcome.responder.complete);
                assert_eq!(contents(&initiator), best, "{ours} and {theirs}, {shift} apart");
                assert_eq!(contents(&responder), best, "{ours} and {theirs}, {shift} apart");
            }
        }
    }
}

#[test]
fn a_bucket_is_listed_up_to_the_threshold_and_split_above_it() {
    for (theirs, word) in [(MAX_LISTED_ENTRIES, "list - "), (MAX_LISTED_ENTRIES + 1, "row - ")] {
        let mut initiator = store_with(1, &values("a", 3));
        let mut responder = store_with(2, &values("b", theirs));
        let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
        let answer = String::from_utf8_lossy(&outcome.turns[1]);
        assert!(answer.starts_with(word), "{theirs} entries: {answer}");
    }
}

#[test]
fn a_recent_update_needs_no_walk_of_the_trie() {
    for news in [1, 16] {
        for by_initiator in [true, false] {
            let records = values("key", 1_000);
            let (mut initiator, mut responder) = (store_with(1, &records), store_with(2, &records));
            let writer = if by_initiator { &mut initiator } else { &mut responder };
            for record in &records[..news] {
                let _ = writer.put(&record.key, [1].into(), None, WALL_MS);
            }
            let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
            let walks = outcome.transcript().lines().filter(|line| line.contains("  row ")).count();
            // Only the initiator sends its recent updates along with the hello.
            assert_eq!(walks == 0, by_initiator, "{}", outcome.transcript());
            assert_eq!(initiator.root(), responder.root());
        }
    }
}

#[test]
fn an_old_key_in_the_bucket_of_a_recent_one_is_sent_too() {
    // In one turn the responder asks for the new key by its hash, and its digests show that it
    // lacks the whole bucket around it.
    let near = keys_in(Prefix::of(0x5a00 << 48, 2), "shard", 12);
    for recent in &near {
        let mut initiator = store(1);
        for key in &near {
            let learned_ms = if key == recent { WALL_MS } else { WALL_MS - 3_600_000 };
            let _ = initiator.merge(written(key, 1, 9), learned_ms);
        }
        let mut responder = store(2);
        for key in keys_in(Prefix::of(0xa000 << 48, 1), "other", 20) {
            let _ = responder.merge(written(&key, 1, 9), WALL_MS - 3_600_000);
        }
        let best = freshest([contents(&initiator), contents(&responder)]);
        assert!(exchange(&mut initiator, &mut responder, WALL_MS).initiator.complete);
        assert_eq!(contents(&responder), best, "{recent} is recent");
        assert_eq!(contents(&initiator), best, "{recent} is recent");
    }
}

#[test]
fn wanting_an_absent_key_is_not_an_error() {
    let mut ours = store_with(1, &values("key", 3));
    let mut responder = Exchange::respond(member());
    let want = Message::Want(vec![1, key_hash("key-1"), u64::MAX]);
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Ok(Next::Listen));
    assert_eq!(responder.receive(&mut ours, want, WALL_MS), Ok(Next::Listen));
    assert_eq!(responder.receive(&mut ours, Message::End, WALL_MS), Ok(Next::Speak));
    turn(&mut responder, &mut ours);
    assert_eq!(responder.summary().sent, 1);
}

#[test]
fn an_absurd_wall_clock_does_not_stop_an_exchange() {
    for wall_ms in [0, END_OF_TIME_MS - 1, END_OF_TIME_MS, 1 << 63, u64::MAX] {
        let mut initiator = store_with(1, &values("a", 20));
        let mut responder = store_with(2, &values("b", 20));
        assert!(matches!(initiator.put("k", [1].into(), None, wall_ms), Put::Created(_)));
        let best = freshest([contents(&initiator), contents(&responder)]);
        assert!(exchange(&mut initiator, &mut responder, wall_ms).initiator.complete, "{wall_ms}");
        assert_eq!((contents(&initiator), contents(&responder)), (best.clone(), best));
    }
}
