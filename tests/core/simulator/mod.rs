//! A whole cluster in one thread, on a virtual clock: every run follows from one seed.
//!
//! The core that the sidecar is made of runs here unchanged; what its shell does with sockets,
//! threads and DNS is done by an event heap. A step of the simulator is what the shell does in
//! one region under the store's lock, so each interleaving that the threads can come to is one
//! that can be scheduled here.

#![allow(dead_code, reason = "the tests and the example each use a part")]

mod faults;
mod node;
mod oracle;
mod session;
mod workload;

pub use faults::Chaos;
pub use node::Node;
pub use oracle::Oracle;

use session::{Session, Side};
use siphasher::sip::SipHasher13;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::Hasher;
use std::rc::Rc;

/// Unix time at which the simulated world begins, in milliseconds.
pub const BEGIN_MS: u64 = 1_750_000_000_000;

/// As in the shell: how long a call to an address where nobody is takes to fail.
pub const CONNECT_TIMEOUT_US: u64 = 500_000;

/// As in the shell: until DNS has answered for the first time it is asked this often.
const FIRST_LOOK_UPS_EVERY_US: u64 = 200_000;

/// Which part of the addresses a look-up brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// All of them.
    Full,
    /// So many, drawn anew for each look-up.
    Drawn(usize),
    /// So many, nearly always the same ones for one node.
    Fixed(usize),
}

/// What a run follows from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everything random follows from it.
    pub seed: u64,
    /// Nodes at the start; they have the addresses 0, 1, 2, …
    pub nodes: usize,
    /// The timer's interval.
    pub interval_ms: u64,
    /// Whether news is told at once, or by the timer only.
    pub eager: bool,
    /// When tombstones are purged.
    pub tombstone_ttl_ms: u64,
    /// One way of a packet, on average; drawn between half and one and a half of it. Connecting
    /// takes two, each turn one more: an idle exchange four, one that brings news six.
    pub leg_us: u64,
    /// The share of exchanges that break somewhere.
    pub fail: f64,
    /// The share of those that break without a word, so that both sides wait for their time-outs.
    pub silent: f64,
    /// What a look-up brings.
    pub view: View,
    /// A pod that comes or goes is listed or removed so much later.
    pub dns_lag_us: u64,
    /// Whether nodes leave their own address out by themselves, as with `MY_POD_IP`.
    pub knows_own_address: bool,
    /// Local writes in the whole cluster.
    pub writes_a_second: f64,
    /// The share of writes that are deletions.
    pub deletes: f64,
    /// The share of the other writes whose value expires.
    pub expiring: f64,
    /// For how long such a value is there.
    pub ttl_ms: (u64, u64),
    /// How many different keys are written.
    pub keys: u32,
    /// The chance of a local write between two steps of an exchange's turn.
    pub write_between_steps: f64,
    /// Random faults.
    pub chaos: Option<Chaos>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            nodes: 3,
            interval_ms: 1_000,
            eager: true,
            tombstone_ttl_ms: 24 * 3_600_000,
            leg_us: 500,
            fail: 0.0,
            silent: 0.0,
            view: View::Full,
            dns_lag_us: 0,
            knows_own_address: true,
            writes_a_second: 0.0,
            deletes: 0.2,
            expiring: 0.0,
            ttl_ms: (1, 20_000),
            keys: 64,
            write_between_steps: 0.0,
            chaos: None,
        }
    }
}

