//! Whom to call and when: the timer, relayed relay trees of news, and what a failure changes.
//!
//! Convergence rests on the timer alone: each node calls the peers of a shuffled cycle, one a
//! round, which tells everyone in O(log N) rounds (Karp et al., "Randomized Rumor Spreading",
//! 2000). News travels ahead of the timer by two shortcuts:
//!
//! - *Ordered relay.* All nodes know nearly the same addresses, so each can put them in the same
//!   order. A node that has news calls the node in the middle of those that follow it, hands it the
//!   half beyond, and goes on with the near half: a binomial broadcast, log2 N steps deep, in which
//!   everyone is told once. Two such relay trees run over two orders, by address and by a hash of it, so
//!   that a node which fails in one does not silence its half in the other.
//! - *Rumor mongering* (Demers et al., 1987). Then it calls random peers until two in a row had the news already. This
//!   finds whoever the relay trees have missed.
//!
//! A pure scheduler. It is told the time, the addresses and how each call ended, and says what to
//! do next; the initiator does it. Time is in milliseconds of a clock that never goes back.

use fastrand::Rng;
use std::collections::BTreeMap;

/// The timer fires after the interval, give or take this part of it, so that nodes which started
/// together do not call together for ever.
pub const JITTER: f64 = 0.1;

/// When a call fails the next peer is called at once, up to this many calls a round, and as many
/// for the head of a relay tree's half.
pub const MAX_TRIES: u32 = 3;

/// An address that failed is left alone for this long, doubled with each further failure …
pub const MIN_BACK_OFF_MS: u64 = 1_000;

/// … up to this long: it may be a new pod's by then.
pub const MAX_BACK_OFF_MS: u64 = 30_000;

/// The time between two calls of the rumor mongering.
pub const RUMOR_EVERY_MS: u64 = 20;

/// rumor mongering begins so long after the first news, or up to thrice as long: the relay trees are through.
pub const RUMOR_AFTER_MS: u64 = 50;

/// rumor mongering ends once this many partners in a row had the news already.
pub const MAX_UNNECESSARY_CONTACTS: u32 = 2;

/// Whom a relay tree passes over is called once more, unless it failed so many times in a row.
pub const MISSED_UNTIL_FAILURES: u32 = 3;

/// Calls for news that may be made at once. One exchange carries all news, so a storm of writes
/// needs no more of them than a slow trickle.
pub const BURST_CALLS: u32 = 32;

/// One more call for news may be made after each such time.
pub const CALL_EVERY_MS: u64 = 100;

/// While draining or while replicas are awaited: how long after all peers have been tried they are tried again.
pub const DRAIN_RETRY_MS: u64 = 200;

/// How many others must have all that we have before we leave, if there are as many.
pub const DRAIN_CONFIRMATIONS: usize = 2;

/// The number of relay trees, each over an order of its own.
pub const RELAY_TREES: usize = 2;

/// A part of a relay tree: tell those that follow you in its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Subtree {
    /// Which order, less than [`RELAY_TREES`].
    pub tree: u8,
    /// How many of those that follow.
    pub size: u32,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<P> {
    /// Call this peer now, and say how it went with [`Scheduler::exchange_ended`].
    Exchange {
        /// Its address.
        peer: P,
        /// What to hand it, if the call is part of a relay tree.
        subtree: Option<Subtree>,
    },
    /// Nothing until then, or until something happens.
    WaitUntil(u64),
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Both sides have what the other had.
    Complete {
        /// The node that was called.
        node: u32,
        /// Whether it lacked anything that we had.
        was_news: bool,
    },
    /// It went well, but there was more than fits into one exchange.
    Incomplete,
    /// No exchange came about, or it broke.
    Failed,
    /// The address is our own.
    OwnAddress,
}

#[derive(Clone, Copy)]
struct BackOff {
    failures: u32,
    until_ms: u64,
}

/// Who has confirmed, since we began to leave, to have everything.
struct Drain<P> {
    nodes: Vec<u32>,
    /// The addresses at which they said so: one node may have several.
    places: Vec<P>,
}

/// Why the call under way was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Round,
    Relay(usize),
    Rumor,
}

