//! The push-pull exchange that makes two stores equal: message in, message out.
//!
//! Anti-entropy (Demers et al., "Epidemic Algorithms for Replicated Database Maintenance", 1987)
//! over a hash trie of fan-out 16. The initiator says the digest of everything it has. If the called
//! one has the same, that was all: one round trip. Otherwise the two walk down the trie, in turns:
//! where a bucket differs, one side says the digests of its 16 children, or, if it has 8 entries or
//! fewer there, lists their hashes and versions. On a list the other side sends what it has fresher
//! and asks for what it lacks.
//!
//! An [`Exchange`] remembers nothing but the exchange itself, and nothing is remembered of a
//! peer between two exchanges: broken anywhere, the next one resumes where the stores now differ.
//!
//! The methods take the store for one short step each: lock, call, unlock. No step waits for the
//! other side.

use crate::core::digest::{Digest, FAN_OUT, Item, MAX_DEPTH, Prefix};
use crate::core::message::{Hello, MAX_LINE_ITEMS, Message, Refusal, write_record};
use crate::core::scheduler::Subtree;
use crate::core::store::{Merged, SHARD_DEPTH, Store, shard_of, within_shards};
use crate::core::version::END_OF_TIME_MS;
use siphasher::sip::SipHasher13;

/// A bucket with this many entries or fewer is listed instead of split.
pub const MAX_LISTED_ENTRIES: usize = 8;

/// A turn is closed once it is this long; what is left waits for the next exchange.
pub const FULL_TURN_BYTES: usize = 4 * 1024 * 1024;

/// The most turns in an exchange: the trie is 16 deep, and records and closing words follow.
pub const MAX_TURNS: u32 = 24;

/// What a node says of itself in an exchange.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name that both sides must share.
    pub cluster: Box<str>,
    /// Since when it has known all that its cluster had, in Unix milliseconds; see
    /// [`Summary::complete_since_ms`]. At first its own start.
    pub complete_since_ms: u64,
    /// Since when it has had no peer, if that is longer than half the tombstones' time; 0 for never
    /// yet.
    pub isolated_since_ms: Option<u64>,
}

/// What to do after a message was taken in.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Read on: the other side's turn goes on.
    Listen,
    /// It is our turn: call [`Exchange::reply`] until it gives the turn, and send that.
    Speak,
    /// The exchange has ended.
    Over,
}

/// How far an exchange came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// The other node's id, once it has said it.
    pub peer: Option<u32>,
    /// How far the other's clock is ahead of ours, in milliseconds, if it said what it shows.
    pub clock_offset_ms: Option<i64>,
    /// When it began, by our wall clock. What is written later may not be part of it.
    pub began_ms: u64,
    /// Once it is complete: since when we have known all that our cluster had. That ends when we
    /// are isolated, and goes back again as far as the knowledge of the node with which we catch up;
    /// but two that were both cut off know only what they have from now on.
    pub complete_since_ms: u64,
    /// The part of a relay tree that the initiator has handed over.
    pub subtree: Option<Subtree>,
    /// Whether it ran to its end with nothing left over, so that each side has what the other had.
    pub complete: bool,
    /// How many local writes there had been when it began: all of them are part of it.
    pub writes: u64,
    /// Whether it is known that the other side has all those. The responder does not learn
    /// whether its last records have arrived.
    pub confirmed: bool,
    /// Records sent.
    pub sent: u64,
    /// Records received that were fresher than ours.
    pub taken: u64,
    /// Entries purged because they were deleted while we were isolated.
    pub purged: u64,
}

/// A turn to send.
#[derive(Debug)]
pub struct Turn {
    /// All of it, for one write.
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
    /// The other side has no version at all of these keys.
    peer_lacks_key: bool,
}

