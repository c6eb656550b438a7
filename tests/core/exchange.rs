//! Exchanges between two stores: what they come to, whatever happens in between.

use crate::support::*;
use gossip_sidecar::{
    END_OF_TIME_MS, Entry, Exchange, FAN_OUT, FULL_TURN_BYTES, Hello, Identity, Item,
    MAX_LINE_ITEMS, MAX_LISTED_ENTRIES, MAX_TURNS, Message, Next, Prefix, Put, RECENT_FOR_MS,
    Record, Refusal, Store, Subtree, Version, key_hash,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::sync::OnceLock;

/// Keys all over the trie, crowded in one shard, and crowded four levels deep.
fn keys() -> &'static [String] {
    static KEYS: OnceLock<Vec<String>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut keys: Vec<String> = (0..30).map(|index| format!("spread-{index}")).collect();
        keys.extend(keys_in(Prefix::of(0x5a00 << 48, 2), "shard", 25));
        keys.extend(keys_in(Prefix::of(0x5a5a << 48, 4), "deep", 12));
        keys.extend(["".into(), "Aa".into(), "BB".into(), "id-1P".into(), "id-21".into()]);
        keys
    })
}

/// A record, and whether it was learned just now, so that a hello names it.
type Learned = (Record, bool);

/// What a writer writes depends on nothing but the version, so that a version is a value.
fn written(key: &str, ms: u64, node: u32) -> Record {
    let version = Version::new(WALL_MS - 7_200_000 + ms, 0, node);
    match ms % 4 {
        0 => tombstone(key, version),
        _ => value(key, version, format!("{key}={ms}\n").repeat(ms as usize % 3).as_bytes()),
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    (prop::sample::select(keys()), 0..12u64, 7..10u32)
        .prop_map(|(key, ms, node)| written(&key, ms, node))
}

fn any_learned(most: usize) -> impl Strategy<Value = Vec<Learned>> {
    vec((any_record(), prop::bool::weighted(0.2)), 0..most)
}

fn store_that_learned(node: u32, learned: &[Learned]) -> Store {
    let mut store = store(node);
    for (record, lately) in learned {
        let ago_ms = if *lately { 100 } else { 3_600_000 };
        let _ = store.merge(record.clone(), WALL_MS - ago_ms);
    }
    store
}

proptest! {
    #![proptest_config(fixed_seed(600))]

    #[test]
    fn any_two_stores_come_to_the_greatest_version_of_each_key(
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
        assert_in_step(&initiator);
        assert_in_step(&responder);
        // Nothing travels for nothing; but what the recent-update list brings, the walk may bring again.
        let recent = initiator_recent as u64;
        prop_assert!((0..=recent).contains(&(outcome.initiator.sent - outcome.responder.taken)));
        prop_assert!((0..=recent).contains(&(outcome.responder.sent - outcome.initiator.taken)));
        prop_assert_eq!(outcome.initiator.peer, Some(2));
        prop_assert_eq!(outcome.responder.peer, Some(1));
        prop_assert_eq!(outcome.responder.clock_offset_ms, Some(0));
        // Who has nothing to learn is told so.
        let idle = exchange(&mut initiator, &mut responder, WALL_MS + RECENT_FOR_MS + 1);
        prop_assert_eq!(idle.round_trips(), 1);
    }
}

/// What other threads do to the two stores while an exchange goes on.
#[derive(Clone, Debug)]
enum Step {
    Put(usize, String, u8),
    Delete(usize, String),
    Merge(usize, Record),
    Nothing,
}

fn any_step() -> impl Strategy<Value = Step> {
    let key = || prop::sample::select(keys());
    prop_oneof![
        2 => (0..2usize, key(), any::<u8>()).prop_map(|(who, key, byte)| Step::Put(who, key, byte)),
        1 => (0..2usize, key()).prop_map(|(who, key)| Step::Delete(who, key)),
        2 => (0..2usize, any_record()).prop_map(|(who, record)| Step::Merge(who, record)),
        3 => Just(Step::Nothing),
    ]
}

impl Step {
    fn apply(&self, initiator: &mut Store, responder: &mut Store, wall_ms: u64) {
        let stores = [initiator, responder];
        match self {
            Step::Put(who, key, byte) => {
                let _ = stores[*who].put(key, [*byte].into(), None, wall_ms);
            }
            Step::Delete(who, key) => {
                let _ = stores[*who].delete(key, wall_ms);
            }
            Step::Merge(who, record) => {
                let _ = stores[*who].merge(record.clone(), wall_ms);
            }
            Step::Nothing => {}
        }
    }
}

proptest! {
    #![proptest_config(fixed_seed(400))]

    #[test]
    fn writes_between_any_two_steps_do_no_harm(
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
        assert_in_step(&initiator);
        assert_in_step(&responder);
        // All that was there before it started has come across.
        let best = freshest(seen[..2].to_vec());
        for store in [&initiator, &responder] {
            for (key, entry) in &best {
                let now = store.entry(key).map(|entry| entry.version);
                prop_assert!(now >= Some(entry.version), "{key:?} is {now:?}, was {entry:?}");
            }
        }
        // Nothing is lost, nothing comes from nowhere, and quiet stores become equal.
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
    fn a_exchange_cut_anywhere_is_taken_up_by_the_next(
        both in any_learned(40), ours in any_learned(25), theirs in any_learned(25),
    ) {
        let ours = [both.clone(), ours].concat();
        let theirs = [both, theirs].concat();
        let best =
            freshest([&ours, &theirs].map(|learned| contents(&store_that_learned(3, learned))));
        for cut_after in 0.. {
            let mut initiator = store_that_learned(1, &ours);
            let mut responder = store_that_learned(2, &theirs);
            let cut = exchange_with(
                (&mut initiator, member()),
                (&mut responder, member()),
                WALL_MS,
                &mut |_, _, messages| match messages {
                    _ if messages < cut_after => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                },
            );
            prop_assert!(!cut.initiator.complete || cut.messages == cut_after);
            assert_in_step(&initiator);
            assert_in_step(&responder);
            let left = [contents(&initiator), contents(&responder)];
            prop_assert_eq!(freshest(left), best.clone(), "cut after {} messages", cut_after);
            let next = exchange(&mut initiator, &mut responder, WALL_MS + 1);
            prop_assert!(next.initiator.complete);
            prop_assert_eq!(&contents(&initiator), &best);
            prop_assert_eq!(&contents(&responder), &best);
            if cut.over || cut.initiator.peer.is_some() {
                break;
            }
        }
    }
}

#[test]
fn equal_stores_say_so_in_one_round_trip() {
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
fn small_stores_meet_whatever_they_hold() {
    // Around the threshold between a list and a row, on either side, with nothing, something or
    // everything in common.
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
fn a_bucket_is_listed_up_to_the_threshold_and_split_above() {
    for (theirs, word) in [(MAX_LISTED_ENTRIES, "list - "), (MAX_LISTED_ENTRIES + 1, "row - ")] {
        let mut initiator = store_with(1, &values("a", 3));
        let mut responder = store_with(2, &values("b", theirs));
        let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
        let answer = String::from_utf8_lossy(&outcome.turns[1]);
        assert!(answer.starts_with(word), "{theirs} entries: {answer}");
    }
}

#[test]
fn a_change_just_made_is_settled_without_a_walk() {
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
            // Only the initiator's news are in the hello.
            assert_eq!(walks == 0, by_initiator, "{}", outcome.transcript());
            assert_eq!(initiator.root(), responder.root());
        }
    }
}

#[test]
fn an_old_key_beside_a_new_one_comes_along() {
    // The responder asks for the new key by its hash and, in the same turn, is found to lack the
    // whole bucket around it.
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
        assert_eq!(contents(&responder), best, "{recent} is new");
        assert_eq!(contents(&initiator), best, "{recent} is new");
    }
}

// ---- limits ----

/// Values that together are about so many times as long as a turn may be.
fn bulk(name: &str, turns: usize, value_bytes: usize) -> Vec<Record> {
    let mut records = values(name, turns * FULL_TURN_BYTES / value_bytes);
    for record in &mut records {
        record.entry = Entry::lasting(record.entry.version, vec![b'x'; value_bytes]);
    }
    records
}

#[test]
fn what_does_not_fit_a_turn_comes_with_the_next_exchange() {
    let value_bytes = 10_000;
    let few = values("few", 20);
    let cases: [(&str, Vec<Record>, Vec<Record>); 6] = [
        ("an empty initiator", vec![], bulk("b", 3, value_bytes)),
        ("an empty responder", bulk("a", 3, value_bytes), vec![]),
        ("an initiator with little", few.clone(), bulk("b", 3, value_bytes)),
        ("a responder with little", bulk("a", 3, value_bytes), few),
        ("both", bulk("a", 2, value_bytes), bulk("b", 3, value_bytes)),
        ("one value as long as a turn", vec![], bulk("b", 2, FULL_TURN_BYTES)),
    ];
    for (who, ours, theirs) in cases {
        let mut initiator = store_with(1, &ours);
        let mut responder = store_with(2, &theirs);
        let best = freshest([contents(&initiator), contents(&responder)]);
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 10, "{who}: it comes to an end");
            let outcome = exchange(&mut initiator, &mut responder, WALL_MS + rounds);
            let longest = outcome.turns.iter().map(Vec::len).max().unwrap();
            let one_record = best.values().map(|entry| entry.value().unwrap().len()).max().unwrap();
            assert!(longest <= FULL_TURN_BYTES + one_record + 200, "{who}: {longest} bytes");
            assert_in_step(&initiator);
            assert_in_step(&responder);
            assert_eq!(outcome.initiator.complete, outcome.responder.complete, "{who}");
            assert_eq!(outcome.initiator.complete, outcome.rests == 0, "{who}");
            if outcome.initiator.complete {
                break;
            }
            assert!(
                outcome.initiator.taken + outcome.responder.taken > 0,
                "{who}: it makes progress"
            );
        }
        assert!(rounds > 1, "{who}: the test sends too little");
        assert_eq!(contents(&initiator), best, "{who}");
        assert_eq!(contents(&responder), best, "{who}");
    }
}

