//! The map: put, get, delete, expire and merge, and the digests that tell two maps apart.
//!
//! The store takes the time as an argument and does no I/O: with the same calls it comes to the
//! same state. It is meant to stand behind one mutex, locked for one call at a time.

use crate::core::changes::Changes;
use crate::core::digest::{Digest, FAN_OUT, Item, Prefix, key_hash};
use crate::core::entry::{Entry, Record};
use crate::core::version::{Clock, END_OF_TIME_MS, Version};
use siphasher::sip::SipHasher13;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher;

/// Entries are spread over this many maps, so that growing one or listing it is short.
pub const SHARDS: usize = FAN_OUT * FAN_OUT;

/// The depth in the trie at which a bucket is a shard.
pub const SHARD_DEPTH: u8 = 2;

/// What an entry is taken to need beyond its key and value when the quota is counted, in bytes.
pub const ENTRY_OVERHEAD_BYTES: u64 = 96;

/// What a tombstone or an expiring entry needs besides, with its key once more: its place in the
/// order in which they fall due.
pub const EXPIRY_OVERHEAD_BYTES: u64 = 64;

/// How many of the latest changes are offered in a hello before anything is compared.
pub const MAX_RECENT_UPDATES: usize = 16;

/// For how long after it was written a change counts as news, in milliseconds.
pub const RECENT_FOR_MS: u64 = 5_000;

/// How many other nodes' clocks are asked when it is told whether something is past its time.
pub const MAX_CLOCKS: usize = 8;

/// For how long they are asked after they were heard, in milliseconds: a node that starts anew
/// must not count twice.
pub const CLOCK_HEARD_FOR_MS: u64 = 30_000;

/// Expired values and tombstones purged in one call at most, which bounds the time the lock is held.
pub const MAX_PURGED_AT_ONCE: usize = 1_000;

/// What one node keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Local writes beyond this are refused; merges never are, or replicas would differ for good.
    pub max_store_bytes: u64,
    /// A tombstone is purged this long after its deletion, by the middle one of the clocks that
    /// the node has heard of.
    pub tombstone_ttl_ms: u64,
}

/// Keys and the values to write to them.
pub type Pairs = Vec<(String, Box<[u8]>)>;

/// What became of a local write.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// The key had no value before.
    Created(Version),
    /// The key had a value, which is gone.
    Replaced(Version),
    /// The write would take the store past its quota, and changed nothing.
    Full,
    /// The key's version is the last before the end of time, and nothing beats it.
    EndOfTime,
}

/// What became of a record from another node.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merged {
    /// It was fresher and is now ours.
    Taken,
    /// We had it already, or something fresher.
    Known,
    /// A tombstone past its time for a key that we don't have.
    Outdated,
}

/// Hashes keys for the shards' maps, keyed by a seed of this process: who chooses keys cannot
/// choose collisions.
#[derive(Clone, Copy)]
struct SeededHasher(u64);

impl BuildHasher for SeededHasher {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, !self.0)
    }
}

/// What another node's clock showed when it called.
struct HeardClock {
    node: u32,
    /// When that was, by our clock.
    wall_ms: u64,
    /// How far it was ahead of ours.
    ahead_ms: i64,
}

/// The replicated map of one node.
pub struct Store {
    /// By the first [`SHARD_DEPTH`] digits of the key's hash.
    shards: Vec<HashMap<Box<str>, Entry, SeededHasher>>,
    /// The digest of each shard, kept up to date by every change.
    digests: Vec<Digest>,
    clock: Clock,
    /// How far the clocks of the nodes that called last are ahead of ours, one entry a node.
    clocks: VecDeque<HeardClock>,
    /// How far the middle one of them is ahead of ours; see [`Store::now_ms`].
    ahead_ms: i64,
    limits: Limits,
    /// What all entries cost, tombstones included.
    bytes: u64,
    /// Entries that are no tombstones.
    live: usize,
    /// When values expire and tombstones are purged: the next one first.
    expiry_queue: BTreeSet<(u64, Box<str>)>,
    changes: Changes,
    /// The latest changes, at most [`MAX_RECENT_UPDATES`], the oldest first.
    recent: VecDeque<Item>,
    /// Counts local writes and deletions.
    writes: u64,
    /// Whether local writes are over.
    is_closed: bool,
}

