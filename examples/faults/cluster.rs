//! The nodes and their network: starting them, healing all faults, and checking whether they agree.

use crate::dns::{Answer, Dns};
use crate::history::{Contents, Recorder};
use crate::http;
use crate::load::Abilities;
use crate::network::Network;
use crate::node::{Node, Surroundings, Target};
use crate::wire::{Faults, Wire};
use gossip_sidecar::client::map_target;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How often a condition is checked.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// A node must be ready within this time after its start.
pub const START_LIMIT: Duration = Duration::from_secs(15);
/// Keys read in one request.
const KEYS_A_REQUEST: usize = 50;

/// The settings with which a scenario's nodes are started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setup {
    /// One cluster with the usual settings.
    Usual,
    /// One cluster that keeps tombstones for [`SHORT_MEMORY`] only.
    ShortTombstones,
    /// Two clusters of the same size.
    Two,
    /// One cluster whose clocks will differ. Its versions are ahead of time for as long as any of
    /// its processes lives, so that times no longer tell which write wins.
    Clocks,
}

/// `TOMBSTONE_TTL` of a forgetful cluster.
pub const SHORT_MEMORY: Duration = Duration::from_secs(6);

/// The nodes and everything between them.
pub struct Cluster {
    // Declared in the order in which they must be dropped: the nodes first, their network last.
    /// The sidecars.
    pub nodes: Vec<Node>,
    /// The network that carries their gossip.
    pub wire: Wire,
    /// Where they look each other up.
    pub dns: Dns,
    /// The namespaces in which they run.
    pub network: Network,
    /// The features that the program has.
    pub abilities: Abilities,
    binary: PathBuf,
    setup: Option<Setup>,
    keeps_tombstones_briefly: bool,
    next_host: u8,
    interrupted: Arc<AtomicBool>,
}

impl Cluster {
    /// The network, with no node running yet.
    pub fn new(
        nodes: usize,
        binary: PathBuf,
        seed: u64,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Self, String> {
        let mut network = Network::new()?;
        let wire = Wire::new(network.driver(), seed)?;
        let dns = Dns::new(network.driver())?;
        network.make(nodes, wire.port())?;
        for (index, namespace) in network.namespaces.iter().enumerate() {
            wire.attach(namespace.data, Some(network.tunnel(index)));
        }
        let nodes = network
            .namespaces
            .iter()
            .enumerate()
            .map(|(at, namespace)| Node::new(at, namespace.clone()));
        Ok(Self {
            nodes: nodes.collect(),
            wire,
            dns,
            network,
            abilities: Abilities::default(),
            binary,
            setup: None,
            keeps_tombstones_briefly: false,
            next_host: 100,
            interrupted,
        })
    }

    /// Makes the nodes run with these settings, and restarts them if they run with others.
    pub fn set_up(&mut self, setup: Setup) -> Result<(), String> {
        if self.setup == Some(setup) {
            return Ok(());
        }
        // Unless everything succeeds, the next scenario restarts them.
        self.setup = None;
        let half = self.nodes.len() / 2;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if node.has_ended().is_none() && node.is_started() {
                node.kill()?;
            }
            let is_second = setup == Setup::Two && index >= half;
            node.cluster = if is_second { "b" } else { "a" }.into();
        }
        self.dns_is_good();
        self.keeps_tombstones_briefly = setup == Setup::ShortTombstones;
        (0..self.nodes.len()).try_for_each(|index| self.start(index))?;
        self.wait_until_ready()?;
        // A node to which others connect is ready before its first look-up.
        self.wait("all nodes know all others", START_LIMIT, |cluster| {
            let knows =
                |node: &&Node| node.count("peers") as usize + 1 == cluster.size(&node.cluster);
            let other = cluster.nodes.iter().find(|node| !knows(node));
            other.map_or(Ok(()), |node| Err(format!("node {} does not", node.target.index)))
        })?;
        self.abilities = Abilities::of(&self.nodes[0].target);
        self.setup = Some(setup);
        Ok(())
    }

    /// Makes the next scenario restart all nodes, since this one may have left them broken.
    pub fn restart_before_next(&mut self) {
        self.setup = None;
    }

