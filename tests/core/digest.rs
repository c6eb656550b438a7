//! Digests travel truncated to 32 bits: the salt of each exchange sees to it that two stores do not
//! look equal for ever where their digests happen to agree in those bits.

use crate::support::{WALL_MS, contents, exchange, store_with, value, values};
use gossip_sidecar::{Item, Store, Version, key_hash};
use std::collections::HashMap;

/// Versions of one key to search: among this many, about eight pairs of fingerprints agree in 32
/// given bits.
const VERSIONS_SEARCHED: u64 = 1 << 18;

/// Two versions of a key whose fingerprints differ, though not in the bits that `truncate` keeps.
fn twins(key: &str, truncate: impl Fn(u64) -> u32) -> [Version; 2] {
    let hash = key_hash(key);
    let mut seen = HashMap::new();
    for number in 0..VERSIONS_SEARCHED {
        let version = Version::new(WALL_MS - 7_200_000 + number, 0, 9);
        if let Some(twin) = seen.insert(truncate(Item { hash, version }.fingerprint()), version) {
            return [twin, version];
        }
    }
    panic!("no two of {VERSIONS_SEARCHED} versions agree in 32 bits");
}

/// A store with this key and enough others for digests to be compared.
fn store_beside(node: u32, key: &str, version: Version) -> Store {
    let mut records = values("other", 100);
    records.push(value(key, version, b"v"));
    store_with(node, &records)
}

#[test]
fn the_salt_tells_apart_digests_that_truncation_alone_would_not() {
    for truncate in [|xor: u64| (xor >> 32) as u32, |xor: u64| xor as u32] {
        for key in ["a", "b", "c"] {
            let [older, fresher] = twins(key, truncate);
            let mut initiator = store_beside(1, key, older);
            let mut responder = store_beside(2, key, fresher);
            let difference = initiator.root().xor ^ responder.root().xor;
            assert!(
                difference != 0 && truncate(difference) == 0,
                "the digests of all buckets above the key would be truncated to the same bits"
            );
            assert!(exchange(&mut initiator, &mut responder, WALL_MS).initiator.complete);
            assert_eq!(contents(&initiator), contents(&responder), "{key}");
        }
    }
}
