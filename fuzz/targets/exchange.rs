//! An exchange with a peer that sends anything at all, in either role.
#![no_main]

use gossip_sidecar::{
    Entry, Exchange, FULL_TURN_BYTES, Identity, MAX_CLOCK_LEAD_MS, MAX_PURGED_AT_ONCE, MAX_TURNS,
    Message, Next, Record, Store, Subtree, Version,
};
use gossip_sidecar_fuzz::{WALL_MS, assert_consistent, contents, peak_bytes, store};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

/// More than any turn of these small stores.
const MOST_TURN_BYTES: usize = FULL_TURN_BYTES / 2;

/// How many keys we may have; every fifth is deleted, and every seventh has a TTL.
const OUR_KEYS: [usize; 4] = [0, 4, 13, 150];

/// Our side, as the first byte of the input describes it.
struct Scene {
    is_initiator: bool,
    is_isolated: bool,
    keys: usize,
}

impl Scene {
    fn new(byte: u8) -> Self {
        let keys = OUR_KEYS[usize::from(byte >> 2 & 3)];
        Self { is_initiator: byte & 1 > 0, is_isolated: byte & 2 > 0, keys }
    }

    fn identity(&self) -> Identity {
        let isolated_since_ms = self.is_isolated.then_some(WALL_MS - 3_600_000);
        Identity {
            cluster: "default".into(),
            complete_since_ms: WALL_MS - 7_200_000,
            isolated_since_ms,
            is_ready: !self.is_isolated,
        }
    }

    fn store(&self, node: u32) -> Store {
        let mut store = store(node);
        for number in 0..self.keys {
            let version = Version::new(WALL_MS - 7_200_000 + number as u64, 0, 9);
            let entry = match number {
                _ if number % 5 == 4 => Entry::tombstone(version),
                _ if number % 7 == 6 => Entry::new(version, *b"v", Some(WALL_MS + 30_000)),
                _ => Entry::lasting(version, *b"v"),
            };
            let _ = store.merge(Record { key: format!("key-{number}").into(), entry }, WALL_MS);
        }
        store
    }
}

/// Writes our turn, checks it, and returns whether it is the last.
fn speak(exchange: &mut Exchange, store: &mut Store) -> bool {
    let sent = exchange.summary().sent;
    let count = store.root().count as u64;
    let turn = loop {
        if let Some(turn) = exchange.reply(store) {
            break turn;
        }
    };
    assert!(turn.bytes.len() < MOST_TURN_BYTES, "a turn of {} bytes", turn.bytes.len());
    assert!(exchange.summary().sent - sent <= count, "each record is sent at most once in a turn");
    let mut said = &turn.bytes[..];
    while !said.is_empty() {
        let message = Message::read(&mut said);
        assert!(message.is_ok(), "our turn cannot be read: {message:?}");
    }
    turn.last
}

/// Runs the exchange to its end, and returns all records received.
fn run_exchange(scene: &Scene, store: &mut Store, mut input: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut turns = 0;
    let mut exchange = if scene.is_initiator {
        let subtree = Some(Subtree { tree: 1, size: 3 });
        let mut exchange = Exchange::initiate(scene.identity(), store, WALL_MS, subtree);
        assert!(!speak(&mut exchange, store));
        exchange
    } else {
        Exchange::respond(scene.identity())
    };
    while let Ok(message) = Message::read(&mut input) {
        if let Message::Record(record) = &message {
            records.push(record.clone());
        }
        match exchange.receive(store, message, WALL_MS) {
            Ok(Next::Listen) => {}
            Ok(Next::Speak) => {
                turns += 1;
                assert!(turns <= MAX_TURNS, "the exchange does not end");
                if speak(&mut exchange, store) {
                    break;
                }
            }
            Ok(Next::Over) | Err(_) => break,
        }
    }
    records
}

/// Whether an entry is the given one or, if that may have expired, its tombstone.
fn is_of(entry: &Entry, given: &Entry) -> bool {
    entry == given || (*entry == Entry::tombstone(given.version) && given.expires_ms().is_some())
}

fn check(scene: &Scene, before: &BTreeMap<Box<str>, Entry>, records: &[Record], ours: &Store) {
    let after = contents(ours);
    for (key, old) in before {
        let is_kept = after.get(key).is_some_and(|new| new.version >= old.version);
        assert!(is_kept || (scene.is_isolated && !after.contains_key(key)), "{key} is lost");
    }
    for (key, new) in &after {
        let given = records.iter().filter(|record| record.key == *key).map(|record| &record.entry);
        let is_known = before.get(key).into_iter().chain(given).any(|entry| is_of(new, entry));
        assert!(is_known, "{key}: {new:?} was neither ours nor sent to us");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, input)) = bytes.split_first() else { return };
    let scene = Scene::new(*first);
    let mut ours = scene.store(1);
    let before = contents(&ours);
    let (peak_bytes, records) = peak_bytes(|| run_exchange(&scene, &mut ours, input));
    assert!(peak_bytes < (4 << 20) + 64 * input.len(), "{peak_bytes} bytes");
    assert_consistent(&ours);
    check(&scene, &before, &records, &ours);

    // An exchange that a peer has opened does not move our time, and moves our versions only up to a
    // limit.
    assert_eq!(ours.now_ms(WALL_MS), WALL_MS, "the peer has set our clock");
    let _ = ours.put("a new key of ours", Box::default(), None, WALL_MS);
    let own = ours.entry("a new key of ours").expect("it was just written");
    assert!(own.version.ms() <= WALL_MS + MAX_CLOCK_LEAD_MS + 1, "{}", own.version);

    // What the peer has sent can be passed on.
    let mut other = store(2);
    if !records.is_empty() {
        honest(&mut other, &mut ours);
        honest(&mut other, &mut ours);
    }
    while ours.purge_expired(WALL_MS) == MAX_PURGED_AT_ONCE {}
    let _ = other.purge_expired(WALL_MS);
    assert_consistent(&ours);
    assert!(records.is_empty() || other.root() == ours.root(), "the stores are not equal");
});

/// An exchange of two nodes that keep to the protocol, after which each has what the other had.
fn honest(initiator: &mut Store, responder: &mut Store) {
    let me = || Identity {
        cluster: "default".into(),
        complete_since_ms: 0,
        isolated_since_ms: None,
        is_ready: true,
    };
    let mut asking = Exchange::initiate(me(), initiator, WALL_MS, None);
    let mut answering = Exchange::respond(me());
    loop {
        for is_initiator in [true, false] {
            let (speaker, from) = if is_initiator {
                (&mut asking, &mut *initiator)
            } else {
                (&mut answering, &mut *responder)
            };
            let turn = loop {
                if let Some(turn) = speaker.reply(from) {
                    break turn;
                }
            };
            let (listener, to) = if is_initiator {
                (&mut answering, &mut *responder)
            } else {
                (&mut asking, &mut *initiator)
            };
            let mut input = &turn.bytes[..];
            while !input.is_empty() {
                let message =
                    Message::read(&mut input).expect("a side reads what the other writes");
                let next = listener.receive(to, message, WALL_MS);
                if next.expect("neither side is refused") == Next::Over {
                    return;
                }
            }
        }
    }
}
