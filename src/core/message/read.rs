//! Reading messages.

use super::{
    Hello, MAX_KEY_BYTES, MAX_LINE_BYTES, MAX_LINE_ITEMS, MAX_VALUE_BYTES, Message,
    PROTOCOL_VERSION, Refusal, is_cluster_name,
};
use crate::core::digest::{FAN_OUT, Item, MAX_DEPTH, Prefix};
use crate::core::dissemination::{RELAY_TREES, Subtree};
use crate::core::entry::{Entry, Record};
use crate::core::shards::SHARD_DEPTH;
use crate::core::version::{END_OF_TIME_MS, Version, parse_hex};
use std::fmt;
use std::io::{self, BufRead, Read};

/// Room is made for a key or value in steps of this size, as its bytes arrive.
const READ_STEP_BYTES: usize = 64 * 1024;

/// Why no message could be read.
#[derive(Debug)]
pub enum ReadError {
    /// The peer closed the connection between two messages.
    Closed,
    /// A hello in another version of the protocol.
    Protocol,
    /// The line is not in the grammar; says what was expected.
    Grammar(&'static str),
    /// The connection failed, or ended within a message.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer has closed the connection"),
            Self::Protocol => write!(f, "{}", Refusal::Protocol),
            Self::Grammar(expected) => write!(f, "expected {expected}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

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
        match verb {
            "put" => return read_put(words, input),
            "del" => return read_del(words, input),
            _ => {}
        }
        let message = match verb {
            "" => Self::End,
            "hello" => Self::Hello(words.hello()?),
            "starting" => Self::Starting,
            "leaving" => Self::Draining,
            "since" => Self::CompleteSince(words.ms().ok_or(ReadError::Grammar("since MS"))?),
            "cut" => Self::Isolated(words.ms().ok_or(ReadError::Grammar("cut MS"))?),
            "tell" => Self::Relay(words.subtree().ok_or(ReadError::Grammar("tell TREE SIZE"))?),
            "hot" => {
                let items = words.items(Prefix::ROOT);
                Self::RecentUpdates(items.ok_or(ReadError::Grammar("hot HASH:VERSION …"))?)
            }
            "check" => {
                let (shard, digest) =
                    words.check().ok_or(ReadError::Grammar("check SHARD DIGEST"))?;
                Self::Check(shard, digest)
            }
            "row" => {
                let (prefix, children) =
                    words.row().ok_or(ReadError::Grammar("row PREFIX CHILDREN"))?;
                Self::Row(prefix, children)
            }
            "list" => {
                let (prefix, items) =
                    words.list().ok_or(ReadError::Grammar("list PREFIX REST:VERSION …"))?;
                Self::List(prefix, items)
            }
            "want" => Self::Want(words.hashes().ok_or(ReadError::Grammar("want HASH …"))?),
            "gone" => Self::Purged(words.hashes().ok_or(ReadError::Grammar("gone HASH …"))?),
            "rest" => Self::Rest,
            "done" => words.done().ok_or(ReadError::Grammar("done NODE AHEAD"))?,
            "refuse" => Self::Refuse(words.refusal().ok_or(ReadError::Grammar("refuse REASON"))?),
            _ => {
                return Err(ReadError::Grammar(
                    "hello, starting, leaving, since, cut, tell, hot, check, row, list, want, gone, put, del, rest, done or refuse",
                ));
            }
        };
        words.finish()?;
        Ok(message)
    }
}

fn read_put(mut words: Words<'_>, input: &mut impl BufRead) -> Result<Message, ReadError> {
    const EXPECTED: ReadError = ReadError::Grammar("put VERSION KEYBYTES VALUEBYTES [EXPIRES]");
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
    Ok(Message::Record(Record { key, entry: Entry::new(version, value, expires_ms) }))
}

fn read_del(mut words: Words<'_>, input: &mut impl BufRead) -> Result<Message, ReadError> {
    const EXPECTED: ReadError = ReadError::Grammar("del VERSION KEYBYTES");
    let version = words.version().ok_or(EXPECTED)?;
    let key_bytes = words.length(MAX_KEY_BYTES).ok_or(EXPECTED)?;
    words.finish()?;
    let key = read_key(input, key_bytes)?;
    read_line_feed(input)?;
    Ok(Message::Record(Record { key, entry: Entry::tombstone(version) }))
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

    fn hello(&mut self) -> Result<Hello, ReadError> {
        if self.next().and_then(decimal) != Some(u64::from(PROTOCOL_VERSION)) {
            // What follows belongs to an unknown grammar.
            return Err(ReadError::Protocol);
        }
        self.hello_fields().ok_or(ReadError::Grammar("hello 1 CLUSTER NODE CLOCK COUNT ROOT"))
    }

    fn hello_fields(&mut self) -> Option<Hello> {
        let cluster = self.next().filter(|name| is_cluster_name(name))?.into();
        let node = self.node()?;
        let clock_ms = self.ms()?;
        let count = decimal(self.next()?)?;
        let root = parse_hex(self.next()?, 16)?;
        Some(Hello { cluster, node, clock_ms, count, root })
    }

    fn done(&mut self) -> Option<Message> {
        Some(Message::Done { node: self.node()?, ahead_ms: self.ahead_ms()? })
    }

    /// The difference of two times before the end of time.
    fn ahead_ms(&mut self) -> Option<i64> {
        let word = self.next()?;
        let (is_behind, digits) = match word.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, word),
        };
        let is_valid = |&ms: &u64| ms < END_OF_TIME_MS && !(is_behind && ms == 0);
        let ms = decimal(digits).filter(is_valid)? as i64;
        Some(if is_behind { -ms } else { ms })
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

    fn check(&mut self) -> Option<(Prefix, Option<u32>)> {
        let shard = self.next().and_then(Prefix::parse).filter(|p| p.depth() == SHARD_DEPTH)?;
        let digest = match self.next()? {
            "-" => None,
            digits => Some(parse_hex(digits, 8)? as u32),
        };
        Some((shard, digest))
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

    fn list(&mut self) -> Option<(Prefix, Vec<Item>)> {
        let prefix = self.next().and_then(Prefix::parse)?;
        Some((prefix, self.items(prefix)?))
    }

    fn refusal(&mut self) -> Option<Refusal> {
        let word = self.next()?;
        Refusal::ALL.into_iter().find(|refusal| refusal.word() == word)
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

/// Unix milliseconds before the end of time.
fn ms(word: &str) -> Option<u64> {
    parse_hex(word, 12).filter(|&ms| ms < END_OF_TIME_MS)
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

/// Reads `length` bytes, and makes room only for those that have arrived.
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
