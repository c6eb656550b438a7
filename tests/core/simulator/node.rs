//! A node: the core's store and scheduler, and what the shell's gossip thread does with them.

use super::{BEGIN_MS, Event, Settings, Simulator};
use fastrand::Rng;
use gossip_sidecar::{
    Action, Everyone, Identity, LastComplete, Limits, Members, Outcome, Scheduler, Store, Subtree,
    Summary, Version, isolated_since,
};
use std::collections::{BTreeMap, VecDeque};

/// A node's wall clock, which need not agree with any other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall {
    /// How far it is ahead of the simulated time.
    pub ahead_ms: i64,
    /// What it shows while it is stopped.
    pub frozen_ms: Option<u64>,
}

impl Wall {
    /// The Unix time that it shows, in milliseconds.
    pub fn ms(&self, now_us: u64) -> u64 {
        self.frozen_ms.unwrap_or((BEGIN_MS + now_us / 1000).saturating_add_signed(self.ahead_ms))
    }
}

/// What the other threads report to a node's gossip thread.
#[derive(Debug)]
pub(super) enum Notice {
    /// There was a local write.
    Wrote,
    /// An exchange has brought news, a subtree of a relay tree, or both.
    Learned { is_news: bool, subtree: Option<Subtree> },
    /// The latest addresses from DNS.
    Peers(Vec<u32>),
    /// The address at which an initiator has reached this node.
    AdvertiseAddress(u32),
    /// A peer has contacted this node, which drains.
    Heard(u32),
    /// The node is to drain.
    Drain,
}

/// What a node must have under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Of the entry.
    pub version: Version,
    /// Whether it is a value and not a tombstone.
    pub is_value: bool,
}

/// One node.
pub struct Node {
    /// Whether the process runs.
    pub is_up: bool,
    /// The number of restarts at this address.
    pub incarnation: u32,
    /// The map.
    pub store: Store,
    /// Its clock.
    pub wall: Wall,
    /// The process is stopped until then.
    pub halted_until_us: u64,
    /// Whether its look-ups fail.
    pub look_ups_fail: bool,
    /// Exchanges that it has initiated since it started.
    pub calls: u64,
    /// What the store must hold after all that was written and merged here.
    pub held: BTreeMap<String, Held>,
    pub(super) scheduler: Scheduler<u32>,
    /// What the others hold.
    pub(super) members: Members<u32>,
    /// What it must have handed over before it exits, once it drains.
    pub(super) to_hand_over: BTreeMap<String, Version>,
    pub(super) started_us: u64,
    pub(super) last_complete: Option<LastComplete>,
    /// The time since which it has had everything that its cluster had.
    pub(super) complete_since_ms: u64,
    /// Notices that the gossip thread has not handled yet.
    pub(super) inbox: VecDeque<Notice>,
    /// Whether the inbox contains a notice of a write.
    pub(super) wrote: bool,
    /// The exchange that it has initiated: there is one at a time.
    pub(super) calling: Option<u64>,
    /// The number of exchanges in which it is the responder.
    pub(super) answering: usize,
    /// The number of the gossip thread's current wait: the end of an earlier one must not wake it.
    pub(super) wait: u64,
    /// The state of DNS that it saw last; 0 before its first look-up.
    pub(super) seen_listing: u64,
    pub(super) has_advertise_address: bool,
}

