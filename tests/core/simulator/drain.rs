//! Nodes that exit in order: what they promise when they do, checked at that moment.

use super::node::Notice;
use super::{Event, Simulator};

impl Simulator {
    /// A node gets SIGTERM: it hands over what it has, and exits.
    pub fn drain(&mut self, node: usize, timeout_us: u64) {
        let it = &mut self.nodes[node];
        it.store.drain();
        it.members.drain();
        let held = it.held.iter().map(|(key, held)| (key.clone(), held.version));
        it.to_hand_over = held.collect();
        let incarnation = it.incarnation;
        self.schedule(timeout_us / 2, Event::Close { node, incarnation });
        self.schedule(timeout_us, Event::DrainTimeout { node, incarnation });
        self.notify(node, Notice::Drain);
    }

    fn is_same(&self, node: usize, incarnation: u32) -> bool {
        self.nodes[node].is_up && self.nodes[node].incarnation == incarnation
    }

    pub(super) fn close_store(&mut self, node: usize, incarnation: u32) {
        if self.is_same(node, incarnation) {
            self.nodes[node].store.close();
        }
    }

    pub(super) fn drain_timeout(&mut self, node: usize, incarnation: u32) {
        if self.is_same(node, incarnation) {
            self.counters.drains_timed_out += 1;
            self.exit(node);
        }
    }

    /// Lets a node exit if others have taken over, and asserts that they really have.
    pub(super) fn exit_if_handed_over(&mut self, node: usize) -> bool {
        let it = &mut self.nodes[node];
        let revision = it.store.to_hand_over();
        let may_exit = revision == 0 || it.members.have_taken_over(revision);
        if !it.store.is_draining() || !may_exit {
            return false;
        }
        it.store.close_if_held(revision);
        self.counters.drained += 1;
        self.check_handed_over(node);
        self.exit(node);
        true
    }

    /// The process is gone; DNS follows with its lag.
    fn exit(&mut self, node: usize) {
        self.kill(node);
        self.schedule(self.settings.dns_lag_us, Event::Unlist { node });
    }

    /// Asserts that another node has each entry that this one must hand over, or a later one. If
    /// that drains too, it must have had the entry before: only then it hands it over.
    fn check_handed_over(&self, node: usize) {
        let others: Vec<usize> = self.live().filter(|&other| other != node).collect();
        for (key, version) in &self.nodes[node].to_hand_over {
            let has = |&other: &usize| {
                let other = &self.nodes[other];
                let held = match other.store.is_draining() {
                    true => other.to_hand_over.get(key).copied(),
                    false => other.store.entry(key).map(|entry| entry.version),
                };
                held >= Some(*version)
            };
            assert!(
                others.iter().any(has),
                "node {node} has exited, and nobody who stays has {key} {version}"
            );
        }
    }
}
