//! The members: the other nodes, and how the last exchange with each of them went.

use crate::core::api::json;
use crate::core::exchange::Summary;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Instant;

/// The most nodes remembered, by the ids that their processes drew: a restart draws a new one.
pub const MAX_NODES: usize = 1024;

/// One listed address.
struct Member {
    address: SocketAddr,
    /// The process that responded there last.
    node: Option<u32>,
    /// Failed exchanges in a row.
    failures: u32,
}

/// How the last exchange with a process went, whichever side opened it.
struct LastExchange {
    node: u32,
    at: Instant,
    /// Whether neither side had anything that the other lacked.
    agreed: bool,
    /// The process is known to have the first so many of our writes.
    confirmed: u64,
    /// How far its clock is ahead of ours, once it has said so at once when we contacted it.
    clock_offset_ms: Option<i64>,
}

/// All members: the listed addresses, and the processes that were met there.
#[derive(Default)]
pub struct Members {
    listed: Vec<Member>,
    exchanges: Vec<LastExchange>,
}

impl Members {
    /// Takes the latest addresses. What is known of those that stay is kept.
    pub fn set_addresses(&mut self, addresses: &[SocketAddr]) {
        if self.listed.iter().map(|member| &member.address).ne(addresses) {
            let mut before = std::mem::take(&mut self.listed);
            self.listed.extend(addresses.iter().map(|&address| {
                match before.iter().position(|member| member.address == address) {
                    Some(known) => before.swap_remove(known),
                    None => Member { address, node: None, failures: 0 },
                }
            }));
        }
    }

