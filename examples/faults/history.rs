//! What clients did and what they were told, as it happened.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A value is written.
    Put,
    /// A value is written, and acknowledged once another pod has it.
    PutConfirmed,
    /// A value is written that ends by itself so many milliseconds later.
    PutFor(u64),
    /// A value is taken away.
    Delete,
    /// A value is read; so is a deletion that found none.
    Get,
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done.
    Acknowledged,
    /// It was not done, and never will be.
    Refused(String),
    /// Nobody can tell: it may have been done, or still be done later.
    Unknown(String),
}

/// One request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Which node was asked.
    pub node: usize,
    /// Which of its processes, counted from 1.
    pub incarnation: u32,
    /// What was asked for.
    pub kind: Kind,
    /// The key.
    pub key: String,
    /// The value written, or read; none if there was none.
    pub value: Option<String>,
    /// The version that the node named.
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

/// All that happened in a scenario.
#[derive(Clone, Default)]
pub struct History {
    /// In no particular order.
    pub operations: Vec<Operation>,
    /// Node and incarnation of processes that were killed, and when.
    pub killed: Vec<(usize, u32, u64)>,
    /// Whether clocks jumped: what a node writes right after its own did, before it has heard of
    /// others', expires that much too early or too late.
    pub clocks_jump: bool,
}

/// What a node has once all is quiet.
#[derive(Clone, Default)]
pub struct Contents {
    /// Which node.
    pub node: usize,
    /// When this was read.
    pub at: u64,
    /// Keys that are there, with their values.
    pub values: BTreeMap<String, String>,
}

/// A history that several threads write.
pub struct Recorder {
    began: Instant,
    history: Mutex<History>,
}

impl Recorder {
    /// An empty one that begins now.
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

    /// Adds a request that is over.
    pub fn add(&self, operation: Operation) {
        self.history().operations.push(operation);
    }

    /// Takes note of a killed process.
    pub fn killed(&self, node: usize, incarnation: u32) {
        let at = self.now();
        self.history().killed.push((node, incarnation, at));
    }

    /// Takes note that clocks jump.
    pub fn clocks_jump(&self) {
        self.history().clocks_jump = true;
    }

    /// What there is so far.
    pub fn snapshot(&self) -> History {
        self.history().clone()
    }
}
