//! Truncated digests.

use crate::support::{WALL_MS, contents, exchange, store_with, value, values};
use gossip_sidecar::{Item, Store, Version, key_hash};
use std::collections::HashMap;

/// Versions tried of one key: among so many, two whose fingerprints agree in 32 given bits are to
/// be expected eight times over.
const TRIED: u64 = 1 << 18;

/// Two versions of a key whose fingerprints differ, but not in these 32 bits.
fn twins(key: &str, cut: impl Fn(u64) -> u32) -> [Version; 2] {
    let hash = key_hash(key);
    let mut seen = HashMap::new();
    for number in 0..TRIED {
        let version = Version::new(WALL_MS - 7_200_000 + number, 0, 9);
        if let Some(twin) = seen.insert(cut(Item { hash, version }.fingerprint()), version) {
            return [twin, version];
        }
    }
    panic!("no two of {TRIED} versions agree in 32 bits");
}

/// A store with other keys, so many that digests are compared, and this one.
fn store_beside(node: u32, key: &str, version: Version) -> Store {
    let mut records = values("other", 100);
    records.push(value(key, version, b"v"));
    store_with(node, &records)
}

#[test]
fn the_salt_tells_apart_digests_that_truncation_alone_would_not() {
    for cut in [|xor: u64| (xor >> 32) as u32, |xor: u64| xor as u32] {
        for key in ["a", "b", "c"] {
            let [older, fresher] = twins(key, cut);
            let mut initiator = store_beside(1, key, older);
            let mut responder = store_beside(2, key, fresher);
            let difference = initiator.root().xor ^ responder.root().xor;
            assert!(
                difference != 0 && cut(difference) == 0,
                "all digests above would be cut alike"
            );
            assert!(exchange(&mut initiator, &mut responder, WALL_MS).initiator.complete);
            assert_eq!(contents(&initiator), contents(&responder), "{key}");
        }
    }
}
