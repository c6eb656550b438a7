//! The push-pull exchange that makes two stores equal: message in, message out.
//!
//! Anti-entropy (Demers et al., "Epidemic Algorithms for Replicated Database Maintenance", 1987)
//! over a hash trie of fan-out 16. The initiator says the digest of everything it has. If the
//! responder has the same, that was all: one round trip. Otherwise the two walk down the trie, in
//! turns: where a bucket differs, one side says the digests of its 16 children, or, if it has 8
//! entries or fewer there, lists their hashes and versions. On a list the other side sends what it
//! has fresher, and asks for what it lacks.
//!
//! An [`Exchange`] remembers nothing but itself, and nothing is remembered of a peer between two
//! exchanges. If one breaks, the next resumes where the stores then differ.
//!
//! The methods take the store for one short step each: lock, call, unlock. No step waits for the
//! other side.

mod comparison;

mod shard_items;

mod summary;

pub use self::summary::{Identity, Summary};

use self::shard_items::ShardItems;
use crate::core::digest::{Digest, Prefix};
use crate::core::dissemination::Subtree;
use crate::core::isolation::Isolation;
use crate::core::message::{Hello, MAX_LINE_ITEMS, Message, Refusal, write_record};
use crate::core::shards::{SHARD_DEPTH, SHARDS, shard_of};
use crate::core::store::{Merged, Store};
use crate::core::version::END_OF_TIME_MS;
use siphasher::sip::SipHasher13;

/// A bucket with this many entries or fewer is listed instead of split.
pub const MAX_LISTED_ENTRIES: usize = 8;

/// A turn ends once it is this long. What is left waits for the next exchange.
pub const FULL_TURN_BYTES: usize = 4 * 1024 * 1024;

/// An initiator believes the responder's clock only if it hears it within this time of its hello.
/// One that either process or the network has held up for longer says what the time was.
pub const MAX_CLOCK_AGE_MS: u64 = 1_000;

/// In one of this many exchanges a shard is compared by its salted digest.
const EXCHANGES_FOR_A_CHECK: u64 = 64;

/// The most turns in an exchange: the trie is 16 deep, and the records and `done` follow.
pub const MAX_TURNS: u32 = 24;

/// What to do after a message has been received.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Read on: the peer's turn goes on.
    Listen,
    /// It is our turn: call [`Exchange::reply`] until it returns the turn, and send it.
    Speak,
    /// The exchange has ended.
    Over,
}

/// A turn to send.
#[derive(Debug)]
pub struct Turn {
    /// All of it, to be sent with one write.
    pub bytes: Vec<u8>,
    /// Whether the exchange ends with it.
    pub last: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Initiator,
    Responder,
}

/// A bucket within one shard whose records are to be sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ToSend {
    bucket: Prefix,
    /// The peer has no version at all of these keys.
    peer_lacks_key: bool,
}

/// One exchange, seen from one side.
pub struct Exchange {
    role: Role,
    me: Identity,
    isolation: Isolation,
    has_said_complete_since: bool,
    /// From the hello, so that each exchange truncates digests differently.
    salt: u64,
    /// The peer's root digest and number of entries, from its hello until our first turn.
    peer_root: Option<(u64, u64)>,
    /// What the recent updates explain of the difference between the roots, and between the numbers of
    /// entries.
    explained: (u64, u64),
    /// The shard that the initiator wants checked, and its salted digest there.
    check: Option<(Prefix, Option<u32>)>,
    shard_items: ShardItems,
    /// Where the last question of this turn ended; they come in ascending order.
    asked_up_to: Option<u64>,
    /// The turn being written.
    out: Vec<u8>,
    /// Whether the turn asks anything.
    asks: bool,
    /// Hashes to ask for at the end of the turn.
    wanted: Vec<u64>,
    /// Hashes of entries that the peer is to purge, to say at the end of the turn.
    purged: Vec<u64>,
    /// What to send at the end of the turn.
    to_send: Vec<ToSend>,
    /// Whether either side has left something out for lack of room.
    left_out: bool,
    turns: u32,
    /// The initiator's wall clock, as its hello says.
    hello_clock_ms: u64,
    /// Our wall clock when the peer's latest message came.
    heard_at_ms: u64,
    summary: Summary,
}