    /// The number of listed addresses.
    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// Whether no address is listed.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    fn member(&mut self, address: SocketAddr) -> Option<&mut Member> {
        self.listed.iter_mut().find(|member| member.address == address)
    }

    fn last_exchange(&self, member: &Member) -> Option<&LastExchange> {
        let node = member.node?;
        self.exchanges.iter().find(|exchange| exchange.node == node)
    }

    /// Counts a failed exchange; returns whether it is the first in a row.
    pub fn failed(&mut self, address: SocketAddr) -> bool {
        self.member(address).is_some_and(|member| {
            member.failures += 1;
            member.failures == 1
        })
    }

    /// The address has responded, or has contacted us; returns whether it had failed before.
    pub fn succeeded(&mut self, address: SocketAddr) -> bool {
        self.member(address).is_some_and(|member| std::mem::take(&mut member.failures) > 0)
    }

    /// Records an exchange; `address` is the one that we contacted, if we opened it.
    pub fn record_exchange(&mut self, address: Option<SocketAddr>, summary: &Summary) {
        let Some(node) = summary.peer else { return };
        if let Some(member) = address.and_then(|address| self.member(address)) {
            member.node = Some(node);
        }
        let mut exchange = LastExchange {
            node,
            at: Instant::now(),
            agreed: summary.complete && summary.sent + summary.taken + summary.purged == 0,
            confirmed: if summary.confirmed { summary.writes } else { 0 },
            clock_offset_ms: summary.clock_offset_ms,
        };
        match self.exchanges.iter_mut().find(|known| known.node == node) {
            Some(known) => {
                exchange.confirmed = exchange.confirmed.max(known.confirmed);
                exchange.clock_offset_ms = exchange.clock_offset_ms.or(known.clock_offset_ms);
                *known = exchange;
            }
            None => {
                self.make_room();
                self.exchanges.push(exchange);
            }
        }
    }

    fn make_room(&mut self) {
        if self.exchanges.len() == MAX_NODES {
            let at = |index: &usize| self.exchanges[*index].at;
            let oldest = (0..MAX_NODES).min_by_key(at).unwrap_or_default();
            self.exchanges.swap_remove(oldest);
        }
    }

    /// How many other nodes have confirmed to have the first `writes` of our writes.
    ///
    /// Each listed address counts for the process that responded there last, so that a process that
    /// was restarted does not count twice; and each process counts once, at however many addresses.
    pub fn confirmations(&self, writes: u64) -> usize {
        let mut nodes: Vec<u32> = self
            .listed
            .iter()
            .filter_map(|member| self.last_exchange(member))
            .filter(|exchange| exchange.confirmed >= writes)
            .map(|exchange| exchange.node)
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len()
    }

    /// The text of `/peers`: one line for each address, or JSON.
    pub fn write(&self, is_json: bool) -> String {
        if !is_json {
            return self.listed.iter().map(|member| self.line(member)).collect();
        }
        let mut array = json::Members::array();
        for member in &self.listed {
            array.item().push_str(&self.object(member));
        }
        let mut object = json::Members::object();
        object.named("peers").push_str(&array.finish());
        object.finish() + "\n"
    }

    fn line(&self, member: &Member) -> String {
        let mut line = member.address.to_string();
        for (name, value) in self.fields(member) {
            let value = value.as_deref().unwrap_or("unknown");
            write!(line, " {name}={value}").expect("writing to memory cannot fail");
        }
        line + "\n"
    }

    fn object(&self, member: &Member) -> String {
        let mut object = json::Members::object();
        json::string(object.named("address"), &member.address.to_string());
        for (name, value) in self.fields(member) {
            let out = object.named(name);
            match value {
                Some(value) if matches!(name, "node" | "state") => json::string(out, &value),
                value => out.push_str(value.as_deref().unwrap_or("null")),
            }
        }
        object.finish()
    }

    fn fields(&self, member: &Member) -> [(&'static str, Option<String>); 5] {
        let exchange = self.last_exchange(member);
        let state = |exchange: &LastExchange| if exchange.agreed { "agree" } else { "differ" };
        let elapsed_ms = exchange.map(|exchange| exchange.at.elapsed().as_millis().to_string());
        let offset_ms = exchange.and_then(|exchange| exchange.clock_offset_ms);
        [
            ("node", member.node.map(|node| format!("{node:08x}"))),
            ("lastExchangeMs", elapsed_ms),
            ("state", exchange.map(|exchange| state(exchange).to_owned())),
            ("clockOffsetMs", offset_ms.map(|offset_ms| offset_ms.to_string())),
            ("failures", Some(member.failures.to_string())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn listing(ports: &[u16]) -> Members {
        let mut members = Members::default();
        members.set_addresses(&ports.iter().copied().map(address).collect::<Vec<_>>());
        members
    }

    /// A complete exchange after which `node` has our first `writes` writes.
    fn confirming(node: u32, writes: u64) -> Summary {
        Summary { peer: Some(node), complete: true, confirmed: true, writes, ..Summary::default() }
    }

    #[test]
    fn a_process_confirms_the_writes_up_to_its_last_complete_exchange() {
        let mut members = listing(&[1, 2]);
        assert_eq!(members.confirmations(0), 0, "nobody is known yet");
        members.record_exchange(Some(address(1)), &confirming(7, 5));
        assert_eq!((members.confirmations(5), members.confirmations(6)), (1, 0));
        members.record_exchange(Some(address(2)), &confirming(8, 6));
        assert_eq!((members.confirmations(5), members.confirmations(6)), (2, 1));
        let incomplete = Summary { confirmed: false, ..confirming(7, 9) };
        members.record_exchange(Some(address(1)), &incomplete);
        assert_eq!(members.confirmations(5), 2, "what it had it still has");
        assert_eq!(members.confirmations(9), 0);
    }

    #[test]
    fn one_process_counts_once_at_several_addresses() {
        let mut members = listing(&[1, 2]);
        members.record_exchange(Some(address(1)), &confirming(7, 5));
        members.record_exchange(Some(address(2)), &confirming(7, 5));
        assert_eq!(members.confirmations(5), 1);
    }

    #[test]
    fn a_restarted_process_does_not_count_twice() {
        let mut members = listing(&[1]);
        members.record_exchange(Some(address(1)), &confirming(7, 5));
        members.record_exchange(Some(address(1)), &confirming(8, 2));
        assert_eq!((members.confirmations(2), members.confirmations(5)), (1, 0));
    }

    #[test]
    fn a_process_counts_only_at_an_address_that_is_listed() {
        let mut members = listing(&[1]);
        members.record_exchange(None, &confirming(7, 5));
        assert_eq!(members.confirmations(5), 0, "it contacted us: nobody knows where it is");
        members.record_exchange(Some(address(1)), &confirming(7, 5));
        members.set_addresses(&[address(2)]);
        assert_eq!(members.confirmations(0), 0);
        assert_eq!((members.len(), members.is_empty()), (1, false));
    }

    #[test]
    fn what_is_known_of_an_address_stays_while_it_is_listed() {
        let mut members = listing(&[1, 2]);
        members.record_exchange(Some(address(2)), &confirming(7, 5));
        members.set_addresses(&[address(2), address(3)]);
        assert_eq!(members.confirmations(5), 1);
    }

    #[test]
    fn the_first_failure_and_the_first_success_are_told_apart_from_the_others() {
        let mut members = listing(&[1]);
        assert!(members.failed(address(1)));
        assert!(!members.failed(address(1)));
        assert!(members.succeeded(address(1)));
        assert!(!members.succeeded(address(1)));
        assert!(members.failed(address(1)), "a new row begins");
        assert!(!members.failed(address(9)) && !members.succeeded(address(9)), "it is not listed");
    }

    #[test]
    fn the_oldest_process_is_dropped_for_lack_of_room() {
        let mut members = listing(&[1]);
        members.record_exchange(Some(address(1)), &confirming(0, 5));
        (1..MAX_NODES as u32).for_each(|node| members.record_exchange(None, &confirming(node, 1)));
        assert_eq!(members.confirmations(5), 1);
        members.record_exchange(None, &confirming(u32::MAX, 1));
        assert_eq!((members.exchanges.len(), members.confirmations(5)), (MAX_NODES, 0));
    }

    #[test]
    fn members_are_written_for_people_and_as_json() {
        let mut members = listing(&[1, 2]);
        let _ = members.failed(address(2));
        members.record_exchange(Some(address(1)), &confirming(0x1a, 5));
        members.exchanges[0].clock_offset_ms = Some(-3);
        let text = members.write(false);
        let (first, second) = text.split_once('\n').expect("two lines");
        assert!(first.starts_with("127.0.0.1:1 node=0000001a lastExchangeMs="), "{first}");
        assert!(first.ends_with(" state=agree clockOffsetMs=-3 failures=0"), "{first}");
        assert_eq!(
            second,
            "127.0.0.1:2 node=unknown lastExchangeMs=unknown state=unknown clockOffsetMs=unknown failures=1\n"
        );
        let json = members.write(true);
        assert!(json.starts_with(r#"{"peers":[{"address":"127.0.0.1:1","node":"0000001a","#));
        let unknown = r#"{"address":"127.0.0.1:2","node":null,"lastExchangeMs":null,"state":null,"clockOffsetMs":null,"failures":1}]}"#;
        assert!(json.trim_end().ends_with(unknown), "{json}");
    }
}
