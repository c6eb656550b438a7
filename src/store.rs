//! The map: put, get, delete and merge, and the digests that tell two maps apart.
//!
//! The store takes the time as an argument and does no I/O: with the same calls it comes to the
//! same state. It is meant to stand behind one mutex, locked for one call at a time.

use crate::digest::{Digest, FAN_OUT, Item, Prefix, key_hash};
use crate::version::{Clock, Version};
use siphasher::sip::SipHasher13;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher;

/// Entries are spread over this many maps, so that growing one or listing it is short.
pub const SHARDS: usize = FAN_OUT * FAN_OUT;

/// The depth in the trie at which a bucket is a shard.
pub const SHARD_DEPTH: u8 = 2;

/// What an entry is taken to need beyond its key and value when the quota is counted, in bytes.
pub const ENTRY_OVERHEAD_BYTES: u64 = 96;

/// How many of the latest changes are offered in a hello before anything is compared.
pub const MAX_HOT_ITEMS: usize = 16;

/// For how long after it was written a change counts as news, in milliseconds.
pub const HOT_FOR_MS: u64 = 5_000;

/// How many other nodes' clocks are asked when it is told whether a tombstone is past its time.
pub const MAX_CLOCKS: usize = 8;

/// For how long they are asked after they were heard, in milliseconds: a node that starts anew
/// must not count twice.
pub const CLOCK_HEARD_FOR_MS: u64 = 30_000;

/// Tombstones collected in one call at most, which bounds the time the lock is held.
pub const MAX_COLLECTED_AT_ONCE: usize = 1_000;

/// What one node keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Local writes beyond this are refused; merges never are, or replicas would differ for good.
    pub max_store_bytes: u64,
    /// A tombstone is forgotten this long after its deletion, by the middle one of the clocks that
    /// the node has heard of.
    pub tombstone_ttl_ms: u64,
}

/// A key's state: a value, or a tombstone that says since when there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When and where it was written.
    pub version: Version,
    /// `None` is a tombstone.
    pub value: Option<Box<[u8]>>,
}