impl Exchange {
    /// Opens an exchange, and delegates a part of a relay tree with it. [`Exchange::reply`] returns
    /// the first turn.
    pub fn initiate(
        me: Identity,
        store: &mut Store,
        wall_ms: u64,
        subtree: Option<Subtree>,
    ) -> Self {
        let mut exchange = Self::new(Role::Initiator, me);
        let Digest { xor: root, count } = store.root();
        let hello = Hello {
            cluster: exchange.me.cluster.clone(),
            node: store.node(),
            clock_ms: wall_ms.min(END_OF_TIME_MS - 1),
            count: count as u64,
            root,
        };
        exchange.hello_clock_ms = hello.clock_ms;
        exchange.summary.began_ms = store.begin_exchange(wall_ms);
        exchange.summary.revision = store.revision();
        exchange.set_salt(&hello);
        exchange.say(Message::Hello(hello));
        exchange.say_state(store);
        exchange.say_isolated();
        if let Some(subtree) = subtree {
            exchange.say(Message::Relay(subtree));
        }
        let recent_updates = store.recent_updates(wall_ms);
        if count == 0 {
            exchange.ask(store, Prefix::ROOT);
        } else if !recent_updates.is_empty() {
            exchange.say(Message::RecentUpdates(recent_updates));
        }
        if count > 0 && exchange.salt % EXCHANGES_FOR_A_CHECK == 0 {
            exchange.say_check(store);
        }
        exchange
    }

    /// Takes part in an exchange that a peer opens.
    pub fn respond(me: Identity) -> Self {
        Self::new(Role::Responder, me)
    }

    fn new(role: Role, me: Identity) -> Self {
        Self {
            role,
            isolation: Isolation::new(me.complete_since_ms, me.isolated_since_ms),
            me,
            has_said_complete_since: false,
            salt: 0,
            peer_root: None,
            explained: (0, 0),
            check: None,
            shard_items: ShardItems::default(),
            asked_up_to: None,
            out: Vec::new(),
            asks: false,
            wanted: Vec::new(),
            purged: Vec::new(),
            to_send: Vec::new(),
            left_out: false,
            turns: 0,
            hello_clock_ms: 0,
            heard_at_ms: 0,
            summary: Summary::default(),
        }
    }

    /// What it has come to so far.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Takes one message of the peer's turn.
    ///
    /// A refusal ends the exchange. The caller tells the peer, unless the refusal came from there.
    pub fn receive(
        &mut self,
        store: &mut Store,
        message: Message,
        wall_ms: u64,
    ) -> Result<Next, Refusal> {
        self.heard_at_ms = wall_ms;
        let is_greeted = self.role == Role::Initiator || self.summary.peer.is_some();
        match message {
            Message::Refuse(refusal) => return Err(refusal),
            Message::Hello(hello) if !is_greeted => self.greet(store, &hello, wall_ms)?,
            _ if !is_greeted => return Err(Refusal::Grammar),
            Message::Starting => self.summary.peer_is_starting = true,
            Message::Draining => self.summary.peer_is_draining = true,
            Message::CompleteSince(ms) => self.isolation.peer_is_complete_since(ms),
            Message::Isolated(ms) => {
                self.isolation.peer_is_isolated_since(ms);
                self.say_complete_since();
            }
            Message::Relay(subtree) => self.summary.subtree = Some(subtree),
            Message::RecentUpdates(items) => {
                items.into_iter().for_each(|item| self.compare_update(store, item));
            }
            Message::Check(shard, digest) if self.role == Role::Responder => {
                self.check = Some((shard, digest));
            }
            Message::Row(bucket, children) => {
                self.check_order(bucket)?;
                self.compare_row(store, bucket, &children);
            }
            Message::List(bucket, items) => {
                self.check_order(bucket)?;
                self.compare_list(store, bucket, &items);
            }
            Message::Want(hashes) => self.send_wanted(&hashes),
            Message::Purged(hashes) => self.purge(store, &hashes),
            Message::Record(record) => {
                let is_fresher = store.merge(record, wall_ms) == Merged::Taken;
                self.summary.taken += u64::from(is_fresher);
            }
            Message::Rest => self.left_out = true,
            Message::End => return self.end_peer_turn(store),
            Message::Done { node, ahead_ms } if self.role == Role::Initiator => {
                self.summary.peer = Some(node);
                self.summary.clock_offset_ms = self.clock_offset_ms(ahead_ms);
                self.end();
                return Ok(Next::Over);
            }
            Message::Hello(_) | Message::Check(..) | Message::Done { .. } => {
                return Err(Refusal::Grammar);
            }
        }
        Ok(Next::Listen)
    }

