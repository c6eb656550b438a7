//! The items of one shard, collected once for many questions.

use crate::core::digest::{Digest, Item, Prefix};
use crate::core::store::{SHARD_DEPTH, Store, shard_of};

/// The items of the shard that was looked at last.
///
/// The store keeps the digests of whole shards only. Those of deeper buckets are computed from the
/// shard's items, and the questions of a turn come shard by shard.
#[derive(Default)]
pub struct ShardItems(Option<(usize, Vec<Item>)>);

impl ShardItems {
    /// The digest of any bucket.
    pub fn digest(&mut self, store: &Store, bucket: Prefix) -> Digest {
        if bucket.depth() <= SHARD_DEPTH {
            return store.digest(bucket);
        }
        let mut digest = Digest::default();
        self.items(store, bucket).iter().for_each(|&item| digest.add(item));
        digest
    }

    /// The items of a bucket within one shard, in ascending order.
    pub fn items(&mut self, store: &Store, bucket: Prefix) -> &[Item] {
        let shard = shard_of(bucket.first());
        if self.0.as_ref().is_none_or(|(collected, _)| *collected != shard) {
            self.0 = None;
        }
        let (_, items) = self.0.get_or_insert_with(|| (shard, store.items(shard)));
        in_bucket(items, bucket)
    }
}

/// Those of the items, which are in ascending order, that lie in a bucket.
pub fn in_bucket(items: &[Item], bucket: Prefix) -> &[Item] {
    let start = items.partition_point(|item| item.hash < bucket.first());
    let end = items.partition_point(|item| item.hash <= bucket.last());
    &items[start..end]
}
