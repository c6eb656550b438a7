//! Golden transcripts: whole exchanges, byte for byte.

use super::written;
use crate::support::{
    Outcome, WALL_MS, exchange, exchange_as, isolated_member, member, store_with, tombstone, value,
    values,
};
use gossip_sidecar::{Identity, Record, Store, Version};

/// Compares with `tests/core/golden/NAME.txt`; `BLESS=1` writes that file instead.
fn assert_golden(name: &str, outcome: &Outcome) {
    let path = format!("{}/tests/core/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let said = outcome.transcript();
    if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, &said).expect("tests/core/golden can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(said, golden, "{path}: run with BLESS=1 if the change is intended");
}

/// The two nodes of the transcripts.
fn alice_and_bob(ours: &[Record], theirs: &[Record]) -> (Store, Store) {
    (store_with(0xa11c_e001, ours), store_with(0xb0b0_0002, theirs))
}

#[test]
fn an_idle_exchange_matches_its_transcript() {
    let fruit = [written("apple", 1, 0xa11c_e001), written("pear", 2, 0xb0b0_0002)];
    let (mut alice, mut bob) = alice_and_bob(&fruit, &fruit);
    assert_golden("idle", &exchange(&mut alice, &mut bob, WALL_MS));
}

#[test]
fn one_key_each_way_matches_its_transcript() {
    let version = |ms, node| Version::new(WALL_MS - 60_000 + ms, 0, node);
    let in_common = values("key", 12);
    let (mut alice, mut bob) = alice_and_bob(&in_common, &in_common);
    let _ = alice.merge(value("hello", version(1, 0xa11c_e001), b"world"), WALL_MS - 60_000);
    let _ = bob.merge(tombstone("key-3", version(2, 0xb0b0_0002)), WALL_MS - 60_000);
    assert_golden("one-key-each-way", &exchange(&mut alice, &mut bob, WALL_MS));
}

#[test]
fn the_exchange_of_a_newcomer_matches_its_transcript() {
    let (mut alice, mut bob) = alice_and_bob(&[], &values("key", 4));
    let newcomer = (&mut alice, Identity { is_ready: false, ..isolated_member(0) });
    assert_golden("newcomer", &exchange_as(newcomer, (&mut bob, member()), WALL_MS));
}

#[test]
fn recent_updates_match_their_transcript() {
    let in_common = values("key", 100);
    let (mut alice, mut bob) = alice_and_bob(&in_common, &in_common);
    let _ = alice.put("key-7", b"news"[..].into(), None, WALL_MS - 20);
    let _ = alice.delete("key-8", WALL_MS - 10);
    assert_golden("recent-updates", &exchange(&mut alice, &mut bob, WALL_MS));
}
