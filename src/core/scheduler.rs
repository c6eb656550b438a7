//! Which peer to contact and when: the timer, relayed news, rumor mongering, back-off and drain.
//!
//! Convergence rests on the timer alone: each node contacts the peers of a shuffled cycle, one a
//! round, which tells everyone in O(log N) rounds (Karp et al., "Randomized Rumor Spreading",
//! 2000). News travels ahead of the timer in two ways:
//!
//! - along the *relay trees* of [`dissemination`](crate::core::dissemination), in log2 N steps;
//! - by *rumor mongering* (Demers et al., 1987): exchanges with random peers until two contacts in
//!   a row were unnecessary, since the peer had the news already. It finds whoever the relay trees
//!   have missed.
//!
//! The scheduler is pure. It is given the time, the addresses and the outcome of each exchange, and
//! returns what to do next. Time is in milliseconds of a monotonic clock.

use crate::core::back_off::BackOff;
use crate::core::dissemination::{RELAY_TREES, RelayTree, Subtree, orders};
use crate::core::token_bucket::TokenBucket;
use fastrand::Rng;

/// The timer fires after the interval, give or take this part of it, so that nodes which started
/// at the same time do not stay in step.
pub const JITTER: f64 = 0.1;

/// When an exchange fails the next peer is tried at once, up to this many a round.
pub const MAX_TRIES: u32 = 3;

/// The time between two exchanges of rumor mongering.
pub const RUMOR_EVERY_MS: u64 = 20;

/// Rumor mongering begins this long after the first news, or up to three times as long: the relay
/// trees are through by then.
pub const RUMOR_AFTER_MS: u64 = 50;

/// Rumor mongering ends after this many unnecessary contacts in a row.
pub const MAX_UNNECESSARY_CONTACTS: u32 = 2;

/// A head that fails is contacted once more by rumor mongering, unless it has failed this often in
/// a row.
pub const MAX_FAILURES_OF_MISSED: u32 = 3;

/// While draining or awaiting replicas: the time after which all peers are tried again.
pub const DRAIN_RETRY_MS: u64 = 200;

/// How many other nodes must hold all our writes before we end, if there are as many.
pub const DRAIN_CONFIRMATIONS: usize = 2;

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<P> {
    /// Open an exchange with this peer now, and report to [`Scheduler::exchange_ended`].
    Exchange {
        /// The peer's address.
        peer: P,
        /// The part of a relay tree to delegate to it.
        subtree: Option<Subtree>,
    },
    /// Nothing until then, or until something happens.
    WaitUntil(u64),
}

/// How an exchange that we opened ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Each side has everything that the other had.
    Complete {
        /// The id of the peer's process.
        node: u32,
        /// Whether the peer lacked anything that we had.
        was_news: bool,
    },
    /// It went well, but there was more than fits into one exchange.
    Incomplete,
    /// The peer could not be reached, or the exchange broke.
    Failed,
    /// The address is our own.
    OwnAddress,
}

/// Who has confirmed, since the drain began, to have everything.
struct Drain<P> {
    nodes: Vec<u32>,
    /// The addresses that were contacted: one node may have several.
    addresses: Vec<P>,
}

/// Why the exchange under way was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Round,
    Relay { tree: usize },
    Rumor,
}

/// The scheduler of one node; `P` is a peer's address.
pub struct Scheduler<P> {
    rng: Rng,
    interval_ms: u64,
    /// Orders the peers in the second relay tree; the same function on all nodes.
    order: fn(&P) -> u64,
    /// The latest addresses, without our own, in ascending order.
    peers: Vec<P>,
    /// The address at which others reach us: our place in the orders of the relay trees.
    advertise_address: Option<P>,
    /// Listed addresses that turned out to be our own.
    own_addresses: Vec<P>,
    /// The peers of this cycle that are still to be contacted, in an order drawn for the cycle.
    cycle: Vec<P>,
    back_off: BackOff<P>,
    /// When the next round starts.
    round_at_ms: u64,
    /// Exchanges that the round under way may still open.
    tries_left: u32,
    /// A peer to contact again at once, since the last exchange with it was incomplete.
    again: Option<P>,
    trees: [RelayTree<P>; RELAY_TREES],
    /// The relay tree that is served next, if both have work.
    next_tree: usize,
    /// Heads that failed or were left alone: rumor mongering begins with them.
    missed: Vec<P>,
    /// While rumor mongering is due or under way: unnecessary contacts in a row.
    unnecessary_contacts: Option<u32>,
    rumor_at_ms: u64,
    /// Bounds the rate of exchanges for news.
    tokens: TokenBucket,
    purpose: Purpose,
    /// Whether a client waits for other nodes to hold our writes.
    replicas_awaited: bool,
    drain: Option<Drain<P>>,
}

