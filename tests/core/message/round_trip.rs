//! What one node writes, another reads, however the bytes arrive.

use super::{read, written};
use crate::support::{fixed_seed, tombstone, value};
use gossip_sidecar::{
    END_OF_TIME_MS, Hello, Item, MAX_DEPTH, MAX_LINE_ITEMS, Message, Prefix, RELAY_TREES,
    ReadError, Refusal, SHARD_DEPTH, Subtree, Version, write_record,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::io::{self, BufRead, Read};

fn any_version() -> impl Strategy<Value = Version> {
    (0..END_OF_TIME_MS, any::<u16>(), any::<u32>())
        .prop_map(|(ms, counter, node)| Version::new(ms, counter, node))
}

/// Strictly ascending items of a bucket, some of them with equal hashes.
fn items_in(bucket: Prefix) -> impl Strategy<Value = Vec<Item>> {
    let hash = prop_oneof![3 => any::<u64>(), 1 => 0..4u64].prop_map(move |hash| {
        let below = bucket.last() - bucket.first();
        bucket.first() | hash & below
    });
    let item = (hash, any_version()).prop_map(|(hash, version)| (hash, version));
    btree_set(item, 0..=MAX_LINE_ITEMS)
        .prop_map(|set| set.into_iter().map(|(hash, version)| Item { hash, version }).collect())
}

fn hashes() -> impl Strategy<Value = Vec<u64>> {
    btree_set(any::<u64>(), 0..=MAX_LINE_ITEMS).prop_map(|set| set.into_iter().collect())
}

fn any_bucket(max_depth: u8) -> impl Strategy<Value = Prefix> {
    (any::<u64>(), 0..=max_depth).prop_map(|(hash, depth)| Prefix::of(hash, depth))
}

fn any_hello() -> impl Strategy<Value = Hello> {
    ("[A-Za-z0-9._-]{1,63}", any::<u32>(), 0..END_OF_TIME_MS, any::<u64>(), any::<u64>()).prop_map(
        |(cluster, node, clock_ms, count, root)| Hello {
            cluster: cluster.into(),
            node,
            clock_ms,
            count,
            root,
        },
    )
}

fn any_message() -> impl Strategy<Value = Message> {
    let children = prop::array::uniform16(prop::option::of(any::<u32>()));
    prop_oneof![
        any_hello().prop_map(Message::Hello),
        Just(Message::Starting),
        Just(Message::Draining),
        (0..END_OF_TIME_MS).prop_map(Message::Isolated),
        (0..END_OF_TIME_MS).prop_map(Message::CompleteSince),
        (0..RELAY_TREES as u8, any::<u32>())
            .prop_map(|(tree, size)| Message::Relay(Subtree { tree, size })),
        items_in(Prefix::ROOT).prop_map(Message::RecentUpdates),
        (any::<u64>(), any::<Option<u32>>())
            .prop_map(|(hash, digest)| { Message::Check(Prefix::of(hash, SHARD_DEPTH), digest) }),
        (any_bucket(MAX_DEPTH - 1), children)
            .prop_map(|(bucket, children)| Message::Row(bucket, children)),
        any_bucket(MAX_DEPTH)
            .prop_flat_map(|bucket| items_in(bucket).prop_map(move |i| Message::List(bucket, i))),
        hashes().prop_map(Message::Want),
        hashes().prop_map(Message::Purged),
        (".{0,40}", any_version(), vec(any::<u8>(), 0..200))
            .prop_map(|(key, version, bytes)| Message::Record(value(&key, version, &bytes))),
        (".{0,40}", any_version())
            .prop_map(|(key, version)| Message::Record(tombstone(&key, version))),
        Just(Message::Rest),
        Just(Message::End),
        (any::<u32>(), 1 - END_OF_TIME_MS as i64..END_OF_TIME_MS as i64)
            .prop_map(|(node, ahead_ms)| Message::Done { node, ahead_ms }),
        prop::sample::select(&Refusal::ALL[..]).prop_map(Message::Refuse),
    ]
}

/// A reader that returns its bytes in pieces that end at `splits`, or one by one if there are none.
struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
    splits: &'a [usize],
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let next_byte = (self.at + 1).min(self.bytes.len());
        let end = if self.splits.is_empty() {
            next_byte
        } else {
            let split = self.splits.iter().copied().find(|&split| split > self.at);
            split.unwrap_or(self.bytes.len())
        };
        Ok(&self.bytes[self.at..end])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(room)?;
        self.consume(amount);
        Ok(amount)
    }
}

proptest! {
    #![proptest_config(fixed_seed(2_000))]

    #[test]
    fn every_message_round_trips(message in any_message(), behind in vec(any::<u8>(), 0..9)) {
        let mut bytes = written(&message);
        let length = bytes.len();
        bytes.extend(&behind);
        let mut input = &bytes[..];
        prop_assert_eq!(Message::read(&mut input).unwrap(), message);
        prop_assert_eq!(input, &bytes[length..], "the bytes behind the message are left alone");
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn whatever_is_accepted_is_in_canonical_form(
        message in any_message(),
        edits in vec((any::<prop::sample::Index>(), 0..4u8, any::<u8>()), 1..4),
    ) {
        let mut bytes = written(&message);
        for (index, edit, byte) in edits {
            let at = index.index(bytes.len() + 1);
            // Printable characters are more likely to get past the verb.
            let likely = b"0123456789abcdef-+: \n\r"[usize::from(byte) % 22];
            match edit {
                0 => bytes.insert(at, likely),
                1 => bytes.insert(at, byte),
                2 if at < bytes.len() => bytes[at] = likely,
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        let mut input = &bytes[..];
        if let Ok(message) = Message::read(&mut input) {
            let length = bytes.len() - input.len();
            prop_assert_eq!(written(&message), &bytes[..length]);
        }
    }
}

proptest! {
    #![proptest_config(fixed_seed(300))]

    #[test]
    fn a_truncated_message_is_never_accepted(message in any_message()) {
        let bytes = written(&message);
        for length in 0..bytes.len() {
            match read(&bytes[..length]) {
                Err(ReadError::Closed) => prop_assert_eq!(length, 0),
                Err(ReadError::Io(error)) => {
                    prop_assert!(length > 0);
                    prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                }
                other => prop_assert!(false, "{length} of {} bytes: {other:?}", bytes.len()),
            }
        }
    }

    #[test]
    fn a_message_may_arrive_in_any_pieces(message in any_message()) {
        let bytes = written(&message);
        let mut byte_by_byte = Pieces { bytes: &bytes, at: 0, splits: &[] };
        prop_assert_eq!(Message::read(&mut byte_by_byte).unwrap(), message.clone());
        for split in 1..bytes.len() {
            let mut halves = Pieces { bytes: &bytes, at: 0, splits: &[split] };
            let read = Message::read(&mut halves).unwrap();
            prop_assert_eq!(read, message.clone(), "split at {}", split);
            prop_assert_eq!(halves.at, bytes.len());
        }
    }
}

#[test]
fn write_record_writes_what_a_record_message_writes() {
    for record in [value("k", Version::new(1, 2, 3), b"v"), tombstone("k", Version::new(1, 2, 3))] {
        let mut bytes = Vec::new();
        write_record(&mut bytes, &record.key, &record.entry);
        assert_eq!(bytes, written(&Message::Record(record)));
    }
}
