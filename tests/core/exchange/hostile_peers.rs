//! Peers that send anything at all: the store changes only by records with greater versions.

use super::{any_learned, hello, keys, store_that_learned, turn};
use crate::support::{
    WALL_MS, assert_consistent, call, contents, exchange, fixed_seed, freshest, member, tombstone,
    value,
};
use gossip_sidecar::{
    END_OF_TIME_MS, Exchange, FULL_TURN_BYTES, Item, MAX_LINE_ITEMS, Message, Next, Prefix, Record,
    Refusal, SHARD_DEPTH, Store, Subtree, Version, key_hash,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

/// Any message that the grammar allows, about the tests' keys or about unknown ones.
fn any_message() -> impl Strategy<Value = Message> {
    let key = || prop::sample::select(keys());
    let hash = move || prop_oneof![3 => key().prop_map(|key| key_hash(&key)), 1 => any::<u64>()];
    let version = || {
        prop_oneof![
            (0..12u64, 7..10u32).prop_map(|(ms, node)| Version::new(
                WALL_MS - 7_200_000 + ms,
                0,
                node
            )),
            (0..END_OF_TIME_MS, any::<u16>(), any::<u32>())
                .prop_map(|(ms, counter, node)| Version::new(ms, counter, node)),
        ]
    };
    let bucket = move || (hash(), 0..=16u8).prop_map(|(hash, depth)| Prefix::of(hash, depth));
    let items = move |bucket: Prefix, most| {
        btree_set((hash(), version()), 0..most).prop_map(move |set| {
            set.into_iter()
                .filter(|(hash, _)| bucket.contains(*hash))
                .map(|(hash, version)| Item { hash, version })
                .collect::<Vec<_>>()
        })
    };
    let hashes = move || {
        btree_set(hash(), 0..MAX_LINE_ITEMS).prop_map(|set| set.into_iter().collect::<Vec<_>>())
    };
    let record =
        (key(), version(), prop::option::of(any::<u8>())).prop_map(|(key, version, byte)| {
            byte.map_or(tombstone(&key, version), |byte| value(&key, version, &[byte]))
        });
    let row = (bucket(), prop::array::uniform16(prop::option::of(any::<u32>())))
        .prop_map(|(bucket, children)| Message::Row(bucket, children));
    let list = bucket()
        .prop_flat_map(move |bucket| items(bucket, 20).prop_map(move |i| Message::List(bucket, i)));
    prop_oneof![
        1 => Just(hello(2)),
        1 => (0..2 * WALL_MS).prop_map(Message::Isolated),
        1 => (0..2 * WALL_MS).prop_map(Message::CompleteSince),
        1 => (0..2u8, any::<u32>()).prop_map(|(tree, size)| Message::Relay(Subtree { tree, size })),
        1 => (hash(), prop::option::of(any::<u32>()))
            .prop_map(|(hash, digest)| Message::Check(Prefix::of(hash, SHARD_DEPTH), digest)),
        2 => items(Prefix::ROOT, 16).prop_map(Message::RecentUpdates),
        4 => row,
        4 => list,
        3 => hashes().prop_map(Message::Want),
        2 => hashes().prop_map(Message::Purged),
        3 => record.prop_map(Message::Record),
        1 => Just(Message::Rest),
        4 => Just(Message::End),
        1 => (any::<u32>(), any::<i32>())
            .prop_map(|(node, ms)| Message::Done { node, ahead_ms: ms.into() }),
        1 => prop::sample::select(&Refusal::ALL[..]).prop_map(Message::Refuse),
    ]
}

/// Receives a message, and replies when it is this side's turn; `None` once the exchange is over.
///
/// Asserts that the store changes only by a record with a greater version.
fn receive_and_check(side: &mut Exchange, ours: &mut Store, message: Message) -> Option<()> {
    let before = contents(ours);
    let expected = match &message {
        Message::Record(Record { key, entry }) => {
            freshest([before.clone(), [(key.clone(), entry.clone())].into()])
        }
        _ => before.clone(),
    };
    let next = side.receive(ours, message, WALL_MS);
    if next.is_ok() {
        assert_eq!(contents(ours), expected);
    } else {
        assert_eq!(contents(ours), before);
    }
    if next.ok()? == Next::Speak {
        let before = contents(ours);
        let said = turn(side, ours);
        assert!(said.len() < FULL_TURN_BYTES);
        assert_eq!(contents(ours), before, "a reply changes nothing");
    }
    (next != Ok(Next::Over)).then_some(())
}

proptest! {
    #![proptest_config(fixed_seed(400))]

    #[test]
    fn messages_in_any_order_are_harmless(
        learned in any_learned(60), messages in vec(any_message(), 1..40), greeted: bool,
    ) {
        let mut ours = store_that_learned(1, &learned);
        let mut responder = Exchange::respond(member());
        let greeting = greeted.then(|| hello(2));
        for message in greeting.into_iter().chain(messages.clone()) {
            if receive_and_check(&mut responder, &mut ours, message).is_none() {
                break;
            }
        }
        let mut ours = store_that_learned(1, &learned);
        let mut initiator = call(member(), &mut ours, WALL_MS);
        turn(&mut initiator, &mut ours);
        for message in messages {
            if receive_and_check(&mut initiator, &mut ours, message).is_none() {
                break;
            }
        }
        assert_consistent(&ours);
    }

    #[test]
    fn garbled_turns_are_harmless(
        ours in any_learned(40), theirs in any_learned(40),
        edits in vec((any::<prop::sample::Index>(), 0..20usize), 1..6),
    ) {
        let honest = exchange(
            &mut store_that_learned(1, &ours),
            &mut store_that_learned(2, &theirs),
            WALL_MS,
        );
        let garble = |turns: Vec<&Vec<u8>>| {
            let mut bytes: Vec<u8> = turns.into_iter().flatten().copied().collect();
            for (index, choice) in &edits {
                let at = index.index(bytes.len());
                match b"0123456789abcdef- \n".get(*choice) {
                    Some(&byte) => bytes[at] = byte,
                    None => drop(bytes.remove(at)),
                }
            }
            bytes
        };
        let said_by_initiator = garble(honest.turns.iter().step_by(2).collect());
        let said_by_responder = garble(honest.turns.iter().skip(1).step_by(2).collect());

        let mut store = store_that_learned(2, &theirs);
        let mut responder = Exchange::respond(member());
        let mut input = &said_by_initiator[..];
        while let Ok(message) = Message::read(&mut input) {
            if receive_and_check(&mut responder, &mut store, message).is_none() {
                break;
            }
        }
        assert_consistent(&store);

        let mut store = store_that_learned(1, &ours);
        let mut initiator = call(member(), &mut store, WALL_MS);
        turn(&mut initiator, &mut store);
        let mut input = &said_by_responder[..];
        while let Ok(message) = Message::read(&mut input) {
            if receive_and_check(&mut initiator, &mut store, message).is_none() {
                break;
            }
        }
        assert_consistent(&store);
    }
}
