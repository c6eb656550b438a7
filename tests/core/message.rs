//! The line protocol: one form for each message, and nothing but messages is taken for one.

use crate::support::{fixed_seed, tombstone, value};
use gossip_sidecar::{
    END_OF_TIME_MS, FAN_OUT, Hello, Item, MAX_CLUSTER_BYTES, MAX_DEPTH, MAX_KEY_BYTES,
    MAX_LINE_BYTES, MAX_LINE_ITEMS, MAX_VALUE_BYTES, Message, PROTOCOL_VERSION, Prefix,
    RELAY_TREES, ReadError, Refusal, Subtree, Version, is_cluster_name, write_record,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::io::{self, BufRead, Cursor, Read};

fn any_version() -> impl Strategy<Value = Version> {
    (0..END_OF_TIME_MS, any::<u16>(), any::<u32>())
        .prop_map(|(ms, counter, node)| Version::new(ms, counter, node))
}

/// Items in a bucket, strictly ascending, at times two with one hash.
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
        (0..END_OF_TIME_MS).prop_map(Message::Isolated),
        (0..END_OF_TIME_MS).prop_map(Message::CompleteSince),
        (0..RELAY_TREES as u8, any::<u32>())
            .prop_map(|(tree, size)| Message::Relay(Subtree { tree, size })),
        items_in(Prefix::ROOT).prop_map(Message::RecentUpdates),
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
        any::<u32>().prop_map(Message::Done),
        prop::sample::select(&Refusal::ALL[..]).prop_map(Message::Refuse),
    ]
}