impl Store {
    /// An empty store for the process that drew the id `node`; `seed` keys its hash maps.
    pub fn new(node: u32, seed: u64, limits: Limits) -> Self {
        let shard = || HashMap::with_hasher(SeededHasher(seed));
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            digests: vec![Digest::default(); SHARDS],
            clock: Clock::new(node),
            clocks: VecDeque::new(),
            ahead_ms: 0,
            limits,
            bytes: 0,
            live: 0,
            expiry_queue: BTreeSet::new(),
            changes: Changes::default(),
            recent: VecDeque::with_capacity(MAX_RECENT_UPDATES),
            writes: 0,
            is_closed: false,
        }
    }

    /// The key's value.
    pub fn get(&self, key: &str, wall_ms: u64) -> Option<&[u8]> {
        self.find(key, wall_ms)?.value()
    }

    /// The key's state, if it has a value.
    pub fn find(&self, key: &str, wall_ms: u64) -> Option<&Entry> {
        self.entry(key).filter(|entry| has_value(entry, self.now_ms(wall_ms)))
    }

    /// The key's state, tombstone or value.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.shards[shard_of(key_hash(key))].get(key)
    }

    /// Writes a value, which is gone again after `ttl_ms` if that is given.
    pub fn put(&mut self, key: &str, value: Box<[u8]>, ttl_ms: Option<u64>, wall_ms: u64) -> Put {
        self.write(key, value, ttl_ms, wall_ms, self.limits.max_store_bytes)
    }

    fn write(
        &mut self,
        key: &str,
        value: Box<[u8]>,
        ttl_ms: Option<u64>,
        wall_ms: u64,
        max_bytes: u64,
    ) -> Put {
        let now_ms = self.now_ms(wall_ms);
        let expires_ms = ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms).min(END_OF_TIME_MS - 1));
        let old = self.update(key, |current, clock, stored| {
            let before = current.map_or(0, |entry| cost(key, entry));
            let bytes = stored - before + price(key, value.len(), ttl_ms.is_some());
            if bytes > max_bytes && bytes > stored {
                return Err(Put::Full);
            }
            let current = current.map(|entry| entry.version);
            let version = clock.next(wall_ms, current).ok_or(Put::EndOfTime)?;
            Ok(Entry::new(version, value, expires_ms))
        });
        match old {
            Err(refused) => refused,
            Ok((version, old)) => {
                self.writes += 1;
                let had_value = old.is_some_and(|old| has_value(&old, now_ms));
                if had_value { Put::Replaced(version) } else { Put::Created(version) }
            }
        }
    }

    /// Writes all these values, each of another key, or none of them: then it says why.
    pub fn put_all(&mut self, pairs: Pairs, ttl_ms: Option<u64>, wall_ms: u64) -> Result<(), Put> {
        let mut bytes = self.bytes;
        for (key, value) in &pairs {
            let current = self.entry(key);
            bytes += price(key, value.len(), ttl_ms.is_some());
            bytes -= current.map_or(0, |entry| cost(key, entry));
            // The clock does not move by being asked what it would say.
            let current = current.map(|entry| entry.version);
            let _ = self.clock.clone().next(wall_ms, current).ok_or(Put::EndOfTime)?;
        }
        if bytes > self.limits.max_store_bytes && bytes > self.bytes {
            return Err(Put::Full);
        }
        for (key, value) in pairs {
            // The sum is within the limit, though on the way to it it may be above.
            match self.write(&key, value, ttl_ms, wall_ms, u64::MAX) {
                Put::Created(_) | Put::Replaced(_) => {}
                refused => return Err(refused),
            }
        }
        Ok(())
    }

    /// Deletes a value and returns the tombstone's version, or `None` if there was no value (or
    /// its version is the last before the end of time).
    pub fn delete(&mut self, key: &str, wall_ms: u64) -> Option<Version> {
        let now_ms = self.now_ms(wall_ms);
        let deleted = self.update(key, |current, clock, _| {
            let current = current.filter(|entry| has_value(entry, now_ms)).ok_or(())?.version;
            let version = clock.next(wall_ms, Some(current)).ok_or(())?;
            Ok::<_, ()>(Entry::tombstone(version))
        });
        let (version, _) = deleted.ok()?;
        self.writes += 1;
        Some(version)
    }

    /// Takes a record from another node if it is fresher than what is here.
    ///
    /// Merging is commutative, associative and idempotent: whatever the order in which a set of
    /// records arrives, and however often, the outcome is the greatest version of each key. A value
    /// that has expired is a tombstone of the same version, here as on all other nodes.
    pub fn merge(&mut self, record: Record, wall_ms: u64) -> Merged {
        let Record { key, mut entry } = record;
        self.clock.observe(entry.version, wall_ms);
        let now_ms = self.now_ms(wall_ms);
        if !has_value(&entry, now_ms) {
            entry = Entry::tombstone(entry.version);
        }
        let is_outdated =
            entry.is_tombstone() && purge_after_ms(entry.version, &self.limits) < now_ms;
        let merged = self.update(&key, |current, _, _| match current {
            Some(ours) if ours.version >= entry.version => Err(Merged::Known),
            None if is_outdated => Err(Merged::Outdated),
            _ => Ok(entry),
        });
        merged.map_or_else(|left| left, |_| Merged::Taken)
    }

    /// Purges an entry altogether, as if it had never been here.
    ///
    /// Only for a node that was isolated for so long that the others have purged the tombstone.
    pub fn purge(&mut self, key: &str) {
        let hash = key_hash(key);
        let shard = shard_of(hash);
        if let Some((key, entry)) = self.shards[shard].remove_entry(key) {
            self.digests[shard].remove(Item { hash, version: entry.version });
            self.bytes -= cost(&key, &entry);
            if !entry.is_tombstone() {
                self.live -= 1;
                self.changes.note(&key);
            }
            if let Some(expiry_ms) = expiry_ms(&entry, &self.limits) {
                self.expiry_queue.remove(&(expiry_ms, key));
            }
        }
    }

    /// Turns expired values into tombstones and purges tombstones past their time, at most
    /// [`MAX_PURGED_AT_ONCE`] together; returns how many.
    pub fn purge_expired(&mut self, wall_ms: u64) -> usize {
        self.read_clocks(wall_ms);
        let now_ms = self.now_ms(wall_ms);
        let mut purged = 0;
        while purged < MAX_PURGED_AT_ONCE {
            let Some((_, key)) =
                self.expiry_queue.first().filter(|(expiry_ms, _)| *expiry_ms < now_ms)
            else {
                break;
            };
            let key = key.clone();
            let expired = self.entry(&key).filter(|entry| !entry.is_tombstone());
            match expired.map(|entry| entry.version) {
                // Of the same version, so that no digest changes and nobody needs to be told.
                Some(version) => {
                    let tombstone = Entry::tombstone(version);
                    let _ = self.update(&key, |_, _, _| Ok::<_, ()>(tombstone));
                }
                None => self.purge(&key),
            }
            purged += 1;
        }
        purged
    }

    /// How long it is, in milliseconds, until there is something to purge.
    pub fn next_expiry_in_ms(&self, wall_ms: u64) -> Option<u64> {
        let (expiry_ms, _) = self.expiry_queue.first()?;
        Some((expiry_ms + 1).saturating_sub(self.now_ms(wall_ms)))
    }

    /// Takes note of how far another node's clock is ahead of ours.
    pub fn heard_clock(&mut self, node: u32, ahead_ms: i64, wall_ms: u64) {
        self.clocks.retain(|heard| heard.node != node);
        if self.clocks.len() == MAX_CLOCKS {
            self.clocks.pop_front();
        }
        self.clocks.push_back(HeardClock { node, wall_ms, ahead_ms });
        self.read_clocks(wall_ms);
    }

    fn read_clocks(&mut self, wall_ms: u64) {
        let is_recent = |heard: &&HeardClock| wall_ms.abs_diff(heard.wall_ms) <= CLOCK_HEARD_FOR_MS;
        let heard = self.clocks.iter().filter(is_recent);
        let mut ahead_ms: Vec<i64> = heard.map(|heard| heard.ahead_ms).collect();
        ahead_ms.push(0);
        // Of two, both nodes take the slower one.
        let middle = (ahead_ms.len() - 1) / 2;
        let is_middle = |&&ms: &&i64| {
            let less = ahead_ms.iter().filter(|&&other| other < ms).count();
            let equal = ahead_ms.iter().filter(|&&other| other == ms).count();
            (less..less + equal).contains(&middle)
        };
        self.ahead_ms = ahead_ms.iter().find(is_middle).copied().unwrap_or_default();
    }

    /// The time by the middle one of the clocks that we have heard of, ours included: the time at
    /// which values expire and tombstones are purged.
    ///
    /// A node whose own clock is off would hide at once what all others show, or purge what they
    /// keep, and never have the same as they.
    pub fn now_ms(&self, wall_ms: u64) -> u64 {
        wall_ms.saturating_add_signed(self.ahead_ms)
    }

    /// Puts in a key's place what `decide` makes of what is there, of the clock and of the bytes
    /// stored so far, and keeps all that is derived up to date; gives the new version and the old
    /// entry. All changes but purging go through here, and look the key up once.
    fn update<E>(
        &mut self,
        key: &str,
        decide: impl FnOnce(Option<&Entry>, &mut Clock, u64) -> Result<Entry, E>,
    ) -> Result<(Version, Option<Entry>), E> {
        let hash = key_hash(key);
        let entries = &mut self.shards[shard_of(hash)];
        let place = entries.get_mut(key);
        let entry = decide(place.as_deref(), &mut self.clock, self.bytes)?;
        let item = Item { hash, version: entry.version };
        self.bytes += cost(key, &entry);
        self.live += usize::from(!entry.is_tombstone());
        let new_expiry_ms = expiry_ms(&entry, &self.limits);
        let old = match place {
            Some(place) => Some(std::mem::replace(place, entry)),
            None => entries.insert(key.into(), entry),
        };
        let digest = &mut self.digests[shard_of(hash)];
        digest.add(item);
        if let Some(old) = &old {
            digest.remove(Item { hash, version: old.version });
            self.bytes -= cost(key, old);
            self.live -= usize::from(!old.is_tombstone());
            if let Some(expiry_ms) = expiry_ms(old, &self.limits) {
                self.expiry_queue.remove(&(expiry_ms, key.into()));
            }
        }
        // Only now: the old one may have been due in the same millisecond.
        if let Some(expiry_ms) = new_expiry_ms {
            self.expiry_queue.insert((expiry_ms, key.into()));
        }
        self.changes.note(key);
        // What merely expired is no news.
        if old.as_ref().is_some_and(|old| old.version == item.version) {
            return Ok((item.version, old));
        }
        if self.recent.len() == MAX_RECENT_UPDATES {
            self.recent.pop_front();
        }
        self.recent.push_back(item);
        Ok((item.version, old))
    }

    /// The digest of everything.
    pub fn root(&self) -> Digest {
        self.digest_of(0..SHARDS)
    }

    /// The digest of a bucket that is a shard or holds whole shards.
    ///
    /// Deeper buckets are not kept: their digests come from [`Store::items`].
    pub fn digest(&self, prefix: Prefix) -> Digest {
        self.digest_of(shards_of(prefix))
    }

    fn digest_of(&self, shards: std::ops::Range<usize>) -> Digest {
        let mut digest = Digest::default();
        self.digests[shards].iter().for_each(|&shard| digest.join(shard));
        digest
    }

    /// The items of one shard, in the order of their hashes.
    pub fn items(&self, shard: usize) -> Vec<Item> {
        let mut items: Vec<Item> = self.shards[shard]
            .iter()
            .map(|(key, entry)| Item { hash: key_hash(key), version: entry.version })
            .collect();
        items.sort_unstable();
        items
    }

    /// The entries of one shard whose hash is chosen, in the order of their hashes.
    pub fn entries(&self, shard: usize, chosen: impl Fn(u64) -> bool) -> Vec<(u64, &str, &Entry)> {
        let mut entries: Vec<(u64, &str, &Entry)> = self.shards[shard]
            .iter()
            .map(|(key, entry)| (key_hash(key), &**key, entry))
            .filter(|&(hash, ..)| chosen(hash))
            .collect();
        entries.sort_unstable_by_key(|&(hash, key, _)| (hash, key));
        entries
    }

    /// The keys of one shard that have a value, in no order.
    pub fn values(&self, shard: usize, wall_ms: u64) -> impl Iterator<Item = (&str, &Entry)> {
        let now_ms = self.now_ms(wall_ms);
        self.shards[shard]
            .iter()
            .map(|(key, entry)| (&**key, entry))
            .filter(move |(_, entry)| has_value(entry, now_ms))
    }

    /// The latest changes, one a key, that were also written within [`RECENT_FOR_MS`], in the order of
    /// their hashes: what a newcomer has just been given is no news to the others.
    pub fn recent_updates(&self, wall_ms: u64) -> Vec<Item> {
        let mut latest: Vec<Item> = Vec::new();
        for &item in self.recent.iter().rev() {
            let is_news = wall_ms.abs_diff(item.version.ms()) <= RECENT_FOR_MS;
            if is_news && !latest.iter().any(|newer| newer.hash == item.hash) {
                latest.push(item);
            }
        }
        latest.sort_unstable();
        latest
    }

    /// Entries that have a value, or had one that has expired this very moment.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Deletions remembered, those by expiry included.
    pub fn tombstones(&self) -> usize {
        self.root().count - self.live
    }

    /// What has changed: see [`Changes`].
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The same, to say whether anybody waits.
    pub fn changes_mut(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// What counts against [`Limits::max_store_bytes`].
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many local writes and deletions there were, so that others can tell whether there was
    /// one more.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// Takes no local writes any more, unless there were others than these.
    ///
    /// Who leaves once others have everything must not say yes to one more write.
    pub fn close(&mut self, writes: u64) {
        self.is_closed |= self.writes == writes;
    }

    /// Whether local writes are over.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The id of this process, which its writes carry.
    pub fn node(&self) -> u32 {
        self.clock.node()
    }
}

