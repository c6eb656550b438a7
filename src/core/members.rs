//! The members: the other nodes, what they hold of what this node has, and how the last exchange
//! with each of them went.
//!
//! This is the one book-keeping of confirmations: a write that waits for replicas and a node that
//! drains both ask it. A confirmation comes from a complete exchange that we opened, with a peer
//! that does not drain. It counts once for a process, however many addresses that has, and only
//! while the process responds at a listed address: a holder that is gone holds nothing.
//!
//! What comes in on an exchange that a peer opened may be old, and from anybody. It confirms nothing;
//! but a process that says that it drains is believed, since none of them goes back on that.

use crate::core::exchange::Summary;

/// The most processes remembered, by the ids that they drew: a restart draws a new one.
pub const MAX_PROCESSES: usize = 1024;

/// How many other nodes must hold everything before a draining node exits, if there are as many.
pub const DRAIN_CONFIRMATIONS: usize = 2;

/// One listed address.
pub struct Member<P> {
    /// The address.
    pub address: P,
    /// The process that responded there last.
    pub node: Option<u32>,
    /// Failed exchanges in a row.
    pub failures: u32,
    /// Which of the exchanges that we opened was the last one there, if it went well.
    responded_in: Option<u64>,
}

/// What is known of a process, and how the last exchange with it went, whichever side opened it.
pub struct Process {
    node: u32,
    /// When that exchange ended, in milliseconds of a monotonic clock.
    pub at_ms: u64,
    /// Whether neither side had anything that the other lacked.
    pub agreed: bool,
    /// How far its clock is ahead of ours, once it has said so in a prompt answer.
    pub clock_offset_ms: Option<i64>,
    /// The first so many of our changes are confirmed: see `Store::revision`.
    confirmed: u64,
    /// Whether we have had a complete exchange with it while it was starting, and none later.
    is_starting: bool,
    /// Whether it has told us that it drains.
    is_draining: bool,
    /// Whether it has responded to us.
    has_responded: bool,
}

/// All members: the listed addresses, and the processes that were met; `P` is an address.
pub struct Members<P> {
    listed: Vec<Member<P>>,
    processes: Vec<Process>,
    /// Whether any other node was ever listed or met.
    has_known_others: bool,
    /// How many exchanges that we opened went well.
    opened: u64,
    /// In which of them a process responded for the first time, most lately.
    newcomer_in: u64,
}

impl<P> Default for Members<P> {
    fn default() -> Self {
        Self {
            listed: Vec::new(),
            processes: Vec::new(),
            has_known_others: false,
            opened: 0,
            newcomer_in: 0,
        }
    }
}

impl<P: Copy + Ord> Members<P> {
    /// Takes the latest addresses. What is known of those that stay is kept.
    pub fn set_addresses(&mut self, addresses: &[P]) {
        if self.listed.iter().map(|member| &member.address).ne(addresses) {
            let mut before = std::mem::take(&mut self.listed);
            self.listed.extend(addresses.iter().map(|&address| {
                match before.iter().position(|member| member.address == address) {
                    Some(known) => before.swap_remove(known),
                    None => Member { address, node: None, failures: 0, responded_in: None },
                }
            }));
        }
        self.has_known_others |= !self.listed.is_empty();
    }

    /// The listed addresses.
    pub fn listed(&self) -> &[Member<P>] {
        &self.listed
    }

    /// Whether no other node has been listed or met since the start.
    pub fn has_always_been_alone(&self) -> bool {
        !self.has_known_others
    }

    fn member(&mut self, address: P) -> Option<&mut Member<P>> {
        self.listed.iter_mut().find(|member| member.address == address)
    }

    /// The process that responded at an address last.
    pub fn process(&self, member: &Member<P>) -> Option<&Process> {
        let node = member.node?;
        self.processes.iter().find(|process| process.node == node)
    }

