//! Limits: whatever is just within one is accepted, and what is just beyond it is refused.

use super::{assert_refused, read, written};
use crate::support::{tombstone, value};
use gossip_sidecar::{
    END_OF_TIME_MS, FAN_OUT, Hello, Item, MAX_CLUSTER_BYTES, MAX_DEPTH, MAX_KEY_BYTES,
    MAX_LINE_BYTES, MAX_LINE_ITEMS, MAX_VALUE_BYTES, Message, Prefix, ReadError, Version,
    is_cluster_name,
};
use std::io::{self, BufRead, Cursor, Read};

#[test]
fn a_line_beyond_the_limit_is_refused() {
    let said = |bytes: Vec<u8>| match read(&bytes) {
        Err(ReadError::Grammar(expected)) => expected,
        other => panic!("{other:?}"),
    };
    let line = |length| [vec![b'x'; length], b"\n".to_vec()].concat();
    assert!(
        said(line(MAX_LINE_BYTES)).contains("refuse"),
        "within the limit, the unknown verb is the error"
    );
    assert_eq!(said(line(MAX_LINE_BYTES + 1)), "a shorter line");
    // An endless line is refused before its end.
    let mut endless = io::BufReader::new(io::repeat(b'x'));
    assert!(matches!(Message::read(&mut endless), Err(ReadError::Grammar("a shorter line"))));
}

#[test]
fn the_longest_messages_fit_into_a_line() {
    let version = Version::new(END_OF_TIME_MS - 1, u16::MAX, u32::MAX);
    let hashes: Vec<u64> = (0..MAX_LINE_ITEMS as u64).map(|index| u64::MAX - 99 + index).collect();
    let items: Vec<Item> = hashes.iter().map(|&hash| Item { hash, version }).collect();
    let hello = Hello {
        cluster: "c".repeat(MAX_CLUSTER_BYTES).into(),
        node: u32::MAX,
        clock_ms: END_OF_TIME_MS - 1,
        count: u64::MAX,
        root: u64::MAX,
    };
    for message in [
        Message::Hello(hello),
        Message::RecentUpdates(items.clone()),
        Message::List(Prefix::ROOT, items),
        Message::Want(hashes),
        Message::Row(Prefix::of(u64::MAX, MAX_DEPTH - 1), [Some(u32::MAX); FAN_OUT]),
    ] {
        let bytes = written(&message);
        assert!(bytes.len() <= MAX_LINE_BYTES + 1, "{} bytes", bytes.len());
        assert_eq!(read(&bytes).unwrap(), message);
    }
}

#[test]
fn a_line_with_more_items_than_the_limit_is_refused() {
    let version = Version::new(1, 2, 3);
    let items = |count| (0..count as u64).map(|hash| Item { hash, version }).collect::<Vec<_>>();
    let hashes = |count| (0..count as u64).collect::<Vec<_>>();
    type Line = fn(Vec<Item>, Vec<u64>) -> Message;
    let lines: [Line; 4] = [
        |items, _| Message::RecentUpdates(items),
        |items, _| Message::List(Prefix::ROOT, items),
        |_, hashes| Message::Want(hashes),
        |_, hashes| Message::Purged(hashes),
    ];
    for line in lines {
        let full = line(items(MAX_LINE_ITEMS), hashes(MAX_LINE_ITEMS));
        assert_eq!(read(&written(&full)).unwrap(), full);
        assert_refused(written(&line(items(MAX_LINE_ITEMS + 1), hashes(MAX_LINE_ITEMS + 1))));
    }
}

#[test]
fn keys_and_values_beyond_their_limits_are_refused() {
    let version = Version::new(1, 2, 3);
    let key = "k".repeat(MAX_KEY_BYTES);
    for record in [value(&key, version, b""), tombstone(&key, version)] {
        let longest = Message::Record(record);
        assert_eq!(read(&written(&longest)).unwrap(), longest);
    }
    let key = key + "k";
    assert_refused(written(&Message::Record(value(&key, version, b""))));
    assert_refused(written(&Message::Record(tombstone(&key, version))));

    let longest = Message::Record(value("", version, &vec![7; MAX_VALUE_BYTES]));
    assert!(read(&written(&longest)).unwrap() == longest);
    assert_refused(written(&Message::Record(value("", version, &vec![7; MAX_VALUE_BYTES + 1]))));
}

#[test]
fn a_cluster_name_is_one_short_word() {
    let hello = |name: &str| format!("hello 1 {name} 1a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5\n");
    let longest = "c".repeat(MAX_CLUSTER_BYTES);
    for good in ["a", "A-b_c.9", &longest] {
        assert!(is_cluster_name(good));
        assert!(read(hello(good).as_bytes()).is_ok());
    }
    let too_long = "c".repeat(MAX_CLUSTER_BYTES + 1);
    for bad in ["", "a/b", "a\tb", "\u{fc}", "a:b", &too_long] {
        assert!(!is_cluster_name(bad), "{bad:?}");
        assert_refused(hello(bad));
    }
    assert!(!is_cluster_name("a b"));
}

#[test]
fn times_past_the_end_of_time_are_refused() {
    let last = END_OF_TIME_MS - 1;
    for good in [
        format!("cut {last:012x}\n"),
        format!("hello 1 c 1a2b3c4d {last:012x} 3 00d5a6a1b2c3d4e5\n"),
        format!("del {last:012x}ffff-ffffffff 0\n\n"),
        format!("hot 0000000000000000:{last:012x}ffff-ffffffff\n"),
    ] {
        assert!(read(good.as_bytes()).is_ok(), "{good:?}");
        let past = good.replace(&format!("{last:012x}"), &format!("{END_OF_TIME_MS:012x}"));
        assert_refused(past);
    }
}

#[test]
fn prefixes_deeper_than_the_trie_are_refused() {
    let deepest = "0123456789abcdef";
    let children = "-".repeat(FAN_OUT);
    assert!(read(format!("list {deepest}\n").as_bytes()).is_ok());
    assert_refused(format!("list {deepest}0\n"));
    // A bucket at the last level has no children.
    assert!(read(format!("row {} {children}\n", &deepest[1..]).as_bytes()).is_ok());
    assert_refused(format!("row {deepest} {children}\n"));
}

/// A reader that remembers the largest buffer that it was asked to fill.
struct Measuring<'a> {
    bytes: Cursor<&'a [u8]>,
    largest_room: usize,
}

impl Read for Measuring<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.largest_room = self.largest_room.max(room.len());
        self.bytes.read(room)
    }
}

impl BufRead for Measuring<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.bytes.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.consume(amount);
    }
}

#[test]
fn memory_is_allocated_only_for_bytes_that_have_arrived() {
    let promise = format!("put 019abcdef0110001-1a2b3c4d 0 {MAX_VALUE_BYTES}\n0123456789");
    let mut input = Measuring { bytes: Cursor::new(promise.as_bytes()), largest_room: 0 };
    assert!(matches!(Message::read(&mut input), Err(ReadError::Io(_))));
    assert!((1..=64 * 1024).contains(&input.largest_room), "{} bytes", input.largest_room);

    // The buffer grows with what has arrived, to twice that at most.
    let arrived = vec![b'x'; 1024 * 1024];
    let promise = [&promise.as_bytes()[..promise.len() - 10], &arrived].concat();
    let mut input = Measuring { bytes: Cursor::new(&promise), largest_room: 0 };
    assert!(matches!(Message::read(&mut input), Err(ReadError::Io(_))));
    assert!(input.largest_room <= 2 * arrived.len(), "{} bytes", input.largest_room);
}
