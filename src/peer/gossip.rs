//! The gossip thread: makes the calls that the scheduler asks for.

use crate::core::digest::key_hash;
use crate::core::scheduler::{Action, Outcome, Scheduler};
use crate::core::store::MAX_PURGED_AT_ONCE;
use crate::node::state::{Event, Node, wall_ms};
use crate::peer::session::{self, Failure};
use crate::sys::logger::Limiter;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Calls peers as the scheduler says.
pub fn gossip(node: &Node, events: &Receiver<Event>) {
    let now_ms = || node.age().as_millis() as u64;
    let interval_ms = node.config.sync_interval.as_millis() as u64;
    let mut scheduler = Scheduler::new(interval_ms, now_ms(), fastrand::Rng::new(), address_hash);
    node.config
        .own_addresses()
        .first()
        .into_iter()
        .for_each(|&own| scheduler.set_advertise_address(own));
    let peer_port = node.config.peer[0].port();
    // The writes that there were when it was last begun to leave.
    let mut drained_up_to: Option<u64> = None;
    loop {
        let timeout = match scheduler.next(now_ms()) {
            Action::Exchange { peer, subtree } => {
                let called = session::call(node, peer, subtree);
                log_call(node, peer, &called);
                scheduler.exchange_ended(peer, called.unwrap_or(Outcome::Failed), now_ms());
                Duration::ZERO
            }
            Action::WaitUntil(ms) => {
                let expiry_in_ms = node.store().next_expiry_in_ms(wall_ms()).unwrap_or(u64::MAX);
                Duration::from_millis(ms.saturating_sub(now_ms()).min(expiry_in_ms))
            }
        };
        let mut next = events.recv_timeout(timeout).ok();
        // All that have come, before the next call: that may be to an address which takes long to
        // turn out dead, and the word that it is none any more may be among them.
        while let Some(event) = next {
            match event {
                Event::Wrote => {
                    node.has_told_of_write.store(false, Relaxed);
                    scheduler.wrote(now_ms());
                }
                Event::Learned { is_news: true, subtree } => scheduler.learned(subtree, now_ms()),
                Event::Learned { is_news: false, subtree } => {
                    subtree.into_iter().for_each(|subtree| scheduler.take_over(subtree));
                }
                Event::ReplicasAwaited => {}
                Event::AdvertiseAddress(own) => scheduler.set_advertise_address(own),
                // All peers of a Service listen on the same port.
                Event::Heard(ip) => {
                    let peer = SocketAddr::new(ip, peer_port);
                    scheduler.heard_from(peer);
                    if node.members().answered(peer) {
                        log::info!("peer {peer} calls");
                    }
                }
                Event::Peers(peers, found_own_address) => {
                    scheduler.set_peers(peers, now_ms());
                    if scheduler.peers().is_empty()
                        && (found_own_address || scheduler.knows_own_address())
                    {
                        node.become_ready("DNS knows nobody but ourselves");
                    }
                }
            }
            next = events.try_recv().ok();
        }
        node.members().set_addresses(scheduler.peers());
        scheduler.await_replicas(node.unconfirmed.load(Relaxed) > 0, now_ms());
        if node.is_draining() {
            let writes = node.store().writes();
            if drained_up_to.replace(writes) != Some(writes) {
                scheduler.drain(now_ms());
            } else if scheduler.is_drained() {
                node.store().close(writes);
            }
        }
        // Many deletions may fall due at once; the lock is given back between any thousand of them.
        while node.store_after_others().purge_expired(wall_ms()) == MAX_PURGED_AT_ONCE {}
    }
}

/// Where an address stands in the order of the second relay tree. Part of the protocol.
fn address_hash(address: &SocketAddr) -> u64 {
    key_hash(&address.to_string())
}

/// Says once of each peer that it does not answer, and once that it does again.
fn log_call(node: &Node, peer: SocketAddr, called: &Result<Outcome, Failure>) {
    static LOG: Limiter = Limiter::new();
    match called {
        Err(failure) if node.members().failed(peer) => {
            if let Some(more) = LOG.pass() {
                log::warn!("peer {peer} does not answer: {failure}{more}");
            }
        }
        Err(failure) => log::debug!("peer {peer} does not answer: {failure}"),
        Ok(_) if node.members().answered(peer) => log::info!("peer {peer} answers"),
        Ok(_) => {}
    }
}