fn hello(node: u32) -> Message {
    let cluster = "default".into();
    Message::Hello(Hello { cluster, node, clock_ms: WALL_MS, count: 5, root: 77 })
}

fn turn(exchange: &mut Exchange, store: &mut Store) -> Vec<u8> {
    loop {
        if let Some(turn) = exchange.reply(store) {
            return turn.bytes;
        }
    }
}

#[test]
fn a_exchange_has_only_so_many_turns() {
    let mut ours = store_with(1, &values("key", 20));
    let mut responder = Exchange::respond(member());
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Ok(Next::Listen));
    let mut initiator = call(member(), &ours, WALL_MS);
    turn(&mut initiator, &mut ours);
    for side in [&mut responder, &mut initiator] {
        for _ in 0..MAX_TURNS {
            assert_eq!(side.receive(&mut ours, Message::End, WALL_MS), Ok(Next::Speak));
            turn(side, &mut ours);
        }
        let beyond = side.receive(&mut ours, Message::End, WALL_MS);
        assert_eq!(beyond, Err(Refusal::Grammar));
        assert!(!side.summary().complete || side.summary().peer.is_some());
    }
}

// ---- refusals ----

#[test]
fn nobody_is_heard_before_the_hello() {
    let item = Item { hash: 1, version: Version::new(1, 0, 1) };
    for early in [
        Message::Isolated(0),
        Message::Relay(Subtree { tree: 0, size: 1 }),
        Message::RecentUpdates(vec![item]),
        Message::Row(Prefix::ROOT, [None; FAN_OUT]),
        Message::List(Prefix::ROOT, vec![]),
        Message::Want(vec![]),
        Message::Purged(vec![]),
        Message::Record(value("k", Version::new(1, 0, 1), b"v")),
        Message::Rest,
        Message::End,
        Message::Done(2),
    ] {
        let mut ours = store(1);
        let mut responder = Exchange::respond(member());
        let answer = responder.receive(&mut ours, early.clone(), WALL_MS);
        assert_eq!(answer, Err(Refusal::Grammar), "{early:?}");
        assert!(contents(&ours).is_empty());
    }
}