    /// An exchange that we opened has failed; returns whether it is the first in a row.
    pub fn failed(&mut self, address: P) -> bool {
        self.member(address).is_some_and(|member| {
            member.responded_in = None;
            member.failures += 1;
            member.failures == 1
        })
    }

    /// The address has responded, or has contacted us; returns whether it had failed before.
    pub fn succeeded(&mut self, address: P) -> bool {
        self.member(address).is_some_and(|member| std::mem::take(&mut member.failures) > 0)
    }

    /// Records an exchange; `address` is the one that we contacted, if we opened it.
    pub fn record_exchange(&mut self, address: Option<P>, summary: &Summary, now_ms: u64) {
        let Some(node) = summary.peer else { return };
        self.has_known_others = true;
        let known = self.processes.iter().position(|process| process.node == node);
        let index = known.unwrap_or_else(|| self.add_process(node));
        let process = &mut self.processes[index];
        process.at_ms = now_ms;
        process.agreed = summary.complete && summary.sent + summary.taken + summary.purged == 0;
        process.clock_offset_ms = summary.clock_offset_ms.or(process.clock_offset_ms);
        process.is_draining |= summary.peer_is_draining;
        let Some(address) = address else { return };
        self.opened += 1;
        if !std::mem::replace(&mut process.has_responded, true) {
            self.newcomer_in = self.opened;
        }
        if summary.confirmed {
            process.confirmed = process.confirmed.max(summary.revision);
        }
        process.is_starting = summary.complete && summary.peer_is_starting;
        let opened = self.opened;
        if let Some(member) = self.member(address) {
            member.node = Some(node);
            member.responded_in = Some(opened);
        }
    }

    fn add_process(&mut self, node: u32) -> usize {
        if self.processes.len() == MAX_PROCESSES {
            let at_ms = |index: &usize| self.processes[*index].at_ms;
            let oldest = (0..MAX_PROCESSES).min_by_key(at_ms).unwrap_or_default();
            self.processes.swap_remove(oldest);
        }
        self.processes.push(Process {
            node,
            at_ms: 0,
            agreed: false,
            clock_offset_ms: None,
            confirmed: 0,
            is_starting: false,
            is_draining: false,
            has_responded: false,
        });
        self.processes.len() - 1
    }

    /// The process that responds at this address, if it stays.
    fn staying(&self, member: &Member<P>) -> Option<&Process> {
        self.process(member).filter(|process| member.responded_in.is_some() && !process.is_draining)
    }

    /// Whether the process at this address holds everything up to this revision.
    ///
    /// A newcomer may be there in place of a holder that was killed. So whoever confirmed before it
    /// came has to respond once more.
    fn holds(&self, member: &Member<P>, revision: u64) -> bool {
        let is_still_there = member.responded_in.is_some_and(|at| at >= self.newcomer_in);
        is_still_there && self.staying(member).is_some_and(|process| process.confirmed >= revision)
    }

    fn is_leaving(&self, member: &Member<P>) -> bool {
        self.process(member).is_some_and(|process| process.is_draining)
    }

