//! The map: put, get, delete, expire and merge, and the digests that tell two maps apart.
//!
//! The store takes the time as an argument and does no I/O: the same calls lead to the same state.
//! It stands behind one mutex, which is locked for one call at a time.

use crate::core::changes::Changes;
use crate::core::digest::{Digest, Item, Prefix, key_hash};
use crate::core::entry::{Entry, Record};
use crate::core::expiry_queue::ExpiryQueue;
use crate::core::peer_clocks::PeerClocks;
use crate::core::quota::{cost, price};
use crate::core::recent_updates::RecentUpdates;
use crate::core::shards::{SHARDS, SeededHasher, shard_of, shards_of};
use crate::core::version::{Clock, END_OF_TIME_MS, MAX_CLOCK_LEAD_MS, Version};
use std::collections::HashMap;

/// The most entries that one call expires or purges: it bounds how long the lock is held.
pub const MAX_PURGED_AT_ONCE: usize = 1_000;

/// What one node keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Local writes beyond this are refused; merges never are, or replicas would differ for good.
    pub max_store_bytes: u64,
    /// A tombstone is purged this long after its deletion, by the median of the clocks heard lately.
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
    /// We had it, or something fresher.
    Known,
    /// It is a tombstone past its time, for a key that is absent here.
    Outdated,
}

/// The replicated map of one node.
pub struct Store {
    /// By the first [`SHARD_DEPTH`] digits of the key's hash.
    shards: Vec<HashMap<Box<str>, Entry, SeededHasher>>,
    /// The digest of each shard, kept up to date by every change.
    digests: Vec<Digest>,
    clock: Clock,
    peer_clocks: PeerClocks,
    limits: Limits,
    /// What all entries cost, tombstones included.
    bytes: u64,
    /// Entries that are no tombstones.
    live: usize,
    expiry_queue: ExpiryQueue,
    changes: Changes,
    recent_updates: RecentUpdates,
    /// Counts local writes and deletions, and the records taken from other nodes.
    revision: u64,
    /// While the node drains: the revision that others must hold before the process exits.
    hand_over: Option<u64>,
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
            peer_clocks: PeerClocks::default(),
            limits,
            bytes: 0,
            live: 0,
            expiry_queue: ExpiryQueue::default(),
            changes: Changes::default(),
            recent_updates: RecentUpdates::new(),
            revision: 0,
            hand_over: None,
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