    /// The settings of the processes other than their addresses.
    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        let mut settings = vec![("LOG_LEVEL", "info")];
        if self.keeps_tombstones_briefly {
            settings.push(("TOMBSTONE_TTL", "6s"));
        }
        settings
    }

    /// Starts a node that is not running.
    pub fn start(&mut self, index: usize) -> Result<(), String> {
        self.start_with(index, &[])
    }

    /// Starts a node with more variables in its environment.
    pub fn start_with(&mut self, index: usize, more: &[(&str, &str)]) -> Result<(), String> {
        let mut settings: Vec<(&str, &str)> = self.settings();
        settings.extend_from_slice(more);
        self.nodes[index].start(&self.binary, &settings)
    }

    /// Waits until all nodes that should run are ready.
    pub fn wait_until_ready(&mut self) -> Result<Duration, String> {
        self.wait("all nodes are ready", START_LIMIT, |cluster| {
            match cluster.nodes.iter().find(|node| node.is_started() && !node.is_ready()) {
                Some(node) => Err(format!("node {} is not", node.target.index)),
                None => Ok(()),
            }
        })
    }

    /// Repeats `look` until it returns `Ok`, and returns how long that took.
    pub fn wait(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<Duration, String> {
        let began = Instant::now();
        loop {
            let Err(state) = look(self) else { return Ok(began.elapsed()) };
            self.check_interruption()?;
            if began.elapsed() > limit {
                return Err(format!("not within {limit:?}: {what}; at the end: {state}"));
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Lets a fault last.
    pub fn endure(&self, time: Duration) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.check_interruption()?;
            std::thread::sleep(POLL_EVERY.min(time.saturating_sub(began.elapsed())));
        }
        Ok(())
    }

    fn check_interruption(&self) -> Result<(), String> {
        if self.interrupted.load(Relaxed) { Err("interrupted".into()) } else { Ok(()) }
    }

    /// The data addresses of a cluster.
    pub fn addresses(&self, cluster: &str) -> Vec<Ipv4Addr> {
        let members = self.nodes.iter().filter(|node| node.cluster == cluster);
        members.map(|node| node.namespace.data).collect()
    }

    /// How many nodes a cluster has.
    pub fn size(&self, cluster: &str) -> usize {
        self.addresses(cluster).len()
    }

    /// Sets what each node gets when it looks up its peers.
    pub fn dns_says(&self, answer: impl Fn(&Node) -> Answer) {
        self.nodes.iter().for_each(|node| self.dns.set(node.namespace.control, answer(node)));
    }

    /// Makes DNS return the addresses of its own cluster to each node.
    pub fn dns_is_good(&self) {
        self.dns_says(|node| Answer::Addresses(self.addresses(&node.cluster)));
    }

    /// How often the node got this kind of answer.
    pub fn asked(&self, index: usize, kind: &'static str) -> u64 {
        self.dns.count(self.nodes[index].namespace.control, kind)
    }

    /// Drops all packets between two nodes for which this returns false.
    pub fn connect_only(&self, may_pass: impl Fn(usize, usize) -> bool) {
        let address = |index: usize| self.nodes[index].namespace.data;
        let mut faults = Faults::default();
        for from in 0..self.nodes.len() {
            for to in (0..self.nodes.len()).filter(|&to| !may_pass(from, to)) {
                faults.blocked.insert((address(from), address(to)));
            }
        }
        self.wire.set(faults);
    }

    /// Gives a stopped node an address that no node has had before.
    pub fn readdress(&mut self, index: usize) -> Result<(), String> {
        let (old, new) =
            (self.nodes[index].namespace.data, self.network.data_address(self.next_host));
        self.next_host += 1;
        self.network.readdress(index, new)?;
        self.wire.attach(old, None);
        self.wire.attach(new, Some(self.network.tunnel(index)));
        self.nodes[index].namespace = self.network.namespaces[index].clone();
        Ok(())
    }

    /// Ends all faults: the network and DNS work, and every node runs in its usual surroundings.
    pub fn heal(&mut self) -> Result<(), String> {
        self.wire.set(Faults::default());
        self.dns_is_good();
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            node.surroundings = Surroundings::default();
            if !node.is_started() {
                self.start(index)?;
            } else if node.state() == 'T' {
                node.signal("CONT")?;
            }
            self.nodes[index].target.serves.store(true, Relaxed);
        }
        Ok(())
    }

    /// Checks that every node has the same map as the others of its cluster.
    pub fn agree(&self) -> Result<(), String> {
        let mut first: BTreeMap<&str, (usize, (String, String))> = BTreeMap::new();
        for node in &self.nodes {
            let index = node.target.index;
            let mut stats = node.stats();
            let (Some(digest), Some(keys)) = (stats.remove("digest"), stats.remove("keys")) else {
                return Err(format!("node {index} does not answer"));
            };
            let state = (digest, keys);
            let (other, expected) =
                first.entry(&node.cluster).or_insert_with(|| (index, state.clone()));
            if *expected != state {
                return Err(format!(
                    "node {other} has digest and keys {expected:?}, node {index} {state:?}"
                ));
            }
        }
        Ok(())
    }

    /// Reads a node's values of these keys.
    pub fn contents(
        &self,
        index: usize,
        keys: &[String],
        recorder: &Recorder,
    ) -> Result<Contents, String> {
        let node = &self.nodes[index];
        let mut values = BTreeMap::new();
        for keys in keys.chunks(KEYS_A_REQUEST) {
            let target = map_target(keys.iter().map(String::as_str));
            let answer = http::request(node.target.http, "GET", &target, &[])
                .map_err(|broken| format!("reading node {index}: {broken}"))?;
            if answer.status == 404 {
                continue;
            }
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            for line in text.lines() {
                let pair = line.split_once('=').ok_or(format!("node {index} says {line:?}"))?;
                values.insert(pair.0.to_owned(), pair.1.to_owned());
            }
        }
        Ok(Contents { node: index, at: recorder.now(), values })
    }

    /// The nodes of a cluster as clients know them.
    pub fn targets(&self, cluster: &str) -> Vec<Arc<Target>> {
        let members = self.nodes.iter().filter(|node| node.cluster == cluster);
        members.map(|node| node.target.clone()).collect()
    }
}
