//! Faults of processes, clocks, DNS and the network.

use super::{Event, Partition, Simulator};

/// A series of random faults.
#[derive(Clone, Debug)]
pub struct Chaos {
    /// Time from one fault to the next.
    pub every_us: u64,
    /// The share of nodes that stay up at any time.
    pub survivors: f64,
    /// The greatest jump of a clock.
    pub jump_ms: i64,
}

impl Simulator {
    /// Injects a random fault, and schedules the next one.
    pub(super) fn inject_fault(&mut self) {
        let Some(chaos) = self.settings.chaos.clone() else { return };
        self.schedule(chaos.every_us, Event::Fault);
        let live: Vec<usize> = self.live().collect();
        let victim = live[self.rng.usize(..live.len())];
        let may_die = live.len() as f64 > self.settings.nodes as f64 * chaos.survivors;
        match self.rng.u32(..10) {
            0 | 1 if may_die => {
                let down_us = self.rng.u64(..3_000_000);
                self.restart(victim, down_us);
            }
            2 if may_die => {
                self.replace(victim);
            }
            3 => {
                let side = self.some_nodes(0.5);
                self.partition(&side);
            }
            4 => {
                let from = self.some_nodes(0.3);
                self.partition_one_way(&from);
            }
            5 => self.heal(),
            6 => {
                let by_ms = self.rng.i64(-chaos.jump_ms..=chaos.jump_ms);
                self.jump_clock(victim, by_ms);
            }
            7 => self.freeze_clock(victim),
            8 => {
                let victim = &mut self.nodes[victim];
                victim.look_ups_fail = !victim.look_ups_fail;
            }
            _ => {
                for node in live {
                    self.nodes[node].wall.frozen_ms = None;
                }
            }
        }
    }

    /// Ends all faults, and waits until all nodes are up again.
    pub fn end_faults(&mut self) {
        self.settings.chaos = None;
        self.settings.fail = 0.0;
        self.look_ups_fail = false;
        for node in &mut self.nodes {
            node.look_ups_fail = false;
            node.wall.frozen_ms = None;
        }
        self.heal();
        self.run_for(3_000_000);
    }

    fn some_nodes(&mut self, share: f64) -> Vec<usize> {
        (0..self.nodes.len()).filter(|_| self.rng.f64() < share).collect()
    }

    /// Kills a node, and restarts it with an empty store at the same address.
    pub fn restart(&mut self, node: usize, after_us: u64) {
        self.counters.restarts += 1;
        self.kill(node);
        self.schedule(after_us, Event::Start { node });
    }

    /// Kills a node, and starts another at a new address; DNS follows with its lag.
    pub fn replace(&mut self, node: usize) -> usize {
        self.counters.replacements += 1;
        self.kill(node);
        let lag_us = self.settings.dns_lag_us;
        self.schedule(lag_us, Event::Unlist { node });
        self.join()
    }

    /// Starts a node at a new address. It finds the others before DNS lists it.
    pub fn join(&mut self) -> usize {
        let node = self.add_node();
        self.schedule(0, Event::LookUp { node, incarnation: 0 });
        self.schedule(self.settings.dns_lag_us, Event::List { node });
        node
    }

    /// Kills a node, which DNS continues to list.
    pub fn kill(&mut self, node: usize) {
        self.hang_up(node);
        self.nodes[node].is_up = false;
        self.nodes[node].held.clear();
    }

    /// Cuts every connection between these nodes and the others.
    pub fn partition(&mut self, side: &[usize]) {
        self.counters.partitions += 1;
        let (from, to) = self.sets(side);
        self.partitions.push(Partition { from: to.clone(), to: from.clone() });
        self.partitions.push(Partition { from, to });
    }

    /// Keeps these nodes from connecting to the others, which may still connect to them.
    pub fn partition_one_way(&mut self, side: &[usize]) {
        self.counters.one_way_partitions += 1;
        let (from, to) = self.sets(side);
        self.partitions.push(Partition { from, to });
    }

    /// Isolates every node.
    pub fn partition_all(&mut self) {
        let all = vec![true; self.nodes.len()];
        self.counters.partitions += 1;
        self.partitions.push(Partition { from: all.clone(), to: all });
    }

    /// Ends all partitions.
    pub fn heal(&mut self) {
        self.counters.heals += u64::from(!self.partitions.is_empty());
        self.partitions.clear();
    }

    fn sets(&self, side: &[usize]) -> (Vec<bool>, Vec<bool>) {
        let mut from = vec![false; self.nodes.len()];
        side.iter().for_each(|&node| from[node] = true);
        let to = from.iter().map(|is_in| !is_in).collect();
        (from, to)
    }

    /// Sets a node's clock forwards or backwards.
    pub fn jump_clock(&mut self, node: usize, by_ms: i64) {
        self.counters.clock_jumps += 1;
        self.nodes[node].wall.ahead_ms += by_ms;
    }

    /// Stops a process for a time. Its kernel goes on accepting connections, and its clock runs.
    pub fn halt(&mut self, node: usize, for_us: u64) {
        self.counters.halts += 1;
        self.nodes[node].halted_until_us = self.now_us + for_us;
    }

    /// Puts an event off that a halted process would have to handle.
    pub(super) fn put_off_if_halted(&mut self, event: Event) -> Option<Event> {
        let node = match event {
            Event::Wake { node, .. } | Event::LookUp { node, .. } => node,
            Event::Arrive { id, to: side, .. } | Event::Broken { id, side } => {
                match self.node_of(id, side) {
                    Some(node) => node,
                    None => return Some(event),
                }
            }
            _ => return Some(event),
        };
        let left_us = self.nodes[node].halted_until_us.saturating_sub(self.now_us);
        if left_us == 0 {
            return Some(event);
        }
        if let Event::Arrive { id, .. } = event {
            self.time_out(id);
        }
        self.schedule(left_us, event);
        None
    }

    /// Stops a node's clock.
    pub fn freeze_clock(&mut self, node: usize) {
        self.counters.clock_freezes += 1;
        self.nodes[node].wall.frozen_ms = Some(self.wall_ms(node));
    }

    /// Makes every look-up fail, or succeed again.
    pub fn fail_look_ups(&mut self, fail: bool) {
        self.look_ups_fail = fail;
    }

    /// Kills this share of the nodes, which DNS continues to list.
    pub fn kill_share(&mut self, share: f64, except: usize) {
        let count = (self.nodes.len() as f64 * share).round() as usize;
        let mut nodes: Vec<usize> = (0..self.nodes.len()).filter(|&node| node != except).collect();
        self.rng.shuffle(&mut nodes);
        nodes[..count.min(nodes.len())].iter().for_each(|&node| self.kill(node));
    }
}
