//! What ends an exchange: other clusters, the node itself, and messages out of place.

use super::{hello, turn};
use crate::support::{WALL_MS, call, contents, member, store, store_with, value, values};
use gossip_sidecar::{
    Exchange, FAN_OUT, Identity, Item, Message, Next, Prefix, Refusal, Subtree, Version,
};

#[test]
fn every_message_before_the_hello_is_refused() {
    let item = Item { hash: 1, version: Version::new(1, 0, 1) };
    for early in [
        Message::Starting,
        Message::Draining,
        Message::Isolated(0),
        Message::Relay(Subtree { tree: 0, size: 1 }),
        Message::RecentUpdates(vec![item]),
        Message::Check(Prefix::of(0, 2), None),
        Message::Row(Prefix::ROOT, [None; FAN_OUT]),
        Message::List(Prefix::ROOT, vec![]),
        Message::Want(vec![]),
        Message::Purged(vec![]),
        Message::Record(value("k", Version::new(1, 0, 1), b"v")),
        Message::Rest,
        Message::End,
        Message::Done { node: 2, ahead_ms: 0 },
    ] {
        let mut ours = store(1);
        let mut responder = Exchange::respond(member());
        let answer = responder.receive(&mut ours, early.clone(), WALL_MS);
        assert_eq!(answer, Err(Refusal::Grammar), "{early:?}");
        assert!(contents(&ours).is_empty());
    }
}

#[test]
fn another_cluster_and_our_own_node_id_are_refused_at_the_hello() {
    let mut ours = store(1);
    let mut responder = Exchange::respond(Identity { cluster: "another".into(), ..member() });
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Err(Refusal::Cluster));
    let mut responder = Exchange::respond(member());
    assert_eq!(responder.receive(&mut ours, hello(1), WALL_MS), Err(Refusal::OwnAddress));
}

#[test]
fn a_second_hello_and_messages_of_the_wrong_role_are_refused() {
    let mut ours = store(1);
    let mut responder = Exchange::respond(member());
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Ok(Next::Listen));
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Err(Refusal::Grammar));
    let mut responder = Exchange::respond(member());
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Ok(Next::Listen));
    assert_eq!(
        responder.receive(&mut ours, Message::Done { node: 2, ahead_ms: 0 }, WALL_MS),
        Err(Refusal::Grammar)
    );
    let mut initiator = call(member(), &mut ours, WALL_MS);
    assert_eq!(initiator.receive(&mut ours, hello(2), WALL_MS), Err(Refusal::Grammar));
    let check = Message::Check(Prefix::of(0, 2), None);
    assert_eq!(initiator.receive(&mut ours, check, WALL_MS), Err(Refusal::Grammar));
}

#[test]
fn a_subtree_is_delegated_with_the_hello() {
    let subtree = Subtree { tree: 1, size: 48 };
    let (mut ours, mut theirs) = (store(1), store(2));
    let mut initiator = Exchange::initiate(member(), &mut ours, WALL_MS, Some(subtree));
    let mut responder = Exchange::respond(member());
    let said = turn(&mut initiator, &mut ours);
    let mut input = &said[..];
    while let Ok(message) = Message::read(&mut input) {
        let _ = responder.receive(&mut theirs, message, WALL_MS);
    }
    assert_eq!(responder.summary().subtree, Some(subtree));
}

#[test]
fn a_refusal_ends_the_exchange_in_either_role() {
    for refusal in Refusal::ALL {
        let mut ours = store(1);
        let mut initiator = call(member(), &mut ours, WALL_MS);
        let refuse = Message::Refuse(refusal);
        assert_eq!(initiator.receive(&mut ours, refuse.clone(), WALL_MS), Err(refusal));
        let mut responder = Exchange::respond(member());
        assert_eq!(responder.receive(&mut ours, refuse, WALL_MS), Err(refusal));
        assert!(!initiator.summary().complete && !responder.summary().complete);
    }
}

#[test]
fn buckets_must_ascend_within_a_turn() {
    let row = |bits: u64, depth| Message::Row(Prefix::of(bits << 56, depth), [None; FAN_OUT]);
    let list = |bits: u64, depth| Message::List(Prefix::of(bits << 56, depth), vec![]);
    let refused: [[Message; 2]; 6] = [
        [row(0x20, 1), row(0x10, 1)],
        [row(0x20, 1), row(0x20, 1)],
        [list(0x20, 1), row(0x21, 2)],
        [row(0x21, 2), list(0x20, 1)],
        [list(0, 0), list(0xff, 2)],
        [list(0xff, 2), list(0, 0)],
    ];
    let accepted = [[row(0x10, 1), row(0x20, 1)], [list(0x0f, 2), row(0x10, 1)]];
    for (questions, verdict) in refused
        .map(|questions| (questions, Err(Refusal::Grammar)))
        .into_iter()
        .chain(accepted.map(|questions| (questions, Ok(Next::Listen))))
    {
        let mut ours = store_with(1, &values("key", 20));
        let mut initiator = call(member(), &mut ours, WALL_MS);
        let mut responder = Exchange::respond(member());
        assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Ok(Next::Listen));
        for side in [&mut initiator, &mut responder] {
            let [first, second] = questions.clone();
            assert_eq!(side.receive(&mut ours, first.clone(), WALL_MS), Ok(Next::Listen));
            assert_eq!(side.receive(&mut ours, second, WALL_MS), verdict, "{questions:?}");
        }
        // The order starts over with each turn.
        let mut initiator = call(member(), &mut ours, WALL_MS);
        for _ in 0..2 {
            assert_eq!(initiator.receive(&mut ours, row(0x20, 1), WALL_MS), Ok(Next::Listen));
            assert_eq!(initiator.receive(&mut ours, Message::End, WALL_MS), Ok(Next::Speak));
            turn(&mut initiator, &mut ours);
        }
    }
}
