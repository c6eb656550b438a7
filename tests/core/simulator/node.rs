//! One node: the core's store and scheduler, and what the shell's gossip thread does with them.

use super::{BEGIN_MS, Event, Settings, Simulator};
use fastrand::Rng;
use gossip_sidecar::{
    Action, Identity, Limits, Outcome, Scheduler, Store, Subtree, Summary, Version, isolated_since,
};
use std::collections::{BTreeMap, VecDeque};

/// A node's wall clock: no two need to agree.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall {
    /// How far it is ahead of the world's time.
    pub ahead_ms: i64,
    /// What it shows while it stands still.
    pub frozen_ms: Option<u64>,
}

impl Wall {
    /// What it shows, in Unix milliseconds.
    pub fn ms(&self, now_us: u64) -> u64 {
        self.frozen_ms.unwrap_or((BEGIN_MS + now_us / 1000).saturating_add_signed(self.ahead_ms))
    }
}

/// What a node's gossip thread is told by the other threads.
#[derive(Debug)]
pub(super) enum Notice {
    /// There was a write here.
    Wrote,
    /// An exchange has brought news, or a part of a relay tree, or both.
    Learned { is_news: bool, subtree: Option<Subtree> },
    /// The latest addresses.
    Peers(Vec<u32>),
    /// The address at which an initiator has reached it.
    AdvertiseAddress(u32),
}

/// What a node has of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Of the entry.
    pub version: Version,
    /// Whether it is no tombstone.
    pub is_value: bool,
}

/// One node.
pub struct Node {
    /// Whether the process runs.
    pub is_up: bool,
    /// Counts the starts at this address.
    pub incarnation: u32,
    /// The map.
    pub store: Store,
    /// Its clock.
    pub wall: Wall,
    /// Whether its look-ups fail.
    pub look_ups_fail: bool,
    /// Calls it has made since it started.
    pub calls: u64,
    /// What it should hold, by what was written and merged here: kept apart from the store, to
    /// check that.
    pub held: BTreeMap<String, Held>,
    pub(super) scheduler: Scheduler<u32>,
    pub(super) started_us: u64,
    /// When it last met a peer, by its own clock.
    pub(super) last_exchange_ms: Option<u64>,
    /// Since when it has known all that its cluster had, by the clock that said so.
    pub(super) complete_since_ms: u64,
    /// What the gossip thread has still to be told.
    pub(super) inbox: VecDeque<Notice>,
    /// Whether the inbox holds word of a write.
    pub(super) wrote: bool,
    /// The call under way: there is one at a time.
    pub(super) calling: Option<u64>,
    /// Exchanges being answered.
    pub(super) answering: usize,
    /// Counts the waits of the gossip thread, so that the end of a former one wakes nobody.
    pub(super) wait: u64,
    /// The state of the list of addresses that it saw last; 0 for none yet.
    pub(super) seen_listing: u64,
    pub(super) has_advertise_address: bool,
}

/// The second order of the addresses: any that all nodes share, and that is not the first.
fn shuffled(address: &u32) -> u64 {
    u64::from(*address).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Node {
    /// A process that starts at an address, with nothing.
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
            look_ups_fail: false,
            calls: 0,
            held: BTreeMap::new(),
            scheduler,
            started_us: now_us,
            last_exchange_ms: None,
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

    /// Milliseconds of the clock that the scheduler runs by.
    fn now_ms(&self, now_us: u64) -> u64 {
        (now_us - self.started_us) / 1000
    }

    fn handle_notice(&mut self, told: Notice, now_us: u64) {
        let now_ms = self.now_ms(now_us);
        match told {
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
        }
    }
}

impl Simulator {
    /// Puts a word into a node's inbox, and wakes its gossip thread unless that makes a call.
    pub(super) fn notify(&mut self, node: usize, told: Notice) {
        self.nodes[node].inbox.push_back(told);
        if self.nodes[node].calling.is_none() {
            self.run_gossip(node);
        }
    }

    /// What the gossip thread does between two waits.
    pub(super) fn run_gossip(&mut self, node: usize) {
        let now_us = self.now_us;
        loop {
            let it = &mut self.nodes[node];
            if let Some(told) = it.inbox.pop_front() {
                it.handle_notice(told, now_us);
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
                    assert!(ms > now_ms, "node {node} waits for a time that has been: it spins");
                    let (wait, at_us) = (it.wait, it.started_us + ms * 1000);
                    return self.schedule(at_us - now_us, Event::Wake { node, wait });
                }
            }
        }
    }

    /// The call that a node was making has ended.
    pub(super) fn ended(&mut self, node: usize, peer: u32, ended: Outcome) {
        let now_us = self.now_us;
        let it = &mut self.nodes[node];
        it.calling = None;
        let now_ms = it.now_ms(now_us);
        it.scheduler.exchange_ended(peer, ended, now_ms);
        self.run_gossip(node);
    }

    /// What a node says of itself.
    pub(super) fn identity(&self, node: usize) -> Identity {
        let it = &self.nodes[node];
        let wall_ms = it.wall.ms(self.now_us);
        let isolated_since_ms =
            isolated_since(it.last_exchange_ms, wall_ms, self.settings.tombstone_ttl_ms);
        Identity {
            cluster: "simulated".into(),
            complete_since_ms: it.complete_since_ms,
            isolated_since_ms,
        }
    }

    /// An exchange has run to its end on this side. Word of news is left in the inbox.
    pub(super) fn record_exchange(&mut self, node: usize, summary: &Summary) {
        let it = &mut self.nodes[node];
        if self.settings.eager && (summary.taken > 0 || summary.subtree.is_some()) {
            let is_news = summary.taken > 0;
            it.inbox.push_back(Notice::Learned { is_news, subtree: summary.subtree });
        }
        if summary.complete {
            it.last_exchange_ms = Some(summary.began_ms.max(1));
            it.complete_since_ms = summary.complete_since_ms;
        }
    }
}
