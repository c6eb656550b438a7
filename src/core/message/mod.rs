//! The line protocol: what two nodes say to each other, and how it is written.
//!
//! An exchange is an exchange in turns. A turn is a sequence of lines and ends with an empty
//! line, or with `done` when the one that responded has nothing left to ask:
//!
//! ```text
//! initiator  hello 1 default 1a2b3c4d 019abcdef012 3 00d5a6a1b2c3d4e5
//!
//! responder  list - 00a1…:019a…-1a2b3c4d …           (few entries: it names them all)
//!
//! initiator  want 00a1c0ffee012345                   (what the initiator lacks)
//!         put 019abcdef0110000-1a2b3c4d 5 5       (what the responder lacks)
//!         helloworld
//!
//! responder  put 019abcdef0120000-5e6f7a8b 1 0
//!         k
//!         done 5e6f7a8b
//! ```
//!
//! `docs/PROTOCOL.md` has the whole grammar. Everything that comes in is checked against the limits
//! below before it is stored; nothing is allocated by a length that was merely promised.

use crate::core::digest::{FAN_OUT, Item, MAX_DEPTH, Prefix};
use crate::core::dissemination::{RELAY_TREES, Subtree};
use crate::core::entry::{Entry, Record};
use crate::core::version::{END_OF_TIME_MS, Version, parse_hex};
use std::fmt;
use std::io::{self, BufRead, Read, Write};

/// Spoken in the first message; only equals talk.
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest line, without its line feed.
pub const MAX_LINE_BYTES: usize = 2048;

/// The most items or hashes on one line.
pub const MAX_LINE_ITEMS: usize = 32;

/// The longest cluster name.
pub const MAX_CLUSTER_BYTES: usize = 63;

/// The longest key that any node may be set to take.
pub const MAX_KEY_BYTES: usize = 64 * 1024;

/// The longest value that any node may be set to take.
pub const MAX_VALUE_BYTES: usize = 16 * 1024 * 1024;

/// How much is read, and room made for, at a time while a key or value comes in.
const READ_STEP_BYTES: usize = 64 * 1024;

/// One line of the exchange, with the bytes that follow it for a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// `hello 1 CLUSTER NODE CLOCK COUNT ROOT`: opens the initiator's first turn.
    Hello(Hello),
    /// `since MS`: since then the sender has known all that its cluster had. Said by both if one of
    /// them is isolated.
    CompleteSince(u64),
    /// `cut MS`: the sender has had no peer since then, for longer than half the tombstones' time.
    Isolated(u64),
    /// `tell TREE SIZE`: the initiator hands over a part of a relay tree.
    Relay(Subtree),
    /// `hot HASH:VERSION …`: what has just changed here, whatever the digests say.
    RecentUpdates(Vec<Item>),
    /// `row PREFIX CHILDREN`: the digests of a bucket's 16 children, 8 hex digits each, or `-` for
    /// an empty one.
    Row(Prefix, [Option<u32>; FAN_OUT]),
    /// `list PREFIX REST:VERSION …`: all that the sender holds in a bucket; REST is what follows
    /// the prefix in the hash.
    List(Prefix, Vec<Item>),
    /// `want HASH …`: send me these.
    Want(Vec<u64>),
    /// `gone HASH …`: these were deleted while you were isolated, and the tombstones purged.
    Purged(Vec<u64>),
    /// `put VERSION KEYBYTES VALUEBYTES`, and when it expires if it does, then key and value; or
    /// `del VERSION KEYBYTES`, then the key.
    Record(Record),
    /// `rest`: the sender left something out for lack of room; the next exchange brings it.
    Rest,
    /// An empty line: your turn.
    End,
    /// `done NODE`: the responder has nothing left to ask, and says who it is.
    Done(u32),
    /// `refuse REASON`: there will be no exchange.
    Refuse(Refusal),
}

/// What an initiator says of itself first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Clusters of other names are refused: pod addresses come back under other owners.
    pub cluster: Box<str>,
    /// The id that the initiator's process drew.
    pub node: u32,
    /// The initiator's wall clock in Unix milliseconds.
    pub clock_ms: u64,
    /// How many entries the initiator has, tombstones included.
    pub count: u64,
    /// The XOR of the fingerprints of all of them.
    pub root: u64,
}

