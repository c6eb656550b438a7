//! Keys and versions chosen so that fingerprints cancel each other out: digests are equal where the
//! entries are not.

use super::turn;
use crate::support::{
    WALL_MS, call, contents, exchange, keys_in, member, store_with, value, values,
};
use gossip_sidecar::{Item, Prefix, Record, Store, Version, key_hash};

fn fingerprint(record: &Record) -> u64 {
    Item { hash: key_hash(&record.key), version: record.entry.version }.fingerprint()
}

/// Indices of some of the numbers whose XOR is 0: Gaussian elimination over GF(2). There is such a
/// choice among any 65.
fn cancelling(numbers: &[u64]) -> Vec<usize> {
    assert!(numbers.len() > 64 && numbers.len() < 128);
    let mut basis: Vec<(u64, u128)> = Vec::new();
    for (index, &number) in numbers.iter().enumerate() {
        let (mut rest, mut chosen) = (number, 1u128 << index);
        for &(element, of) in &basis {
            if rest ^ element < rest {
                (rest, chosen) = (rest ^ element, chosen ^ of);
            }
        }
        if rest == 0 {
            return (0..numbers.len()).filter(|index| chosen >> index & 1 > 0).collect();
        }
        basis.push((rest, chosen));
        basis.sort_unstable_by(|a, b| b.cmp(a));
    }
    unreachable!("64 bits have no more than 64 independent numbers")
}

/// A hundred keys within one shard or anywhere.
fn keys(is_one_shard: bool) -> Vec<String> {
    let bucket = if is_one_shard { Prefix::of(0x5a << 56, 2) } else { Prefix::ROOT };
    keys_in(bucket, "crafted", 100)
}

/// Two stores with the same roots of which only the first has the crafted keys.
fn stores_that_differ_in_count(is_one_shard: bool) -> (Store, Store) {
    let in_common = values("common", 1_000);
    let version = Version::new(WALL_MS - 7_200_000, 0, 9);
    let crafted: Vec<Record> =
        keys(is_one_shard).iter().map(|key| value(key, version, b"v")).collect();
    let fingerprints: Vec<u64> = crafted.iter().map(fingerprint).collect();
    let mut ours = in_common.clone();
    ours.extend(cancelling(&fingerprints).into_iter().map(|index| crafted[index].clone()));
    let stores = (store_with(1, &ours), store_with(2, &in_common));
    assert_eq!(stores.0.root().xor, stores.1.root().xor);
    assert!(stores.0.root().count > stores.1.root().count);
    stores
}

/// Two stores with the same roots, counts and keys, which differ in the versions of crafted keys.
fn stores_that_differ_in_versions(is_one_shard: bool) -> (Store, Store) {
    let in_common = values("common", 1_000);
    let written = |key: &String, ms| value(key, Version::new(WALL_MS - ms, 0, 9), b"v");
    let pairs: Vec<[Record; 2]> = keys(is_one_shard)
        .iter()
        .map(|key| [written(key, 7_200_000), written(key, 7_100_000)])
        .collect();
    let differences: Vec<u64> =
        pairs.iter().map(|pair| fingerprint(&pair[0]) ^ fingerprint(&pair[1])).collect();
    let crafted = cancelling(&differences);
    let side = |chosen: usize| {
        let mut records = in_common.clone();
        records.extend(crafted.iter().map(|&index| pairs[index][chosen].clone()));
        records
    };
    let stores = (store_with(1, &side(0)), store_with(2, &side(1)));
    assert_eq!(stores.0.root(), stores.1.root());
    assert!(contents(&stores.0) != contents(&stores.1));
    stores
}

/// The next time at which the initiator has this shard checked, or any.
fn next_check_ms(store: &mut Store, from_ms: u64, shard: &str) -> u64 {
    let is_checked = |&wall_ms: &u64| {
        let said = turn(&mut call(member(), store, wall_ms), store);
        String::from_utf8(said).unwrap().contains(&format!("\ncheck {shard}"))
    };
    (from_ms..from_ms + 400_000).find(is_checked).expect("each shard has its turn")
}

#[test]
fn keys_that_one_side_alone_has_are_found_at_once() {
    for is_one_shard in [true, false] {
        for initiator_has_them in [true, false] {
            let (mut ours, mut theirs) = stores_that_differ_in_count(is_one_shard);
            match initiator_has_them {
                true => exchange(&mut ours, &mut theirs, WALL_MS),
                false => exchange(&mut theirs, &mut ours, WALL_MS),
            };
            assert!(contents(&ours) == contents(&theirs), "in one shard: {is_one_shard}");
        }
    }
}

#[test]
fn versions_that_differ_are_found_by_a_check_of_their_shard() {
    for first_initiates in [true, false] {
        let (mut ours, mut theirs) = stores_that_differ_in_versions(true);
        if !first_initiates {
            std::mem::swap(&mut ours, &mut theirs);
        }
        // Another shard is checked: the difference stays hidden.
        let wall_ms = next_check_ms(&mut ours, WALL_MS, "0");
        let outcome = exchange(&mut ours, &mut theirs, wall_ms);
        assert_eq!(outcome.round_trips(), 1, "{}", outcome.transcript());
        assert!(outcome.payload_bytes() <= 128, "{}", outcome.transcript());
        assert!(contents(&ours) != contents(&theirs));
        let wall_ms = next_check_ms(&mut ours, WALL_MS, "5a");
        exchange(&mut ours, &mut theirs, wall_ms);
        assert!(contents(&ours) == contents(&theirs));
    }
}

#[test]
fn one_exchange_in_64_checks_a_shard() {
    let mut store = store_with(1, &values("key", 100));
    let mut checks = 0;
    let mut shards = std::collections::BTreeSet::new();
    for wall_ms in WALL_MS..WALL_MS + 64_000 {
        let said = turn(&mut call(member(), &mut store, wall_ms), &mut store);
        if let Some((_, check)) = String::from_utf8(said).unwrap().split_once("check ") {
            checks += 1;
            shards.insert(check[..2].to_owned());
        }
    }
    assert!((900..1_100).contains(&checks), "{checks} of 64 000");
    assert!(shards.len() > 240, "{} shards", shards.len());
}

#[test]
fn versions_that_differ_anywhere_are_found_before_long() {
    let (mut ours, mut theirs) = stores_that_differ_in_versions(false);
    let rounds = (1..10_000).find(|round| {
        exchange(&mut ours, &mut theirs, WALL_MS + round * 1_000);
        contents(&ours) == contents(&theirs)
    });
    println!("{rounds:?} exchanges");
    assert!(rounds.is_some(), "the difference stays hidden");
}
