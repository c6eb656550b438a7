//! Relay trees: how news reaches everybody in log2 N steps, ahead of the timer.
//!
//! All nodes know nearly the same addresses, so each can put them in the same order, seen as a
//! ring. A node with news contacts the node in the middle of those that follow it, the *head* of the
//! far half, delegates that half to it, and goes on with the near half: a binomial broadcast, in which
//! everybody is told once. Two trees run over two orders, by address and by a hash of it, so that a
//! node which fails as a head in one tree does not hide its subtree from the news in the other.

/// The number of relay trees, each over an order of its own.
pub const RELAY_TREES: usize = 2;

/// How many nodes are tried as the head of one subtree before the subtree is given up.
pub const MAX_HEADS_TRIED: u32 = 3;

/// A part of a relay tree, delegated to the node that comes before it in the tree's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Subtree {
    /// Which tree, less than [`RELAY_TREES`].
    pub tree: u8,
    /// How many nodes it has: those that follow the delegate.
    pub size: u32,
}

/// One order of the peers, and how far news has been relayed along it.
pub struct RelayTree<P> {
    /// The peers, beginning with the one that follows us.
    order: Vec<P>,
    /// How many of them are still to be told, by us or by a delegate.
    remaining: u32,
    /// How many heads of the far half have failed.
    heads_tried: u32,
    /// How many are to be told next: news that came, or was delegated to us, in the meantime.
    pending: u32,
}

impl<P: Copy> RelayTree<P> {
    /// A tree without any peers.
    pub fn new() -> Self {
        Self { order: Vec::new(), remaining: 0, heads_tried: 0, pending: 0 }
    }

    /// Takes the peers in the tree's order, beginning with the one that follows us.
    pub fn set_order(&mut self, order: Vec<P>) {
        let len = order.len() as u32;
        self.order = order;
        self.remaining = self.remaining.min(len);
        self.pending = self.pending.min(len);
    }

    /// Tells everybody.
    pub fn relay_to_all(&mut self) {
        self.pending = self.order.len() as u32;
    }

    /// Tells the next `size` peers.
    ///
    /// Of several subtrees the largest is kept: relaying along it carries the news of the others.
    pub fn relay_to(&mut self, size: u32) {
        self.pending = self.pending.max(size.min(self.order.len() as u32));
    }

    /// Whether somebody is still to be told.
    pub fn has_work(&self) -> bool {
        self.remaining > 0 || self.pending > 0
    }

    /// The head to contact next, and the size of the subtree to delegate to it.
    pub fn next_head(&mut self) -> Option<(P, u32)> {
        while self.has_work() {
            if self.remaining == 0 {
                self.remaining = std::mem::take(&mut self.pending);
            }
            let head = self.remaining / 2 + self.heads_tried;
            if self.heads_tried < MAX_HEADS_TRIED && head < self.remaining {
                return Some((self.order[head as usize], self.remaining - head - 1));
            }
            self.finish_far_half();
        }
        None
    }

    /// The head failed: the one after it is next.
    pub fn head_failed(&mut self) {
        self.heads_tried += 1;
    }

    /// Goes on with the near half, since the far half is told or given up.
    pub fn finish_far_half(&mut self) {
        self.remaining /= 2;
        self.heads_tried = 0;
    }
}

/// The peers in the order of each tree, beginning with the one that follows us.
///
/// `peers` are in ascending order; `hash` is the same function on all nodes.
pub fn orders<P: Copy + Ord>(
    peers: &[P],
    own: P,
    hash: impl Fn(&P) -> u64,
) -> [Vec<P>; RELAY_TREES] {
    let mut by_address = peers.to_vec();
    by_address.rotate_left(peers.partition_point(|peer| *peer < own));
    let mut by_hash = peers.to_vec();
    by_hash.sort_by_cached_key(|peer| (hash(peer), *peer));
    let own_hash = (hash(&own), own);
    let first = by_hash.partition_point(|peer| (hash(peer), *peer) < own_hash);
    by_hash.rotate_left(first);
    [by_address, by_hash]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relays from node 0 through all delegates; returns how often each node was told, and the
    /// length of the longest chain of delegations.
    fn relay(nodes: usize, is_dead: impl Fn(usize) -> bool) -> (Vec<u32>, u32) {
        let mut told = vec![0; nodes];
        let mut deepest = 0;
        let mut delegated = vec![(0, nodes as u32 - 1, 0)];
        while let Some((node, size, depth)) = delegated.pop() {
            deepest = deepest.max(depth);
            let mut tree = RelayTree::new();
            tree.set_order((1..nodes).map(|step| (node + step) % nodes).collect());
            tree.relay_to(size);
            while let Some((head, size)) = tree.next_head() {
                if is_dead(head) {
                    tree.head_failed();
                } else {
                    told[head] += 1;
                    delegated.push((head, size, depth + 1));
                    tree.finish_far_half();
                }
            }
        }
        (told, deepest)
    }

    #[test]
    fn everybody_is_told_once_in_log2_n_steps() {
        for nodes in 1..=130 {
            let (told, deepest) = relay(nodes, |_| false);
            assert_eq!(told[0], 0, "{nodes} nodes: the origin is not told");
            assert!(told[1..].iter().all(|&times| times == 1), "{nodes} nodes: {told:?}");
            assert!(deepest <= nodes.next_power_of_two().ilog2(), "{nodes} nodes: {deepest} deep");
        }
    }

    #[test]
    fn a_dead_head_hides_nobody_behind_it() {
        for nodes in 2..=40 {
            for dead in 1..nodes {
                let (told, _) = relay(nodes, |node| node == dead);
                let missed: Vec<usize> = (1..nodes).filter(|&node| told[node] == 0).collect();
                assert_eq!(missed, [dead], "{nodes} nodes");
            }
        }
    }

    #[test]
    fn each_node_finds_its_place_in_both_orders() {
        let peers = [10, 20, 40];
        let [by_address, by_hash] = orders(&peers, 30, |&peer| 100 - peer);
        assert_eq!(by_address, [40, 10, 20]);
        assert_eq!(by_hash, [20, 10, 40]);
    }

    #[test]
    fn news_that_comes_while_relaying_is_relayed_next() {
        let mut tree = RelayTree::new();
        tree.set_order(vec![1, 2, 3, 4]);
        tree.relay_to(2);
        assert_eq!(tree.next_head(), Some((2, 0)));
        tree.relay_to_all();
        tree.finish_far_half();
        assert_eq!(tree.next_head(), Some((1, 0)));
        tree.finish_far_half();
        assert_eq!(tree.next_head(), Some((3, 1)), "all four, from the middle");
        tree.relay_to(u32::MAX);
        tree.set_order(vec![1]);
        assert_eq!(tree.next_head(), Some((1, 0)), "no more than there are");
    }
}