/// Why one node does not talk to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Refusal {
    /// Another protocol version.
    Protocol,
    /// Another cluster's name.
    Cluster,
    /// The initiator is the responder.
    OwnAddress,
    /// All exchanges that the responder holds at a time are taken.
    Busy,
    /// Something that is not in the grammar, or not at this point.
    Grammar,
}

impl Refusal {
    /// All of them, in the order of their counters.
    pub const ALL: [Refusal; 5] =
        [Self::Protocol, Self::Cluster, Self::OwnAddress, Self::Busy, Self::Grammar];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Cluster => "cluster",
            Self::OwnAddress => "self",
            Self::Busy => "busy",
            Self::Grammar => "grammar",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "another version of the protocol",
            Self::Cluster => "another cluster's name: CLUSTER must be the same everywhere",
            Self::OwnAddress => "it is this very node",
            Self::Busy => "too many exchanges at a time",
            Self::Grammar => "not the gossip protocol",
        })
    }
}

/// Why no message could be read.
#[derive(Debug)]
pub enum ReadError {
    /// The other side closed the connection between two messages.
    Closed,
    /// A hello in another version of the protocol.
    Protocol,
    /// What came is not in the grammar; says what was expected.
    Grammar(&'static str),
    /// The connection failed, or ended within a message.
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Message {
    /// Reads one message.
    pub fn read(input: &mut impl BufRead) -> Result<Self, ReadError> {
        let line = read_line(input)?;
        let mut words = Words(line.split(' '));
        let verb = words.next().unwrap_or_default();
        let message = match verb {
            "" => Self::End,
            "hello" => {
                if words.next().and_then(decimal) != Some(u64::from(PROTOCOL_VERSION)) {
                    // Whatever follows belongs to a grammar that we don't know.
                    return Err(ReadError::Protocol);
                }
                Self::Hello(
                    words
                        .hello()
                        .ok_or(ReadError::Grammar("hello 1 CLUSTER NODE CLOCK COUNT ROOT"))?,
                )
            }
            "since" => Self::CompleteSince(words.ms().ok_or(ReadError::Grammar("since MS"))?),
            "cut" => Self::Isolated(words.ms().ok_or(ReadError::Grammar("cut MS"))?),
            "tell" => Self::Relay(words.subtree().ok_or(ReadError::Grammar("tell TREE SIZE"))?),
            "hot" => Self::RecentUpdates(
                words.items(Prefix::ROOT).ok_or(ReadError::Grammar("hot HASH:VERSION …"))?,
            ),
            "row" => {
                let (prefix, children) =
                    words.row().ok_or(ReadError::Grammar("row PREFIX CHILDREN"))?;
                Self::Row(prefix, children)
            }
            "list" => {
                const EXPECTED: ReadError = ReadError::Grammar("list PREFIX REST:VERSION …");
                let prefix = words.next().and_then(Prefix::parse).ok_or(EXPECTED)?;
                Self::List(prefix, words.items(prefix).ok_or(EXPECTED)?)
            }
            "want" => Self::Want(words.hashes().ok_or(ReadError::Grammar("want HASH …"))?),
            "gone" => Self::Purged(words.hashes().ok_or(ReadError::Grammar("gone HASH …"))?),
            "put" => {
                const EXPECTED: ReadError =
                    ReadError::Grammar("put VERSION KEYBYTES VALUEBYTES [EXPIRES]");
                let version = words.version().ok_or(EXPECTED)?;
                let key_bytes = words.length(MAX_KEY_BYTES).ok_or(EXPECTED)?;
                let value_bytes = words.length(MAX_VALUE_BYTES).ok_or(EXPECTED)?;
                let expires_ms = match words.next() {
                    Some(word) => Some(ms(word).ok_or(EXPECTED)?),
                    None => None,
                };
                words.finish()?;
                let key = read_key(input, key_bytes)?;
                let value = read_bytes(input, value_bytes)?;
                read_line_feed(input)?;
                Self::Record(Record { key, entry: Entry::new(version, value, expires_ms) })
            }
            "del" => {
                const EXPECTED: ReadError = ReadError::Grammar("del VERSION KEYBYTES");
                let version = words.version().ok_or(EXPECTED)?;
                let key_bytes = words.length(MAX_KEY_BYTES).ok_or(EXPECTED)?;
                words.finish()?;
                let key = read_key(input, key_bytes)?;
                read_line_feed(input)?;
                Self::Record(Record { key, entry: Entry::tombstone(version) })
            }
            "rest" => Self::Rest,
            "done" => Self::Done(words.node().ok_or(ReadError::Grammar("done NODE"))?),
            "refuse" => {
                let word = words.next();
                let refusal = Refusal::ALL.into_iter().find(|refusal| Some(refusal.word()) == word);
                Self::Refuse(refusal.ok_or(ReadError::Grammar("refuse REASON"))?)
            }
            _ => {
                return Err(ReadError::Grammar(
                    "hello, since, cut, tell, hot, row, list, want, gone, put, del, rest, done or refuse",
                ));
            }
        };
        words.finish()?;
        Ok(message)
    }

    /// Appends the message as it goes over the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => emit(
                out,
                format_args!(
                    "hello {PROTOCOL_VERSION} {} {:08x} {:012x} {} {:016x}\n",
                    hello.cluster, hello.node, hello.clock_ms, hello.count, hello.root
                ),
            ),
            Self::CompleteSince(ms) => emit(out, format_args!("since {ms:012x}\n")),
            Self::Isolated(ms) => emit(out, format_args!("cut {ms:012x}\n")),
            Self::Relay(subtree) => {
                emit(out, format_args!("tell {} {}\n", subtree.tree, subtree.size))
            }
            Self::RecentUpdates(items) => {
                emit(out, format_args!("hot"));
                write_items(out, 0, items);
            }
            Self::Row(prefix, children) => {
                emit(out, format_args!("row {prefix} "));
                for child in children {
                    match child {
                        Some(digest) => emit(out, format_args!("{digest:08x}")),
                        None => out.push(b'-'),
                    }
                }
                out.push(b'\n');
            }
            Self::List(prefix, items) => {
                emit(out, format_args!("list {prefix}"));
                write_items(out, prefix.depth(), items);
            }
            Self::Want(hashes) => write_hashes(out, "want", hashes),
            Self::Purged(hashes) => write_hashes(out, "gone", hashes),
            Self::Record(Record { key, entry }) => write_record(out, key, entry),
            Self::End => out.push(b'\n'),
            Self::Rest => emit(out, format_args!("rest\n")),
            Self::Done(node) => emit(out, format_args!("done {node:08x}\n")),
            Self::Refuse(refusal) => emit(out, format_args!("refuse {}\n", refusal.word())),
        }
    }
}