/// The order of the second relay tree: any that all nodes share and that differs from the first.
fn shuffled(address: &u32) -> u64 {
    u64::from(*address).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Node {
    /// A process that starts with an empty store.
    pub(super) fn new(address: u32, settings: &Settings, rng: &mut Rng, now_us: u64) -> Self {
        let limits =
            Limits { max_store_bytes: 1 << 30, tombstone_ttl_ms: settings.tombstone_ttl_ms };
        let store = Store::new(rng.u32(..), rng.u64(..), limits);
        let mut scheduler = Scheduler::new(settings.interval_ms, 0, rng.fork(), shuffled);
        if settings.knows_own_address {
            scheduler.set_advertise_address(address);
        }
        Self {
            is_up: true,
            incarnation: 0,
            store,
            wall: Wall::default(),
            halted_until_us: 0,
            look_ups_fail: false,
            calls: 0,
            held: BTreeMap::new(),
            scheduler,
            members: Members::default(),
            to_hand_over: BTreeMap::new(),
            started_us: now_us,
            last_complete: None,
            complete_since_ms: BEGIN_MS + now_us / 1000,
            inbox: VecDeque::new(),
            wrote: false,
            calling: None,
            answering: 0,
            wait: 0,
            seen_listing: 0,
            has_advertise_address: settings.knows_own_address,
        }
    }

    /// The scheduler's time: milliseconds since the node started.
    pub(super) fn now_ms(&self, now_us: u64) -> u64 {
        (now_us - self.started_us) / 1000
    }

    fn handle_notice(&mut self, notice: Notice, now_us: u64) {
        let now_ms = self.now_ms(now_us);
        match notice {
            Notice::Wrote => {
                self.wrote = false;
                self.scheduler.wrote(now_ms);
            }
            Notice::Learned { is_news, subtree } => {
                if is_news {
                    self.scheduler.learned(subtree, now_ms);
                } else {
                    subtree.into_iter().for_each(|subtree| self.scheduler.take_over(subtree));
                }
            }
            Notice::Peers(peers) => self.scheduler.set_peers(peers, now_ms),
            Notice::AdvertiseAddress(own) => self.scheduler.set_advertise_address(own),
            Notice::Heard(peer) => self.scheduler.heard_from(peer, now_ms),
            Notice::Drain => {}
        }
        self.members.set_addresses(self.scheduler.peers());
        let is_draining = self.store.is_draining();
        self.scheduler.contact(if is_draining { Everyone::All } else { Everyone::No }, now_ms);
    }
}

impl Simulator {
    /// Puts a notice into a node's inbox, and wakes its gossip thread unless that is busy with an
    /// exchange.
    pub(super) fn notify(&mut self, node: usize, notice: Notice) {
        self.nodes[node].inbox.push_back(notice);
        if self.nodes[node].calling.is_none() {
            self.run_gossip(node);
        }
    }

    /// One run of the gossip thread, from one wait to the next.
    pub(super) fn run_gossip(&mut self, node: usize) {
        let now_us = self.now_us;
        loop {
            if self.exit_if_handed_over(node) {
                return;
            }
            self.note_time(node);
            let it = &mut self.nodes[node];
            if let Some(notice) = it.inbox.pop_front() {
                it.handle_notice(notice, now_us);
            }
            let purged = it.store.purge_expired(it.wall.ms(now_us));
            if purged > 0 {
                self.check_purged(node, purged);
            }
            let it = &mut self.nodes[node];
            it.wait += 1;
            let now_ms = it.now_ms(now_us);
            match it.scheduler.next(now_ms) {
                Action::Exchange { peer, subtree } => return self.call(node, peer, subtree),
                Action::WaitUntil(_) if !it.inbox.is_empty() => {}
                Action::WaitUntil(ms) => {
                    assert!(ms > now_ms, "node {node} waits for a time in the past: a busy loop");
                    let (wait, at_us) = (it.wait, it.started_us + ms * 1000);
                    return self.schedule(at_us - now_us, Event::Wake { node, wait });
                }
            }
        }
    }

    /// The exchange that a node initiated has ended.
    pub(super) fn ended(&mut self, node: usize, peer: u32, ended: Outcome) {
        let now_us = self.now_us;
        let it = &mut self.nodes[node];
        it.calling = None;
        let now_ms = it.now_ms(now_us);
        it.scheduler.exchange_ended(peer, ended, now_ms);
        if ended == Outcome::Failed {
            let _ = it.members.failed(peer);
        }
        self.run_gossip(node);
    }

    /// What a node tells its peers about itself.
    pub(super) fn identity(&self, node: usize) -> Identity {
        let it = &self.nodes[node];
        let age_ms = it.now_ms(self.now_us);
        let isolated_since_ms =
            isolated_since(it.last_complete, age_ms, self.settings.tombstone_ttl_ms);
        Identity {
            cluster: "simulated".into(),
            complete_since_ms: it.complete_since_ms,
            isolated_since_ms,
            is_ready: true,
        }
    }

    /// Records an exchange that has ended on this side; a notice of its news goes to the inbox.
    /// `peer` is the address that the node contacted, if it opened the exchange.
    pub(super) fn record_exchange(&mut self, node: usize, peer: Option<u32>, summary: &Summary) {
        let wall_ms = self.note_time(node);
        let now_ms = self.nodes[node].now_ms(self.now_us);
        let it = &mut self.nodes[node];
        it.members.record_exchange(peer, summary, now_ms);
        if let (Some(peer), Some(offset_ms)) = (peer, summary.clock_offset_ms) {
            it.store.record_peer_clock(peer.into(), offset_ms, wall_ms);
        }
        if self.settings.eager && (summary.taken > 0 || summary.subtree.is_some()) {
            let is_news = summary.taken > 0;
            it.inbox.push_back(Notice::Learned { is_news, subtree: summary.subtree });
        }
        if summary.complete {
            let age_ms = it.now_ms(self.now_us);
            it.last_complete = Some(LastComplete { began_ms: summary.began_ms, age_ms });
            it.complete_since_ms = summary.complete_since_ms;
        }
    }
}
