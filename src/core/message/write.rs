//! Writing messages.

use super::{Message, PROTOCOL_VERSION};
use crate::core::digest::Item;
use crate::core::entry::{Entry, Record};
use std::fmt;
use std::io::Write;

impl Message {
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
            Self::Starting => emit(out, format_args!("starting\n")),
            Self::Draining => emit(out, format_args!("leaving\n")),
            Self::CompleteSince(ms) => emit(out, format_args!("since {ms:012x}\n")),
            Self::Isolated(ms) => emit(out, format_args!("cut {ms:012x}\n")),
            Self::Relay(subtree) => {
                emit(out, format_args!("tell {} {}\n", subtree.tree, subtree.size))
            }
            Self::RecentUpdates(items) => {
                emit(out, format_args!("hot"));
                write_items(out, 0, items);
            }
            Self::Check(shard, Some(digest)) => {
                emit(out, format_args!("check {shard} {digest:08x}\n"));
            }
            Self::Check(shard, None) => emit(out, format_args!("check {shard} -\n")),
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
            Self::Done { node, ahead_ms } => {
                emit(out, format_args!("done {node:08x} {ahead_ms}\n"));
            }
            Self::Refuse(refusal) => emit(out, format_args!("refuse {}\n", refusal.word())),
        }
    }
}

/// Appends a record, without a [`Message`] that would have to own it.
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