    fn end_peer_turn(&mut self, store: &Store) -> Result<Next, Refusal> {
        self.asked_up_to = None;
        self.turns += 1;
        if self.turns > MAX_TURNS {
            return Err(Refusal::Grammar);
        }
        if let Some((root, count)) = self.peer_root.take() {
            let ours = store.root();
            let difference = (root ^ ours.xor, count.wrapping_sub(ours.count as u64));
            if difference != self.explained {
                self.ask(store, Prefix::ROOT);
            } else if let Some((shard, theirs)) = self.check {
                let ours = self.shard_items.salted_digest(store, shard).salted(self.salt);
                if ours != theirs {
                    self.ask(store, shard);
                }
            }
        }
        Ok(Next::Speak)
    }

    /// Writes the next piece of our turn, at most one shard's records. Returns the turn once it is
    /// whole: call it until then.
    pub fn reply(&mut self, store: &mut Store) -> Option<Turn> {
        self.ask_for_items();
        // In descending order, so that the next bucket can be popped off the end.
        self.to_send.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(to_send) = self.to_send.last() {
            if self.out.len() < FULL_TURN_BYTES {
                self.send_shard(store, shard_of(to_send.bucket.first()));
                return None;
            }
            self.to_send.clear();
            self.leave_out();
        }
        let last = self.role == Role::Responder && !self.asks;
        if last {
            self.end();
            self.say_state(store);
            let clock_ms = self.heard_at_ms.min(END_OF_TIME_MS - 1);
            let ahead_ms = clock_ms as i64 - self.hello_clock_ms as i64;
            self.say(Message::Done { node: store.node(), ahead_ms });
        } else {
            self.say(Message::End);
        }
        self.asks = false;
        Some(Turn { bytes: std::mem::take(&mut self.out), last })
    }

    fn end(&mut self) {
        let summary = &mut self.summary;
        summary.complete = !self.left_out;
        let is_initiator = self.role == Role::Initiator;
        summary.confirmed = summary.complete && is_initiator && !summary.peer_is_draining;
        summary.complete_since_ms = self.isolation.complete_since_ms(summary.began_ms);
    }

    fn greet(&mut self, store: &mut Store, hello: &Hello, wall_ms: u64) -> Result<(), Refusal> {
        if hello.cluster != self.me.cluster {
            return Err(Refusal::Cluster);
        }
        if hello.node == store.node() {
            return Err(Refusal::OwnAddress);
        }
        self.summary.began_ms = store.begin_exchange(wall_ms);
        self.summary.peer = Some(hello.node);
        self.hello_clock_ms = hello.clock_ms;
        self.set_salt(hello);
        self.peer_root = Some((hello.root, hello.count));
        self.say_isolated();
        Ok(())
    }

    /// How far the responder's clock is ahead of ours, if what it said is fresh: it was read about
    /// half-way between our hello and now.
    fn clock_offset_ms(&self, ahead_ms: i64) -> Option<i64> {
        let took_ms = self.heard_at_ms.checked_sub(self.hello_clock_ms)?;
        (took_ms < MAX_CLOCK_AGE_MS).then(|| ahead_ms - took_ms as i64 / 2)
    }

    fn send_wanted(&mut self, hashes: &[u64]) {
        let wanted = |&hash: &u64| ToSend { bucket: Prefix::leaf(hash), peer_lacks_key: false };
        self.to_send.extend(hashes.iter().map(wanted));
    }

