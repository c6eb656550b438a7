//! The shards of a store: how keys are spread over them, and which of them a bucket touches.

use crate::core::digest::{FAN_OUT, Prefix};
use siphasher::sip::SipHasher13;
use std::hash::BuildHasher;

/// Entries are spread over this many maps, so that growing or listing one takes little time.
pub const SHARDS: usize = FAN_OUT * FAN_OUT;

/// The depth in the trie at which a bucket is a shard.
pub const SHARD_DEPTH: u8 = 2;

/// The shard that holds a hash.
pub fn shard_of(hash: u64) -> usize {
    (hash >> (64 - 4 * SHARD_DEPTH)) as usize
}

/// The shards that a bucket touches: many if it is shallow, otherwise the one that it lies in.
pub fn shards_of(prefix: Prefix) -> std::ops::Range<usize> {
    shard_of(prefix.first())..shard_of(prefix.last()) + 1
}

/// A bucket's parts that lie within one shard each: itself, or the shards that it spans.
pub fn within_shards(bucket: Prefix) -> impl Iterator<Item = Prefix> {
    let depth = bucket.depth().max(SHARD_DEPTH);
    shards_of(bucket).map(move |shard| {
        let first = (shard as u64) << (64 - 4 * SHARD_DEPTH);
        Prefix::of(first.max(bucket.first()), depth)
    })
}

/// Hashes keys for the shards' maps. The seed is drawn by each process, so that whoever chooses
/// the keys cannot choose collisions.
#[derive(Clone, Copy)]
pub struct SeededHasher(pub u64);

impl BuildHasher for SeededHasher {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, !self.0)
    }
}
