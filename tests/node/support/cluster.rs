//! A cluster of sidecars.

use crate::support::{Node, eventually, free_port, fresh_ips, same};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Nodes that know each other.
pub struct Cluster {
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Starts a cluster, and waits until all nodes are ready.
    pub fn start(count: u32, settings: &[(&str, &str)]) -> Self {
        let cluster = Self::addresses(count).start_first(count as usize, settings);
        cluster.nodes.iter().for_each(Node::wait_until_ready);
        cluster
    }

    /// The addresses for a cluster whose nodes are started one by one.
    pub fn addresses(count: u32) -> Addresses {
        let ips: Vec<IpAddr> = fresh_ips(count).into_iter().map(IpAddr::from).collect();
        let (http_port, peer_port) = (free_port(&ips), free_port(&ips));
        Addresses { ips, http_port, peer_port }
    }

    /// Waits until all nodes have the value, and returns how long that took.
    pub fn wait_for(&self, limit: Duration, key: &str, value: &str) -> Duration {
        let began = Instant::now();
        eventually(limit, &format!("{key:?} is {value:?} on all nodes"), || {
            let found: Vec<String> = self.nodes.iter().map(|node| node.read(key)).collect();
            same(found, vec![value.to_owned(); self.nodes.len()])
        });
        began.elapsed()
    }

    /// Waits until all nodes have the same map, and returns its digest and its number of keys.
    pub fn wait_for_agreement(&self, limit: Duration) -> (String, u64) {
        eventually(limit, "all nodes have the same map", || {
            let state = |node: &Node| {
                let stats = node.stats();
                (stats["digest"].clone(), stats["keys"].parse().expect("it is a number"))
            };
            let states: Vec<(String, u64)> = self.nodes.iter().map(state).collect();
            let all_agree = states.iter().all(|state| *state == states[0]);
            if all_agree { Ok(states[0].clone()) } else { Err(format!("{states:?}")) }
        })
    }

    /// The sum of a counter of `/stats` over all nodes.
    pub fn sum(&self, name: &str) -> u64 {
        self.nodes.iter().map(|node| node.count(name)).sum()
    }
}

/// The addresses and ports of a cluster.
pub struct Addresses {
    pub ips: Vec<IpAddr>,
    pub http_port: u16,
    pub peer_port: u16,
}

impl Addresses {
    /// All addresses, as a value for `SERVICE_DNS_NAME`.
    pub fn list(&self) -> String {
        self.list_of(&(0..self.ips.len()).collect::<Vec<_>>())
    }

    /// Some addresses, as a value for `SERVICE_DNS_NAME`.
    pub fn list_of(&self, indices: &[usize]) -> String {
        let names: Vec<String> = indices.iter().map(|&index| self.ips[index].to_string()).collect();
        names.join(",")
    }

    /// Starts a node, which knows all addresses unless the settings say otherwise.
    pub fn start(&self, index: usize, settings: &[(&str, &str)]) -> Node {
        let list = self.list();
        let http = SocketAddr::new(self.ips[index], self.http_port);
        let peer = SocketAddr::new(self.ips[index], self.peer_port);
        // The later of two values wins.
        Node::start(http, peer, &[&[("SERVICE_DNS_NAME", list.as_str())], settings].concat())
    }

    fn start_first(&self, count: usize, settings: &[(&str, &str)]) -> Cluster {
        Cluster { nodes: (0..count).map(|index| self.start(index, settings)).collect() }
    }
}
