//! Checks whether a history keeps the sidecar's promises. Pure: the same history leads to the same
//! verdict.
//!
//! All nodes of a run share one clock, so of two writes the one that began clearly after the other
//! had been acknowledged must win, whichever nodes accepted them. Everything below follows from
//! that order, and from the versions that nodes report.

use crate::history::{Contents, History, Kind, Operation, Outcome};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

/// Versions count milliseconds, so two writes within this many microseconds may go either way.
const TIE: u64 = 2_000;

/// A value may outlive its TTL by this many microseconds.
const END_SLACK: u64 = 2_000_000;

/// A write that another pod has confirmed reaches a third within this many microseconds.
const SPREAD: u64 = 5_000_000;

/// The violations that were found. Each entry shows the operations that contradict each other.
#[derive(Default, Debug)]
pub struct Verdict {
    /// Values that nobody had written.
    pub invented: Vec<String>,
    /// Reads of something older than what the same process had returned or accepted before.
    pub stale: Vec<String>,
    /// Acknowledged writes that are missing.
    pub lost: Vec<String>,
    /// Values that are back although their deletion was acknowledged.
    pub resurrected: Vec<String>,
    /// Acknowledged writes that are missing together with all processes that were seen to have
    /// them, which no promise forbids.
    pub within_promise: Vec<String>,
}

impl Verdict {
    /// Whether all promises were kept.
    pub fn is_good(&self) -> bool {
        self.violations().is_empty()
    }

    /// All violations, each with the name of its kind.
    pub fn violations(&self) -> Vec<(&'static str, &String)> {
        let kinds = [
            ("invented", &self.invented),
            ("stale", &self.stale),
            ("lost", &self.lost),
            ("resurrected", &self.resurrected),
        ];
        kinds.into_iter().flat_map(|(kind, list)| list.iter().map(move |one| (kind, one))).collect()
    }
}

/// The requests for one key.
#[derive(Default)]
struct Key<'a> {
    /// Writes and deletions that were executed, or may have been.
    writes: Vec<&'a Operation>,
    /// Reads that were answered.
    reads: Vec<&'a Operation>,
}

impl<'a> Key<'a> {
    fn writer_of(&self, value: &str) -> Option<&'a Operation> {
        self.writes.iter().copied().find(|write| write.value.as_deref() == Some(value))
    }

    /// The operations that may have made the key absent.
    fn ends(&self) -> impl Iterator<Item = &'a Operation> {
        let ends = |write: &&Operation| matches!(write.kind, Kind::Delete | Kind::PutFor(_));
        self.writes.iter().copied().filter(ends)
    }
}

/// Checks a history, and the nodes' contents at its end.
pub fn check(history: &History, contents: &[Contents]) -> Verdict {
    let mut keys: BTreeMap<&str, Key> = BTreeMap::new();
    for operation in &history.operations {
        let key = keys.entry(&operation.key).or_default();
        match (operation.kind, &operation.outcome) {
            (_, Outcome::Refused(_)) | (Kind::Get, Outcome::Unknown(_)) => {}
            (Kind::Get, Outcome::Acknowledged) => key.reads.push(operation),
            _ => key.writes.push(operation),
        }
    }
    let mut verdict = Verdict::default();
    for (name, key) in &keys {
        for read in &key.reads {
            check_value(key, read.value.as_deref(), read.ended, &read.to_string(), &mut verdict);
        }
        check_monotony(key, &mut verdict);
        check_contents(history, name, key, contents, &mut verdict);
    }
    for Contents { node, values, .. } in contents {
        for (name, value) in values.iter().filter(|(name, _)| !keys.contains_key(name.as_str())) {
            verdict.invented.push(format!("node {node} has {name}={value}, a key never written"));
        }
    }
    verdict
}

fn check_value(key: &Key, value: Option<&str>, at: u64, what: &str, verdict: &mut Verdict) {
    let Some(value) = value else { return };
    if key.writer_of(value).is_none_or(|write| write.began > at) {
        verdict.invented.push(format!("nothing had written what was read: {what}"));
    }
}

/// Whether the first write certainly loses against the second.
fn loses(first: &Operation, second: &Operation) -> bool {
    match (&first.version, &second.version) {
        (Some(first), Some(second)) => first < second,
        _ => first.outcome == Outcome::Acknowledged && first.ended + TIE < second.began,
    }
}