/// One exchange, seen from one side.
pub struct Exchange {
    role: Role,
    me: Identity,
    /// Set by the hello, so that each exchange truncates digests differently.
    salt: u64,
    /// The other side's root digest, from its hello until the first answer.
    peer_root: Option<u64>,
    /// What the recent-update list explains of the difference between the roots.
    explained: u64,
    peer_complete_since_ms: Option<u64>,
    peer_isolated_since_ms: Option<u64>,
    has_said_complete_since: bool,
    /// The items of the shard that was looked at last: questions come shard by shard.
    grouped: Option<(usize, Vec<Item>)>,
    /// Where the last question of this turn ended; they come in ascending order.
    asked_up_to: Option<u64>,
    /// The turn being written.
    out: Vec<u8>,
    /// Whether it asks anything.
    asks: bool,
    /// What to ask for, to say purged and to send at the end of the turn.
    wanted: Vec<u64>,
    purged: Vec<u64>,
    to_send: Vec<ToSend>,
    /// Whether either side left something out for lack of room.
    left_out: bool,
    turns: u32,
    summary: Summary,
}

impl Exchange {
    /// Opens an exchange, and hands a part of a relay tree over with it: fetch the first turn with
    /// [`Exchange::reply`].
    pub fn initiate(me: Identity, store: &Store, wall_ms: u64, subtree: Option<Subtree>) -> Self {
        let mut exchange = Self::new(Role::Initiator, me);
        let Digest { xor: root, count } = store.root();
        let hello = Hello {
            cluster: exchange.me.cluster.clone(),
            node: store.node(),
            clock_ms: wall_ms.min(END_OF_TIME_MS - 1),
            count: count as u64,
            root,
        };
        exchange.summary.began_ms = wall_ms;
        exchange.summary.writes = store.writes();
        exchange.salt = salt(&hello);
        exchange.say(Message::Hello(hello));
        exchange.say_isolated();
        if let Some(subtree) = subtree {
            exchange.say(Message::Relay(subtree));
        }
        let hot = store.recent_updates(wall_ms);
        if count == 0 {
            exchange.ask(store, Prefix::ROOT);
        } else if !hot.is_empty() {
            exchange.say(Message::RecentUpdates(hot));
        }
        exchange
    }

    /// Takes part in an exchange that somebody else opens.
    pub fn respond(me: Identity) -> Self {
        Self::new(Role::Responder, me)
    }

    fn new(role: Role, me: Identity) -> Self {
        Self {
            role,
            me,
            salt: 0,
            peer_root: None,
            explained: 0,
            peer_complete_since_ms: None,
            peer_isolated_since_ms: None,
            has_said_complete_since: false,
            grouped: None,
            asked_up_to: None,
            out: Vec::new(),
            asks: false,
            wanted: Vec::new(),
            purged: Vec::new(),
            to_send: Vec::new(),
            left_out: false,
            turns: 0,
            summary: Summary::default(),
        }
    }

    /// How far it came.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Takes in one message of the other side's turn.
    ///
    /// A refusal ends the exchange; it is to be told to the other side, unless that said it.
    pub fn receive(
        &mut self,
        store: &mut Store,
        message: Message,
        wall_ms: u64,
    ) -> Result<Next, Refusal> {
        let greeted = self.role == Role::Initiator || self.summary.peer.is_some();
        match message {
            Message::Refuse(refusal) => return Err(refusal),
            Message::Hello(hello) if !greeted => self.greet(store, &hello, wall_ms)?,
            _ if !greeted => return Err(Refusal::Grammar),
            Message::CompleteSince(ms) => self.peer_complete_since_ms = Some(ms),
            Message::Isolated(ms) => {
                self.peer_isolated_since_ms = Some(ms);
                self.say_complete_since();
            }
            Message::Relay(subtree) => self.summary.subtree = Some(subtree),
            Message::RecentUpdates(items) => {
                items.into_iter().for_each(|item| self.explain(store, item))
            }
            Message::Row(bucket, children) => {
                self.ascend(bucket)?;
                self.descend(store, bucket, &children);
            }
            Message::List(bucket, items) => {
                self.ascend(bucket)?;
                self.match_list(store, bucket, &items);
            }
            Message::Want(hashes) => self.to_send.extend(
                hashes
                    .iter()
                    .map(|&hash| ToSend { bucket: Prefix::leaf(hash), peer_lacks_key: false }),
            ),
            Message::Purged(hashes) => self.purge(store, &hashes),
            Message::Record(record) => {
                if store.merge(record, wall_ms) == Merged::Taken {
                    self.summary.taken += 1;
                }
            }
            Message::Rest => self.left_out = true,
            Message::End => {
                self.asked_up_to = None;
                self.turns += 1;
                if self.turns > MAX_TURNS {
                    return Err(Refusal::Grammar);
                }
                // The first turn says what everything comes to; go into it unless the recent-update list
                // explains the whole difference.
                if let Some(theirs) = self.peer_root.take() {
                    if theirs ^ store.root().xor != self.explained {
                        self.ask(store, Prefix::ROOT);
                    }
                }
                return Ok(Next::Speak);
            }
            Message::Done(node) if self.role == Role::Initiator => {
                self.summary.peer = Some(node);
                self.end();
                return Ok(Next::Over);
            }
            Message::Hello(_) | Message::Done(_) => return Err(Refusal::Grammar),
        }
        Ok(Next::Listen)
    }

