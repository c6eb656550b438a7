//! A whole cluster in one thread, on a virtual clock. Every run follows from one seed.
//!
//! The sidecar's core runs here unchanged; an event heap stands in for the shell's sockets, threads
//! and DNS. A step of the simulator is what the shell does in one region under the store's lock, so
//! every interleaving that the threads can produce can be scheduled here.

#![allow(dead_code, reason = "the tests and the example each use a part")]

mod settings;

mod event;

mod node;

mod session;

mod dns;

mod workload;

mod drain;

mod faults;

mod oracle;

mod counters;

pub use counters::Counters;
pub use faults::Chaos;
pub use node::Node;
pub use oracle::Oracle;
pub use settings::{Settings, View};

use event::{Event, Scheduled};
use session::Session;
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::Hasher;
use std::rc::Rc;

/// The Unix time at which a simulation begins, in milliseconds.
pub const BEGIN_MS: u64 = 1_750_000_000_000;

/// The shell's timeout for connecting to an address where nothing runs.
pub const CONNECT_TIMEOUT_US: u64 = 500_000;

/// Connections that cannot be established: from one set of nodes to another.
#[derive(Debug)]
struct Partition {
    from: Vec<bool>,
    to: Vec<bool>,
}

/// A cluster and everything around it.
pub struct Simulator {
    /// May be changed during the run.
    pub settings: Settings,
    /// By address.
    pub nodes: Vec<Node>,
    /// What happened so far.
    pub counters: Counters,
    /// What the stores must hold after all writes.
    pub oracle: Oracle,
    /// When each node that has the watched write learned of it.
    pub learned_at_us: Vec<u64>,
    rng: fastrand::Rng,
    now_us: u64,
    sequence: u64,
    heap: BinaryHeap<Scheduled>,
    sessions: BTreeMap<u64, Session>,
    last_session: u64,
    partitions: Vec<Partition>,
    listed: Rc<[u32]>,
    /// Counts the changes of `listed`.
    listing: u64,
    look_ups_fail: bool,
    writing: bool,
    watched: Option<(String, gossip_sidecar::Version)>,
    trace: SipHasher13,
}

impl Simulator {
    /// A cluster that has just started: DNS lists all nodes, and each looks them up at a random
    /// time within the first interval.
    pub fn new(settings: Settings) -> Self {
        let mut simulator = Self {
            nodes: Vec::with_capacity(settings.nodes),
            counters: Counters::default(),
            oracle: Oracle::default(),
            learned_at_us: Vec::new(),
            rng: fastrand::Rng::with_seed(settings.seed),
            now_us: 0,
            sequence: 0,
            heap: BinaryHeap::new(),
            sessions: BTreeMap::new(),
            last_session: 0,
            partitions: Vec::new(),
            listed: (0..settings.nodes as u32).collect(),
            listing: 1,
            look_ups_fail: false,
            writing: false,
            watched: None,
            trace: SipHasher13::new_with_keys(1, 2),
            settings,
        };
        for index in 0..simulator.settings.nodes {
            simulator.add_node();
            let phase_us = simulator.rng.u64(0..simulator.settings.interval_ms * 1000);
            simulator.schedule(phase_us, Event::LookUp { node: index, incarnation: 0 });
        }
        simulator.set_writing(true);
        if let Some(chaos) = &simulator.settings.chaos {
            let after_us = chaos.every_us;
            simulator.schedule(after_us, Event::Fault);
        }
        simulator
    }

    /// The virtual time since the beginning.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// A hash of everything that has happened: equal runs have equal traces.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Runs for this long.
    pub fn run_for(&mut self, us: u64) {
        let end_us = self.now_us + us;
        self.run_while(end_us, |_| true);
    }

    /// Runs until `goes_on` returns false after an event, or until `end_us`.
    pub fn run_while(&mut self, end_us: u64, goes_on: impl Fn(&Self) -> bool) {
        while self.heap.peek().is_some_and(|next| next.at_us <= end_us) {
            if !goes_on(self) {
                return;
            }
            let Scheduled { at_us, sequence, event } = self.heap.pop().expect("it was just seen");
            self.now_us = at_us;
            self.trace.write_u64(at_us);
            self.trace.write_u64(sequence);
            self.dispatch(event);
        }
        self.now_us = end_us;
    }

    /// Runs until all live stores are equal, which is checked ten times a second. Returns whether
    /// they became equal in time.
    pub fn run_until_equal(&mut self, within_us: u64) -> bool {
        let end_us = self.now_us + within_us;
        while !self.is_equal() {
            if self.now_us >= end_us {
                return false;
            }
            self.run_for(100_000);
        }
        true
    }