fn check_monotony(key: &Key, verdict: &mut Verdict) {
    let mut processes: HashMap<(usize, u32), Vec<&Operation>> = HashMap::new();
    let done = key.writes.iter().filter(|write| write.outcome == Outcome::Acknowledged);
    for &one in key.reads.iter().chain(done) {
        processes.entry((one.node, one.incarnation)).or_default().push(one);
    }
    for reads in processes.values_mut() {
        reads.sort_unstable_by_key(|read| read.began);
        for (index, &later) in reads.iter().enumerate().filter(|(_, one)| one.kind == Kind::Get) {
            let before = |read: &&&Operation| read.ended < later.began;
            let earlier = || reads[..index].iter().filter(before).copied();
            let goes_back = earlier().find(|earlier| goes_back(key, earlier, later));
            let comes_back = || {
                // The same value again, after it had been seen to be absent.
                let absent = earlier().filter(|read| read.value.is_none() && later.value.is_some());
                let seen = |absent: &Operation| {
                    earlier().any(|read| read.value == later.value && read.ended < absent.began)
                };
                absent.into_iter().find(|absent| seen(absent))
            };
            if let Some(earlier) = goes_back.or_else(comes_back) {
                verdict.stale.push(format!("{earlier}\n      then {later}"));
            }
        }
    }
}

fn goes_back(key: &Key, earlier: &Operation, later: &Operation) -> bool {
    if let (Some(first), Some(second)) = (&earlier.version, &later.version) {
        return second < first;
    }
    let seen = match earlier.kind {
        Kind::Get => earlier.value.as_deref().and_then(|value| key.writer_of(value)),
        _ => Some(earlier),
    };
    let Some(seen) = seen else { return false };
    match later.value.as_deref() {
        Some(value) => key.writer_of(value).is_some_and(|write| loses(write, seen)),
        None if seen.kind == Kind::Delete => false,
        None => !key.ends().any(|end| end.began <= later.ended && !loses(end, seen)),
    }
}

fn check_contents(
    history: &History,
    name: &str,
    key: &Key,
    contents: &[Contents],
    verdict: &mut Verdict,
) {
    // A violation on several nodes counts once.
    let mut told: HashSet<Option<&str>> = HashSet::new();
    for Contents { node, at, values } in contents {
        let value = values.get(name).map(String::as_str);
        if !told.insert(value) {
            continue;
        }
        let what = format!("node {node} has {name}={} at the end", value.unwrap_or("nothing"));
        check_value(key, value, *at, &what, verdict);
        let is_older = |write: &Operation| match value {
            Some(value) => key.writer_of(value).is_some_and(|had| loses(had, write)),
            None => write.kind != Kind::Delete && key.ends().all(|end| loses(end, write)),
        };
        if let Some(had) = value.and_then(|value| key.writer_of(value)) {
            if let Kind::PutFor(ms) = had.kind {
                // A request without a response may have been executed at any later time.
                let is_done = had.outcome == Outcome::Acknowledged;
                if is_done && !history.clocks_jump && had.ended + ms * 1000 + END_SLACK < *at {
                    verdict.resurrected.push(format!("{what}, past the end of {had}"));
                }
            }
        }
        let missing: Vec<&Operation> = key
            .writes
            .iter()
            .copied()
            .filter(|write| write.outcome == Outcome::Acknowledged && is_older(write))
            .collect();
        let required = missing.iter().copied().filter(|write| must_survive(history, key, write));
        let mut text = what;
        match (required.max_by_key(|write| write.began), missing.first()) {
            (Some(write), _) => {
                let _ = write!(text, "\n      although {write}");
                let is_delete = write.kind == Kind::Delete;
                let list = if is_delete { &mut verdict.resurrected } else { &mut verdict.lost };
                list.push(text);
            }
            (None, Some(write)) => {
                let _ = write!(text, ", and not {write}");
                verdict.within_promise.push(text);
            }
            (None, None) => {}
        }
    }
}

/// Whether an acknowledged write must not be missing, because a process that had it survived.
fn must_survive(history: &History, key: &Key, write: &Operation) -> bool {
    let survived =
        |node, incarnation| !history.killed.iter().any(|&(n, i, _)| (n, i) == (node, incarnation));
    if survived(write.node, write.incarnation) {
        return true;
    }
    if write.kind == Kind::PutConfirmed {
        let near = |at: u64| (write.began..=write.ended + SPREAD).contains(&at);
        if history.killed.iter().filter(|&&(.., at)| near(at)).count() <= 1 {
            return true;
        }
    }
    let shows = |read: &&&Operation| match write.kind {
        Kind::Delete => {
            let had_it = |earlier: &&Operation| {
                (earlier.node, earlier.incarnation) == (read.node, read.incarnation)
                    && earlier.ended < read.began
                    && earlier.value.is_some()
            };
            read.value.is_none() && read.began > write.began && key.reads.iter().any(had_it)
        }
        _ => read.value == write.value,
    };
    key.reads.iter().filter(shows).any(|read| survived(read.node, read.incarnation))
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
