//! What the tests share: stores with known contents, plain maps to compare them with, and exchanges
//! between two stores.

// Each test binary uses a part of it.
#![allow(dead_code)]

use gossip_sidecar::{
    Digest, ENTRY_OVERHEAD_BYTES, EXPIRY_OVERHEAD_BYTES, Entry, Exchange, Identity, Item, Limits,
    Message, Next, Prefix, Record, SHARDS, Store, Summary, Version, key_hash,
};
use proptest::test_runner::{Config, RngSeed};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// The time at which the tests' exchanges take place.
pub const WALL_MS: u64 = 1_700_000_000_000;

/// More exchanges than any pair of stores in these tests needs to become equal.
const MAX_EXCHANGES: usize = 1_000;

/// The same cases in every run, so that a failure can be reproduced.
pub fn fixed_seed(cases: u32) -> Config {
    Config {
        cases,
        rng_seed: RngSeed::Fixed(0x676f_7373_6970),
        failure_persistence: None,
        ..Config::default()
    }
}

/// A member of the tests' cluster that is ready, has always been complete and was never isolated.
pub fn member() -> Identity {
    Identity {
        cluster: "default".into(),
        complete_since_ms: 0,
        isolated_since_ms: None,
        is_ready: true,
    }
}

/// A member that has been isolated since `since_ms`.
pub fn isolated_member(since_ms: u64) -> Identity {
    Identity { isolated_since_ms: Some(since_ms), ..member() }
}

/// An empty store without a quota that never purges a tombstone.
pub fn store(node: u32) -> Store {
    let limits = Limits { max_store_bytes: u64::MAX / 2, tombstone_ttl_ms: u64::MAX / 2 };
    Store::new(node, u64::from(node), limits)
}

/// A store that learned these records long before [`WALL_MS`], so that none of them is recent.
pub fn store_with(node: u32, records: &[Record]) -> Store {
    let mut store = store(node);
    for record in records {
        let _ = store.merge(record.clone(), WALL_MS - 3_600_000);
    }
    store
}

pub fn value(key: &str, version: Version, value: &[u8]) -> Record {
    Record { key: key.into(), entry: Entry::lasting(version, value) }
}

pub fn tombstone(key: &str, version: Version) -> Record {
    Record { key: key.into(), entry: Entry::tombstone(version) }
}

/// `count` values by node 9 under keys that start with `name`, a millisecond apart, all of them
/// older than an hour at [`WALL_MS`].
pub fn values(name: &str, count: usize) -> Vec<Record> {
    let version = |index| Version::new(WALL_MS - 7_200_000 + index as u64, 0, 9);
    (0..count).map(|index| value(&format!("{name}-{index}"), version(index), b"v")).collect()
}

/// The first `count` keys `NAME-0`, `NAME-1`, … that lie in the bucket.
pub fn keys_in(bucket: Prefix, name: &str, count: usize) -> Vec<String> {
    (0u64..)
        .map(|index| format!("{name}-{index}"))
        .filter(|key| bucket.contains(key_hash(key)))
        .take(count)
        .collect()
}

/// A store's contents as a plain map: the model that stores are compared with.
pub type Contents = BTreeMap<Box<str>, Entry>;

pub fn contents(store: &Store) -> Contents {
    (0..SHARDS)
        .flat_map(|shard| store.entries(shard, |_| true))
        .map(|(_, key, entry)| (key.into(), entry.clone()))
        .collect()
}

/// The greatest version of each key: what a store must have after merging all of these.
pub fn freshest(all: impl IntoIterator<Item = Contents>) -> Contents {
    let mut freshest = Contents::new();
    for (key, entry) in all.into_iter().flatten() {
        match freshest.get(&key) {
            Some(best) if best.version >= entry.version => {}
            _ => {
                freshest.insert(key, entry);
            }
        }
    }
    freshest
}

/// Asserts that everything that a store derives from its entries agrees with them.
pub fn assert_consistent(store: &Store) {
    let contents = contents(store);
    let mut root = Digest::default();
    let mut bytes = 0;
    let mut live = 0;
    for (key, entry) in &contents {
        root.add(Item { hash: key_hash(key), version: entry.version });
        bytes += key.len() as u64 + ENTRY_OVERHEAD_BYTES;
        bytes += entry.value().map_or(0, |value| value.len() as u64);
        if entry.is_tombstone() || entry.expires_ms().is_some() {
            bytes += key.len() as u64 + EXPIRY_OVERHEAD_BYTES;
        }
        live += usize::from(!entry.is_tombstone());
    }
    assert_eq!(store.root(), root, "digest");
    assert_eq!(store.bytes(), bytes, "bytes");
    assert_eq!(store.live(), live, "live");
    assert_eq!(store.tombstones(), contents.len() - live, "tombstones");
}

/// What happened in an exchange.
#[derive(Default)]
pub struct Outcome {
    pub initiator: Summary,
    pub responder: Summary,
    /// Whether it ran to its end and was not interrupted by the hook.
    pub over: bool,
    /// The turns as they went over the wire, beginning with the initiator's.
    pub turns: Vec<Vec<u8>>,
    /// Messages received by both sides.
    pub messages: usize,
    /// How many of them were `rest`.
    pub rests: usize,
    /// Bytes of `put` and `del` lines with the keys and values behind them.
    pub record_bytes: usize,
}