/// Appends a record without making a [`Message`] of it first.
pub fn write_record(out: &mut Vec<u8>, key: &str, entry: &Entry) {
    match entry.value() {
        Some(value) => {
            emit(out, format_args!("put {} {} {}", entry.version, key.len(), value.len()));
            if let Some(expires_ms) = entry.expires_ms() {
                emit(out, format_args!(" {expires_ms:012x}"));
            }
            emit(out, format_args!("\n{key}"));
            out.extend_from_slice(value);
            out.push(b'\n');
        }
        None => emit(out, format_args!("del {} {}\n{key}\n", entry.version, key.len())),
    }
}

/// Whether `name` may name a cluster: it stands in the hello as one word.
pub fn is_cluster_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_CLUSTER_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

fn emit(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

fn write_items(out: &mut Vec<u8>, depth: u8, items: &[Item]) {
    for item in items {
        // Below the prefix only the rest of the hash is new; at the deepest level there is none.
        let rest = format!("{:016x}", item.hash);
        emit(out, format_args!(" {}:{}", &rest[usize::from(depth)..], item.version));
    }
    out.push(b'\n');
}

fn write_hashes(out: &mut Vec<u8>, verb: &str, hashes: &[u64]) {
    emit(out, format_args!("{verb}"));
    for hash in hashes {
        emit(out, format_args!(" {hash:016x}"));
    }
    out.push(b'\n');
}

/// Unix milliseconds before the end of time.
fn ms(word: &str) -> Option<u64> {
    parse_hex(word, 12).filter(|&ms| ms < END_OF_TIME_MS)
}

/// The words of a line that are still to be read, one space apart.
struct Words<'a>(std::str::Split<'a, char>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn finish(&mut self) -> Result<(), ReadError> {
        match self.next() {
            None => Ok(()),
            Some(_) => Err(ReadError::Grammar("the end of the line")),
        }
    }

    fn hello(&mut self) -> Option<Hello> {
        let cluster = self.next().filter(|name| is_cluster_name(name))?.into();
        let node = self.node()?;
        let clock_ms = self.ms()?;
        let count = decimal(self.next()?)?;
        let root = parse_hex(self.next()?, 16)?;
        Some(Hello { cluster, node, clock_ms, count, root })
    }

    fn node(&mut self) -> Option<u32> {
        parse_hex(self.next()?, 8).map(|node| node as u32)
    }

    fn ms(&mut self) -> Option<u64> {
        ms(self.next()?)
    }

    fn subtree(&mut self) -> Option<Subtree> {
        let tree = decimal(self.next()?).filter(|&tree| tree < RELAY_TREES as u64)? as u8;
        let size = decimal(self.next()?).and_then(|size| u32::try_from(size).ok())?;
        Some(Subtree { tree, size })
    }

    fn version(&mut self) -> Option<Version> {
        self.next()?.parse().ok()
    }

    fn length(&mut self, max: usize) -> Option<usize> {
        decimal(self.next()?).filter(|&length| length <= max as u64).map(|length| length as usize)
    }

    fn row(&mut self) -> Option<(Prefix, [Option<u32>; FAN_OUT])> {
        let prefix = self.next().and_then(Prefix::parse).filter(|p| p.depth() < MAX_DEPTH)?;
        let mut text = self.next()?;
        let mut children = [None; FAN_OUT];
        for child in &mut children {
            if let Some(rest) = text.strip_prefix('-') {
                text = rest;
            } else {
                let digits = text.get(..8)?;
                *child = Some(parse_hex(digits, 8)? as u32);
                text = &text[8..];
            }
        }
        text.is_empty().then_some((prefix, children))
    }

    /// Items in strictly ascending order.
    fn items(&mut self, prefix: Prefix) -> Option<Vec<Item>> {
        let mut items: Vec<Item> = Vec::new();
        while let Some(word) = self.next() {
            let (rest, version) = word.split_once(':')?;
            let bucket = if rest.is_empty() { prefix } else { prefix.extend(rest)? };
            let item = Item { hash: bucket.first(), version: version.parse().ok()? };
            let ascends = items.last().is_none_or(|last| *last < item);
            if bucket.depth() != MAX_DEPTH || !ascends || items.len() == MAX_LINE_ITEMS {
                return None;
            }
            items.push(item);
        }
        Some(items)
    }

    /// Hashes in strictly ascending order.
    fn hashes(&mut self) -> Option<Vec<u64>> {
        let mut hashes: Vec<u64> = Vec::new();
        while let Some(word) = self.next() {
            let hash = parse_hex(word, 16)?;
            let ascends = hashes.last().is_none_or(|&last| last < hash);
            if !ascends || hashes.len() == MAX_LINE_ITEMS {
                return None;
            }
            hashes.push(hash);
        }
        Some(hashes)
    }
}