#[test]
fn strangers_and_oneself_are_refused_in_the_first_message() {
    let mut ours = store(1);
    let mut responder = Exchange::respond(Identity { cluster: "another".into(), ..member() });
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Err(Refusal::Cluster));
    let mut responder = Exchange::respond(member());
    assert_eq!(responder.receive(&mut ours, hello(1), WALL_MS), Err(Refusal::OwnAddress));
}

#[test]
fn each_side_keeps_to_its_part() {
    let mut ours = store(1);
    let mut responder = Exchange::respond(member());
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Ok(Next::Listen));
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Err(Refusal::Grammar));
    let mut responder = Exchange::respond(member());
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Ok(Next::Listen));
    assert_eq!(responder.receive(&mut ours, Message::Done(2), WALL_MS), Err(Refusal::Grammar));
    let mut initiator = call(member(), &ours, WALL_MS);
    assert_eq!(initiator.receive(&mut ours, hello(2), WALL_MS), Err(Refusal::Grammar));
}

#[test]
fn a_duty_is_handed_over_with_the_hello() {
    let subtree = Subtree { tree: 1, size: 48 };
    let (mut ours, mut theirs) = (store(1), store(2));
    let mut initiator = Exchange::initiate(member(), &ours, WALL_MS, Some(subtree));
    let mut responder = Exchange::respond(member());
    let said = turn(&mut initiator, &mut ours);
    let mut input = &said[..];
    while let Ok(message) = Message::read(&mut input) {
        let _ = responder.receive(&mut theirs, message, WALL_MS);
    }
    assert_eq!(responder.summary().subtree, Some(subtree));
}

