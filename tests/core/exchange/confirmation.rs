//! What each role may report about the peer after an exchange.

use crate::support::{
    WALL_MS, exchange, exchange_as, exchange_with, member, store, store_with, values,
};
use gossip_sidecar::Identity;
use std::ops::ControlFlow;

#[test]
fn only_the_initiator_takes_the_exchange_for_a_confirmation() {
    let both = values("key", 30);
    for (initiator_has, responder_has) in [(30, 30), (30, 9), (9, 30)] {
        let mut initiator = store_with(1, &both[..initiator_has]);
        let mut responder = store_with(2, &both[..responder_has]);
        let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
        assert!(outcome.initiator.complete && outcome.responder.complete);
        assert!(outcome.initiator.confirmed, "the responder reported `done`");
        assert!(!outcome.responder.confirmed, "{initiator_has} and {responder_has} keys");
    }
}

#[test]
fn an_exchange_covers_what_there_was_before_it() {
    let (mut initiator, mut responder) = (store(1), store_with(2, &values("key", 3)));
    let _ = initiator.put("k", Box::default(), None, WALL_MS);
    let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
    assert_eq!((outcome.initiator.revision, initiator.revision()), (1, 4));
}

#[test]
fn what_is_ordinary_is_not_said() {
    let records = values("key", 3);
    let (mut initiator, mut responder) = (store_with(1, &records), store_with(2, &records));
    let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
    for summary in [outcome.initiator, outcome.responder] {
        assert!(!summary.peer_is_starting && !summary.peer_is_draining);
    }
    let said = outcome.transcript();
    assert!(!said.contains("starting") && !said.contains("leaving"), "{said}");
}

#[test]
fn both_sides_say_that_they_are_starting() {
    let starting = || Identity { is_ready: false, ..member() };
    for (initiator_is, responder_is) in
        [(starting(), member()), (member(), starting()), (starting(), starting())]
    {
        let (mut initiator, mut responder) = (store(1), store_with(2, &values("key", 30)));
        let expected = (!initiator_is.is_ready, !responder_is.is_ready);
        let outcome =
            exchange_as((&mut initiator, initiator_is), (&mut responder, responder_is), WALL_MS);
        let heard = (outcome.responder.peer_is_starting, outcome.initiator.peer_is_starting);
        assert_eq!(heard, expected);
        assert!(outcome.initiator.confirmed, "a node that starts stays");
    }
}

#[test]
fn a_node_that_drains_says_so_in_either_role_and_confirms_nothing() {
    for drains in [0, 1] {
        let (mut initiator, mut responder) = (store(1), store(2));
        let _ = initiator.put("k", Box::default(), None, WALL_MS);
        [&mut initiator, &mut responder][drains].drain();
        let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
        let heard = [outcome.responder.peer_is_draining, outcome.initiator.peer_is_draining];
        assert_eq!(heard, [drains == 0, drains == 1]);
        assert_eq!(outcome.initiator.confirmed, drains == 0);
        assert!(outcome.initiator.complete && responder.get("k", WALL_MS).is_some());
    }
}

#[test]
fn a_drain_that_begins_within_an_exchange_covers_what_was_taken_or_is_said() {
    // At each point at which another thread can begin it.
    for at in 0..20 {
        let (mut initiator, mut responder) =
            (store_with(1, &values("key", 30)), store_with(2, &values("other", 30)));
        let _ = initiator.put("k", Box::default(), None, WALL_MS);
        let mut steps = 0;
        let outcome = exchange_with(
            (&mut initiator, member()),
            (&mut responder, member()),
            WALL_MS,
            &mut |_, responder, _| {
                if steps == at {
                    responder.drain();
                }
                steps += 1;
                ControlFlow::Continue(())
            },
        );
        assert!(outcome.over && outcome.initiator.complete);
        let all = responder.revision();
        assert!(
            !outcome.initiator.confirmed || responder.to_hand_over() == all,
            "{at}: {} of {all}",
            responder.to_hand_over()
        );
        assert_eq!(outcome.initiator.confirmed, !outcome.initiator.peer_is_draining);
    }
}
