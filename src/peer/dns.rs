//! Finding the other sidecars through DNS.

use crate::config::Host;
use crate::node::event::Event;
use crate::node::metrics::Counter;
use crate::node::state::Node;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// How often peers are looked up until DNS has answered for the first time.
const FIRST_LOOK_UPS_EVERY: Duration = Duration::from_millis(200);

/// Looks the peers up again and again, and passes each answer on. The last good answer stays in use
/// while look-ups fail or come back empty.
pub fn keep_resolving(node: &Node) {
    let own_addresses = node.config.own_addresses();
    let (mut has_answered, mut is_failing) = (false, false);
    loop {
        match resolve(&node.config.service) {
            Ok(addresses) if !addresses.is_empty() => {
                if is_failing {
                    log::info!(
                        "look-up of SERVICE_DNS_NAME: works again: {} addresses",
                        addresses.len()
                    );
                }
                (has_answered, is_failing) = (true, false);
                let (own, peers): (Vec<_>, Vec<_>) =
                    addresses.into_iter().partition(|address| own_addresses.contains(address));
                node.tell(Event::Peers { addresses: peers, found_own_address: !own.is_empty() });
            }
            failed => {
                node.metrics.count(Counter::FailedLookUps);
                node.readiness.looked_up();
                if !is_failing && node.readiness.age() > Duration::from_secs(2) {
                    is_failing = true;
                    let why =
                        failed.map_or_else(|error| error.to_string(), |_| "no address".into());
                    log::warn!(
                        "look-up of SERVICE_DNS_NAME: {why}; keeping the previous addresses"
                    );
                }
            }
        }
        let interval = node.config.sync_interval;
        std::thread::sleep(if has_answered {
            interval
        } else {
            interval.min(FIRST_LOOK_UPS_EVERY)
        });
    }
}

/// Looks all hosts up; fails only if none of them is found.
fn resolve(hosts: &[Host]) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    let mut error = None;
    for host in hosts {
        match (host.name.as_str(), host.port).to_socket_addrs() {
            Ok(addresses) => found.extend(addresses),
            Err(failed) => error = Some(failed),
        }
    }
    match error {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}
