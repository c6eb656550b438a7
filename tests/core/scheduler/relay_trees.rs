//! Relay trees: news is delegated so that everyone hears of it once from each tree.

use super::{
    Call, HOUR_MS, KNEW_IT, LEARNED_IT, OWN, calls_at, hashed, peers, scheduler, scheduler_at_rest,
    sorted,
};
use gossip_sidecar::{Action, Outcome, RELAY_TREES, Scheduler, Subtree};

/// The heads that a tree's calls went to, and how many followers each was handed.
fn delegated(calls: &[Call], tree: u8) -> Vec<(u32, u32)> {
    let of_tree = |call: &Call| Some((call.peer, call.subtree.filter(|it| it.tree == tree)?.size));
    calls.iter().filter_map(of_tree).collect()
}

/// A cluster of `count` nodes that all know each other and are at rest.
fn cluster(count: u32) -> Vec<Scheduler<u32>> {
    let node = |own: u32| {
        let mut scheduler = scheduler(HOUR_MS, u64::from(own));
        scheduler.set_advertise_address(own);
        scheduler.set_peers((0..count).collect(), 0);
        calls_at(&mut scheduler, 0, |_| KNEW_IT);
        scheduler
    };
    (0..count).map(node).collect()
}

/// Starts one tree at a node and passes each subtree on to its head, unless that is `dead`. Gives
/// who was told, and in how many steps; a call to a dead node tells nobody.
fn relay(count: u32, tree: u8, start: u32, dead: Option<u32>) -> Vec<(u32, u32)> {
    let mut nodes = cluster(count);
    let mut told = Vec::new();
    let mut pending = vec![(start, Subtree { tree, size: count - 1 }, 0)];
    while let Some((node, subtree, depth)) = pending.pop() {
        nodes[node as usize].take_over(subtree);
        let calls = calls_at(&mut nodes[node as usize], 1, |call| match Some(call.peer) == dead {
            true => Outcome::Failed,
            false => KNEW_IT,
        });
        for Call { peer, subtree, .. } in calls.into_iter().filter(|call| Some(call.peer) != dead) {
            told.push((peer, depth + 1));
            pending.push((peer, subtree.expect("there is no news but the tree's"), depth + 1));
        }
    }
    told
}

#[test]
fn a_write_is_delegated_to_the_heads_of_ever_smaller_halves() {
    let mut scheduler = scheduler_at_rest(7);
    scheduler.wrote(1);
    let calls = calls_at(&mut scheduler, 1, |_| LEARNED_IT);
    assert_eq!(delegated(&calls, 0), [(4, 3), (2, 1), (1, 0)]);
    // The second tree does the same over the order of the hashes.
    let mut ring: Vec<u32> = (1..=7).collect();
    ring.sort_by_key(hashed);
    let after_own = ring.iter().position(|peer| hashed(peer) > hashed(&OWN)).unwrap_or(0);
    ring.rotate_left(after_own);
    assert_eq!(delegated(&calls, 1), [(ring[3], 3), (ring[1], 1), (ring[0], 0)]);
    assert_ne!(ring, (1..=7).collect::<Vec<_>>());
    assert_eq!(calls.len(), 6, "and that is all for now");
}

#[test]
fn a_tree_begins_behind_the_own_address_and_wraps_around() {
    let mut scheduler = scheduler(HOUR_MS, 1);
    scheduler.set_advertise_address(5);
    scheduler.set_peers((0..=7).collect(), 0);
    calls_at(&mut scheduler, 0, |_| KNEW_IT);
    scheduler.wrote(1);
    let calls = calls_at(&mut scheduler, 1, |_| LEARNED_IT);
    assert_eq!(delegated(&calls, 0), [(1, 3), (7, 1), (6, 0)]);
}

#[test]
fn a_writer_calls_log2_n_heads_in_each_tree() {
    for count in 1..=200_u32 {
        let mut scheduler = scheduler_at_rest(count);
        scheduler.wrote(1);
        let calls = calls_at(&mut scheduler, 1, |_| LEARNED_IT);
        let log2_n = (count + 1).next_power_of_two().ilog2() as usize;
        for tree in 0..RELAY_TREES as u8 {
            assert_eq!(delegated(&calls, tree).len(), log2_n, "{count} peers, tree {tree}");
        }
    }
}