#[test]
fn a_refusal_ends_it_for_both_roles() {
    for refusal in Refusal::ALL {
        let mut ours = store(1);
        let mut initiator = call(member(), &ours, WALL_MS);
        let refuse = Message::Refuse(refusal);
        assert_eq!(initiator.receive(&mut ours, refuse.clone(), WALL_MS), Err(refusal));
        let mut responder = Exchange::respond(member());
        assert_eq!(responder.receive(&mut ours, refuse, WALL_MS), Err(refusal));
        assert!(!initiator.summary().complete && !responder.summary().complete);
    }
}

#[test]
fn questions_ascend_within_a_turn() {
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
        let mut initiator = call(member(), &ours, WALL_MS);
        let mut responder = Exchange::respond(member());
        assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Ok(Next::Listen));
        for side in [&mut initiator, &mut responder] {
            let [first, second] = questions.clone();
            assert_eq!(side.receive(&mut ours, first.clone(), WALL_MS), Ok(Next::Listen));
            assert_eq!(side.receive(&mut ours, second, WALL_MS), verdict, "{questions:?}");
        }
        // The next turn starts over.
        let mut initiator = call(member(), &ours, WALL_MS);
        for _ in 0..2 {
            assert_eq!(initiator.receive(&mut ours, row(0x20, 1), WALL_MS), Ok(Next::Listen));
            assert_eq!(initiator.receive(&mut ours, Message::End, WALL_MS), Ok(Next::Speak));
            turn(&mut initiator, &mut ours);
        }
    }
}

#[test]
fn a_wish_for_what_is_not_there_is_no_error() {
    let mut ours = store_with(1, &values("key", 3));
    let mut responder = Exchange::respond(member());
    let wish = Message::Want(vec![1, key_hash("key-1"), u64::MAX]);
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Ok(Next::Listen));
    assert_eq!(responder.receive(&mut ours, wish, WALL_MS), Ok(Next::Listen));
    assert_eq!(responder.receive(&mut ours, Message::End, WALL_MS), Ok(Next::Speak));
    turn(&mut responder, &mut ours);
    assert_eq!(responder.summary().sent, 1);
}

// ---- hostile peers ----

