//! Buckets of the trie: their digests, items and order.

use super::{TTL_MS, bytes};
use crate::support::WALL_MS;
use crate::support::{fixed_seed, store_with, value};
use gossip_sidecar::{Digest, FAN_OUT, Prefix, Record, SHARD_DEPTH, Version, shard_of, shards_of};
use gossip_sidecar::{Limits, SHARDS, Store};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn the_seed_of_the_hash_maps_has_no_visible_effect() {
    let limits = Limits { max_store_bytes: 1 << 20, tombstone_ttl_ms: TTL_MS };
    let [one, other] = [7, 8].map(|seed| {
        let mut store = Store::new(1, seed, limits);
        for index in 0..500 {
            let _ = store.put(&format!("key-{index}"), bytes("v"), None, WALL_MS);
        }
        store
    });
    assert_eq!(one.root(), other.root());
    for shard in 0..SHARDS {
        assert_eq!(one.items(shard), other.items(shard));
        assert_eq!(one.entries(shard, |_| true), other.entries(shard, |_| true));
    }
}

proptest! {
    #![proptest_config(fixed_seed(400))]

    #[test]
    fn the_digest_of_each_bucket_matches_its_items(records in vec((any::<u16>(), 0..9u64), 0..60)) {
        let records: Vec<Record> = records
            .iter()
            .map(|(key, ms)| value(&key.to_string(), Version::new(WALL_MS + ms, 0, 9), b"v"))
            .collect();
        let store = store_with(1, &records);
        let mut listed = 0;
        for shard in 0..SHARDS {
            let prefix = Prefix::of((shard as u64) << (64 - 4 * SHARD_DEPTH), SHARD_DEPTH);
            prop_assert_eq!(shards_of(prefix), shard..shard + 1);
            let items = store.items(shard);
            prop_assert!(items.is_sorted());
            let mut digest = Digest::default();
            for &item in &items {
                prop_assert_eq!(shard_of(item.hash), shard);
                digest.add(item);
            }
            prop_assert_eq!(store.digest(prefix), digest);
            let entries = store.entries(shard, |_| true);
            let hashes: Vec<u64> = entries.iter().map(|&(hash, ..)| hash).collect();
            prop_assert_eq!(hashes, items.iter().map(|item| item.hash).collect::<Vec<_>>());
            listed += items.len();
        }
        prop_assert_eq!(store.root().count, listed);
        let mut joined = Digest::default();
        for index in 0..FAN_OUT {
            joined.join(store.digest(Prefix::ROOT.child(index).unwrap()));
        }
        prop_assert_eq!(store.root(), joined);
    }
}