/// What happened so far, so that tests can tell that what they are about did happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls made, whatever became of them.
    pub calls: u64,
    /// Calls that ran to their end.
    pub exchanges: u64,
    /// Calls to an address where nobody was, or which a partition made unreachable.
    pub unreachable: u64,
    /// Calls refused since too many were being answered.
    pub busy: u64,
    /// Nodes that called themselves.
    pub exchanges_with_itself: u64,
    /// Exchanges broken before a word, or between two turns.
    pub broken_between_turns: u64,
    /// Exchanges broken within a turn.
    pub broken_within_turn: u64,
    /// Of both, those after which the two waited in vain.
    pub broken_silently: u64,
    /// Exchanges that a partition caught in the middle.
    pub broken_by_partition: u64,
    /// Exchanges whose other side died.
    pub broken_by_death: u64,
    /// Bytes of all turns.
    pub bytes: u64,
    /// Local writes, deletions among them.
    pub writes: u64,
    /// Local deletions.
    pub deletes: u64,
    /// Local writes in the place of a value.
    pub overwrites: u64,
    /// Local writes of values that expire.
    pub expiring: u64,
    /// Local writes between two steps of one turn.
    pub writes_between_steps: u64,
    /// Values that became tombstones since their time was up.
    pub expired: u64,
    /// Those of them that came so late that they were never a value there.
    pub expired_on_the_way: u64,
    /// Tombstones purged.
    pub tombstones_purged: u64,
    /// Entries purged since they were deleted while their holder was isolated.
    pub purged: u64,
    /// Restarts with an empty store, at the old address.
    pub restarts: u64,
    /// Pods that went, with another in their stead at a new address.
    pub replacements: u64,
    /// Partitions into two halves.
    pub partitions: u64,
    /// Sets of nodes that cannot call others, while they can be called.
    pub one_way_partitions: u64,
    /// Partitions of both kinds that ended.
    pub heals: u64,
    /// Clocks that were set.
    pub clock_jumps: u64,
    /// Clocks that stood still for some time.
    pub clock_freezes: u64,
    /// Look-ups that failed.
    pub failed_look_ups: u64,
}

impl Counters {
    /// What went wrong in the world, by name, for tests to demand that it did.
    pub fn faults(&self) -> [(&'static str, u64); 17] {
        [
            ("unreachable", self.unreachable),
            ("broken between turns", self.broken_between_turns),
            ("broken within a turn", self.broken_within_turn),
            ("broken silently", self.broken_silently),
            ("broken by a partition", self.broken_by_partition),
            ("broken by a death", self.broken_by_death),
            ("deletes", self.deletes),
            ("writes between steps", self.writes_between_steps),
            ("restarts", self.restarts),
            ("replacements", self.replacements),
            ("partitions", self.partitions),
            ("one-way partitions", self.one_way_partitions),
            ("heals", self.heals),
            ("clock jumps", self.clock_jumps),
            ("clock freezes", self.clock_freezes),
            ("failed look-ups", self.failed_look_ups),
            ("overwrites", self.overwrites),
        ]
    }

    /// What became of values that expire.
    pub fn expiries(&self) -> [(&'static str, u64); 3] {
        [
            ("values that expire", self.expiring),
            ("values expired", self.expired),
            ("values expired on the way", self.expired_on_the_way),
        ]
    }
}

/// Everything that can happen.
#[derive(Debug)]
enum Event {
    /// The time that a node's gossip thread waits for has come.
    Wake { node: usize, wait: u64 },
    /// A node asks DNS.
    LookUp { node: usize, incarnation: u32 },
    /// An address is listed.
    List { node: usize },
    /// An address is no longer listed.
    Unlist { node: usize },
    /// The call is connected.
    Connected { id: u64 },
    /// A turn arrives, or what came through of it.
    Arrive { id: u64, to: Side, bytes: Vec<u8>, is_reset: bool },
    /// One side of an exchange sees that it has failed.
    Broken { id: u64, side: Side },
    /// A node starts anew, with nothing.
    Start { node: usize },
    /// Somebody writes.
    Write,
    /// The next random fault.
    Fault,
}

/// An event in its place: at a time and, among those of one time, in the order they were made.
struct Scheduled {
    at_us: u64,
    sequence: u64,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest first.
        (other.at_us, other.sequence).cmp(&(self.at_us, self.sequence))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

/// Calls that cannot come about: from one set of nodes to another.
#[derive(Debug)]
struct Partition {
    from: Vec<bool>,
    to: Vec<bool>,
}

/// The cluster and its world.
pub struct Simulator {
    /// What it was made from; may be changed while it runs.
    pub settings: Settings,
    /// By address.
    pub nodes: Vec<Node>,
    /// What happened so far.
    pub counters: Counters,
    /// What should have come of all writes.
    pub oracle: Oracle,
    /// When each of those who know of the watched write has learned of it.
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
    /// A cluster that has just started: all are listed, and each sees the list at some time
    /// within the first interval.
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

    /// Virtual time since the beginning.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// A hash of all that has happened: equal runs have equal ones.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, us: u64) {
        let end_us = self.now_us + us;
        self.run_while(end_us, |_| true);
    }

    /// Lets time pass until `goes_on` says no, after an event, or the time is `end_us`.
    pub fn run_while(&mut self, end_us: u64, goes_on: impl Fn(&Self) -> bool) {
        while self.heap.peek().is_some_and(|next| next.at_us <= end_us) {
            if !goes_on(self) {
                return;
            }
            let Scheduled { at_us, sequence, event } = self.heap.pop().expect("it was just seen");
            self.now_us = at_us;
            self.trace.write_u64(at_us);
            self.trace.write_u64(sequence);
            self.happen(event);
        }
        self.now_us = end_us;
    }

    /// Lets time pass until all live stores are equal, looking ten times a second; whether they
    /// came to be so in time.
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

    /// Whether all live stores have one digest.
    pub fn is_equal(&self) -> bool {
        let mut roots = self.live().map(|node| self.nodes[node].store.root());
        let first = roots.next();
        roots.all(|root| Some(root) == first)
    }

    /// The addresses of the nodes that are up.
    pub fn live(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].is_up)
    }