    /// Writes a value, which expires after `ttl_ms` if that is given.
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
                self.count_write();
                let had_value = old.is_some_and(|old| has_value(&old, now_ms));
                if had_value { Put::Replaced(version) } else { Put::Created(version) }
            }
        }
    }

    /// Writes all these values, whose keys differ, or none of them.
    pub fn put_all(&mut self, pairs: Pairs, ttl_ms: Option<u64>, wall_ms: u64) -> Result<(), Put> {
        let mut bytes = self.bytes;
        // On a copy, since a write that is refused must not move the clock.
        let mut clock = self.clock.clone();
        for (key, value) in &pairs {
            let current = self.entry(key);
            bytes += price(key, value.len(), ttl_ms.is_some());
            bytes -= current.map_or(0, |entry| cost(key, entry));
            let current = current.map(|entry| entry.version);
            let _ = clock.next(wall_ms, current).ok_or(Put::EndOfTime)?;
        }
        if bytes > self.limits.max_store_bytes && bytes > self.bytes {
            return Err(Put::Full);
        }
        for (key, value) in pairs {
            // The sum is within the quota, though some writes on the way to it may exceed it.
            match self.write(&key, value, ttl_ms, wall_ms, u64::MAX) {
                Put::Created(_) | Put::Replaced(_) => {}
                refused => return Err(refused),
            }
        }
        Ok(())
    }

    /// Deletes a value and returns the tombstone's version; `None` if there was no value, or if its
    /// version is the last before the end of time.
    pub fn delete(&mut self, key: &str, wall_ms: u64) -> Option<Version> {
        let now_ms = self.now_ms(wall_ms);
        let deleted = self.update(key, |current, clock, _| {
            let current = current.filter(|entry| has_value(entry, now_ms)).ok_or(())?.version;
            let version = clock.next(wall_ms, Some(current)).ok_or(())?;
            Ok::<_, ()>(Entry::tombstone(version))
        });
        let (version, _) = deleted.ok()?;
        self.count_write();
        Some(version)
    }

    /// Deletes the values of all these keys, or of none of them; returns how many there were.
    pub fn delete_all(&mut self, keys: &[String], wall_ms: u64) -> Result<usize, Put> {
        let mut clock = self.clock.clone();
        for entry in keys.iter().filter_map(|key| self.find(key, wall_ms)) {
            let _ = clock.next(wall_ms, Some(entry.version)).ok_or(Put::EndOfTime)?;
        }
        Ok(keys.iter().filter(|key| self.delete(key, wall_ms).is_some()).count())
    }

    /// Takes a record from another node if it is fresher than the entry here.
    ///
    /// Merging is commutative, associative and idempotent: in whatever order a set of records
    /// arrives, and however often, the outcome is the greatest version of each key. A value that
    /// has expired counts as a tombstone of the same version, here as on all other nodes.
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
        match merged {
            Err(left) => left,
            Ok(_) => {
                self.revision += 1;
                Merged::Taken
            }
        }
    }

    /// Removes an entry without leaving a tombstone, as if it had never been here.
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
                self.expiry_queue.remove(expiry_ms, key);
            }
        }
    }

    /// Turns expired values into tombstones and purges tombstones past their time, at most
    /// [`MAX_PURGED_AT_ONCE`] together; returns how many.
    pub fn purge_expired(&mut self, wall_ms: u64) -> usize {
        self.peer_clocks.refresh(wall_ms);
        let now_ms = self.now_ms(wall_ms);
        let mut purged = 0;
        while purged < MAX_PURGED_AT_ONCE {
            let Some(key) = self.expiry_queue.next_due(now_ms) else { break };
            let expired = self.entry(&key).filter(|entry| !entry.is_tombstone());
            match expired.map(|entry| entry.version) {
                // Of the same version, so that no digest changes and no message is needed.
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

    /// In how many milliseconds the next entry expires or is purged, if there is one.
    pub fn next_expiry_in_ms(&self, wall_ms: u64) -> Option<u64> {
        self.expiry_queue.next_in_ms(self.now_ms(wall_ms))
    }

    /// Takes note of the time, before anything that goes by it: the wall clock, and for how long the
    /// process has been running.
    pub fn note_time(&mut self, wall_ms: u64, age_ms: u64) {
        self.peer_clocks.note_time(wall_ms, age_ms);
    }

    /// Records how far the clock at a peer's address is ahead of ours: see
    /// [`Summary::clock_offset_ms`](crate::core::exchange::Summary::clock_offset_ms). `address` is
    /// any number that stands for it.
    pub fn record_peer_clock(&mut self, address: u64, ahead_ms: i64, wall_ms: u64) {
        self.peer_clocks.record(address, ahead_ms, wall_ms);
    }

    /// The time at which values expire and tombstones are purged: see
    /// [`peer_clocks`](crate::core::peer_clocks).
    pub fn now_ms(&self, wall_ms: u64) -> u64 {
        self.peer_clocks.now_ms(wall_ms)
    }

    /// An exchange begins: returns when, by the wall clock, and lets no later write be older.
    ///
    /// The isolation rule takes what is older than the last exchange for known to the peer, and a
    /// wall clock may be set back at any time. It counts up to [`MAX_CLOCK_LEAD_MS`] ahead of the
    /// other clocks: one that is years ahead must not take the writes along, or they would beat
    /// those of all others for years after it is corrected.
    pub fn begin_exchange(&mut self, wall_ms: u64) -> u64 {
        let began_ms = wall_ms.min(self.now_ms(wall_ms).saturating_add(MAX_CLOCK_LEAD_MS));
        self.clock.advance_to(began_ms);
        began_ms
    }

    /// Replaces a key's entry with what `decide` makes of the current one, of the clock and of the
    /// bytes stored so far, and keeps all that is derived from the entries up to date; returns the
    /// new version and the old entry.
    ///
    /// Every change but a purge goes through here, and looks the key up once.
    fn update<E>(
        &mut self,
        key: &str,
        decide: impl FnOnce(Option<&Entry>, &mut Clock, u64) -> Result<Entry, E>,
    ) -> Result<(Version, Option<Entry>), E> {
        let hash = key_hash(key);
        let entries = &mut self.shards[shard_of(hash)];
        let current = entries.get_mut(key);
        let entry = decide(current.as_deref(), &mut self.clock, self.bytes)?;
        let item = Item { hash, version: entry.version };
        self.bytes += cost(key, &entry);
        self.live += usize::from(!entry.is_tombstone());
        let new_expiry_ms = expiry_ms(&entry, &self.limits);
        let old = match current {
            Some(current) => Some(std::mem::replace(current, entry)),
            None => entries.insert(key.into(), entry),
        };
        let digest = &mut self.digests[shard_of(hash)];
        digest.add(item);
        if let Some(old) = &old {
            digest.remove(Item { hash, version: old.version });
            self.bytes -= cost(key, old);
            self.live -= usize::from(!old.is_tombstone());
            if let Some(expiry_ms) = expiry_ms(old, &self.limits) {
                self.expiry_queue.remove(expiry_ms, key);
            }
        }
        // After the removal, since the old entry may be due in the same millisecond.
        if let Some(expiry_ms) = new_expiry_ms {
            self.expiry_queue.insert(expiry_ms, key);
        }
        self.changes.note(key);
        let has_merely_expired = old.as_ref().is_some_and(|old| old.version == item.version);
        if !has_merely_expired {
            self.recent_updates.push(item);
        }
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

    /// What to tell a peer before anything is compared.
    pub fn recent_updates(&self, wall_ms: u64) -> Vec<Item> {
        self.recent_updates.items(wall_ms)
    }

    /// The number of entries with a value. One that has expired counts until it is purged.
    pub fn live(&self) -> usize {
        self.live
    }

    /// The number of tombstones, those of expired values included.
    pub fn tombstones(&self) -> usize {
        self.root().count - self.live
    }

    /// What has changed.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// What has changed, to start or stop keeping the changed keys.
    pub fn changes_mut(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// What counts against [`Limits::max_store_bytes`].
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of local writes and deletions so far, and of records taken from other nodes. They
    /// are confirmed by it: a peer that has had everything at a revision holds the first so many.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn count_write(&mut self) {
        self.revision += 1;
        self.hand_over = self.hand_over.map(|_| self.revision);
    }

    /// The node drains from now on: it says so in its exchanges, so that nobody counts on what it
    /// takes from then on.
    pub fn drain(&mut self) {
        self.hand_over.get_or_insert(self.revision);
    }

    /// Whether the node drains.
    pub fn is_draining(&self) -> bool {
        self.hand_over.is_some()
    }

    /// The revision that others must hold before the process exits.
    ///
    /// What a node takes before it drains counts like its own writes: whoever sent it may be gone,
    /// and was told that it is safe here. What it takes later does not.
    pub fn to_hand_over(&self) -> u64 {
        self.hand_over.unwrap_or(self.revision)
    }

    /// Refuses local writes from now on, unless there was one after the revision `held` by others.
    ///
    /// A process that exits because its peers have everything must not acknowledge one more write.
    pub fn close_if_held(&mut self, held: u64) {
        self.is_closed |= self.to_hand_over() <= held;
    }

    /// Refuses local writes from now on.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether local writes are refused.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The id of this process, which its writes carry.
    pub fn node(&self) -> u32 {
        self.clock.node()
    }
}

fn has_value(entry: &Entry, now_ms: u64) -> bool {
    !entry.is_tombstone() && entry.expires_ms().is_none_or(|expires_ms| now_ms < expires_ms)
}

/// A tombstone is kept up to this time; later, it is not even merged where the key is absent.
fn purge_after_ms(version: Version, limits: &Limits) -> u64 {
    version.ms().saturating_add(limits.tombstone_ttl_ms)
}

/// The last millisecond at which an entry may stay as it is, if it ever expires or is purged.
fn expiry_ms(entry: &Entry, limits: &Limits) -> Option<u64> {
    if entry.is_tombstone() {
        return Some(purge_after_ms(entry.version, limits));
    }
    // A value is gone at the very millisecond of its expiry.
    entry.expires_ms().map(|expires_ms| expires_ms.saturating_sub(1))
}