#[test]
fn every_peer_is_told_once_in_each_tree_within_log2_n_steps() {
    for count in [2_u32, 3, 4, 5, 7, 8, 9, 16, 31, 33, 64, 100] {
        for (start, tree) in [0, count / 2, count - 1].into_iter().zip([0, 1].into_iter().cycle()) {
            let told = relay(count, tree, start, None);
            let steps = told.iter().map(|(_, depth)| *depth).max();
            let told = sorted(told.into_iter().map(|(node, _)| node).collect());
            let everyone_else: Vec<u32> = (0..count).filter(|node| *node != start).collect();
            assert_eq!(told, everyone_else, "{count} nodes, from {start}, tree {tree}");
            let log2_n = count.next_power_of_two().ilog2();
            assert!(steps <= Some(log2_n), "{steps:?} steps for {count} nodes");
        }
    }
}

#[test]
fn a_dead_head_is_replaced_so_that_all_others_are_told_once() {
    const COUNT: u32 = 32;
    for tree in 0..RELAY_TREES as u8 {
        for dead in 1..COUNT {
            let told = relay(COUNT, tree, 0, Some(dead));
            let told = sorted(told.into_iter().map(|(node, _)| node).collect());
            let living: Vec<u32> = (1..COUNT).filter(|node| *node != dead).collect();
            assert_eq!(told, living, "{dead} is dead, tree {tree}");
        }
    }
}

#[test]
fn after_three_dead_heads_a_half_is_given_up() {
    let mut scheduler = scheduler_at_rest(15);
    scheduler.wrote(1);
    let calls = calls_at(&mut scheduler, 1, |call| match call.peer {
        8..=15 => Outcome::Failed,
        _ => LEARNED_IT,
    });
    assert_eq!(
        delegated(&calls, 0),
        [(8, 7), (9, 6), (10, 5), (4, 3), (2, 1), (1, 0)],
        "the next three of the half are tried, and then the near half goes on"
    );
}

#[test]
fn a_head_that_failed_lately_is_passed_over_without_a_call() {
    let mut scheduler = scheduler_at_rest(7);
    // It failed in a round of the timer.
    scheduler.exchange_ended(4, Outcome::Failed, 1);
    scheduler.wrote(2);
    let calls = calls_at(&mut scheduler, 2, |_| LEARNED_IT);
    assert_eq!(delegated(&calls, 0), [(5, 2), (2, 1), (1, 0)]);
    assert!(!peers(&calls).contains(&4), "{calls:?}");
}

#[test]
fn a_subtree_that_was_handed_over_is_delegated_further_even_if_its_news_is_known() {
    let mut scheduler = scheduler_at_rest(40);
    scheduler.take_over(Subtree { tree: 0, size: 7 });
    let calls = calls_at(&mut scheduler, 1, |_| KNEW_IT);
    assert_eq!(delegated(&calls, 0), [(4, 3), (2, 1), (1, 0)]);
    assert_eq!(calls.len(), 3, "no other tree, and no rumor mongering");
}

#[test]
fn of_two_pending_subtrees_of_a_tree_the_wider_one_is_delegated() {
    for sizes in [[3, 7], [7, 3]] {
        let mut scheduler = scheduler_at_rest(40);
        for size in sizes {
            scheduler.take_over(Subtree { tree: 0, size });
        }
        let calls = calls_at(&mut scheduler, 1, |_| KNEW_IT);
        assert_eq!(delegated(&calls, 0), [(4, 3), (2, 1), (1, 0)], "{sizes:?}");
    }
}

#[test]
fn a_subtree_larger_than_the_cluster_is_the_whole_cluster() {
    let mut scheduler = scheduler_at_rest(7);
    scheduler.take_over(Subtree { tree: 0, size: u32::MAX });
    scheduler.take_over(Subtree { tree: RELAY_TREES as u8, size: 7 });
    let calls = calls_at(&mut scheduler, 1, |_| KNEW_IT);
    assert_eq!(delegated(&calls, 0), [(4, 3), (2, 1), (1, 0)]);
    assert_eq!(calls.len(), 3, "a tree that does not exist is ignored");
}

#[test]
fn news_that_comes_while_a_tree_is_under_way_starts_it_again() {
    let mut scheduler = scheduler_at_rest(7);
    scheduler.wrote(1);
    let Action::Exchange { peer, .. } = scheduler.next(1) else { panic!("there is news") };
    scheduler.wrote(1);
    scheduler.exchange_ended(peer, LEARNED_IT, 1);
    let calls = calls_at(&mut scheduler, 1, |_| LEARNED_IT);
    assert_eq!(delegated(&calls, 0), [(2, 1), (1, 0), (4, 3), (2, 1), (1, 0)]);
}
