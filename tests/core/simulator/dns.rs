//! DNS, and what the resolver thread of each node does with it.

use super::node::Notice;
use super::{Event, Simulator, View};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// The shell's interval between look-ups until the first one succeeds.
const FIRST_LOOK_UPS_EVERY_US: u64 = 200_000;

impl Simulator {
    pub(super) fn change_listing(&mut self, node: usize, is_listed: bool) {
        let address = node as u32;
        let others = self.listed.iter().copied().filter(|&other| other != address);
        self.listed = others.chain(is_listed.then_some(address)).collect();
        self.listing += 1;
    }

    /// One look-up by the node's resolver thread.
    pub(super) fn look_up(&mut self, node: usize, incarnation: u32) {
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
            self.notify(node, Notice::Peers(peers));
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
                for index in 0..most.min(answer.len()) {
                    let drawn = self.rng.usize(index..answer.len());
                    answer.swap(index, drawn);
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
}