impl<P: Copy + Ord> Scheduler<P> {
    /// A scheduler whose first round comes at a random time within the first interval.
    ///
    /// `order` hashes an address, in the same way on all nodes: the second relay tree goes by it.
    pub fn new(interval_ms: u64, now_ms: u64, mut rng: Rng, order: fn(&P) -> u64) -> Self {
        let round_at_ms = now_ms + rng.u64(0..=interval_ms);
        Self {
            rng,
            interval_ms,
            order,
            peers: Vec::new(),
            advertise_address: None,
            own_addresses: Vec::new(),
            cycle: Vec::new(),
            back_off: BackOff::new(),
            round_at_ms,
            tries_left: 0,
            again: None,
            trees: std::array::from_fn(|_| RelayTree::new()),
            next_tree: 0,
            missed: Vec::new(),
            unnecessary_contacts: None,
            rumor_at_ms: now_ms,
            tokens: TokenBucket::new(now_ms),
            purpose: Purpose::Round,
            replicas_awaited: false,
            drain: None,
        }
    }

    /// Takes the latest addresses.
    ///
    /// The first ones to arrive start a round at once: a newcomer should not wait for its timer.
    pub fn set_peers(&mut self, mut peers: Vec<P>, now_ms: u64) {
        peers.sort_unstable();
        peers.dedup();
        // An address that is no longer listed may come back as another node's.
        self.own_addresses.retain(|own| peers.binary_search(own).is_ok());
        let is_own =
            |peer: &P| self.own_addresses.contains(peer) || Some(*peer) == self.advertise_address;
        peers.retain(|peer| !is_own(peer));
        if peers == self.peers {
            return;
        }
        if self.peers.is_empty() {
            self.round_at_ms = self.round_at_ms.min(now_ms);
        }
        let is_listed = |peer: &P| peers.binary_search(peer).is_ok();
        self.cycle.retain(is_listed);
        self.back_off.retain(is_listed);
        self.missed.retain(is_listed);
        self.again = self.again.filter(is_listed);
        self.peers = peers;
        self.order_trees();
    }

    /// Takes the address at which others reach us.
    pub fn set_advertise_address(&mut self, own: P) {
        if self.advertise_address != Some(own) {
            self.advertise_address = Some(own);
            self.exclude(own);
        }
    }

    /// A peer has contacted us, so it can be contacted: its back-off ends.
    pub fn heard_from(&mut self, peer: P) {
        self.back_off.reset(&peer);
    }

    /// The peers to contact, in ascending order.
    pub fn peers(&self) -> &[P] {
        &self.peers
    }

    /// Whether one of the listed addresses turned out to be our own.
    pub fn knows_own_address(&self) -> bool {
        !self.own_addresses.is_empty()
    }

    /// There was a write here: everyone is to be told.
    pub fn wrote(&mut self, now_ms: u64) {
        self.trees.iter_mut().for_each(RelayTree::relay_to_all);
        self.expect_rumor(now_ms);
    }

    /// An exchange has brought news, and perhaps a subtree to relay it to.
    pub fn learned(&mut self, subtree: Option<Subtree>, now_ms: u64) {
        match subtree {
            Some(subtree) => {
                self.take_over(subtree);
                self.expect_rumor(now_ms);
            }
            // The relay trees have missed us, and so probably others: there is nothing to wait for.
            None => {
                self.unnecessary_contacts = Some(0);
                self.rumor_at_ms = self.rumor_at_ms.min(now_ms);
            }
        }
    }

    /// Relays to a subtree that was delegated to us, even if it brought no news for us.
    pub fn take_over(&mut self, subtree: Subtree) {
        if let Some(tree) = self.trees.get_mut(usize::from(subtree.tree)) {
            tree.relay_to(subtree.size);
        }
    }