    /// Writes the next piece of our turn, at most one shard's records; gives the turn when it is
    /// whole, so call it until then.
    pub fn reply(&mut self, store: &mut Store) -> Option<Turn> {
        self.ask_for_items();
        // The stack's top is the least bucket.
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
            self.say(Message::Done(store.node()));
        } else {
            self.say(Message::End);
        }
        self.asks = false;
        Some(Turn { bytes: std::mem::take(&mut self.out), last })
    }

    fn end(&mut self) {
        self.summary.complete = !self.left_out;
        self.summary.confirmed =
            self.summary.complete && (self.role == Role::Initiator || self.summary.sent == 0);
        let both_are_isolated = self.peer_isolated_since_ms.is_some();
        self.summary.complete_since_ms = match self.me.isolated_since_ms {
            None => self.me.complete_since_ms,
            Some(_) if both_are_isolated => self.summary.began_ms,
            Some(_) => self.peer_complete_since_ms.unwrap_or(self.summary.began_ms),
        };
    }

    fn greet(&mut self, store: &mut Store, hello: &Hello, wall_ms: u64) -> Result<(), Refusal> {
        if hello.cluster != self.me.cluster {
            return Err(Refusal::Cluster);
        }
        if hello.node == store.node() {
            return Err(Refusal::OwnAddress);
        }
        self.summary.began_ms = wall_ms;
        self.summary.writes = store.writes();
        self.summary.peer = Some(hello.node);
        let offset_ms = hello.clock_ms.wrapping_sub(wall_ms) as i64;
        self.summary.clock_offset_ms = Some(offset_ms);
        store.record_peer_clock(hello.node, offset_ms, wall_ms);
        self.salt = salt(hello);
        self.peer_root = Some(hello.root);
        self.say_isolated();
        Ok(())
    }

    /// Settles one recent update, and what it explains of the difference between the roots.
    fn explain(&mut self, store: &Store, theirs: Item) {
        let ours: Vec<Item> = store
            .entries(shard_of(theirs.hash), |hash| hash == theirs.hash)
            .into_iter()
            .map(|(hash, _, entry)| Item { hash, version: entry.version })
            .collect();
        if ours != [theirs] {
            self.explained ^= theirs.fingerprint();
            ours.iter().for_each(|item| self.explained ^= item.fingerprint());
            self.compare(&ours, &[theirs]);
        }
    }

    /// Goes on with those of a bucket's children whose digests differ.
    fn descend(&mut self, store: &Store, bucket: Prefix, children: &[Option<u32>; FAN_OUT]) {
        for (index, &theirs) in children.iter().enumerate() {
            let Some(child) = bucket.child(index) else { return };
            if self.digest(store, child).salted(self.salt) == theirs {
                continue;
            }
            match theirs {
                Some(_) => self.ask(store, child),
                None => self.send_all(store, child),
            }
        }
    }

    /// Sends and asks for what a list of all that the other has in a bucket shows to be needed.
    fn match_list(&mut self, store: &Store, bucket: Prefix, items: &[Item]) {
        // Nothing that the roots say is left to explain.
        if bucket == Prefix::ROOT {
            self.peer_root = None;
        }
        for part in within_shards(bucket) {
            let theirs = in_bucket(items, part);
            if theirs.is_empty() {
                self.send_all(store, part);
            } else {
                let ours = self.items(store, part);
                self.compare(&ours, theirs);
            }
        }
    }

    /// Compares what both sides hold in a bucket, each in ascending order.
    ///
    /// Hashes are matched as sets, so that two keys with one hash are settled like any others.
    fn compare(&mut self, ours: &[Item], theirs: &[Item]) {
        let mut hashes: Vec<u64> = ours.iter().chain(theirs).map(|item| item.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        for hash in hashes {
            let bucket = Prefix::leaf(hash);
            let (ours, theirs) = (in_bucket(ours, bucket), in_bucket(theirs, bucket));
            let our_best = ours.iter().rfind(|item| !theirs.contains(item));
            let their_best = theirs.iter().rfind(|item| !ours.contains(item));
            if their_best > our_best {
                let is_purged = |item: &Item| {
                    ours.is_empty()
                        && self.peer_purges_before_ms().is_some_and(|ms| item.version.ms() < ms)
                };
                if their_best.is_some_and(is_purged) {
                    self.purged.push(hash);
                } else {
                    self.wanted.push(hash);
                }
            } else if our_best.is_some() {
                self.to_send.push(ToSend { bucket, peer_lacks_key: theirs.is_empty() });
            }
        }
    }

    /// Says what we have in a bucket that differs, for the other to say what it needs.
    fn ask(&mut self, store: &Store, bucket: Prefix) {
        if self.out.len() >= FULL_TURN_BYTES {
            return self.leave_out();
        }
        self.asks = true;
        let count = self.digest(store, bucket).count;
        if count <= MAX_LISTED_ENTRIES || bucket.depth() == MAX_DEPTH {
            let mut items = Vec::new();
            for part in within_shards(bucket) {
                if store.digest(part).count > 0 {
                    items.extend(self.items(store, part));
                }
            }
            items.truncate(MAX_LINE_ITEMS);
            self.say(Message::List(bucket, items));
        } else {
            let salt = self.salt;
            let child = |index| bucket.child(index).expect("only leaves have no children");
            let children =
                std::array::from_fn(|index| self.digest(store, child(index)).salted(salt));
            self.say(Message::Row(bucket, children));
        }
    }

    /// Will send all that we have in a bucket where the other has nothing.
    fn send_all(&mut self, store: &Store, bucket: Prefix) {
        for part in within_shards(bucket) {
            if self.digest(store, part).count > 0 {
                self.to_send.push(ToSend { bucket: part, peer_lacks_key: true });
            }
        }
    }

    /// Sends what is to be sent of one shard.
    fn send_shard(&mut self, store: &mut Store, shard: usize) {
        let rest =
            self.to_send.partition_point(|to_send| shard_of(to_send.bucket.first()) != shard);
        let mut to_send = self.to_send.split_off(rest);
        to_send.reverse();
        // What is to be sent as a whole takes in the keys there that were also asked for one by one.
        to_send.dedup_by(|next, to_send| to_send.bucket.contains(next.bucket.first()));
        let to_send_of = |hash: u64| {
            let after = to_send.partition_point(|to_send| to_send.bucket.first() <= hash);
            to_send[..after].last().filter(|to_send| to_send.bucket.contains(hash))
        };
        let purge_before_ms = self.purge_before_ms();
        let mut purged: Vec<Box<str>> = Vec::new();
        for (hash, key, entry) in store.entries(shard, |hash| to_send_of(hash).is_some()) {
            let peer_lacks_key = to_send_of(hash).is_some_and(|to_send| to_send.peer_lacks_key);
            if peer_lacks_key && purge_before_ms.is_some_and(|ms| entry.version.ms() < ms) {
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

    /// Purges what the other side says was deleted while we were isolated.
    fn purge(&mut self, store: &mut Store, hashes: &[u64]) {
        let Some(before_ms) = self.purge_before_ms() else { return };
        for &purged in hashes {
            let keys: Vec<Box<str>> = store
                .entries(shard_of(purged), |hash| hash == purged)
                .into_iter()
                .filter(|(_, _, entry)| entry.version.ms() < before_ms)
                .map(|(_, key, _)| key.into())
                .collect();
            self.summary.purged += keys.len() as u64;
            keys.iter().for_each(|key| store.purge(key));
        }
    }

    /// If we were isolated, and the other was there before and was not: what it lacks of before then
    /// was deleted.
    fn purge_before_ms(&self) -> Option<u64> {
        let was_there = |&isolated_since_ms: &u64| {
            self.peer_isolated_since_ms.is_none()
                && self
                    .peer_complete_since_ms
                    .is_some_and(|complete_since_ms| complete_since_ms <= isolated_since_ms)
        };
        self.me.isolated_since_ms.filter(was_there)
    }

    /// If the other was isolated, and we were there before and were not: what we lack of before then
    /// was deleted.
    fn peer_purges_before_ms(&self) -> Option<u64> {
        let was_there = |&isolated_since_ms: &u64| {
            self.me.isolated_since_ms.is_none() && self.me.complete_since_ms <= isolated_since_ms
        };
        self.peer_isolated_since_ms.filter(was_there)
    }

    /// Writes down what to say purged, and what to ask for by its hash.
    fn ask_for_items(&mut self) {
        for hashes in lines_of(std::mem::take(&mut self.purged)) {
            self.say(Message::Purged(hashes));
        }
        for hashes in lines_of(std::mem::take(&mut self.wanted)) {
            self.asks = true;
            self.say(Message::Want(hashes));
        }
    }

    /// Questions come in ascending order, each about another bucket, which bounds what one turn
    /// can ask of us.
    fn ascend(&mut self, bucket: Prefix) -> Result<(), Refusal> {
        if self.asked_up_to.is_some_and(|end| bucket.first() <= end) {
            return Err(Refusal::Grammar);
        }
        self.asked_up_to = Some(bucket.last());
        Ok(())
    }

    /// The digest of any bucket, from the store's own or from the items of its shard.
    fn digest(&mut self, store: &Store, bucket: Prefix) -> Digest {
        if bucket.depth() <= SHARD_DEPTH {
            return store.digest(bucket);
        }
        let mut digest = Digest::default();
        in_bucket(self.group(store, shard_of(bucket.first())), bucket)
            .iter()
            .for_each(|&item| digest.add(item));
        digest
    }

    /// The items of a bucket within one shard.
    fn items(&mut self, store: &Store, bucket: Prefix) -> Vec<Item> {
        in_bucket(self.group(store, shard_of(bucket.first())), bucket).to_vec()
    }

    fn group(&mut self, store: &Store, shard: usize) -> &[Item] {
        if self.grouped.as_ref().is_none_or(|(grouped, _)| *grouped != shard) {
            self.grouped = None;
        }
        &self.grouped.get_or_insert_with(|| (shard, store.items(shard))).1
    }

    fn leave_out(&mut self) {
        if !self.left_out {
            self.left_out = true;
            self.say(Message::Rest);
        }
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

/// The items, in ascending order, that lie in a bucket.
fn in_bucket(items: &[Item], bucket: Prefix) -> &[Item] {
    let start = items.partition_point(|item| item.hash < bucket.first());
    let end = items.partition_point(|item| item.hash <= bucket.last());
    &items[start..end]
}

/// Both sides know it from the hello, and no two hellos of a node are alike.
fn salt(hello: &Hello) -> u64 {
    SipHasher13::new_with_keys(u64::from(hello.node), hello.clock_ms)
        .hash(&hello.root.to_be_bytes())
}
