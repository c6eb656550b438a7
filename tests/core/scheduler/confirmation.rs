//! Local writes and deletions. that others must have: while replicas are awaited, and while the
//! node drains.

use super::{HOUR_MS, KNEW_IT, calls_at, calls_until, peers, scheduler, scheduler_at_rest, sorted};
use gossip_sidecar::{Outcome, Scheduler};

fn everyone(count: u32) -> Vec<u32> {
    (1..=count).collect()
}

/// Lets a node confirm at an address.
fn confirm(scheduler: &mut Scheduler<u32>, peer: u32, node: u32) {
    scheduler.exchange_ended(peer, Outcome::Complete { node, was_news: false }, 1);
}

#[test]
fn while_replicas_are_awaited_everyone_is_called_every_200_ms() {
    let mut scheduler = scheduler_at_rest(10);
    scheduler.await_replicas(true, 50);
    for now_ms in [50, 250, 450] {
        assert_eq!(sorted(peers(&calls_at(&mut scheduler, now_ms, |_| KNEW_IT))), everyone(10));
        // Saying so again changes nothing.
        scheduler.await_replicas(true, now_ms);
        assert!(calls_until(&mut scheduler, now_ms, now_ms + 199, |_| KNEW_IT).is_empty());
    }
    scheduler.await_replicas(false, 451);
    let calls = calls_until(&mut scheduler, 451, HOUR_MS / 2, |_| KNEW_IT);
    assert_eq!(calls.len(), 1, "then one ordinary round, and the timer's interval");
}

#[test]
fn while_replicas_are_awaited_failing_peers_are_left_alone() {
    let mut scheduler = scheduler_at_rest(10);
    scheduler.await_replicas(true, 50);
    let fails = |peer| if peer == 4 { Outcome::Failed } else { KNEW_IT };
    assert_eq!(calls_at(&mut scheduler, 50, |call| fails(call.peer)).len(), 10);
    assert!(!peers(&calls_at(&mut scheduler, 250, |_| KNEW_IT)).contains(&4));
    let calls = calls_until(&mut scheduler, 450, 1_250, |_| KNEW_IT);
    assert!(peers(&calls).contains(&4), "its second is over");
}

#[test]
fn a_draining_node_calls_everyone_every_200_ms_also_those_that_fail() {
    let mut scheduler = scheduler_at_rest(10);
    scheduler.drain(50);
    for now_ms in [50, 250, 450] {
        let calls = calls_at(&mut scheduler, now_ms, |_| Outcome::Failed);
        assert_eq!(sorted(peers(&calls)), everyone(10));
        assert!(!scheduler.is_drained());
    }
}

#[test]
fn two_distinct_nodes_must_confirm_a_drain() {
    let mut scheduler = scheduler_at_rest(5);
    assert!(!scheduler.is_drained(), "it is not draining");
    scheduler.drain(1);
    for outcome in [Outcome::Failed, Outcome::Incomplete, Outcome::Failed] {
        scheduler.exchange_ended(1, outcome, 1);
        assert!(!scheduler.is_drained(), "{outcome:?}");
    }
    confirm(&mut scheduler, 2, 70);
    assert!(!scheduler.is_drained());
    confirm(&mut scheduler, 2, 70);
    confirm(&mut scheduler, 3, 70);
    assert!(!scheduler.is_drained(), "one node at two addresses");
    confirm(&mut scheduler, 4, 71);
    assert!(scheduler.is_drained());
}

#[test]
fn where_there_are_fewer_than_two_others_each_must_confirm() {
    let mut alone = scheduler(HOUR_MS, 1);
    alone.drain(1);
    assert!(alone.is_drained());

    let mut scheduler = scheduler_at_rest(1);
    scheduler.drain(1);
    assert!(!scheduler.is_drained());
    confirm(&mut scheduler, 1, 70);
    assert!(scheduler.is_drained());

    // Two addresses of one node are all that there is.
    let mut scheduler = scheduler_at_rest(2);
    scheduler.drain(1);
    confirm(&mut scheduler, 1, 70);
    assert!(!scheduler.is_drained());
    confirm(&mut scheduler, 2, 70);
    assert!(scheduler.is_drained());
}

#[test]
fn confirmations_from_before_the_drain_and_before_a_later_write_do_not_count() {
    let mut scheduler = scheduler_at_rest(5);
    confirm(&mut scheduler, 1, 70);
    confirm(&mut scheduler, 2, 71);
    scheduler.drain(1);
    assert!(!scheduler.is_drained());
    confirm(&mut scheduler, 1, 70);
    confirm(&mut scheduler, 2, 71);
    assert!(scheduler.is_drained());
    // A write while draining starts over.
    scheduler.drain(2);
    assert!(!scheduler.is_drained());
    assert_eq!(sorted(peers(&calls_at(&mut scheduler, 2, |_| KNEW_IT))), everyone(5));
}