    /// Schedules rumor mongering for when the relay trees should be through.
    fn expect_rumor(&mut self, now_ms: u64) {
        if self.unnecessary_contacts.is_none() {
            self.rumor_at_ms = now_ms + self.rng.u64(RUMOR_AFTER_MS..3 * RUMOR_AFTER_MS);
        }
        // Whoever told us has the news: that counts as one unnecessary contact.
        let contacts = self.unnecessary_contacts.map_or(1, |contacts| contacts.min(1));
        self.unnecessary_contacts = Some(contacts);
    }

    /// What to do now.
    pub fn next(&mut self, now_ms: u64) -> Action<P> {
        self.next_of_round(now_ms).or_else(|| self.next_for_news(now_ms)).unwrap_or_else(|| {
            let news_at_ms = self.news_at_ms().unwrap_or(u64::MAX);
            Action::WaitUntil(self.round_at_ms.min(news_at_ms))
        })
    }

    fn next_of_round(&mut self, now_ms: u64) -> Option<Action<P>> {
        if let Some(peer) = self.again.take() {
            return Some(self.exchange(Purpose::Round, peer));
        }
        if now_ms >= self.round_at_ms {
            self.begin_round(now_ms);
        }
        if self.tries_left == 0 {
            return None;
        }
        self.tries_left -= 1;
        match self.draw(now_ms) {
            Some(peer) => Some(self.exchange(Purpose::Round, peer)),
            None => {
                self.tries_left = 0;
                None
            }
        }
    }

    fn next_for_news(&mut self, now_ms: u64) -> Option<Action<P>> {
        if !self.tokens.refill(now_ms) {
            return None;
        }
        let action = self.next_relay(now_ms).or_else(|| self.next_rumor(now_ms))?;
        self.tokens.take();
        Some(action)
    }

    fn next_relay(&mut self, now_ms: u64) -> Option<Action<P>> {
        for _ in 0..RELAY_TREES {
            let tree = self.next_tree;
            self.next_tree = (tree + 1) % RELAY_TREES;
            if let Some((peer, size)) = self.next_head(tree, now_ms) {
                self.purpose = Purpose::Relay { tree };
                let subtree = Subtree { tree: tree as u8, size };
                return Some(Action::Exchange { peer, subtree: Some(subtree) });
            }
        }
        None
    }

    fn next_rumor(&mut self, now_ms: u64) -> Option<Action<P>> {
        if self.unnecessary_contacts.is_none() || now_ms < self.rumor_at_ms {
            return None;
        }
        let Some(peer) = self.missed.pop().or_else(|| self.draw(now_ms)) else {
            self.unnecessary_contacts = None;
            return None;
        };
        self.rumor_at_ms = now_ms + RUMOR_EVERY_MS;
        Some(self.exchange(Purpose::Rumor, peer))
    }

    /// When the next exchange for news may be opened, if there is news.
    fn news_at_ms(&self) -> Option<u64> {
        let has_rumor = self.unnecessary_contacts.is_some();
        if !self.tokens.is_empty() {
            has_rumor.then_some(self.rumor_at_ms)
        } else {
            let has_news = has_rumor || self.trees.iter().any(RelayTree::has_work);
            has_news.then(|| self.tokens.next_at_ms())
        }
    }

    fn exchange(&mut self, purpose: Purpose, peer: P) -> Action<P> {
        self.purpose = purpose;
        Action::Exchange { peer, subtree: None }
    }

    fn begin_round(&mut self, now_ms: u64) {
        if self.contacts_everyone() {
            self.round_at_ms = now_ms + DRAIN_RETRY_MS;
            self.tries_left = self.peers.len() as u32;
            self.cycle.clear();
        } else {
            let spread = self.interval_ms as f64 * JITTER * (2.0 * self.rng.f64() - 1.0);
            self.round_at_ms = now_ms + (self.interval_ms as f64 + spread).max(1.0) as u64;
            self.tries_left = MAX_TRIES;
        }
    }

