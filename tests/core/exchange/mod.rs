//! Exchanges between two stores: what they agree on, whatever happens in between.

mod clocks;

mod convergence;

mod crafted_keys;

mod confirmation;

mod turns;

mod refusals;

mod hostile_peers;

mod isolation;

mod transcripts;

use crate::support::{WALL_MS, keys_in, store, tombstone, value};
use gossip_sidecar::{Exchange, Hello, Message, Prefix, Record, Store, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::OnceLock;

/// Keys spread over the trie, keys crowded into one shard, and keys crowded four levels deep.
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

/// A record, and whether it is a recent update, which goes along with a hello.
type Learned = (Record, bool);

/// A record whose value follows from its key and version, as between honest nodes.
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

/// What other threads do to the two stores during an exchange.
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
