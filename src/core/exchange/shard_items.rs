//! The items of one shard, collected once for many questions.

use crate::core::digest::{Digest, Item, Prefix};
use crate::core::shards::{SHARD_DEPTH, shard_of};
use crate::core::store::Store;

/// The items of the shard that was looked at last.
///
/// The store keeps the digests of whole shards only. Those of deeper buckets are computed from the
/// shard's items, and the questions of a turn come shard by shard.
#[derive(Default)]
pub struct ShardItems {
    /// The exchange's salt, once the hello has been said.
    pub salt: u64,
    collected: Option<(usize, Vec<Item>)>,
}

impl ShardItems {
    /// The digest of any bucket: of the fingerprints that the store adds up or, below the shards, of
    /// the salted ones.
    pub fn digest(&mut self, store: &Store, bucket: Prefix) -> Digest {
        if bucket.depth() <= SHARD_DEPTH {
            return store.digest(bucket);
        }
        self.salted_digest(store, bucket)
    }

    /// The digest of the salted fingerprints in a bucket within one shard.
    pub fn salted_digest(&mut self, store: &Store, bucket: Prefix) -> Digest {
        let salt = self.salt;
        let items = self.items(store, bucket);
        let xor = items.iter().fold(0, |xor, item| xor ^ item.salted_fingerprint(salt));
        Digest { xor, count: items.len() }
    }

    /// The items of a bucket within one shard, in ascending order.
    pub fn items(&mut self, store: &Store, bucket: Prefix) -> &[Item] {
        let shard = shard_of(bucket.first());
        if self.collected.as_ref().is_none_or(|(collected, _)| *collected != shard) {
            self.collected = None;
        }
        let (_, items) = self.collected.get_or_insert_with(|| (shard, store.items(shard)));
        in_bucket(items, bucket)
    }
}

/// Those of the items, which are in ascending order, that lie in a bucket.
pub fn in_bucket(items: &[Item], bucket: Prefix) -> &[Item] {
    let start = items.partition_point(|item| item.hash < bucket.first());
    let end = items.partition_point(|item| item.hash <= bucket.last());
    &items[start..end]
}