    fn contacts_everyone(&self) -> bool {
        self.drain.is_some() || self.replicas_awaited
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
                if self.drain.is_some() || self.back_off.is_over(&peer, now_ms) {
                    return Some(peer);
                }
            }
        }
        None
    }

    /// The next head of a relay tree that is not being left alone, and the size of its subtree.
    fn next_head(&mut self, tree: usize, now_ms: u64) -> Option<(P, u32)> {
        loop {
            let (peer, size) = self.trees[tree].next_head()?;
            if self.back_off.is_over(&peer, now_ms) {
                return Some((peer, size));
            }
            self.trees[tree].head_failed();
            self.missed_by_relay(peer, now_ms);
        }
    }

    /// A relay tree goes on without a peer: rumor mongering gives it one more try of its own,
    /// unless it is used to failing.
    fn missed_by_relay(&mut self, peer: P, now_ms: u64) {
        if self.back_off.failures(&peer) < MAX_FAILURES_OF_MISSED && !self.missed.contains(&peer) {
            self.missed.push(peer);
            self.expect_rumor(now_ms);
        }
    }

    /// Takes the outcome of the exchange that [`Scheduler::next`] asked for.
    pub fn exchange_ended(&mut self, peer: P, outcome: Outcome, now_ms: u64) {
        match outcome {
            Outcome::Complete { node, was_news } => {
                self.count_contact(was_news);
                self.record_confirmation(node, peer);
            }
            Outcome::Incomplete => {
                self.again = Some(peer);
                self.unnecessary_contacts = self.unnecessary_contacts.map(|_| 0);
            }
            Outcome::Failed => {
                self.back_off.failed(peer, now_ms);
                if matches!(self.purpose, Purpose::Relay { .. }) {
                    self.missed_by_relay(peer, now_ms);
                }
            }
            Outcome::OwnAddress => {
                add_if_new(&mut self.own_addresses, peer);
                self.advertise_address.get_or_insert(peer);
                self.exclude(peer);
            }
        }
        let succeeded = matches!(outcome, Outcome::Complete { .. } | Outcome::Incomplete);
        if succeeded {
            self.back_off.reset(&peer);
        }
        match self.purpose {
            Purpose::Relay { tree } if succeeded => self.trees[tree].finish_far_half(),
            Purpose::Relay { tree } => self.trees[tree].head_failed(),
            Purpose::Round if succeeded && !self.contacts_everyone() => self.tries_left = 0,
            Purpose::Round | Purpose::Rumor => {}
        }
    }

    /// Ends rumor mongering after enough unnecessary contacts in a row.
    fn count_contact(&mut self, was_news: bool) {
        // A relay tree is meant for peers without the news: finding one says nothing of the others.
        if !matches!(self.purpose, Purpose::Relay { .. }) {
            let contacts = self.unnecessary_contacts;
            self.unnecessary_contacts = contacts
                .map(|contacts| if was_news { 0 } else { contacts + 1 })
                .filter(|&contacts| contacts < MAX_UNNECESSARY_CONTACTS || !self.missed.is_empty());
        }
    }

    fn record_confirmation(&mut self, node: u32, peer: P) {
        if let Some(confirmed) = &mut self.drain {
            add_if_new(&mut confirmed.nodes, node);
            add_if_new(&mut confirmed.addresses, peer);
        }
    }

    fn exclude(&mut self, own: P) {
        self.peers.retain(|&peer| peer != own);
        self.cycle.retain(|&peer| peer != own);
        self.order_trees();
    }

    fn order_trees(&mut self) {
        let Some(own) = self.advertise_address else { return };
        for (tree, order) in self.trees.iter_mut().zip(orders(&self.peers, own, self.order)) {
            tree.set_order(order);
        }
    }

    /// Says whether a client waits for other nodes to hold our writes. While one does, all peers
    /// are contacted, again and again.
    pub fn await_replicas(&mut self, replicas_awaited: bool, now_ms: u64) {
        if replicas_awaited && !self.replicas_awaited {
            self.round_at_ms = now_ms;
        }
        self.replicas_awaited = replicas_awaited;
    }

    /// Begins a drain, or begins it anew after a write: all peers are contacted until enough of
    /// them have everything.
    pub fn drain(&mut self, now_ms: u64) {
        self.drain = Some(Drain { nodes: Vec::new(), addresses: Vec::new() });
        self.round_at_ms = now_ms;
    }

    /// Whether enough other nodes have confirmed, since the drain began, to have everything:
    /// [`DRAIN_CONFIRMATIONS`], or all that there are.
    pub fn is_drained(&self) -> bool {
        self.drain.as_ref().is_some_and(|confirmed| {
            confirmed.nodes.len() >= DRAIN_CONFIRMATIONS
                || self.peers.iter().all(|peer| confirmed.addresses.contains(peer))
        })
    }
}

fn add_if_new<T: PartialEq>(known: &mut Vec<T>, new: T) {
    if !known.contains(&new) {
        known.push(new);
    }
}
