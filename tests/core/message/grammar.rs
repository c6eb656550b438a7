//! The grammar: each message has one form, and nothing else is accepted.

use super::{assert_refused, read, written};
use crate::support::{tombstone, value};
use gossip_sidecar::{
    FAN_OUT, Hello, Item, Message, PROTOCOL_VERSION, Prefix, ReadError, Refusal, Subtree, Version,
};

#[test]
fn the_text_of_each_message_is_pinned() {
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
    let pins: [(Message, &[u8]); 31] = [
        (Message::Hello(hello), b"hello 1 default 1a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5\n"),
        (Message::Starting, b"starting\n"),
        (Message::Draining, b"leaving\n"),
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
        (Message::Check(Prefix::of(0x0a << 56, 2), Some(0xbc)), b"check 0a 000000bc\n"),
        (Message::Check(Prefix::of(0xff << 56, 2), None), b"check ff -\n"),
        (Message::Rest, b"rest\n"),
        (Message::End, b"\n"),
        (Message::Done { node: 0x5e6f_7a8b, ahead_ms: -20_000 }, b"done 5e6f7a8b -20000\n"),
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
fn each_message_has_one_form() {
    let accepted = [
        "hello 1 c 1a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5\n",
        "cut 019abcdef012\n",
        "hot 00000000000000aa:019abcdef0110001-1a2b3c4d\n",
        "check 0a aaaaaaaa\n",
        "row 0a --aaaaaaaa-------------\n",
        "list 0a 000000000000aa:019abcdef0110001-1a2b3c4d\n",
        "want 00000000000000aa\n",
        "gone 00000000000000aa\n",
        "put 019abcdef0110001-1a2b3c4d 1 1\nkv\n",
        "del 019abcdef0110001-1a2b3c4d 1\nk\n",
        "done 1a2b3c4d 7\n",
        "refuse busy\n",
    ];
    for text in accepted {
        let (line, rest) = text.split_once('\n').unwrap();
        read(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
        // The verb alone may be valid: a list may be empty.
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
fn each_number_has_one_form() {
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
        "starting 1\n",
        "leaving \n",
        "Leaving\n",
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
        "check 0a\n",
        "check - -\n",
        "check 0 -\n",
        "check 0ab -\n",
        "check 0a aaaaaaa\n",
        "check 0a --\n",
        "done a2b3c4d 7\n",
        "done\n",
        "done 1a2b3c4d\n",
        "done 1a2b3c4d \n",
        "done 1a2b3c4d -\n",
        "done 1a2b3c4d -0\n",
        "done 1a2b3c4d 07\n",
        "done 1a2b3c4d +7\n",
        "done 1a2b3c4d --7\n",
        "done 1a2b3c4d 4398046511104\n",
        "done 1a2b3c4d -4398046511104\n",
        "done +a2b3c4d 7\n",
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
    assert_refused(b"done \xff\xff\xff\xff 7\n");
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
        // A character that crosses the boundary of the eighth byte.
        "0123abc\u{fc}".to_owned() + &"-".repeat(15),
        String::new(),
    ] {
        assert_refused(format!("row - {bad}\n"));
    }
    assert_refused("row -\n");
}

#[test]
fn items_and_hashes_must_ascend() {
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
fn another_protocol_version_is_told_apart_from_bad_grammar() {
    let hello =
        |version: &str| format!("hello {version} c 1a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5\n");
    assert!(read(hello(&PROTOCOL_VERSION.to_string()).as_bytes()).is_ok());
    // What follows another version's number is not judged: its grammar is unknown.
    for other in ["0", "2", "01", "+1", "1.1", "", "99999999999999999999", "2 what ever"] {
        let error = read(hello(other).as_bytes());
        assert!(matches!(error, Err(ReadError::Protocol)), "{other:?}: {error:?}");
    }
    assert!(matches!(read(b"hello\n"), Err(ReadError::Protocol)));
    assert!(matches!(read(b"GET / HTTP/1.1\r\n"), Err(ReadError::Grammar(_))));
}

#[test]
fn a_key_must_be_utf8_and_a_record_must_end_with_its_line() {
    assert_refused(b"put 019abcdef0110001-1a2b3c4d 2 1\n\xff\xffv\n");
    assert_refused(b"del 019abcdef0110001-1a2b3c4d 2\n\xff\xff\n");
    // A character of which half is in the key and half in the value.
    assert_refused(b"put 019abcdef0110001-1a2b3c4d 1 1\n\xc3\xbc\n");
    assert_refused(b"put 019abcdef0110001-1a2b3c4d 1 1\nkvv\n");
    assert_refused(b"del 019abcdef0110001-1a2b3c4d 1\nkk\n");
    assert_refused(b"del 019abcdef0110001-1a2b3c4d 1\nk\r\n");
}