/// Messages that are in the grammar, about the tests' keys or about nothing, in any order.
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
        2 => items(Prefix::ROOT, 16).prop_map(Message::RecentUpdates),
        4 => row,
        4 => list,
        3 => hashes().prop_map(Message::Want),
        2 => hashes().prop_map(Message::Purged),
        3 => record.prop_map(Message::Record),
        1 => Just(Message::Rest),
        4 => Just(Message::End),
        1 => any::<u32>().prop_map(Message::Done),
        1 => prop::sample::select(&Refusal::ALL[..]).prop_map(Message::Refuse),
    ]
}

/// Takes in a message and answers if it is time to; `None` when it is over, one way or another.
///
/// Whatever comes in, the store changes only by a record with a greater version.
fn hear(side: &mut Exchange, ours: &mut Store, message: Message) -> Option<()> {
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
        assert_eq!(contents(ours), before, "speaking changes nothing");
    }
    (next != Ok(Next::Over)).then_some(())
}

proptest! {
    #![proptest_config(fixed_seed(400))]

    #[test]
    fn no_order_of_messages_does_harm(
        learned in any_learned(60), messages in vec(any_message(), 1..40), greeted: bool,
    ) {
        let mut ours = store_that_learned(1, &learned);
        let mut responder = Exchange::respond(member());
        let greeting = greeted.then(|| hello(2));
        for message in greeting.into_iter().chain(messages.clone()) {
            if hear(&mut responder, &mut ours, message).is_none() {
                break;
            }
        }
        let mut ours = store_that_learned(1, &learned);
        let mut initiator = call(member(), &ours, WALL_MS);
        turn(&mut initiator, &mut ours);
        for message in messages {
            if hear(&mut initiator, &mut ours, message).is_none() {
                break;
            }
        }
        assert_in_step(&ours);
    }

    #[test]
    fn a_garbled_exchange_does_no_harm(
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
            for (place, choice) in &edits {
                let at = place.index(bytes.len());
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
            if hear(&mut responder, &mut store, message).is_none() {
                break;
            }
        }
        assert_in_step(&store);

        let mut store = store_that_learned(1, &ours);
        let mut initiator = call(member(), &store, WALL_MS);
        turn(&mut initiator, &mut store);
        let mut input = &said_by_responder[..];
        while let Ok(message) = Message::read(&mut input) {
            if hear(&mut initiator, &mut store, message).is_none() {
                break;
            }
        }
        assert_in_step(&store);
    }
}

// ---- nodes that were isolated ----

/// When the isolated nodes of these tests lost their last peer.
const ISOLATED_MS: u64 = WALL_MS - 7_200_000;

fn before(key: &str) -> Record {
    value(key, Version::new(ISOLATED_MS - 1, u16::MAX, 9), b"before the isolation")
}

fn since(key: &str) -> Record {
    value(key, Version::new(ISOLATED_MS, 0, 9), b"since the isolation")
}

/// Lets two nodes talk, with either of them as the initiator and with more and more entries in common,
/// so that what is lacking shows in lists, in rows, and among the recent updates; gives what each then has.
fn meetings(
    ours: &[Record],
    our_cut: Option<u64>,
    theirs: &[Record],
    their_cut: Option<u64>,
    check: impl Fn(&Contents, &Contents),
) {
    let in_common = values("common", 2_000);
    for common in [0, 1, 20, 300, 2_000] {
        for we_call in [true, false] {
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
                let us = (&mut we, identity(our_cut));
                let them = (&mut they, identity(their_cut));
                let outcome = match we_call {
                    true => exchange_as(us, them, WALL_MS),
                    false => exchange_as(them, us, WALL_MS),
                };
                assert!(outcome.initiator.complete && outcome.responder.complete);
                assert_in_step(&we);
                assert_in_step(&they);
                check(&contents(&we), &contents(&they));
                let context = format!("{common} in common, we call: {we_call}, recent: {lately}");
                assert_eq!(contents(&we), contents(&they), "{context}");
            }
        }
    }
}