/// A number in its one canonical form.
fn decimal(word: &str) -> Option<u64> {
    let canonical =
        word == "0" || (!word.starts_with('0') && word.bytes().all(|b| b.is_ascii_digit()));
    if canonical { word.parse().ok() } else { None }
}

fn read_line(input: &mut impl BufRead) -> Result<String, ReadError> {
    let mut line = Vec::new();
    input.take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Err(ReadError::Closed),
        Some(b'\n') => String::from_utf8(line).map_err(|_| ReadError::Grammar("a line in UTF-8")),
        Some(_) if line.len() == MAX_LINE_BYTES => Err(ReadError::Grammar("a shorter line")),
        Some(_) => Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Reads `length` bytes, and makes room only for what has come.
fn read_bytes(input: &mut impl BufRead, length: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::with_capacity(length.min(READ_STEP_BYTES));
    input.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}

fn read_key(input: &mut impl BufRead, length: usize) -> Result<Box<str>, ReadError> {
    String::from_utf8(read_bytes(input, length)?)
        .map(String::into_boxed_str)
        .map_err(|_| ReadError::Grammar("a key in UTF-8"))
}

fn read_line_feed(input: &mut impl BufRead) -> Result<(), ReadError> {
    match read_bytes(input, 1)?[..] {
        [b'\n'] => Ok(()),
        _ => Err(ReadError::Grammar("a line feed after a record")),
    }
}