fn written(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

fn read(mut bytes: &[u8]) -> Result<Message, ReadError> {
    Message::read(&mut bytes)
}

/// Gives what it holds in pieces that end at `cuts`, or byte by byte if there are none.
struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
    cuts: &'a [usize],
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let next_byte = (self.at + 1).min(self.bytes.len());
        let end = if self.cuts.is_empty() {
            next_byte
        } else {
            let cut = self.cuts.iter().copied().find(|&cut| cut > self.at);
            cut.unwrap_or(self.bytes.len())
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
    fn what_is_written_is_what_is_read(message in any_message(), behind in vec(any::<u8>(), 0..9)) {
        let mut bytes = written(&message);
        let length = bytes.len();
        bytes.extend(&behind);
        let mut input = &bytes[..];
        prop_assert_eq!(Message::read(&mut input).unwrap(), message);
        prop_assert_eq!(input, &bytes[length..], "and nothing beyond it");
    }

    #[test]
    fn random_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn what_is_taken_for_a_message_was_written_in_its_one_form(
        message in any_message(),
        edits in vec((any::<prop::sample::Index>(), 0..4u8, any::<u8>()), 1..4),
    ) {
        let mut bytes = written(&message);
        for (place, edit, byte) in edits {
            let at = place.index(bytes.len() + 1);
            // Printable characters are the more likely to get past the first word.
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
    fn a_message_cut_anywhere_is_none(message in any_message()) {
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
    fn how_the_bytes_arrive_changes_nothing(message in any_message()) {
        let bytes = written(&message);
        let mut byte_by_byte = Pieces { bytes: &bytes, at: 0, cuts: &[] };
        prop_assert_eq!(Message::read(&mut byte_by_byte).unwrap(), message.clone());
        for cut in 1..bytes.len() {
            let mut halves = Pieces { bytes: &bytes, at: 0, cuts: &[cut] };
            prop_assert_eq!(Message::read(&mut halves).unwrap(), message.clone(), "cut at {}", cut);
            prop_assert_eq!(halves.at, bytes.len());
        }
    }
}

#[test]
fn the_written_text_is_pinned() {
    let version = Version::new(0x019a_bcde_f011, 1, 0x1a2b_3c4d);
    let item = |hash| Item { hash, version };
    let hello = Hello {
        cluster: "default".into(),
        node: 0x1a2b_3c4d,
        clock_ms: 0x019a_bcde_f012,
        count: 3,
        root: 0x00d5_a6a1_b2c3_d4e5,
    };
    let mut children = [None; FAN_OUT];
    children[1] = Some(0xab);
    children[15] = Some(u32::MAX);
    let leaf = 0x00a1_c0ff_ee01_2345;
    let bucket = Prefix::of(leaf, 3);
    let pins: [(Message, &[u8]); 27] = [
        (Message::Hello(hello), b"hello 1 default 1a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5\n"),
        (Message::Isolated(0), b"cut 000000000000\n"),
        (Message::CompleteSince(0x019a_bcde_f012), b"since 019abcdef012\n"),
        (Message::Isolated(0x019a_bcde_f012), b"cut 019abcdef012\n"),
        (Message::Relay(Subtree { tree: 1, size: 48 }), b"tell 1 48\n"),
        (Message::RecentUpdates(vec![]), b"hot\n"),
        (
            Message::RecentUpdates(vec![item(1), item(leaf)]),
            b"hot 0000000000000001:019abcdef0110001-1a2b3c4d \
              00a1c0ffee012345:019abcdef0110001-1a2b3c4d\n",
        ),
        (Message::Row(Prefix::ROOT, children), b"row - -000000ab-------------ffffffff\n"),
        (Message::Row(bucket, [None; FAN_OUT]), b"row 00a ----------------\n"),
        (Message::List(Prefix::ROOT, vec![]), b"list -\n"),
        (
            Message::List(Prefix::ROOT, vec![item(leaf)]),
            b"list - 00a1c0ffee012345:019abcdef0110001-1a2b3c4d\n",
        ),
        (
            Message::List(bucket, vec![item(leaf)]),
            b"list 00a 1c0ffee012345:019abcdef0110001-1a2b3c4d\n",
        ),
        (
            Message::List(Prefix::leaf(leaf), vec![item(leaf)]),
            b"list 00a1c0ffee012345 :019abcdef0110001-1a2b3c4d\n",
        ),
        (Message::Want(vec![]), b"want\n"),
        (Message::Want(vec![1, leaf]), b"want 0000000000000001 00a1c0ffee012345\n"),
        (Message::Purged(vec![leaf]), b"gone 00a1c0ffee012345\n"),
        (
            Message::Record(value("hello", version, b"world")),
            b"put 019abcdef0110001-1a2b3c4d 5 5\nhelloworld\n",
        ),
        (Message::Record(value("", version, b"")), b"put 019abcdef0110001-1a2b3c4d 0 0\n\n"),
        (
            Message::Record(value("\u{fc}\n", version, b"\0\n=\xff")),
            b"put 019abcdef0110001-1a2b3c4d 3 4\n\xc3\xbc\n\0\n=\xff\n",
        ),
        (Message::Record(tombstone("hello", version)), b"del 019abcdef0110001-1a2b3c4d 5\nhello\n"),
        (Message::Rest, b"rest\n"),
        (Message::End, b"\n"),
        (Message::Done(0x5e6f_7a8b), b"done 5e6f7a8b\n"),
        (Message::Refuse(Refusal::Cluster), b"refuse cluster\n"),
        (Message::Refuse(Refusal::OwnAddress), b"refuse self\n"),
        (Message::Refuse(Refusal::Busy), b"refuse busy\n"),
        (Message::Refuse(Refusal::Grammar), b"refuse grammar\n"),
    ];
    for (message, text) in pins {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(String::from_utf8_lossy(&written(&message)), shown);
        assert_eq!(read(text).unwrap(), message, "{shown:?}");
    }
}

#[test]
fn a_record_is_written_alike_with_and_without_a_message() {
    for record in [value("k", Version::new(1, 2, 3), b"v"), tombstone("k", Version::new(1, 2, 3))] {
        let mut bytes = Vec::new();
        write_record(&mut bytes, &record.key, &record.entry);
        assert_eq!(bytes, written(&Message::Record(record)));
    }
}

fn assert_refused(text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    let shown = String::from_utf8_lossy(&text[..text.len().min(200)]);
    match read(text) {
        Err(ReadError::Grammar(_)) => {}
        other => panic!("{shown:?}: {other:?}"),
    }
}

#[test]
fn a_message_has_one_form() {
    let accepted = [
        "hello 1 c 1a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5\n",
        "cut 019abcdef012\n",
        "hot 00000000000000aa:019abcdef0110001-1a2b3c4d\n",
        "row 0a --aaaaaaaa-------------\n",
        "list 0a 000000000000aa:019abcdef0110001-1a2b3c4d\n",
        "want 00000000000000aa\n",
        "gone 00000000000000aa\n",
        "put 019abcdef0110001-1a2b3c4d 1 1\nkv\n",
        "del 019abcdef0110001-1a2b3c4d 1\nk\n",
        "done 1a2b3c4d\n",
        "refuse busy\n",
    ];
    for text in accepted {
        let (line, rest) = text.split_once('\n').unwrap();
        read(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
        // The verb alone is another matter: a list of nothing is a list.
        let (verb, words) = line.split_once(' ').unwrap();
        let with = |line: &str| format!("{line}\n{rest}");
        assert_refused(with(&format!(" {line}")));
        assert_refused(with(&format!("{line} ")));
        assert_refused(with(&format!("{line}\r")));
        assert_refused(with(&format!("{line}\t")));
        assert_refused(with(&format!("{line} 0")));
        assert_refused(with(&format!("{verb}\t{words}")));
        assert_refused(with(&format!("{} {words}", verb.to_uppercase())));
        assert_refused(with(&format!("{verb}s {words}")));
        if verb != "hello" {
            assert_refused(with(&format!("{verb}  {words}")));
            let shouted = words.to_uppercase();
            assert_refused(with(&format!("{verb} {shouted}")));
        }
    }
}

#[test]
fn numbers_have_one_form() {
    for bad in [
        "hello 1 c 1A2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5\n",
        "hello 1 c a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5\n",
        "hello 1 c 01a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 19abcdef012 3 00d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 0019abcdef012 3 00d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 019abcdef012 03 00d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 019abcdef012 +3 00d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 019abcdef012 -3 00d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 019abcdef012 3a 00d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 019abcdef012  00d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 019abcdef012 18446744073709551616 00d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 019abcdef012 3 0d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 019abcdef012 3 000d5a6a1b2c3d4e5\n",
        "hello 1 c 1a2b3c4d 019abcdef012 3\n",
        "cut 19abcdef012\n",
        "cut\n",
        "tell 2 1\n",
        "tell 01 1\n",
        "tell 0 +1\n",
        "tell 0 4294967296\n",
        "tell 0\n",
        "tell 0 1 1\n",
        "tell\n",
        "want aa\n",
        "want 000000000000000aa\n",
        "want 00000000000000AA\n",
        "done a2b3c4d\n",
        "done\n",
        "done +a2b3c4d\n",
        "put 019abcdef0110001-1a2b3c4d 01 1\nkv\n",
        "put 019abcdef0110001-1a2b3c4d 1 +1\nkv\n",
        "put 019abcdef0110001-1a2b3c4d 1 00\nk\n",
        "put 019abcdef0110001-1a2b3c4d -0 0\n\n",
        "put 019abcdef0110001-1a2b3c4d 1\nk\n",
        "put 019abcdef0110001_1a2b3c4d 1 1\nkv\n",
        "del 019abcdef0110001-1a2b3c4d\nk\n",
        "del 019abcdef0110001-1a2b3c4d 0x1\nk\n",
        "list  00000000000000aa:019abcdef0110001-1a2b3c4d\n",
        "list\n",
        "list 0a aa:019abcdef0110001-1a2b3c4d\n",
        "list 0a 0000000000000aaa:019abcdef0110001-1a2b3c4d\n",
        "list 0a :019abcdef0110001-1a2b3c4d\n",
        "list 0a 00000000000000aa\n",
        "list 0a 000000000000aa:\n",
        "list 0123456789abcdef0\n",
        "refuse\n",
        "refuse me\n",
        "hot 00000000000000aa:019abcdef0110001-1a2b3c4d:\n",
        "nonsense\n",
        "\r\n",
        " \n",
        "\0\n",
    ] {
        assert_refused(bad);
    }
    assert_refused(b"done \xff\xff\xff\xff\n");
}

#[test]
fn a_row_has_sixteen_children() {
    let read_row = |children: &str| read(format!("row - {children}\n").as_bytes());
    assert!(matches!(read_row(&"-".repeat(16)), Ok(Message::Row(..))));
    assert!(matches!(read_row(&"0123abcd".repeat(16)), Ok(Message::Row(..))));
    for bad in [
        "-".repeat(15),
        "-".repeat(17),
        "0123abcd".repeat(15),
        "0123abcd".repeat(17),
        "0123abc".to_owned() + &"-".repeat(15),
        "0123ABCD".to_owned() + &"-".repeat(15),
        "+123abcd".to_owned() + &"-".repeat(15),
        // A character that straddles the eighth byte.
        "0123abc\u{fc}".to_owned() + &"-".repeat(15),
        String::new(),
    ] {
        assert_refused(format!("row - {bad}\n"));
    }
    assert_refused("row -\n");
}

#[test]
fn items_and_hashes_ascend() {
    let items =
        |a: &str, b: &str| format!("hot 00000000000000{a}-00000001 00000000000000{b}-00000001\n");
    let (low, high) = ("01:0000000000000001", "01:0000000000000002");
    let (before, after) = ("02:0000000000000001", "02:0000000000000000");
    for (a, b) in [(low, high), (low, before), (high, after)] {
        assert!(read(items(a, b).as_bytes()).is_ok(), "{a} {b}");
        assert_refused(items(b, a));
    }
    assert_refused(items(low, low));
    for verb in ["want", "gone"] {
        let line = |a, b| format!("{verb} {a:016x} {b:016x}\n");
        assert!(read(line(1, 2).as_bytes()).is_ok());
        assert_refused(line(2, 1));
        assert_refused(line(1, 1));
    }
}

#[test]
fn another_protocol_is_told_from_bad_grammar() {
    let hello =
        |version: &str| format!("hello {version} c 1a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5\n");
    assert!(read(hello(&PROTOCOL_VERSION.to_string()).as_bytes()).is_ok());
    // Whatever another version writes behind its number is not ours to judge.
    for other in ["0", "2", "01", "+1", "1.1", "", "99999999999999999999", "2 what ever"] {
        let error = read(hello(other).as_bytes());
        assert!(matches!(error, Err(ReadError::Protocol)), "{other:?}: {error:?}");
    }
    assert!(matches!(read(b"hello\n"), Err(ReadError::Protocol)));
    assert!(matches!(read(b"GET / HTTP/1.1\r\n"), Err(ReadError::Grammar(_))));
}

#[test]
fn a_line_ends_at_its_limit() {
    let said = |bytes: Vec<u8>| match read(&bytes) {
        Err(ReadError::Grammar(expected)) => expected,
        other => panic!("{other:?}"),
    };
    let line = |length| [vec![b'x'; length], b"\n".to_vec()].concat();
    assert!(said(line(MAX_LINE_BYTES)).contains("refuse"), "the verb is what is wrong with it");
    assert_eq!(said(line(MAX_LINE_BYTES + 1)), "a shorter line");
    // A line that never ends is not waited for.
    let mut endless = io::BufReader::new(io::repeat(b'x'));
    assert!(matches!(Message::read(&mut endless), Err(ReadError::Grammar("a shorter line"))));
}

#[test]
fn every_message_fits_its_line() {
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
fn a_line_holds_so_many_items_and_no_more() {
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
fn keys_and_values_end_at_their_limits() {
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
fn a_cluster_is_named_by_one_short_word() {
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
fn time_ends_for_all_alike() {
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
fn the_trie_is_so_deep_and_no_deeper() {
    let deepest = "0123456789abcdef";
    let children = "-".repeat(FAN_OUT);
    assert!(read(format!("list {deepest}\n").as_bytes()).is_ok());
    assert_refused(format!("list {deepest}0\n"));
    // A leaf has no children.
    assert!(read(format!("row {} {children}\n", &deepest[1..]).as_bytes()).is_ok());
    assert_refused(format!("row {deepest} {children}\n"));
}

#[test]
fn a_key_is_text_and_a_record_ends_with_its_line() {
    assert_refused(b"put 019abcdef0110001-1a2b3c4d 2 1\n\xff\xffv\n");
    assert_refused(b"del 019abcdef0110001-1a2b3c4d 2\n\xff\xff\n");
    // Half a character at the end of the key, with its other half in the value.
    assert_refused(b"put 019abcdef0110001-1a2b3c4d 1 1\n\xc3\xbc\n");
    assert_refused(b"put 019abcdef0110001-1a2b3c4d 1 1\nkvv\n");
    assert_refused(b"del 019abcdef0110001-1a2b3c4d 1\nkk\n");
    assert_refused(b"del 019abcdef0110001-1a2b3c4d 1\nk\r\n");
}

/// Remembers the largest room that it was asked to fill.
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
fn no_room_is_made_for_what_was_merely_promised() {
    let promise = format!("put 019abcdef0110001-1a2b3c4d 0 {MAX_VALUE_BYTES}\n0123456789");
    let mut input = Measuring { bytes: Cursor::new(promise.as_bytes()), largest_room: 0 };
    assert!(matches!(Message::read(&mut input), Err(ReadError::Io(_))));
    assert!((1..=64 * 1024).contains(&input.largest_room), "{} bytes", input.largest_room);

    // Room grows with what has come: it never doubles more than once ahead of it.
    let arrived = vec![b'x'; 1024 * 1024];
    let promise = [&promise.as_bytes()[..promise.len() - 10], &arrived].concat();
    let mut input = Measuring { bytes: Cursor::new(&promise), largest_room: 0 };
    assert!(matches!(Message::read(&mut input), Err(ReadError::Io(_))));
    assert!(input.largest_room <= 2 * arrived.len(), "{} bytes", input.largest_room);
}
