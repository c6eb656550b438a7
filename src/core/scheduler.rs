//! Which peer to contact and when: the timer, relayed news, rumor mongering, back-off, and everyone
//! while confirmations are awaited.
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
use std::collections::BTreeSet;

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

/// While everyone is contacted: the time after which all peers are contacted again.
pub const EVERYONE_AGAIN_MS: u64 = 200;

/// The most addresses contacted that are not listed, because a peer contacted us from there.
pub const MAX_UNLISTED: usize = 64;

/// Whether everyone is contacted, again and again, instead of a peer a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Everyone {
    /// No: nobody waits for it.
    No,
    /// Those that respond: others are to hold our writes, or we are to learn what they hold.
    Responsive,
    /// All, also those that fail or are not listed but contact us: it is our last chance.
    All,
}

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
    /// Peers that are not listed, as long as they respond.
    unlisted: Vec<P>,
    /// The peers of this cycle that are still to be contacted, in an order drawn for the cycle.
    cycle: Vec<P>,
    back_off: BackOff<P>,
    /// The peers whose last exchange went well.
    responsive: BTreeSet<P>,
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
    everyone: Everyone,
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
            unlisted: Vec::new(),
            cycle: Vec::new(),
            back_off: BackOff::new(),
            responsive: BTreeSet::new(),
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
            everyone: Everyone::No,
        }
    }

    /// Takes the latest addresses.
    ///
    /// The first ones to arrive start a round at once: a newcomer should not wait for its timer.
    pub fn set_peers(&mut self, mut peers: Vec<P>, now_ms: u64) {
        // An address that is no longer listed may come back as another node's.
        self.own_addresses.retain(|own| peers.contains(own));
        self.unlisted.retain(|peer| !peers.contains(peer));
        peers.extend(&self.unlisted);
        self.replace_peers(peers, now_ms);
    }

    fn replace_peers(&mut self, mut peers: Vec<P>, now_ms: u64) {
        peers.sort_unstable();
        peers.dedup();
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
        self.responsive.retain(is_listed);
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
    ///
    /// It need not be listed yet. While we have our last chance, that is the first we hear of those
    /// that are to replace us.
    pub fn heard_from(&mut self, peer: P, now_ms: u64) {
        if self.peers.contains(&peer) {
            return self.back_off.reset(&peer);
        }
        let is_own = self.own_addresses.contains(&peer) || Some(peer) == self.advertise_address;
        // A proxy, behind which peers contact us, fails each time.
        let may_be_peer = !is_own && self.back_off.is_over(&peer, now_ms);
        let has_room = self.unlisted.len() < MAX_UNLISTED;
        if self.everyone == Everyone::All && may_be_peer && has_room {
            self.unlisted.push(peer);
            self.replace_peers([&self.peers[..], &[peer]].concat(), now_ms);
            self.round_at_ms = self.round_at_ms.min(now_ms);
        }
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
        // Where exchanges take long, everyone is contacted once before anybody is contacted again.
        let goes_on = self.everyone != Everyone::No && self.tries_left > 0;
        if now_ms >= self.round_at_ms && !goes_on {
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
                if self.everyone != Everyone::No {
                    self.round_at_ms = self.round_at_ms.max(now_ms + EVERYONE_AGAIN_MS);
                }
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
        if self.everyone != Everyone::No {
            self.round_at_ms = now_ms + EVERYONE_AGAIN_MS;
            self.tries_left = self.peers.len() as u32;
            self.cycle.clear();
        } else {
            let spread = self.interval_ms as f64 * JITTER * (2.0 * self.rng.f64() - 1.0);
            self.round_at_ms = now_ms + (self.interval_ms as f64 + spread).max(1.0) as u64;
            self.tries_left = MAX_TRIES;
        }
    }

    /// The next peer of the cycle that is not being left alone.
    ///
    /// A shuffled cycle reaches everyone within one cycle; independent draws would leave some out
    /// for long.
    fn draw(&mut self, now_ms: u64) -> Option<P> {
        let is_last_chance = self.everyone == Everyone::All;
        for fresh_cycle in [false, true] {
            if fresh_cycle {
                self.cycle.clone_from(&self.peers);
                self.rng.shuffle(&mut self.cycle);
                if self.everyone != Everyone::No {
                    // The end is popped first. Those that have responded before come before those
                    // that may take long to fail, and before those that are new: whether a holder
                    // is still there is known before another confirms.
                    self.cycle.sort_by_key(|peer| self.responsive.contains(peer));
                }
            }
            while let Some(peer) = self.cycle.pop() {
                if is_last_chance || self.back_off.is_over(&peer, now_ms) {
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
            Outcome::Complete { was_news } => self.count_contact(was_news),
            Outcome::Incomplete => {
                self.again = Some(peer);
                self.unnecessary_contacts = self.unnecessary_contacts.map(|_| 0);
            }
            Outcome::Failed => {
                self.back_off.failed(peer, now_ms);
                self.drop_unlisted(peer);
                if matches!(self.purpose, Purpose::Relay { .. }) {
                    self.missed_by_relay(peer, now_ms);
                }
            }
            Outcome::OwnAddress => {
                if !self.own_addresses.contains(&peer) {
                    self.own_addresses.push(peer);
                }
                self.advertise_address.get_or_insert(peer);
                self.exclude(peer);
            }
        }
        let succeeded = matches!(outcome, Outcome::Complete { .. } | Outcome::Incomplete);
        if succeeded {
            self.back_off.reset(&peer);
            self.responsive.insert(peer);
        } else {
            self.responsive.remove(&peer);
        }
        match self.purpose {
            Purpose::Relay { tree } if succeeded => self.trees[tree].finish_far_half(),
            Purpose::Relay { tree } => self.trees[tree].head_failed(),
            Purpose::Round if succeeded && self.everyone == Everyone::No => self.tries_left = 0,
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

    /// An address that is not listed may belong to a proxy: only one that responds is a peer's.
    fn drop_unlisted(&mut self, peer: P) {
        if self.unlisted.contains(&peer) {
            self.unlisted.retain(|&other| other != peer);
            self.exclude(peer);
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

    /// Says whether everyone is contacted from now on, again and again.
    pub fn contact(&mut self, everyone: Everyone, now_ms: u64) {
        if everyone == self.everyone {
            return;
        }
        self.everyone = everyone;
        self.tries_left = 0;
        if everyone != Everyone::No {
            self.round_at_ms = now_ms;
        }
    }
}
