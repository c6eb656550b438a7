//! The map: what each operation does, and that all derived state follows it.

mod writes;

mod merging;

mod quota;

mod tombstones;

mod recent_updates;

mod buckets;

mod model;

use crate::support::{Contents, WALL_MS, contents, tombstone, value};
use gossip_sidecar::{Digest, Entry, Limits, Record, Store, Version};
use proptest::prelude::*;

const TTL_MS: u64 = 60_000;

fn store_with_quota(max_store_bytes: u64) -> Store {
    Store::new(1, 2, Limits { max_store_bytes, tombstone_ttl_ms: TTL_MS })
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

/// All visible state of a store.
fn everything(store: &Store) -> (Contents, Digest, u64, usize, usize, Vec<(u64, Version)>) {
    let recent =
        store.recent_updates(WALL_MS).iter().map(|item| (item.hash, item.version)).collect();
    let (live, tombstones) = (store.live(), store.tombstones());
    (contents(store), store.root(), store.bytes(), live, tombstones, recent)
}

/// A record whose value follows from its key and version, as it does between honest nodes.
fn any_record() -> impl Strategy<Value = Record> {
    (0..6u8, 0..8u64, 0..3u16, 1..4u32).prop_map(|(key, ms, counter, node)| {
        let key = format!("key-{key}");
        let version = Version::new(WALL_MS + ms, counter, node);
        match (ms + u64::from(counter)) % 3 {
            0 => tombstone(&key, version),
            1 if node == 2 => {
                let expires_ms = Some(WALL_MS + 1_000 * (1 + ms));
                Record { key: key.into(), entry: Entry::new(version, *b"short", expires_ms) }
            }
            _ => value(&key, version, format!("{version:?}{key}").as_bytes()),
        }
    })
}
