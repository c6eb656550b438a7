//! The gossip thread: makes the calls that the scheduler asks for.

use crate::core::digest::key_hash;
use crate::core::scheduler::{Action, Ended, Gossip};
use crate::core::store::MAX_COLLECTED_AT_ONCE;
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
    let mut gossip = Gossip::new(interval_ms, now_ms(), fastrand::Rng::new(), place_hash);
    node.config.own_addresses().first().into_iter().for_each(|&own| gossip.set_own_place(own));
    let peer_port = node.config.peer[0].port();
    // The writes that there were when it was last begun to leave.
    let mut drained_up_to: Option<u64> = None;
    loop {
        let patience = match gossip.next(now_ms()) {
            Action::Call { peer, duty } => {
                let called = session::call(node, peer, duty);
                log_call(node, peer, &called);
                gossip.ended(peer, called.unwrap_or(Ended::Failed), now_ms());
                Duration::ZERO
            }
            Action::WaitUntil(ms) => {
                let due_in_ms = node.store().due_in_ms(wall_ms()).unwrap_or(u64::MAX);
                Duration::from_millis(ms.saturating_sub(now_ms()).min(due_in_ms))
            }
        };
        let mut next = events.recv_timeout(patience).ok();
        // All that have come, before the next call: that may be to an address which takes long to
        // turn out dead, and the word that it is none any more may be among them.
        while let Some(event) = next {
            match event {
                Event::Wrote => {
                    node.has_told_of_write.store(false, Relaxed);
                    gossip.wrote(now_ms());
                }
                Event::Learned { is_news: true, duty } => gossip.learned(duty, now_ms()),
                Event::Learned { is_news: false, duty } => {
                    duty.into_iter().for_each(|duty| gossip.handed(duty));
                }
                Event::Seek => {}
                Event::Reached(own) => gossip.set_own_place(own),
                // All peers of a Service listen on the same port.
                Event::Heard(ip) => {
                    let peer = SocketAddr::new(ip, peer_port);
                    gossip.heard_from(peer);
                    if node.roster().answered(peer) {
                        log::info!("peer {peer} calls");
                    }
                }
                Event::Peers(peers, found_ourselves) => {
                    gossip.set_peers(peers, now_ms());
                    if gossip.peers().is_empty() && (found_ourselves || gossip.has_met_itself()) {
                        node.catch_up("DNS knows nobody but ourselves");
                    }
                }
            }
            next = events.try_recv().ok();
        }
        node.roster().set_addresses(gossip.peers());
        gossip.seek(node.unconfirmed.load(Relaxed) > 0, now_ms());
        if node.is_leaving() {
            let writes = node.store().writes();
            if drained_up_to.replace(writes) != Some(writes) {
                gossip.drain(now_ms());
            } else if gossip.is_drained() {
                node.store().close(writes);
            }
        }
        // Many deletions may fall due at once; the lock is given back between any thousand of them.
        while node.store_after_others().collect(wall_ms()) == MAX_COLLECTED_AT_ONCE {}
    }
}

/// Where an address stands in the order of the second wave. Part of the protocol.
fn place_hash(address: &SocketAddr) -> u64 {
    key_hash(&address.to_string())
}

/// Says once of each peer that it does not answer, and once that it does again.
fn log_call(node: &Node, peer: SocketAddr, called: &Result<Ended, Failure>) {
    static LOG: Limiter = Limiter::new();
    match called {
        Err(failure) if node.roster().failed(peer) => {
            if let Some(more) = LOG.pass() {
                log::warn!("peer {peer} does not answer: {failure}{more}");
            }
        }
        Err(failure) => log::debug!("peer {peer} does not answer: {failure}"),
        Ok(_) if node.roster().answered(peer) => log::info!("peer {peer} answers"),
        Ok(_) => {}
    }
}