/// One order of the peers, and what is to be told along it.
struct RelayTree<P> {
    /// Those that follow us come first.
    ring: Vec<P>,
    /// So many of them are still to be told, by us or through others.
    remaining: u32,
    /// Heads of the far half that were tried in vain.
    tries: u32,
    /// What to begin with once this is done: news that came, or was handed to us, meanwhile.
    pending: u32,
}

/// The scheduler of one node; `P` is a peer's address.
pub struct Scheduler<P> {
    rng: Rng,
    interval_ms: u64,
    /// Puts the peers in the order of the second relay tree; the same on all nodes.
    order: fn(&P) -> u64,
    /// The latest addresses, without our own, in ascending order.
    peers: Vec<P>,
    /// Our place in the trees' orders.
    advertise_address: Option<P>,
    /// Addresses at which a call has met ourselves.
    own_addresses: Vec<P>,
    /// Those of this cycle that are still to be called, in an order drawn for the cycle.
    cycle: Vec<P>,
    /// Addresses that failed last time.
    failing: BTreeMap<P, BackOff>,
    /// Whom a relay tree of ours has passed over: rumor mongering begins with them.
    missed: Vec<P>,
    /// When the next round starts.
    round_at_ms: u64,
    /// Calls that the round under way may still make.
    calls_left: u32,
    /// A peer to call again at once, since it had more for us or we for it.
    again: Option<P>,
    trees: [RelayTree<P>; RELAY_TREES],
    /// The relay tree that is served next, if both have something to do.
    next_tree: usize,
    /// While there may be someone without our news: unnecessary contacts in a row.
    unnecessary_contacts: Option<u32>,
    rumor_at_ms: u64,
    /// Calls for news that may be made now, and since when the next one is being earned.
    tokens: u32,
    earning_since_ms: u64,
    purpose: Purpose,
    /// Whether somebody waits for others to have our writes.
    replicas_awaited: bool,
    /// Who has confirmed to have everything, while we are leaving.
    draining: Option<Drain<P>>,
}

impl<P: Copy + Ord> Scheduler<P> {
    /// A scheduler whose first round comes at a random time within the first interval.
    ///
    /// `order` hashes an address, alike on all nodes: the second relay tree goes by it.
    pub fn new(interval_ms: u64, now_ms: u64, mut rng: Rng, order: fn(&P) -> u64) -> Self {
        let round_at_ms = now_ms + rng.u64(0..=interval_ms);
        let tree = || RelayTree { ring: Vec::new(), remaining: 0, tries: 0, pending: 0 };
        Self {
            rng,
            interval_ms,
            order,
            peers: Vec::new(),
            advertise_address: None,
            own_addresses: Vec::new(),
            cycle: Vec::new(),
            failing: BTreeMap::new(),
            missed: Vec::new(),
            round_at_ms,
            calls_left: 0,
            again: None,
            trees: std::array::from_fn(|_| tree()),
            next_tree: 0,
            unnecessary_contacts: None,
            rumor_at_ms: now_ms,
            tokens: BURST_CALLS,
            earning_since_ms: now_ms,
            purpose: Purpose::Round,
            replicas_awaited: false,
            draining: None,
        }
    }

    /// Takes the latest addresses.
    ///
    /// The first ones to arrive start a round at once: a newcomer should not wait for its timer.
    pub fn set_peers(&mut self, mut peers: Vec<P>, now_ms: u64) {
        peers.sort_unstable();
        peers.dedup();
        // An address that is no longer listed may come back as somebody else's.
        self.own_addresses.retain(|own| peers.binary_search(own).is_ok());
        peers.retain(|peer| {
            !self.own_addresses.contains(peer) && Some(*peer) != self.advertise_address
        });
        if peers == self.peers {
            return;
        }
        if self.peers.is_empty() {
            self.round_at_ms = self.round_at_ms.min(now_ms);
        }
        let known = |peer: &P| peers.binary_search(peer).is_ok();
        self.cycle.retain(known);
        self.failing.retain(|peer, _| known(peer));
        self.missed.retain(known);
        self.again = self.again.filter(known);
        self.peers = peers;
        self.order_trees();
    }

    /// Takes the address by which the others know us.
    pub fn set_advertise_address(&mut self, own: P) {
        if self.advertise_address != Some(own) {
            self.advertise_address = Some(own);
            self.leave_out(own);
        }
    }