/// The shard that holds a hash.
pub fn shard_of(hash: u64) -> usize {
    (hash >> (64 - 4 * SHARD_DEPTH)) as usize
}

/// The shards that a bucket touches: many if it is shallow, otherwise the one that it lies in.
pub fn shards_of(prefix: Prefix) -> std::ops::Range<usize> {
    shard_of(prefix.first())..shard_of(prefix.last()) + 1
}

/// Whether there is a value at that time.
fn has_value(entry: &Entry, now_ms: u64) -> bool {
    !entry.is_tombstone() && entry.expires_ms().is_none_or(|expires_ms| now_ms < expires_ms)
}

/// After which time a tombstone is purged, or not even taken.
fn purge_after_ms(version: Version, limits: &Limits) -> u64 {
    version.ms().saturating_add(limits.tombstone_ttl_ms)
}

/// After which time something has to be done about an entry, if ever.
fn expiry_ms(entry: &Entry, limits: &Limits) -> Option<u64> {
    if entry.is_tombstone() {
        return Some(purge_after_ms(entry.version, limits));
    }
    // A value is gone at the very millisecond of its expiry.
    entry.expires_ms().map(|expires_ms| expires_ms.saturating_sub(1))
}

/// What an entry counts against [`Limits::max_store_bytes`].
fn cost(key: &str, entry: &Entry) -> u64 {
    let is_queued = entry.is_tombstone() || entry.expires_ms().is_some();
    price(key, entry.value().map_or(0, <[u8]>::len), is_queued)
}

fn price(key: &str, value_bytes: usize, is_queued: bool) -> u64 {
    let queued = if is_queued { key.len() as u64 + EXPIRY_OVERHEAD_BYTES } else { 0 };
    (key.len() + value_bytes) as u64 + ENTRY_OVERHEAD_BYTES + queued
}
