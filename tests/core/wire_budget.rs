//! What an exchange costs in bytes and round trips, counted over the messages as they are written.
//!
//! Overhead is every byte of payload, both ways, except for the `put` and `del` lines with their
//! keys and values. The bounds are the project's budgets: a row beyond its budget fails the test,
//! which then shows the whole table.

use crate::support::*;
use gossip_sidecar::{Prefix, RECENT_FOR_MS, Record, Store, key_hash};
use std::fmt::Write;

/// The most payload of an exchange between equal stores, both ways.
const IDLE_BYTES: usize = 128;

/// The most overhead of bringing a newcomer up to date, relative to the records that it is sent.
const NEWCOMER_PERCENT: f64 = 1.0;

/// How many keys differ, over how many exchanges the cost is averaged, and the most overhead for
/// each such key in bytes: in stores of up to 10 000 entries, and in larger ones.
const BUDGETS: [(usize, usize, f64, f64); 4] = [
    (1, 1000, 650.0, 900.0),
    (10, 30, 450.0, 650.0),
    (100, 10, 320.0, 550.0),
    (1000, 4, 200.0, 420.0),
];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Writer {
    Initiator,
    Responder,
    Both,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Change {
    Overwritten,
    New,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Layout {
    /// Anywhere in the trie.
    Spread,
    /// In neighbouring buckets.
    Clustered,
}

/// Two stores with the same entries, which each trial leaves equal again.
struct Pair {
    initiator: Store,
    responder: Store,
    /// In the order of their hashes.
    keys: Vec<String>,
    random: fastrand::Rng,
    wall_ms: u64,
    trials: u64,
}

/// A store with these keys, and the time at which the last of them was written.
fn filled(node: u32, keys: &[String]) -> (Store, u64) {
    let mut store = store(node);
    let mut wall_ms = WALL_MS;
    for key in keys {
        wall_ms += 1;
        let _ = store.put(key, [b'x'; 20].into(), None, wall_ms);
    }
    (store, wall_ms)
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("key-{index:08}")).collect()
}

impl Pair {
    fn new(count: usize) -> Self {
        let mut keys = keys(count);
        let (initiator, wall_ms) = filled(0x1a2b_3c4d, &keys);
        let mut responder = store(0x5e6f_7a8b);
        for key in &keys {
            let entry = initiator.entry(key).expect("it was just put").clone();
            let _ = responder.merge(Record { key: key.as_str().into(), entry }, wall_ms);
        }
        keys.sort_by_cached_key(|key| key_hash(key));
        let random = fastrand::Rng::with_seed(0x676f_7373_6970);
        Self { initiator, responder, keys, random, wall_ms, trials: 0 }
    }

    fn choose(&mut self, differences: usize, change: Change, layout: Layout) -> Vec<String> {
        let count = self.keys.len();
        match (change, layout) {
            (Change::Overwritten, Layout::Spread) => self
                .random
                .choose_multiple(0..count, differences)
                .iter()
                .map(|&i| self.keys[i].clone())
                .collect(),
            (Change::Overwritten, Layout::Clustered) => {
                let first = self.random.usize(..=count - differences);
                self.keys[first..first + differences].to_vec()
            }
            (Change::New, Layout::Spread) => {
                (0..differences).map(|index| format!("new-{}-{index}", self.trials)).collect()
            }
            (Change::New, Layout::Clustered) => {
                // The smallest bucket that had room for as many.
                let depth = (count / differences).ilog2() / 4;
                let bucket = Prefix::of(self.random.u64(..), depth as u8);
                keys_in(bucket, &format!("new-{}", self.trials), differences)
            }
        }
    }

    /// Writes, waits until no update is recent any more, and measures how the stores become equal.
    fn trial(
        &mut self,
        differences: usize,
        writer: Writer,
        change: Change,
        layout: Layout,
    ) -> Outcome {
        self.trials += 1;
        let keys = self.choose(differences, change, layout);
        for (index, key) in keys.iter().enumerate() {
            self.wall_ms += 1;
            let by_initiator = match writer {
                Writer::Initiator => true,
                Writer::Responder => false,
                Writer::Both => index % 2 == 0,
            };
            let store = if by_initiator { &mut self.initiator } else { &mut self.responder };
            let _ = store.put(key, [b'y'; 20].into(), None, self.wall_ms);
        }
        self.wall_ms += RECENT_FOR_MS + 1;
        let outcome = exchange(&mut self.initiator, &mut self.responder, self.wall_ms);
        assert!(outcome.initiator.complete && self.initiator.root() == self.responder.root());
        assert_eq!((outcome.initiator.sent + outcome.responder.sent) as usize, differences);
        if change == Change::New {
            for key in &keys {
                self.initiator.purge(key);
                self.responder.purge(key);
            }
        }
        outcome
    }
}

/// Measures each kind of difference between stores of `count` entries.
fn assert_within_budget(count: usize) {
    let mut pair = Pair::new(count);
    let mut table = format!("overhead in bytes a differing key, n = {count}\n");
    let mut misses = 0;

    pair.wall_ms += RECENT_FOR_MS + 1;
    let idle = exchange(&mut pair.initiator, &mut pair.responder, pair.wall_ms);
    let (bytes, round_trips) = (idle.payload_bytes(), idle.round_trips());
    let missed = bytes > IDLE_BYTES || round_trips != 1;
    misses += usize::from(missed);
    writeln!(
        table,
        "d = 0: {bytes} of {IDLE_BYTES} B in all, {round_trips} round trip{}",
        mark(missed)
    )
    .unwrap();

    for (differences, trials, small, large) in BUDGETS {
        let budget = if count > 10_000 { large } else { small };
        for layout in [Layout::Spread, Layout::Clustered] {
            for change in [Change::Overwritten, Change::New] {
                for writer in [Writer::Initiator, Writer::Responder, Writer::Both] {
                    let is_another =
                        differences > 1 || (writer != Writer::Both && layout == Layout::Spread);
                    if differences > count || !is_another {
                        continue;
                    }
                    let outcomes: Vec<Outcome> = (0..trials)
                        .map(|_| pair.trial(differences, writer, change, layout))
                        .collect();
                    let overhead: usize = outcomes.iter().map(Outcome::overhead_bytes).sum();
                    let round_trips: usize = outcomes.iter().map(Outcome::round_trips).sum();
                    let most_trips = outcomes.iter().map(Outcome::round_trips).max().unwrap();
                    let mean = overhead as f64 / (trials * differences) as f64;
                    let missed = mean > budget;
                    misses += usize::from(missed);
                    let [layout, change, writer] =
                        [format!("{layout:?}"), format!("{change:?}"), format!("{writer:?}")];
                    writeln!(
                        table,
                        "d = {differences:<4} {layout:<9} {change:<11} by {writer:<9} {mean:>6.1} of {budget} B, \
                         {:.1} round trips, at most {most_trips}{}",
                        round_trips as f64 / trials as f64,
                        mark(missed),
                    )
                    .unwrap();
                }
            }
        }
    }
    println!("{table}");
    assert_eq!(misses, 0, "rows beyond the budget\n{table}");
}

fn mark(missed: bool) -> &'static str {
    if missed { "  <- beyond the budget" } else { "" }
}