    /// Takes note of a call from a peer: who calls can be called.
    pub fn heard_from(&mut self, peer: P) {
        self.failing.remove(&peer);
    }

    /// The peers that there are to call, in ascending order.
    pub fn peers(&self) -> &[P] {
        &self.peers
    }

    /// Whether one of the listed addresses turned out to be our own.
    pub fn knows_own_address(&self) -> bool {
        !self.own_addresses.is_empty()
    }

    /// Takes note of a write here: everyone is to be told.
    pub fn wrote(&mut self, now_ms: u64) {
        for tree in &mut self.trees {
            tree.pending = tree.ring.len() as u32;
        }
        self.expect_rumor(now_ms);
    }

    /// Takes note of news from a peer, and of the part of a relay tree that came with it.
    pub fn learned(&mut self, subtree: Option<Subtree>, now_ms: u64) {
        match subtree {
            Some(subtree) => {
                self.take_over(subtree);
                self.expect_rumor(now_ms);
            }
            // The relay trees have missed us, and so others: nothing is to be waited for.
            None => {
                self.unnecessary_contacts = Some(0);
                self.rumor_at_ms = self.rumor_at_ms.min(now_ms);
            }
        }
    }

    /// Takes over a part of a relay tree. It is done even if there was no news for us in it.
    pub fn take_over(&mut self, subtree: Subtree) {
        if let Some(tree) = self.trees.get_mut(usize::from(subtree.tree)) {
            // One subtree is kept, the wider one: it tells the others' news as well.
            tree.pending = tree.pending.max(subtree.size.min(tree.ring.len() as u32));
        }
    }

    /// Will look whether the relay trees have missed somebody, once they should be through.
    fn expect_rumor(&mut self, now_ms: u64) {
        if self.unnecessary_contacts.is_none() {
            self.rumor_at_ms = now_ms + self.rng.u64(RUMOR_AFTER_MS..3 * RUMOR_AFTER_MS);
        }
        // Who told us knew it: that is one.
        self.unnecessary_contacts = Some(self.unnecessary_contacts.map_or(1, |known| known.min(1)));
    }

    /// What to do now.
    pub fn next(&mut self, now_ms: u64) -> Action<P> {
        if let Some(peer) = self.again.take() {
            return self.call(Purpose::Round, peer);
        }
        if now_ms >= self.round_at_ms {
            self.begin_round(now_ms);
        }
        if self.calls_left > 0 {
            self.calls_left -= 1;
            if let Some(peer) = self.draw(now_ms) {
                return self.call(Purpose::Round, peer);
            }
            self.calls_left = 0;
        }
        self.earn(now_ms);
        let mut wait_until_ms = self.round_at_ms;
        if self.tokens > 0 {
            for _ in 0..RELAY_TREES {
                let index = self.next_tree;
                self.next_tree = (index + 1) % RELAY_TREES;
                if let Some((peer, subtree)) = self.next_of_tree(index, now_ms) {
                    self.tokens -= 1;
                    self.purpose = Purpose::Relay(index);
                    return Action::Exchange { peer, subtree: Some(subtree) };
                }
            }
            if self.unnecessary_contacts.is_some() {
                if now_ms >= self.rumor_at_ms {
                    if let Some(peer) = self.missed.pop().or_else(|| self.draw(now_ms)) {
                        self.tokens -= 1;
                        self.rumor_at_ms = now_ms + RUMOR_EVERY_MS;
                        return self.call(Purpose::Rumor, peer);
                    }
                    self.unnecessary_contacts = None;
                } else {
                    wait_until_ms = wait_until_ms.min(self.rumor_at_ms);
                }
            }
        } else if self.unnecessary_contacts.is_some() || self.trees.iter().any(RelayTree::has_work)
        {
            wait_until_ms = wait_until_ms.min(self.earning_since_ms + CALL_EVERY_MS);
        }
        Action::WaitUntil(wait_until_ms)
    }

    fn call(&mut self, purpose: Purpose, peer: P) -> Action<P> {
        self.purpose = purpose;
        Action::Exchange { peer, subtree: None }
    }