    /// How many other nodes hold everything up to this revision.
    pub fn confirmations(&self, revision: u64) -> usize {
        let holders = self.listed.iter().filter(|member| self.holds(member, revision));
        let mut nodes: Vec<u32> = holders.filter_map(|member| member.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len()
    }

    /// Makes every confirmation that came before void: a node that drains has the last chance to
    /// find out that a holder is gone.
    pub fn drain(&mut self) {
        self.processes.iter_mut().for_each(|process| process.confirmed = 0);
    }

    /// Whether enough other nodes hold everything up to this revision for us to exit:
    /// [`DRAIN_CONFIRMATIONS`], or all members that stay if they are fewer. One at least: where all
    /// others drain too, those that replace them are not listed yet.
    pub fn have_taken_over(&self, revision: u64) -> bool {
        let leaves_or_holds =
            |member: &Member<P>| self.is_leaving(member) || self.holds(member, revision);
        match self.confirmations(revision) {
            0 => false,
            holders => holders >= DRAIN_CONFIRMATIONS || self.listed.iter().all(leaves_or_holds),
        }
    }

    /// How many changes up to this revision no other node is known to hold.
    pub fn unconfirmed(&self, revision: u64) -> u64 {
        let staying = self.listed.iter().filter_map(|member| self.staying(member));
        let confirmed = staying.map(|process| process.confirmed).max();
        revision.saturating_sub(confirmed.unwrap_or(0))
    }

    /// Whether every listed address has told us that it is starting, in a complete exchange: then
    /// nobody has anything that we lack.
    pub fn are_all_starting(&self) -> bool {
        let is_starting = |member: &Member<P>| {
            member.responded_in.is_some()
                && self.process(member).is_some_and(|process| process.is_starting)
        };
        !self.listed.is_empty() && self.listed.iter().all(is_starting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(addresses: &[u16]) -> Members<u16> {
        let mut members = Members::default();
        members.set_addresses(addresses);
        members
    }

    /// A complete exchange after which `node` has our first `revision` changes.
    fn confirming(node: u32, revision: u64) -> Summary {
        Summary {
            peer: Some(node),
            complete: true,
            confirmed: true,
            revision,
            ..Summary::default()
        }
    }

    /// A complete exchange with a node that drains.
    fn draining(node: u32, revision: u64) -> Summary {
        Summary { confirmed: false, peer_is_draining: true, ..confirming(node, revision) }
    }

    fn starting(node: u32) -> Summary {
        Summary { peer_is_starting: true, ..confirming(node, 0) }
    }

    /// Exchanges that we opened, in this order, twice: so all processes are known in the end.
    fn after(mut members: Members<u16>, exchanges: &[(u16, Summary)]) -> Members<u16> {
        for (address, summary) in exchanges.iter().chain(exchanges) {
            members.record_exchange(Some(*address), summary, 0);
        }
        members
    }

    #[test]
    fn a_process_confirms_what_there_was_before_its_last_complete_exchange() {
        let mut members = listing(&[1, 2]);
        assert_eq!(members.confirmations(0), 0, "nobody is known yet");
        members.record_exchange(Some(1), &confirming(7, 5), 0);
        assert_eq!((members.confirmations(5), members.confirmations(6)), (1, 0));
        members = after(members, &[(1, confirming(7, 5)), (2, confirming(8, 6))]);
        assert_eq!((members.confirmations(5), members.confirmations(6)), (2, 1));
        let incomplete = Summary { confirmed: false, ..confirming(7, 9) };
        members.record_exchange(Some(1), &incomplete, 0);
        assert_eq!(members.confirmations(5), 2, "what it had it still has");
        assert_eq!(members.confirmations(9), 0);
    }

    #[test]
    fn one_process_counts_once_at_several_addresses() {
        let members = after(listing(&[1, 2]), &[(1, confirming(7, 5)), (2, confirming(7, 5))]);
        assert_eq!(members.confirmations(5), 1);
    }

    #[test]
    fn a_restarted_process_does_not_count_twice() {
        let members = after(listing(&[1]), &[(1, confirming(7, 5)), (1, confirming(8, 2))]);
        assert_eq!((members.confirmations(2), members.confirmations(5)), (1, 0));
    }

    #[test]
    fn a_process_counts_only_while_it_responds_at_a_listed_address() {
        let mut members = after(listing(&[1, 2]), &[(1, confirming(7, 5)), (2, confirming(8, 5))]);
        assert_eq!(members.confirmations(5), 2);
        let _ = members.failed(1);
        assert_eq!(members.confirmations(5), 1, "it was killed");
        let _ = members.succeeded(1);
        assert_eq!(members.confirmations(5), 1, "what contacts us from there may be another");
        members.record_exchange(Some(1), &confirming(7, 0), 0);
        assert_eq!(members.confirmations(5), 2, "it was merely slow");
        members.set_addresses(&[1, 3]);
        assert_eq!(members.confirmations(0), 1);
        assert_eq!(members.listed().len(), 2);
    }

    #[test]
    fn an_exchange_that_a_peer_opens_confirms_nothing() {
        let mut members = after(listing(&[1]), &[(1, confirming(7, 2))]);
        members.record_exchange(None, &confirming(7, 5), 0);
        members.record_exchange(None, &confirming(8, 5), 0);
        assert_eq!((members.confirmations(5), members.confirmations(2)), (0, 1));
        members.record_exchange(None, &draining(7, 5), 0);
        assert_eq!(members.confirmations(2), 0, "but it may say that it drains");
    }

    #[test]
    fn a_node_that_drains_does_not_count_any_more() {
        let mut members = after(listing(&[1, 2]), &[(1, confirming(7, 5)), (2, confirming(8, 5))]);
        members.record_exchange(Some(1), &draining(7, 5), 0);
        assert_eq!(members.confirmations(5), 1);
        members = after(members, &[(1, confirming(9, 5)), (2, confirming(8, 5))]);
        assert_eq!(members.confirmations(5), 2, "another process has taken its address");
    }

    #[test]
    fn whoever_confirmed_before_a_newcomer_has_to_respond_once_more() {
        let mut members = listing(&[1, 2]);
        members.record_exchange(Some(1), &confirming(7, 5), 0);
        assert_eq!(members.confirmations(5), 1);
        members.record_exchange(Some(2), &confirming(8, 5), 0);
        assert_eq!(members.confirmations(5), 1, "7 may be gone, and 8 may have replaced it");
        assert_eq!(members.unconfirmed(5), 0);
        let _ = members.failed(1);
        assert_eq!(members.confirmations(5), 1);
        members.record_exchange(Some(1), &confirming(7, 0), 0);
        assert_eq!(members.confirmations(5), 2);
        members.record_exchange(None, &confirming(9, 0), 0);
        assert_eq!(members.confirmations(5), 2, "9 has not responded to us");
    }

    #[test]
    fn two_nodes_that_stay_must_take_over() {
        let mut members = listing(&[1, 2, 3, 4]);
        assert!(!members.have_taken_over(0), "nobody is known yet");
        for (address, summary, is_enough) in [
            (1, draining(7, 5), false),
            (2, confirming(8, 5), false),
            (3, confirming(8, 5), false),
            (4, confirming(9, 4), false),
            (4, confirming(9, 5), false),
            (3, confirming(8, 5), true),
        ] {
            members.record_exchange(Some(address), &summary, 0);
            assert_eq!(members.have_taken_over(5), is_enough, "{address} {summary:?}");
        }
        let _ = members.failed(4);
        assert!(!members.have_taken_over(5), "it is gone again");
    }

    #[test]
    fn where_fewer_than_two_stay_all_of_them_must_take_over() {
        let one = after(listing(&[1]), &[(1, confirming(7, 5))]);
        assert!(one.have_taken_over(5) && !one.have_taken_over(6));
        let two_addresses = after(listing(&[1, 2]), &[(1, confirming(7, 5))]);
        assert!(!two_addresses.have_taken_over(5), "2 may be another node");
        let one_node = after(two_addresses, &[(2, confirming(7, 5))]);
        assert!(one_node.have_taken_over(5));
        let mut one_leaves = after(listing(&[1, 2]), &[(1, confirming(7, 5)), (2, draining(8, 5))]);
        assert!(one_leaves.have_taken_over(5));
        let _ = one_leaves.failed(2);
        assert!(one_leaves.have_taken_over(5), "it has left, as it said");
    }

    #[test]
    fn nodes_that_all_drain_do_not_take_over_from_each_other() {
        let mut members = after(listing(&[1, 2]), &[(1, draining(7, 5)), (2, draining(8, 5))]);
        assert!(!members.have_taken_over(0) && !members.have_taken_over(5));
        assert_eq!(members.unconfirmed(5), 5);
        members.set_addresses(&[]);
        assert!(!members.have_taken_over(0), "nobody is left");
        assert!(!members.has_always_been_alone());
        members.set_addresses(&[3]);
        members.record_exchange(Some(3), &confirming(9, 5), 0);
        assert!(members.have_taken_over(5), "a node that replaces them");
    }

    #[test]
    fn a_drain_must_be_confirmed_anew() {
        let mut members = after(listing(&[1]), &[(1, confirming(7, 5))]);
        members.drain();
        assert_eq!((members.confirmations(5), members.unconfirmed(5)), (0, 5));
        members.record_exchange(Some(1), &confirming(7, 5), 0);
        assert_eq!((members.confirmations(5), members.unconfirmed(5)), (1, 0));
    }

    #[test]
    fn what_nobody_holds_is_counted() {
        let mut members = listing(&[1, 2]);
        assert_eq!(members.unconfirmed(9), 9);
        members = after(members, &[(1, confirming(7, 5)), (2, confirming(8, 7))]);
        assert_eq!(members.unconfirmed(9), 2);
        let _ = members.failed(2);
        assert_eq!(members.unconfirmed(9), 4);
        assert_eq!(members.unconfirmed(3), 0);
    }

    #[test]
    fn a_node_is_alone_until_another_is_listed_or_met() {
        let mut members = Members::<u16>::default();
        members.set_addresses(&[]);
        assert!(members.has_always_been_alone());
        members.record_exchange(None, &confirming(7, 0), 0);
        assert!(!members.has_always_been_alone() && !listing(&[1]).has_always_been_alone());
    }

    #[test]
    fn all_are_starting_once_each_listed_address_has_said_so() {
        let mut members = listing(&[1, 2]);
        assert!(!members.are_all_starting() && !Members::<u16>::default().are_all_starting());
        members = after(members, &[(1, starting(7))]);
        assert!(!members.are_all_starting(), "2 is unknown");
        members = after(members, &[(2, Summary { complete: false, ..starting(8) })]);
        assert!(!members.are_all_starting(), "2 has not given everything");
        members = after(members, &[(2, starting(8))]);
        assert!(members.are_all_starting());
        members.record_exchange(None, &confirming(8, 0), 0);
        assert!(members.are_all_starting(), "what others tell us counts for nothing");
        let _ = members.failed(2);
        assert!(!members.are_all_starting(), "another may be there by now");
        members = after(members, &[(2, confirming(9, 0))]);
        assert!(!members.are_all_starting());
    }

    #[test]
    fn what_is_known_of_an_address_stays_while_it_is_listed() {
        let mut members = after(listing(&[1, 2]), &[(2, confirming(7, 5))]);
        members.set_addresses(&[2, 3]);
        assert_eq!(members.confirmations(5), 1);
    }

    #[test]
    fn the_first_failure_and_the_first_success_are_told_apart_from_the_others() {
        let mut members = listing(&[1]);
        assert!(members.failed(1));
        assert!(!members.failed(1));
        assert!(members.succeeded(1));
        assert!(!members.succeeded(1));
        assert!(members.failed(1), "a new row begins");
        assert!(!members.failed(9) && !members.succeeded(9), "it is not listed");
    }

    #[test]
    fn the_oldest_process_is_dropped_for_lack_of_room() {
        let mut members = after(listing(&[1]), &[(1, confirming(0, 5))]);
        for node in 1..MAX_PROCESSES as u32 {
            members.record_exchange(None, &confirming(node, 1), u64::from(node));
        }
        assert_eq!(members.confirmations(5), 1);
        members.record_exchange(None, &confirming(u32::MAX, 1), 2_000);
        assert_eq!((members.processes.len(), members.confirmations(5)), (MAX_PROCESSES, 0));
    }
}