impl Outcome {
    /// All bytes, both ways.
    pub fn payload_bytes(&self) -> usize {
        self.turns.iter().map(Vec::len).sum()
    }

    /// All bytes other than records: the cost of finding out which of them to send.
    pub fn overhead_bytes(&self) -> usize {
        self.payload_bytes() - self.record_bytes
    }

    pub fn round_trips(&self) -> usize {
        assert_eq!(self.turns.len() % 2, 0, "the last turn is the responder's");
        self.turns.len() / 2
    }

    /// The exchange as a readable text: the role, then what it sends.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for (turn, who) in self.turns.iter().zip(["initiator", "responder"].iter().cycle()) {
            let said = String::from_utf8_lossy(turn);
            for line in said.strip_suffix('\n').unwrap_or(&said).split('\n') {
                text += format!("{who}  {line}").trim_end();
                text.push('\n');
            }
        }
        text
    }
}

pub fn call(initiator: Identity, store: &mut Store, wall_ms: u64) -> Exchange {
    Exchange::initiate(initiator, store, wall_ms, None)
}

/// Runs one exchange between two members that were never isolated.
pub fn exchange(initiator: &mut Store, responder: &mut Store, wall_ms: u64) -> Outcome {
    exchange_as((initiator, member()), (responder, member()), wall_ms)
}

/// Runs one exchange.
pub fn exchange_as(
    initiator: (&mut Store, Identity),
    responder: (&mut Store, Identity),
    wall_ms: u64,
) -> Outcome {
    let outcome =
        exchange_with(initiator, responder, wall_ms, &mut |_, _, _| ControlFlow::Continue(()));
    assert!(outcome.over);
    outcome
}

/// What other threads may do between two steps of an exchange, given the initiator's store, the
/// responder's, and the number of messages so far; `Break` interrupts the exchange there.
pub type Hook<'a> = &'a mut dyn FnMut(&mut Store, &mut Store, usize) -> ControlFlow<()>;

/// Runs one exchange, and calls `hook` wherever neither side holds its lock.
pub fn exchange_with(
    (initiator, initiator_is): (&mut Store, Identity),
    (responder, responder_is): (&mut Store, Identity),
    wall_ms: u64,
    hook: Hook<'_>,
) -> Outcome {
    let mut sides = [call(initiator_is, initiator, wall_ms), Exchange::respond(responder_is)];
    let mut stores = [initiator, responder];
    let mut outcome = Outcome::default();
    outcome.over = run_exchange(&mut sides, &mut stores, wall_ms, hook, &mut outcome).is_continue();
    outcome.initiator = sides[0].summary();
    outcome.responder = sides[1].summary();
    outcome
}

fn run_exchange(
    sides: &mut [Exchange; 2],
    stores: &mut [&mut Store; 2],
    wall_ms: u64,
    hook: Hook<'_>,
    outcome: &mut Outcome,
) -> ControlFlow<()> {
    let mut between_steps = |stores: &mut [&mut Store; 2], messages| {
        let [initiator, responder] = stores;
        hook(initiator, responder, messages)
    };
    between_steps(stores, 0)?;
    for speaker in [0, 1].into_iter().cycle() {
        let listener = 1 - speaker;
        let turn = loop {
            let turn = sides[speaker].reply(stores[speaker]);
            between_steps(stores, outcome.messages)?;
            if let Some(turn) = turn {
                break turn;
            }
        };
        outcome.turns.push(turn.bytes.clone());
        let mut input = &turn.bytes[..];
        let mut next = Next::Listen;
        while next == Next::Listen {
            let before = input;
            let message = Message::read(&mut input).expect("each side reads what the other writes");
            let said = &before[..before.len() - input.len()];
            let mut rewritten = Vec::with_capacity(said.len());
            message.write(&mut rewritten);
            assert!(rewritten == said, "a message has one form");
            match message {
                Message::Record(_) => outcome.record_bytes += said.len(),
                Message::Rest => outcome.rests += 1,
                _ => {}
            }
            outcome.messages += 1;
            next = sides[listener]
                .receive(stores[listener], message, wall_ms)
                .expect("a peer that keeps to the protocol is not refused");
            between_steps(stores, outcome.messages)?;
        }
        assert!(input.is_empty(), "bytes follow the end of a turn");
        assert_eq!(next == Next::Over, turn.last, "both sides agree on when it is over");
        if turn.last {
            break;
        }
    }
    ControlFlow::Continue(())
}

/// Repeats exchanges until one is complete, and returns how many that took.
pub fn exchange_until_complete(
    initiator: &mut Store,
    responder: &mut Store,
    wall_ms: u64,
) -> usize {
    (1..=MAX_EXCHANGES)
        .find(|round| exchange(initiator, responder, wall_ms + *round as u64).initiator.complete)
        .expect("exchanges complete within the limit")
}