    fn happen(&mut self, event: Event) {
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
            Event::Write => self.write_somewhere(),
            Event::Fault => self.inject(),
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

    /// How long the next packet is on its way.
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

    /// Adds a node at the next address, for the initiator to have it look up its peers.
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

    fn change_listing(&mut self, node: usize, is_listed: bool) {
        let address = node as u32;
        let others = self.listed.iter().copied().filter(|&other| other != address);
        self.listed = others.chain(is_listed.then_some(address)).collect();
        self.listing += 1;
    }

    /// What the shell's resolver thread does.
    fn look_up(&mut self, node: usize, incarnation: u32) {
        if !self.nodes[node].is_up || self.nodes[node].incarnation != incarnation {
            return;
        }
        let fails = self.look_ups_fail || self.nodes[node].look_ups_fail;
        self.counters.failed_look_ups += u64::from(fails);
        let unchanged =
            self.nodes[node].seen_listing == self.listing && self.settings.view == View::Full;
        if !fails && !unchanged && !self.listed.is_empty() {
            let answer = self.answer(node);
            self.nodes[node].seen_listing = self.listing;
            let own = self.settings.knows_own_address.then_some(node as u32);
            let peers: Vec<u32> =
                answer.iter().copied().filter(|&peer| Some(peer) != own).collect();
            self.tell(node, node::Told::Peers(peers));
        }
        let has_answered = self.nodes[node].seen_listing > 0;
        let interval_us = self.settings.interval_ms * 1000;
        let pause_us =
            if has_answered { interval_us } else { interval_us.min(FIRST_LOOK_UPS_EVERY_US) };
        self.schedule(pause_us, Event::LookUp { node, incarnation });
    }

    fn answer(&mut self, node: usize) -> Vec<u32> {
        let mut answer = self.listed.to_vec();
        match self.settings.view {
            View::Full => {}
            View::Drawn(most) => {
                for place in 0..most.min(answer.len()) {
                    let drawn = self.rng.usize(place..answer.len());
                    answer.swap(place, drawn);
                }
                answer.truncate(most);
            }
            View::Fixed(most) => {
                let seed = self.settings.seed;
                let rank = |peer: &u32| {
                    let mut hasher = SipHasher13::new_with_keys(seed, node as u64);
                    hasher.write_u32(*peer);
                    hasher.finish()
                };
                answer.sort_by_cached_key(rank);
                answer.truncate(most);
            }
        }
        answer
    }

    fn wall_ms(&self, node: usize) -> u64 {
        self.nodes[node].wall.ms(self.now_us)
    }
}