/// An entry together with its key, as it travels between nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Any UTF-8 text, the empty one included.
    pub key: Box<str>,
    /// The key's state.
    pub entry: Entry,
}

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
    Expired,
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
    limits: Limits,
    /// Keys, values and [`ENTRY_OVERHEAD_BYTES`] of all entries, tombstones included.
    bytes: u64,
    /// Entries that have a value.
    live: usize,
    /// Every tombstone there is, by the time of its deletion.
    tombstones: BTreeSet<(u64, Box<str>)>,
    /// The latest changes, at most [`MAX_HOT_ITEMS`], the oldest first.
    recent: VecDeque<Item>,
    /// Counts local writes and deletions.
    writes: u64,
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
            limits,
            bytes: 0,
            live: 0,
            tombstones: BTreeSet::new(),
            recent: VecDeque::with_capacity(MAX_HOT_ITEMS),
            writes: 0,
        }
    }

    /// The key's value.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.entry(key)?.value.as_deref()
    }

    /// The key's state, tombstone or value.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.shards[shard_of(key_hash(key))].get(key)
    }

    /// Writes a value.
    pub fn put(&mut self, key: &str, value: Box<[u8]>, wall_ms: u64) -> Put {
        let max_bytes = self.limits.max_store_bytes;
        let old = self.update(key, |current, clock, stored| {
            let before = current.map_or(0, |entry| cost(key, entry.value.as_deref()));
            let bytes = stored - before + cost(key, Some(&value));
            if bytes > max_bytes && bytes > stored {
                return Err(Put::Full);
            }
            let current = current.map(|entry| entry.version);
            let version = clock.next(wall_ms, current).ok_or(Put::EndOfTime)?;
            Ok(Entry { version, value: Some(value) })
        });
        match old {
            Err(refused) => refused,
            Ok((version, old)) => {
                self.writes += 1;
                let was_live = old.is_some_and(|old| old.value.is_some());
                if was_live { Put::Replaced(version) } else { Put::Created(version) }
            }
        }
    }

    /// Deletes a value and returns the tombstone's version, or `None` if there was no value (or
    /// its version is the last before the end of time).
    pub fn delete(&mut self, key: &str, wall_ms: u64) -> Option<Version> {
        let deleted = self.update(key, |current, clock, _| {
            let current = current.filter(|entry| entry.value.is_some()).ok_or(())?.version;
            let version = clock.next(wall_ms, Some(current)).ok_or(())?;
            Ok::<_, ()>(Entry { version, value: None })
        });
        let (version, _) = deleted.ok()?;
        self.writes += 1;
        Some(version)
    }

    /// Takes a record from another node if it is fresher than what is here.
    ///
    /// Merging is commutative, associative and idempotent: whatever the order in which a set of
    /// records arrives, and however often, the outcome is the greatest version of each key.
    pub fn merge(&mut self, record: Record, wall_ms: u64) -> Merged {
        let Record { key, entry } = record;
        self.clock.observe(entry.version, wall_ms);
        let is_expired = entry.value.is_none() && self.is_expired(entry.version, wall_ms);
        let merged = self.update(&key, |current, _, _| match current {
            Some(ours) if ours.version >= entry.version => Err(Merged::Known),
            None if is_expired => Err(Merged::Expired),
            _ => Ok(entry),
        });
        merged.map_or_else(|left| left, |_| Merged::Taken)
    }

    /// Forgets an entry altogether, as if it had never been here.
    ///
    /// Only for a node that was cut off for so long that the others have collected the tombstone.
    pub fn forget(&mut self, key: &str) {
        let hash = key_hash(key);
        let shard = shard_of(hash);
        if let Some((key, entry)) = self.shards[shard].remove_entry(key) {
            self.digests[shard].remove(Item { hash, version: entry.version });
            self.bytes -= cost(&key, entry.value.as_deref());
            self.live -= usize::from(entry.value.is_some());
            if entry.value.is_none() {
                self.tombstones.remove(&(entry.version.ms(), key));
            }
        }
    }

    /// Forgets tombstones past their time, at most [`MAX_COLLECTED_AT_ONCE`]; returns how many.
    pub fn collect(&mut self, wall_ms: u64) -> usize {
        if self.tombstones.is_empty() {
            return 0;
        }
        let now_ms = self.usual_ms(wall_ms);
        let ttl_ms = self.limits.tombstone_ttl_ms;
        let due: Vec<Box<str>> = self
            .tombstones
            .iter()
            .take_while(|(ms, _)| ms.saturating_add(ttl_ms) < now_ms)
            .take(MAX_COLLECTED_AT_ONCE)
            .map(|(_, key)| key.clone())
            .collect();
        due.iter().for_each(|key| self.forget(key));
        due.len()
    }

    /// Takes note of how far another node's clock is ahead of ours.
    pub fn heard_clock(&mut self, node: u32, ahead_ms: i64, wall_ms: u64) {
        self.clocks.retain(|heard| heard.node != node);
        if self.clocks.len() == MAX_CLOCKS {
            self.clocks.pop_front();
        }
        self.clocks.push_back(HeardClock { node, wall_ms, ahead_ms });
    }

    /// The time by the middle one of the clocks that we have heard of, ours included.
    ///
    /// A node whose own clock is off by more than the tombstones' time would collect at once what
    /// all others keep, or keep what they refuse, and never have the same as they.
    fn usual_ms(&self, wall_ms: u64) -> u64 {
        let is_recent = |heard: &&HeardClock| wall_ms.abs_diff(heard.wall_ms) <= CLOCK_HEARD_FOR_MS;
        let heard = self.clocks.iter().filter(is_recent);
        let mut ahead_ms: Vec<i64> = heard.map(|heard| heard.ahead_ms).collect();
        ahead_ms.push(0);
        ahead_ms.sort_unstable();
        // Of two, both nodes take the slower one.
        wall_ms.saturating_add_signed(ahead_ms[(ahead_ms.len() - 1) / 2])
    }

    fn is_expired(&self, version: Version, wall_ms: u64) -> bool {
        version.ms().saturating_add(self.limits.tombstone_ttl_ms) < self.usual_ms(wall_ms)
    }

    /// Puts in a key's place what `decide` makes of what is there, of the clock and of the bytes
    /// stored so far, and keeps all that is derived up to date; gives the new version and the old
    /// entry. All changes but forgetting go through here, and look the key up once.
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
        let is_tombstone = entry.value.is_none();
        self.bytes += cost(key, entry.value.as_deref());
        self.live += usize::from(!is_tombstone);
        let old = match place {
            Some(place) => Some(std::mem::replace(place, entry)),
            None => entries.insert(key.into(), entry),
        };
        let digest = &mut self.digests[shard_of(hash)];
        digest.add(item);
        if let Some(old) = &old {
            digest.remove(Item { hash, version: old.version });
            self.bytes -= cost(key, old.value.as_deref());
            self.live -= usize::from(old.value.is_some());
            if old.value.is_none() {
                self.tombstones.remove(&(old.version.ms(), key.into()));
            }
        }
        // Only now: the old one may have been a tombstone of the same millisecond.
        if is_tombstone {
            self.tombstones.insert((item.version.ms(), key.into()));
        }
        if self.recent.len() == MAX_HOT_ITEMS {
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

    /// The latest changes, one a key, that were also written within [`HOT_FOR_MS`], in the order of
    /// their hashes: what a newcomer has just been given is no news to the others.
    pub fn hot(&self, wall_ms: u64) -> Vec<Item> {
        let mut latest: Vec<Item> = Vec::new();
        for &item in self.recent.iter().rev() {
            let is_news = wall_ms.abs_diff(item.version.ms()) <= HOT_FOR_MS;
            if is_news && !latest.iter().any(|newer| newer.hash == item.hash) {
                latest.push(item);
            }
        }
        latest.sort_unstable();
        latest
    }

    /// Entries that have a value.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Deletions remembered.
    pub fn tombstones(&self) -> usize {
        self.tombstones.len()
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

fn cost(key: &str, value: Option<&[u8]>) -> u64 {
    key.len() as u64 + value.map_or(0, |value| value.len() as u64) + ENTRY_OVERHEAD_BYTES
}
