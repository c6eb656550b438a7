//! The gossip thread: opens the exchanges that the scheduler asks for.

use crate::core::scheduler::{Action, Everyone, Outcome, Scheduler};
use crate::core::store::MAX_PURGED_AT_ONCE;
use crate::node::event::Event;
use crate::node::state::{Node, address_hash, wall_ms};
use crate::peer::initiator::initiate;
use crate::peer::session::Failure;
use crate::sys::logger::Limiter;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Gossips until the end of the process.
pub fn gossip(node: &Node, events: &Receiver<Event>) {
    let mut gossip = Gossip::new(node);
    loop {
        let timeout = gossip.act();
        // All events that have come are handled before the next exchange: it may be with an address
        // that takes long to turn out dead, and the word that it is no longer listed may be here.
        let mut next = events.recv_timeout(timeout).ok();
        while let Some(event) = next {
            gossip.handle(event);
            next = events.try_recv().ok();
        }
        gossip.list_members();
        gossip.choose_whom_to_contact();
        // Many entries may be due at once: the lock is released after each batch.
        while node.store_after_others().purge_expired(wall_ms()) == MAX_PURGED_AT_ONCE {}
    }
}

struct Gossip<'a> {
    node: &'a Node,
    scheduler: Scheduler<SocketAddr>,
}

impl<'a> Gossip<'a> {
    fn new(node: &'a Node) -> Self {
        let interval_ms = node.config.sync_interval.as_millis() as u64;
        let now_ms = node.readiness.age_ms();
        let rng = fastrand::Rng::new();
        let mut scheduler = Scheduler::new(interval_ms, now_ms, rng, address_hash);
        if let Some(&own) = node.config.own_addresses().first() {
            scheduler.set_advertise_address(own);
        }
        Self { node, scheduler }
    }

    fn now_ms(&self) -> u64 {
        self.node.readiness.age_ms()
    }

    /// Does what the scheduler asks for; returns how long there is nothing to do then.
    fn act(&mut self) -> Duration {
        match self.scheduler.next(self.now_ms()) {
            Action::Exchange { peer, subtree } => {
                let outcome = initiate(self.node, peer, subtree);
                log_outcome(self.node, peer, &outcome);
                let outcome = outcome.unwrap_or(Outcome::Failed);
                self.scheduler.exchange_ended(peer, outcome, self.now_ms());
                Duration::ZERO
            }
            Action::WaitUntil(ms) => {
                let expiry_in_ms = self.node.store().next_expiry_in_ms(wall_ms());
                let wait_ms = ms.saturating_sub(self.now_ms());
                Duration::from_millis(wait_ms.min(expiry_in_ms.unwrap_or(u64::MAX)))
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let now_ms = self.now_ms();
        match event {
            Event::Wrote => {
                self.node.has_untold_write.store(false, Relaxed);
                self.scheduler.wrote(now_ms);
            }
            Event::Learned { is_news: true, subtree } => self.scheduler.learned(subtree, now_ms),
            Event::Learned { is_news: false, subtree } => {
                subtree.into_iter().for_each(|subtree| self.scheduler.take_over(subtree));
            }
            // Every event is followed by a look at who waits.
            Event::ReplicasAwaited => {}
            Event::AdvertiseAddress(own) => self.scheduler.set_advertise_address(own),
            Event::Heard(ip) => {
                // All peers of a Service listen on the same port.
                let peer = SocketAddr::new(ip, self.node.config.peer[0].port());
                self.scheduler.heard_from(peer, now_ms);
                log_if_reachable_again(self.node, peer);
            }
            Event::Peers { addresses, found_own_address } => {
                self.scheduler.set_peers(addresses, now_ms);
                self.list_members();
                self.node.readiness.looked_up();
                let is_listed = found_own_address || self.scheduler.knows_own_address();
                if is_listed && self.scheduler.peers().is_empty() {
                    self.node.readiness.become_ready("DNS lists no other pod");
                }
            }
        }
    }

    fn list_members(&self) {
        let mut members = self.node.members();
        members.set_addresses(self.scheduler.peers());
        if !self.node.readiness.is_ready() && members.are_all_starting() {
            self.node.readiness.become_ready("all peers in DNS are starting too");
        }
    }

    /// Has everyone contacted until the node has caught up, while a client waits for replicas, and
    /// while the node drains.
    fn choose_whom_to_contact(&mut self) {
        let readiness = &self.node.readiness;
        let replicas_awaited = self.node.blocked_writes.load(Relaxed) > 0;
        let everyone = if readiness.is_draining() {
            Everyone::All
        } else if replicas_awaited || !readiness.is_ready() {
            Everyone::Responsive
        } else {
            Everyone::No
        };
        self.scheduler.contact(everyone, self.now_ms());
    }
}

/// Logs once of each peer that it is not reachable, and once that it is again.
fn log_outcome(node: &Node, peer: SocketAddr, outcome: &Result<Outcome, Failure>) {
    static LOG: Limiter = Limiter::new();
    match outcome {
        Err(failure) if node.members().failed(peer) => {
            if let Some(suppressed) = LOG.pass() {
                log::warn!("exchange with peer {peer} failed: {failure}{suppressed}");
            }
        }
        Err(failure) => log::debug!("exchange with peer {peer} failed: {failure}"),
        Ok(_) => log_if_reachable_again(node, peer),
    }
}

fn log_if_reachable_again(node: &Node, peer: SocketAddr) {
    if node.members().succeeded(peer) {
        log::info!("peer {peer} is reachable again");
    }
}