/// Brings an empty node up to date, in either role.
fn assert_newcomer_within_budget(count: usize) {
    let mut table = String::new();
    let mut worst: f64 = 0.0;
    for newcomer_initiates in [true, false] {
        let (mut old, mut wall_ms) = filled(0x1a2b_3c4d, &keys(count));
        let mut new = store(0x5e6f_7a8b);
        let (mut overhead, mut records, mut exchanges) = (0, 0, 0);
        loop {
            wall_ms += RECENT_FOR_MS + 1;
            let outcome = match newcomer_initiates {
                true => exchange(&mut new, &mut old, wall_ms),
                false => exchange(&mut old, &mut new, wall_ms),
            };
            overhead += outcome.overhead_bytes();
            records += outcome.record_bytes;
            exchanges += 1;
            if outcome.initiator.complete {
                break;
            }
        }
        assert_eq!(old.root(), new.root());
        let percent = 100.0 * overhead as f64 / records as f64;
        worst = worst.max(percent);
        let who = if newcomer_initiates {
            "the newcomer is the initiator"
        } else {
            "the newcomer is the responder"
        };
        writeln!(
            table,
            "n = {count}, {who}: {overhead} B beside {records} B of records, {percent:.3} % of \
             {NEWCOMER_PERCENT} %, {exchanges} exchanges"
        )
        .unwrap();
    }
    println!("{table}");
    assert!(worst <= NEWCOMER_PERCENT, "beyond the budget\n{table}");
}

#[test]
fn exchanges_of_100_entries_stay_within_budget() {
    assert_within_budget(100);
}

#[test]
fn exchanges_of_10_000_entries_stay_within_budget() {
    assert_within_budget(10_000);
}

#[test]
#[ignore = "takes minutes in a debug build; run by ./test.sh long"]
fn exchanges_of_a_million_entries_stay_within_budget() {
    assert_within_budget(1_000_000);
}

#[test]
fn a_newcomer_to_100_000_entries_stays_within_budget() {
    assert_newcomer_within_budget(100_000);
}

#[test]
#[ignore = "takes minutes in a debug build; run by ./test.sh long"]
fn a_newcomer_to_a_million_entries_stays_within_budget() {
    assert_newcomer_within_budget(1_000_000);
}