#[test]
fn a_cut_off_node_forgets_what_was_deleted_meanwhile() {
    let crowd = keys_in(Prefix::of(0x5a00 << 48, 2), "shard", 12);
    let mut ours: Vec<Record> = crowd.iter().map(|key| before(key)).collect();
    ours.extend([before("lone"), tombstone("dead", before("dead").entry.version)]);
    ours.extend([since("kept"), since(&crowd[3])]);
    let theirs = [before("theirs"), since("their news")];
    meetings(&ours, Some(ISOLATED_MS), &theirs, None, |we, they| {
        for has in [we, they] {
            for gone in crowd.iter().map(String::as_str).chain(["lone", "dead"]) {
                assert_eq!(has.contains_key(gone), gone == crowd[3], "{gone}");
            }
            for kept in ["kept", "theirs", "their news"] {
                assert!(has.contains_key(kept), "{kept}");
            }
        }
    });
}

#[test]
fn what_the_other_still_has_in_an_older_version_is_not_forgotten() {
    let older = value("key", Version::new(ISOLATED_MS - 9, 0, 8), b"older");
    for (ours, theirs) in [(before("key"), older.clone()), (older, before("key"))] {
        meetings(&[ours], Some(ISOLATED_MS), &[theirs], None, |we, they| {
            assert_eq!(we["key"], before("key").entry);
            assert_eq!(they["key"], before("key").entry);
        });
    }
}

#[test]
fn two_that_were_both_cut_off_lose_nothing() {
    for their_cut in [ISOLATED_MS - 1, ISOLATED_MS, WALL_MS, 0] {
        meetings(
            &[before("a"), since("b")],
            Some(ISOLATED_MS),
            &[before("c"), since("d")],
            Some(their_cut),
            |we, _| {
                for key in ["a", "b", "c", "d"] {
                    assert!(we.contains_key(key), "{key}");
                }
            },
        );
    }
}

#[test]
fn a_newcomer_loses_nothing_and_costs_nobody_anything() {
    // Since it never had a peer, it says that it has been isolated since the beginning of time.
    for their_cut in [None, Some(0), Some(ISOLATED_MS)] {
        for ours in [vec![], vec![before("ours"), since("our news")]] {
            let theirs = [before("theirs"), since("their news")];
            meetings(&ours, Some(0), &theirs, their_cut, |we, they| {
                for record in ours.iter().chain(&theirs) {
                    assert_eq!(we[&record.key], record.entry);
                    assert_eq!(they[&record.key], record.entry);
                }
            });
        }
    }
}

#[test]
fn nothing_is_forgotten_by_nodes_that_were_never_cut_off() {
    meetings(&[before("ours")], None, &[before("theirs")], None, |we, they| {
        assert!(we.contains_key("ours") && they.contains_key("ours"));
        assert!(we.contains_key("theirs") && they.contains_key("theirs"));
    });
    // Not even when the peer says that it is gone.
    let mut ours = store_with(1, &[before("ours")]);
    let mut responder = Exchange::respond(member());
    for message in [hello(2), Message::Purged(vec![key_hash("ours")])] {
        assert_eq!(responder.receive(&mut ours, message, WALL_MS), Ok(Next::Listen));
    }
    assert!(ours.get("ours", WALL_MS).is_some());
}

