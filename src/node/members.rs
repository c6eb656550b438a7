//! Who the other nodes are, and how the last exchange with each of them went.

use crate::core::api::json;
use crate::core::exchange::Summary;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Instant;

/// Nodes remembered, by the ids that their processes drew: a restart draws a new one.
pub const MAX_NODES: usize = 1024;

/// What is known at an address.
struct Member {
    address: SocketAddr,
    /// Who answered there last.
    node: Option<u32>,
    /// Calls in a row that came to nothing.
    failures: u32,
}

/// How the last exchange with a node went, whoever of the two called.
struct LastExchange {
    node: u32,
    at: Instant,
    /// Whether neither had anything that the other lacked.
    agreed: bool,
    /// So many of our writes it is known to have.
    confirmed: u64,
    /// How far its clock is ahead of ours, once it has called and said so.
    clock_offset_ms: Option<i64>,
}

/// The other nodes.
#[derive(Default)]
pub struct Members {
    members: Vec<Member>,
    nodes: Vec<LastExchange>,
}

impl Members {
    /// Takes the addresses at which there are others.
    pub fn set_addresses(&mut self, addresses: &[SocketAddr]) {
        if self.members.iter().map(|member| &member.address).ne(addresses) {
            let mut before = std::mem::take(&mut self.members);
            self.members.extend(addresses.iter().map(|&address| {
                match before.iter().position(|member| member.address == address) {
                    Some(known) => before.swap_remove(known),
                    None => Member { address, node: None, failures: 0 },
                }
            }));
        }
    }

    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn member(&mut self, address: SocketAddr) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.address == address)
    }

    /// Takes note of a call that came to nothing; says whether it is the first in a row.
    pub fn failed(&mut self, address: SocketAddr) -> bool {
        self.member(address).is_some_and(|member| {
            member.failures += 1;
            member.failures == 1
        })
    }

    /// Takes note of a call that was answered; says whether those before were not.
    pub fn answered(&mut self, address: SocketAddr) -> bool {
        self.member(address).is_some_and(|member| std::mem::take(&mut member.failures) > 0)
    }

    /// Takes note of an exchange, and of the address if it was called there.
    pub fn record_exchange(&mut self, address: Option<SocketAddr>, summary: &Summary) {
        let Some(node) = summary.peer else { return };
        if let Some(member) = address.and_then(|address| self.member(address)) {
            member.node = Some(node);
        }
        let agreed = summary.complete && summary.sent + summary.taken + summary.purged == 0;
        let clock_offset_ms = summary.clock_offset_ms;
        let confirmed = if summary.confirmed { summary.writes } else { 0 };
        let last_exchange =
            LastExchange { node, at: Instant::now(), agreed, confirmed, clock_offset_ms };
        match self.nodes.iter_mut().find(|known| known.node == node) {
            Some(known) => {
                let clock_offset_ms = clock_offset_ms.or(known.clock_offset_ms);
                let confirmed = confirmed.max(known.confirmed);
                *known = LastExchange { clock_offset_ms, confirmed, ..last_exchange };
            }
            None => {
                if self.nodes.len() == MAX_NODES {
                    let at = |index: &usize| self.nodes[*index].at;
                    let oldest = (0..MAX_NODES).min_by_key(at).unwrap_or_default();
                    self.nodes.swap_remove(oldest);
                }
                self.nodes.push(last_exchange);
            }
        }
    }

    /// How many others have confirmed to have the first `writes` of our writes, each address
    /// counted once, for whoever answered there last: a process that was started anew is not one
    /// more.
    pub fn confirmations(&self, writes: u64) -> usize {
        let mut have: Vec<u32> = Vec::new();
        for node in self.members.iter().filter_map(|member| member.node) {
            let has = |last_exchange: &LastExchange| {
                last_exchange.node == node && last_exchange.confirmed >= writes
            };
            if self.nodes.iter().any(has) && !have.contains(&node) {
                have.push(node);
            }
        }
        have.len()
    }

    /// One line for each address, or JSON.
    pub fn write(&self, json: bool) -> String {
        let mut text = String::new();
        let mut array = json::Members::array();
        for member in &self.members {
            let address = member.address;
            let last_exchange =
                self.nodes.iter().find(|last_exchange| Some(last_exchange.node) == member.node);
            let fields = [
                ("node", member.node.map(|node| format!("{node:08x}"))),
                ("lastExchangeMs", last_exchange.map(|it| it.at.elapsed().as_millis().to_string())),
                (
                    "state",
                    last_exchange.map(|it| if it.agreed { "agree" } else { "differ" }.into()),
                ),
                (
                    "clockOffsetMs",
                    last_exchange
                        .and_then(|it| it.clock_offset_ms)
                        .map(|offset| offset.to_string()),
                ),
                ("failures", Some(member.failures.to_string())),
            ];
            if json {
                let mut object = json::Members::object();
                json::string(object.named("address"), &address.to_string());
                for (name, value) in fields {
                    let out = object.named(name);
                    match value {
                        Some(value) if matches!(name, "node" | "state") => {
                            json::string(out, &value)
                        }
                        value => out.push_str(value.as_deref().unwrap_or("null")),
                    }
                }
                array.item().push_str(&object.finish());
            } else {
                write!(text, "{address}").expect("writing to memory cannot fail");
                for (name, value) in fields {
                    let value = value.as_deref().unwrap_or("unknown");
                    write!(text, " {name}={value}").expect("writing to memory cannot fail");
                }
                text.push('\n');
            }
        }
        if json {
            let mut object = json::Members::object();
            object.named("peers").push_str(&array.finish());
            text = object.finish() + "\n";
        }
        text
    }
}