    /// Sends what is to be sent of one shard.
    fn send_shard(&mut self, store: &mut Store, shard: usize) {
        let rest = self.to_send.partition_point(|next| shard_of(next.bucket.first()) != shard);
        let mut to_send = self.to_send.split_off(rest);
        to_send.reverse();
        // A bucket that is sent as a whole includes the keys in it that were asked for one by one.
        to_send.dedup_by(|next, whole| whole.bucket.contains(next.bucket.first()));
        let find = |hash: u64| {
            let after = to_send.partition_point(|next| next.bucket.first() <= hash);
            to_send[..after].last().filter(|last| last.bucket.contains(hash))
        };
        let mut purged: Vec<Box<str>> = Vec::new();
        for (hash, key, entry) in store.entries(shard, |hash| find(hash).is_some()) {
            let peer_lacks_key = find(hash).is_some_and(|to_send| to_send.peer_lacks_key);
            if peer_lacks_key && self.isolation.purges(entry.version) {
                purged.push(key.into());
            } else if self.out.len() >= FULL_TURN_BYTES {
                self.leave_out();
                break;
            } else {
                write_record(&mut self.out, key, entry);
                self.summary.sent += 1;
            }
        }
        self.summary.purged += purged.len() as u64;
        purged.iter().for_each(|key| store.purge(key));
    }

    /// Purges what the peer says was deleted while we were isolated.
    fn purge(&mut self, store: &mut Store, hashes: &[u64]) {
        for &deleted in hashes {
            let keys: Vec<Box<str>> = store
                .entries(shard_of(deleted), |hash| hash == deleted)
                .into_iter()
                .filter(|(_, _, entry)| self.isolation.purges(entry.version))
                .map(|(_, key, _)| key.into())
                .collect();
            self.summary.purged += keys.len() as u64;
            keys.iter().for_each(|key| store.purge(key));
        }
    }

    fn ask_for_items(&mut self) {
        for hashes in lines_of(std::mem::take(&mut self.purged)) {
            self.say(Message::Purged(hashes));
        }
        for hashes in lines_of(std::mem::take(&mut self.wanted)) {
            self.asks = true;
            self.say(Message::Want(hashes));
        }
    }

    /// Questions come in ascending order, each about another bucket: that bounds what one turn can
    /// ask of us.
    fn check_order(&mut self, bucket: Prefix) -> Result<(), Refusal> {
        if self.asked_up_to.is_some_and(|end| bucket.first() <= end) {
            return Err(Refusal::Grammar);
        }
        self.asked_up_to = Some(bucket.last());
        Ok(())
    }

    fn leave_out(&mut self) {
        if !self.left_out {
            self.left_out = true;
            self.say(Message::Rest);
        }
    }

    /// Says what is out of the ordinary about us. A responder says it last, in the same step in
    /// which it stops taking records: what it took before it drained, it hands over.
    fn say_state(&mut self, store: &Store) {
        if !self.me.is_ready {
            self.say(Message::Starting);
        }
        if store.is_draining() {
            self.say(Message::Draining);
        }
    }

    /// Has a shard checked that the salt draws.
    fn say_check(&mut self, store: &Store) {
        let number = self.salt / EXCHANGES_FOR_A_CHECK % SHARDS as u64;
        let shard = Prefix::of(number << (64 - 4 * SHARD_DEPTH), SHARD_DEPTH);
        let digest = self.shard_items.salted_digest(store, shard).salted(self.salt);
        self.say(Message::Check(shard, digest));
    }

    fn set_salt(&mut self, hello: &Hello) {
        self.salt = salt(hello);
        self.shard_items.salt = self.salt;
    }

    fn say_isolated(&mut self) {
        if let Some(ms) = self.me.isolated_since_ms {
            self.say_complete_since();
            self.say(Message::Isolated(ms));
        }
    }

    fn say_complete_since(&mut self) {
        if !std::mem::replace(&mut self.has_said_complete_since, true) {
            self.say(Message::CompleteSince(self.me.complete_since_ms));
        }
    }

    fn say(&mut self, message: Message) {
        message.write(&mut self.out);
    }
}

/// The hashes in ascending order, as many together as a line takes.
fn lines_of(mut hashes: Vec<u64>) -> Vec<Vec<u64>> {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.chunks(MAX_LINE_ITEMS).map(<[u64]>::to_vec).collect()
}

/// Known to both sides from the hello, and different for each hello of a node.
fn salt(hello: &Hello) -> u64 {
    SipHasher13::new_with_keys(u64::from(hello.node), hello.clock_ms)
        .hash(&hello.root.to_be_bytes())
}