#[test]
fn who_came_after_the_cut_cannot_say_what_was_deleted_before() {
    // One pod is left alone for a night; two fresh ones meet each other first, and then it.
    for complete_since_ms in [ISOLATED_MS + 1, WALL_MS] {
        let newer = Identity { complete_since_ms, ..member() };
        for left_calls in [true, false] {
            let mut left = store_with(1, &values("old", 300));
            let mut fresh = store_with(2, &[since("new")]);
            let ours = (&mut left, cut_off_since(ISOLATED_MS));
            let theirs = (&mut fresh, newer.clone());
            let outcome = match left_calls {
                true => exchange_as(ours, theirs, WALL_MS),
                false => exchange_as(theirs, ours, WALL_MS),
            };
            assert_eq!(outcome.initiator.purged + outcome.responder.purged, 0);
            assert_eq!(contents(&left).len(), 301);
            assert_eq!(contents(&left), contents(&fresh));
            // Neither of them can say from now on what was there before the newer one came.
            assert_eq!(
                (outcome.initiator.complete_since_ms, outcome.responder.complete_since_ms),
                (complete_since_ms, complete_since_ms)
            );
        }
        let mut left = store_with(1, &[before("old")]);
        let mut responder = Exchange::respond(cut_off_since(ISOLATED_MS));
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
fn knowledge_goes_back_as_far_as_that_of_the_node_that_one_has_caught_up_with() {
    let met = |we: Identity, they: Identity| {
        let mut ours = store_with(1, &[since("ours")]);
        let mut theirs = store_with(2, &[since("theirs")]);
        let outcome = exchange_as((&mut ours, we), (&mut theirs, they), WALL_MS);
        (outcome.initiator.complete_since_ms, outcome.responder.complete_since_ms)
    };
    let old = Identity { complete_since_ms: 5, ..member() };
    let newcomer = Identity { complete_since_ms: WALL_MS - 1, ..cut_off_since(0) };
    assert_eq!(met(newcomer.clone(), old.clone()), (5, 5));
    assert_eq!(met(old.clone(), newcomer.clone()), (5, 5));
    // Of two that were isolated neither can say what there was meanwhile.
    assert_eq!(met(newcomer, cut_off_since(ISOLATED_MS)), (WALL_MS, WALL_MS));
    assert_eq!(met(member(), old.clone()), (0, 5));
    // Where the one that was there has no turn to say so, nothing is claimed.
    let newcomer = Identity { complete_since_ms: WALL_MS - 1, ..cut_off_since(0) };
    let (mut ours, mut theirs) = (store(1), store(2));
    let outcome = exchange_as((&mut ours, old), (&mut theirs, newcomer), WALL_MS);
    assert_eq!(
        (outcome.initiator.complete_since_ms, outcome.responder.complete_since_ms),
        (5, WALL_MS)
    );
}

#[test]
fn what_was_written_since_the_cut_is_not_gone_whatever_the_peer_says() {
    let mut ours = store_with(1, &[before("old"), since("new")]);
    let mut responder = Exchange::respond(cut_off_since(ISOLATED_MS));
    let mut gone = vec![key_hash("old"), key_hash("new")];
    gone.sort_unstable();
    for message in [hello(2), Message::CompleteSince(ISOLATED_MS), Message::Purged(gone)] {
        assert_eq!(responder.receive(&mut ours, message, WALL_MS), Ok(Next::Listen));
    }
    assert_eq!(
        (ours.get("old", WALL_MS), ours.get("new", WALL_MS)),
        (None, Some(&b"since the isolation"[..]))
    );
    assert_eq!(responder.summary().purged, 1);
    assert_in_step(&ours);
}

proptest! {
    #![proptest_config(fixed_seed(300))]

    #[test]
    fn the_rule_for_cut_off_nodes_is_kept_by_any_two_stores(
        both in any_learned(60), ours in any_learned(40), theirs in any_learned(40),
        cut in 0..14u64, we_call: bool,
    ) {
        let isolated_since_ms = WALL_MS - 7_200_000 + cut;
        let mut we = store_that_learned(1, &[both.clone(), ours].concat());
        let mut they = store_that_learned(2, &[both, theirs].concat());
        let theirs = contents(&they);
        let kept = contents(&we)
            .into_iter()
            .filter(|(key, entry)| entry.version.ms() >= isolated_since_ms || theirs.contains_key(key))
            .collect();
        let best = freshest([kept, theirs]);
        let us = (&mut we, cut_off_since(isolated_since_ms));
        let them = (&mut they, member());
        match we_call {
            true => exchange_as(us, them, WALL_MS),
            false => exchange_as(them, us, WALL_MS),
        };
        prop_assert_eq!(&contents(&we), &best);
        prop_assert_eq!(&contents(&they), &best);
        assert_in_step(&we);
    }
}

proptest! {
    #![proptest_config(fixed_seed(150))]

    #[test]
    fn writes_between_the_steps_are_safe_from_the_rule_for_cut_off_nodes(
        both in any_learned(40), ours in any_learned(25), theirs in any_learned(25),
        steps in vec(any_step(), 1..80), cut in 0..14u64, isolated_calls: bool,
    ) {
        let isolated_since_ms = WALL_MS - 7_200_000 + cut;
        let mut initiator = store_that_learned(1, &[both.clone(), ours].concat());
        let mut responder = store_that_learned(2, &[both, theirs].concat());
        let mut seen = [vec![contents(&initiator)], vec![contents(&responder)]];
        let mut steps = steps.iter();
        let [initiator_is, responder_is] = match isolated_calls {
            true => [cut_off_since(isolated_since_ms), member()],
            false => [member(), cut_off_since(isolated_since_ms)],
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
        assert_in_step(&initiator);
        assert_in_step(&responder);
        // Whatever the one that was not cut off ever had, and the other since the isolation, is kept.
        let [mut cut_off, mut other] = seen.map(freshest);
        if !isolated_calls {
            std::mem::swap(&mut cut_off, &mut other);
        }
        cut_off.retain(|_, entry| entry.version.ms() >= isolated_since_ms);
        let left = freshest([contents(&initiator), contents(&responder)]);
        for (key, entry) in freshest([cut_off, other]) {
            let version = left.get(&key).map(|entry| entry.version);
            prop_assert!(version >= Some(entry.version), "{key:?} is {version:?}, was {entry:?}");
        }
    }
}

#[test]
fn a_mad_wall_clock_stops_nothing() {
    for wall_ms in [0, END_OF_TIME_MS - 1, END_OF_TIME_MS, 1 << 63, u64::MAX] {
        let mut initiator = store_with(1, &values("a", 20));
        let mut responder = store_with(2, &values("b", 20));
        assert!(matches!(initiator.put("k", [1].into(), None, wall_ms), Put::Created(_)));
        let best = freshest([contents(&initiator), contents(&responder)]);
        assert!(exchange(&mut initiator, &mut responder, wall_ms).initiator.complete, "{wall_ms}");
        assert_eq!((contents(&initiator), contents(&responder)), (best.clone(), best));
    }
}

// ---- golden transcripts ----

/// Compares with `tests/core/golden/NAME.txt`; `BLESS=1` writes that file instead.
fn assert_golden(name: &str, outcome: &Outcome) {
    let path = format!("{}/tests/core/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let said = outcome.transcript();
    if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, &said).expect("tests/core/golden can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(said, golden, "{path}: run with BLESS=1 if the change is meant");
}

/// The nodes of the golden exchanges.
fn alice_and_bob(ours: &[Record], theirs: &[Record]) -> (Store, Store) {
    (store_with(0xa11c_e001, ours), store_with(0xb0b0_0002, theirs))
}

#[test]
fn golden_idle() {
    let fruit = [written("apple", 1, 0xa11c_e001), written("pear", 2, 0xb0b0_0002)];
    let (mut alice, mut bob) = alice_and_bob(&fruit, &fruit);
    assert_golden("idle", &exchange(&mut alice, &mut bob, WALL_MS));
}

#[test]
fn golden_one_key_each_way() {
    let version = |ms, node| Version::new(WALL_MS - 60_000 + ms, 0, node);
    let in_common = values("key", 12);
    let (mut alice, mut bob) = alice_and_bob(&in_common, &in_common);
    let _ = alice.merge(value("hello", version(1, 0xa11c_e001), b"world"), WALL_MS - 60_000);
    let _ = bob.merge(tombstone("key-3", version(2, 0xb0b0_0002)), WALL_MS - 60_000);
    assert_golden("one-key-each-way", &exchange(&mut alice, &mut bob, WALL_MS));
}

#[test]
fn golden_newcomer() {
    let (mut alice, mut bob) = alice_and_bob(&[], &values("key", 4));
    let newcomer = (&mut alice, cut_off_since(0));
    assert_golden("newcomer", &exchange_as(newcomer, (&mut bob, member()), WALL_MS));
}

#[test]
fn golden_hot_list() {
    let in_common = values("key", 100);
    let (mut alice, mut bob) = alice_and_bob(&in_common, &in_common);
    let _ = alice.put("key-7", b"news"[..].into(), None, WALL_MS - 20);
    let _ = alice.delete("key-8", WALL_MS - 10);
    assert_golden("recent-updates", &exchange(&mut alice, &mut bob, WALL_MS));
}