    fn begin_round(&mut self, now_ms: u64) {
        if self.draining.is_some() || self.replicas_awaited {
            self.round_at_ms = now_ms + DRAIN_RETRY_MS;
            self.calls_left = self.peers.len() as u32;
            self.cycle.clear();
        } else {
            let spread = self.interval_ms as f64 * JITTER * (2.0 * self.rng.f64() - 1.0);
            self.round_at_ms = now_ms + (self.interval_ms as f64 + spread).max(1.0) as u64;
            self.calls_left = MAX_TRIES;
        }
    }

    /// The next peer of the cycle that is not being left alone.
    ///
    /// A shuffled cycle reaches everyone within one cycle; independent draws would leave some out
    /// for long.
    fn draw(&mut self, now_ms: u64) -> Option<P> {
        for fresh_cycle in [false, true] {
            if fresh_cycle {
                self.cycle.clone_from(&self.peers);
                self.rng.shuffle(&mut self.cycle);
            }
            while let Some(peer) = self.cycle.pop() {
                if self.draining.is_some() || self.is_rested(&peer, now_ms) {
                    return Some(peer);
                }
            }
        }
        None
    }

    /// Whether a peer did not fail last time, or that is long enough ago.
    fn is_rested(&self, peer: &P, now_ms: u64) -> bool {
        self.failing.get(peer).is_none_or(|back_off| back_off.until_ms <= now_ms)
    }

    /// The head of the far half of what is left of a relay tree, and the rest of that half for it.
    fn next_of_tree(&mut self, index: usize, now_ms: u64) -> Option<(P, Subtree)> {
        while self.trees[index].has_work() {
            let tree = &mut self.trees[index];
            if tree.remaining == 0 {
                tree.remaining = std::mem::take(&mut tree.pending);
            }
            let near = tree.remaining / 2;
            let head = near + tree.tries;
            if tree.tries == MAX_TRIES || head >= tree.remaining {
                tree.skip_far_half();
                continue;
            }
            let size = tree.remaining - head - 1;
            let peer = tree.ring[head as usize];
            if self.is_rested(&peer, now_ms) {
                return Some((peer, Subtree { tree: index as u8, size }));
            }
            self.trees[index].tries += 1;
            self.miss(peer, now_ms);
        }
        None
    }

    /// A relay tree of ours passes a peer over: it gets one more try of its own, unless it is used to
    /// failing.
    fn miss(&mut self, peer: P, now_ms: u64) {
        let failures = self.failing.get(&peer).map_or(0, |back_off| back_off.failures);
        if failures < MISSED_UNTIL_FAILURES && !self.missed.contains(&peer) {
            self.missed.push(peer);
            self.expect_rumor(now_ms);
        }
    }

    fn earn(&mut self, now_ms: u64) {
        let earned = now_ms.saturating_sub(self.earning_since_ms) / CALL_EVERY_MS;
        if earned >= u64::from(BURST_CALLS - self.tokens) {
            self.tokens = BURST_CALLS;
            self.earning_since_ms = now_ms;
        } else {
            self.tokens += earned as u32;
            self.earning_since_ms += earned * CALL_EVERY_MS;
        }
    }