    /// Whether all live stores have the same digest.
    pub fn is_equal(&self) -> bool {
        let mut roots = self.live().map(|node| self.nodes[node].store.root());
        let first = roots.next();
        roots.all(|root| Some(root) == first)
    }

    /// The addresses of the nodes that are up.
    pub fn live(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].is_up)
    }

    fn dispatch(&mut self, event: Event) {
        let Some(event) = self.put_off_if_halted(event) else { return };
        self.trace_event(&event);
        match event {
            Event::Wake { node, wait } => {
                if self.nodes[node].is_up && self.nodes[node].wait == wait {
                    self.run_gossip(node);
                }
            }
            Event::LookUp { node, incarnation } => self.look_up(node, incarnation),
            Event::List { node } => self.change_listing(node, true),
            Event::Unlist { node } => self.change_listing(node, false),
            Event::Connected { id } => self.connected(id),
            Event::Arrive { id, to, bytes, is_reset } => self.arrive(id, to, &bytes, is_reset),
            Event::Broken { id, side } => self.broken(id, side),
            Event::Start { node } => self.start(node),
            Event::Close { node, incarnation } => self.close_store(node, incarnation),
            Event::DrainTimeout { node, incarnation } => self.drain_timeout(node, incarnation),
            Event::Write => self.write_somewhere(),
            Event::Fault => self.inject_fault(),
        }
    }

    fn trace_event(&mut self, event: &Event) {
        let (kind, a, b): (u8, u64, u64) = match event {
            Event::Wake { node, wait } => (0, *node as u64, *wait),
            Event::LookUp { node, incarnation } => (1, *node as u64, u64::from(*incarnation)),
            Event::List { node } => (2, *node as u64, 0),
            Event::Unlist { node } => (3, *node as u64, 0),
            Event::Connected { id } => (4, *id, 0),
            Event::Arrive { id, to, bytes, is_reset } => {
                self.trace.write(bytes);
                (5, *id, *to as u64 | u64::from(*is_reset) << 1)
            }
            Event::Broken { id, side } => (6, *id, *side as u64),
            Event::Start { node } => (7, *node as u64, 0),
            Event::Write => (8, 0, 0),
            Event::Fault => (9, 0, 0),
            Event::Close { node, incarnation } => (10, *node as u64, u64::from(*incarnation)),
            Event::DrainTimeout { node, incarnation } => {
                (11, *node as u64, u64::from(*incarnation))
            }
        };
        self.trace.write_u8(kind);
        self.trace.write_u64(a);
        self.trace.write_u64(b);
    }

    fn schedule(&mut self, after_us: u64, event: Event) {
        self.sequence += 1;
        let at_us = self.now_us + after_us;
        self.heap.push(Scheduled { at_us, sequence: self.sequence, event });
    }

    /// How long the next packet takes.
    fn leg_us(&mut self) -> u64 {
        let mean_us = self.settings.leg_us;
        self.rng.u64(mean_us / 2..=mean_us * 3 / 2)
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.f64() < share
    }

    fn is_blocked(&self, from: usize, to: usize) -> bool {
        let holds = |set: &[bool], node: usize| set.get(node).copied().unwrap_or(false);
        self.partitions
            .iter()
            .any(|partition| holds(&partition.from, from) && holds(&partition.to, to))
    }

    /// Adds a node at the next address. Its first look-up is left to whoever adds it.
    fn add_node(&mut self) -> usize {
        let address = self.nodes.len();
        let node = Node::new(address as u32, &self.settings, &mut self.rng, self.now_us);
        self.nodes.push(node);
        address
    }

    fn start(&mut self, node: usize) {
        let wall = self.nodes[node].wall;
        let incarnation = self.nodes[node].incarnation + 1;
        let fresh = Node::new(node as u32, &self.settings, &mut self.rng, self.now_us);
        self.nodes[node] = Node { incarnation, wall, ..fresh };
        self.schedule(0, Event::LookUp { node, incarnation });
    }

    /// What the shell does whenever it locks the store. Returns what the node's wall clock shows.
    fn note_time(&mut self, node: usize) -> u64 {
        let wall_ms = self.wall_ms(node);
        let it = &mut self.nodes[node];
        let age_ms = it.now_ms(self.now_us);
        it.store.note_time(wall_ms, age_ms);
        wall_ms
    }

    fn wall_ms(&self, node: usize) -> u64 {
        self.nodes[node].wall.ms(self.now_us)
    }
}
