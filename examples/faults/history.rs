//! What clients requested, and what became of it, as it happened.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Write a value.
    Put,
    /// Write a value, and acknowledge it once another pod has it.
    PutConfirmed,
    /// Write a value with a TTL in milliseconds.
    PutFor(u64),
    /// Delete a value.
    Delete,
    /// Read a value; also a deletion that found none.
    Get,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was executed.
    Acknowledged,
    /// It was not executed, and never will be.
    Refused(String),
    /// It may have been executed, or may still be.
    Unknown(String),
}

/// One request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The index of the node.
    pub node: usize,
    /// The number of its process, counted from 1.
    pub incarnation: u32,
    pub kind: Kind,
    /// The key.
    pub key: String,
    /// The value that was written or read.
    pub value: Option<String>,
    /// The version that the node reported.
    pub version: Option<String>,
    /// Microseconds since the history began.
    pub began: u64,
    /// The same.
    pub ended: u64,
    /// What became of it.
    pub outcome: Outcome,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node, incarnation, kind, key, .. } = self;
        let value = self.value.as_deref().unwrap_or("nothing");
        let version = self.version.as_deref().unwrap_or("no version");
        let (began, ended) = (self.began as f64 / 1e6, self.ended as f64 / 1e6);
        write!(
            f,
            "{began:.6}..{ended:.6} s: node {node} (process {incarnation}): {kind:?} {key}: {value} ({version}): {:?}",
            self.outcome
        )
    }
}

/// Everything that happened in a scenario.
#[derive(Clone, Default)]
pub struct History {
    /// In no particular order.
    pub operations: Vec<Operation>,
    /// The processes that were killed: node, incarnation and time.
    pub killed: Vec<(usize, u32, u64)>,
    /// Whether clocks jumped: what a node writes right after such a jump, before it has learned of
    /// other clocks, expires too early or too late.
    pub clocks_jump: bool,
}

/// What a node has at the end.
#[derive(Clone, Default)]
pub struct Contents {
    /// The index of the node.
    pub node: usize,
    /// When this was read.
    pub at: u64,
    /// The keys that have a value.
    pub values: BTreeMap<String, String>,
}

/// A history that several threads append to.
pub struct Recorder {
    began: Instant,
    history: Mutex<History>,
}

impl Recorder {
    /// An empty history that begins now.
    pub fn new() -> Self {
        Self { began: Instant::now(), history: Mutex::default() }
    }

    /// Microseconds since it began.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a finished request.
    pub fn add(&self, operation: Operation) {
        self.history().operations.push(operation);
    }

    /// Records that a process was killed.
    pub fn killed(&self, node: usize, incarnation: u32) {
        let at = self.now();
        self.history().killed.push((node, incarnation, at));
    }

    /// Records that clocks jump.
    pub fn clocks_jump(&self) {
        self.history().clocks_jump = true;
    }

    /// The history so far.
    pub fn snapshot(&self) -> History {
        self.history().clone()
    }
}