    /// Takes note of how a call ended.
    pub fn exchange_ended(&mut self, peer: P, ended: Outcome, now_ms: u64) {
        let is_well = match ended {
            Outcome::Failed => {
                let failures = self.failing.get(&peer).map_or(0, |back_off| back_off.failures);
                let pause_ms = (MIN_BACK_OFF_MS << failures.min(16)).min(MAX_BACK_OFF_MS);
                let until_ms = now_ms + pause_ms;
                self.failing.insert(peer, BackOff { failures: failures + 1, until_ms });
                if matches!(self.purpose, Purpose::Relay(_)) {
                    self.miss(peer, now_ms);
                }
                false
            }
            Outcome::OwnAddress => {
                note(&mut self.own_addresses, peer);
                self.advertise_address.get_or_insert(peer);
                self.leave_out(peer);
                false
            }
            Outcome::Incomplete => {
                self.again = Some(peer);
                self.unnecessary_contacts = self.unnecessary_contacts.map(|_| 0);
                true
            }
            Outcome::Complete { node, was_news } => {
                // Whom a relay tree finds ignorant is whom it is for: that says nothing of the others.
                if !matches!(self.purpose, Purpose::Relay(_)) {
                    self.unnecessary_contacts = self
                        .unnecessary_contacts
                        .map(|known| if was_news { 0 } else { known + 1 })
                        .filter(|&known| {
                            known < MAX_UNNECESSARY_CONTACTS || !self.missed.is_empty()
                        });
                }
                if let Some(confirmed) = &mut self.draining {
                    note(&mut confirmed.nodes, node);
                    note(&mut confirmed.places, peer);
                }
                true
            }
        };
        if is_well {
            self.failing.remove(&peer);
        }
        match self.purpose {
            Purpose::Round if is_well && self.draining.is_none() && !self.replicas_awaited => {
                self.calls_left = 0;
            }
            Purpose::Relay(index) if is_well => self.trees[index].skip_far_half(),
            Purpose::Relay(index) => self.trees[index].tries += 1,
            Purpose::Round | Purpose::Rumor => {}
        }
    }

    fn leave_out(&mut self, own: P) {
        self.peers.retain(|&peer| peer != own);
        self.cycle.retain(|&peer| peer != own);
        self.order_trees();
    }

    /// Puts the peers in the trees' orders, those first that follow us.
    fn order_trees(&mut self) {
        let Some(own) = self.advertise_address else { return };
        let mut by_address = self.peers.clone();
        by_address.rotate_left(self.peers.partition_point(|peer| *peer < own));
        let mut by_hash = self.peers.clone();
        by_hash.sort_by_cached_key(|peer| ((self.order)(peer), *peer));
        let own_hash = ((self.order)(&own), own);
        let first = by_hash.partition_point(|peer| ((self.order)(peer), *peer) < own_hash);
        by_hash.rotate_left(first);
        for (tree, ring) in self.trees.iter_mut().zip([by_address, by_hash]) {
            let most = ring.len() as u32;
            tree.ring = ring;
            tree.remaining = tree.remaining.min(most);
            tree.pending = tree.pending.min(most);
        }
    }

    /// While somebody waits for others to have our writes, everyone is called, again and again.
    pub fn await_replicas(&mut self, replicas_awaited: bool, now_ms: u64) {
        if replicas_awaited && !self.replicas_awaited {
            self.round_at_ms = now_ms;
        }
        self.replicas_awaited = replicas_awaited;
    }

    /// Starts to leave, or starts anew after a write: calls everyone until enough have everything.
    pub fn drain(&mut self, now_ms: u64) {
        self.draining = Some(Drain { nodes: Vec::new(), places: Vec::new() });
        self.round_at_ms = now_ms;
    }

    /// Whether enough others have confirmed, since the drain began, that they have everything: two,
    /// or whoever there is.
    pub fn is_drained(&self) -> bool {
        self.draining.as_ref().is_some_and(|confirmed| {
            confirmed.nodes.len() >= DRAIN_CONFIRMATIONS
                || self.peers.iter().all(|peer| confirmed.places.contains(peer))
        })
    }
}

/// Adds what is not there yet.
fn note<T: PartialEq>(known: &mut Vec<T>, new: T) {
    if !known.contains(&new) {
        known.push(new);
    }
}

impl<P> RelayTree<P> {
    fn has_work(&self) -> bool {
        self.remaining > 0 || self.pending > 0
    }

    /// Goes on with the near half: the far one is told, or given up.
    fn skip_far_half(&mut self) {
        self.remaining /= 2;
        self.tries = 0;
    }
}

/// Since when a node counts as isolated, if it does: it last met a peer at `last_met_ms`, and that
/// is longer ago than half the tombstones' time; 0 if it never met one.
///
/// Deletions that it missed may be purged by the others before it meets them again. A clock that
/// was set back isolates nobody.
pub fn isolated_since(
    last_exchange_ms: Option<u64>,
    wall_ms: u64,
    tombstone_ttl_ms: u64,
) -> Option<u64> {
    match last_exchange_ms {
        None => Some(0),
        Some(met_ms) => (wall_ms.saturating_sub(met_ms) > tombstone_ttl_ms / 2).then_some(met_ms),
    }
}
