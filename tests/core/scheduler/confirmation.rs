//! Everyone is contacted while others must hold our writes: while replicas are awaited, and while the
//! node drains.

use super::{
    HOUR_MS, KNEW_IT, OWN, calls_at, calls_until, peers, scheduler, scheduler_at_rest, sorted,
};
use gossip_sidecar::{Action, Everyone, Outcome};

fn everyone(count: u32) -> Vec<u32> {
    (1..=count).collect()
}

#[test]
fn everyone_is_called_every_200_ms() {
    let mut scheduler = scheduler_at_rest(10);
    scheduler.contact(Everyone::Responsive, 50);
    for now_ms in [50, 250, 450] {
        assert_eq!(sorted(peers(&calls_at(&mut scheduler, now_ms, |_| KNEW_IT))), everyone(10));
        // Saying so again changes nothing.
        scheduler.contact(Everyone::Responsive, now_ms);
        assert!(calls_until(&mut scheduler, now_ms, now_ms + 199, |_| KNEW_IT).is_empty());
    }
    scheduler.contact(Everyone::No, 451);
    let calls = calls_until(&mut scheduler, 451, HOUR_MS / 2, |_| KNEW_IT);
    assert_eq!(calls.len(), 1, "then one ordinary round, and the timer's interval");
}

#[test]
fn while_replicas_are_awaited_failing_peers_are_left_alone() {
    let mut scheduler = scheduler_at_rest(10);
    scheduler.contact(Everyone::Responsive, 50);
    let fails = |peer| if peer == 4 { Outcome::Failed } else { KNEW_IT };
    assert_eq!(calls_at(&mut scheduler, 50, |call| fails(call.peer)).len(), 10);
    assert!(!peers(&calls_at(&mut scheduler, 250, |_| KNEW_IT)).contains(&4));
    let calls = calls_until(&mut scheduler, 450, 1_250, |_| KNEW_IT);
    assert!(peers(&calls).contains(&4), "its second is over");
}

#[test]
fn a_draining_node_calls_everyone_every_200_ms_also_those_that_fail() {
    let mut scheduler = scheduler_at_rest(10);
    scheduler.contact(Everyone::All, 50);
    for now_ms in [50, 250, 450] {
        let calls = calls_at(&mut scheduler, now_ms, |_| Outcome::Failed);
        assert_eq!(sorted(peers(&calls)), everyone(10));
    }
}

#[test]
fn a_draining_node_calls_those_that_fail_after_the_others() {
    let mut scheduler = scheduler_at_rest(10);
    scheduler.contact(Everyone::All, 50);
    let fails = |peer| if peer % 2 == 0 { Outcome::Failed } else { KNEW_IT };
    calls_at(&mut scheduler, 50, |call| fails(call.peer));
    for now_ms in [250, 450] {
        let calls = peers(&calls_at(&mut scheduler, now_ms, |call| fails(call.peer)));
        assert_eq!(sorted(calls.clone()), everyone(10));
        assert!(calls[..5].iter().all(|peer| peer % 2 == 1), "{calls:?}");
    }
}

#[test]
fn those_that_have_responded_are_called_before_new_ones() {
    let mut scheduler = scheduler_at_rest(3);
    scheduler.contact(Everyone::Responsive, 50);
    calls_at(&mut scheduler, 50, |_| KNEW_IT);
    scheduler.set_peers(everyone(6), 60);
    let calls = peers(&calls_at(&mut scheduler, 250, |_| KNEW_IT));
    assert_eq!((sorted(calls[..3].to_vec()), sorted(calls)), (everyone(3), everyone(6)));
}

#[test]
fn everyone_is_called_before_anybody_is_called_again() {
    // Each call takes longer than the time after which all are called again.
    let mut scheduler = scheduler_at_rest(6);
    scheduler.contact(Everyone::All, 50);
    let mut calls = Vec::new();
    for now_ms in (50..).step_by(300).take(12) {
        let Action::Exchange { peer, .. } = scheduler.next(now_ms) else { panic!("{now_ms}") };
        scheduler.exchange_ended(peer, KNEW_IT, now_ms + 300);
        calls.push(peer);
    }
    assert_eq!(
        [sorted(calls[..6].to_vec()), sorted(calls[6..].to_vec())],
        [everyone(6), everyone(6)]
    );
}

#[test]
fn a_drain_begins_at_once_while_replicas_are_awaited() {
    let mut scheduler = scheduler_at_rest(10);
    scheduler.contact(Everyone::Responsive, 50);
    calls_at(&mut scheduler, 50, |_| KNEW_IT);
    scheduler.contact(Everyone::All, 60);
    assert_eq!(sorted(peers(&calls_at(&mut scheduler, 60, |_| KNEW_IT))), everyone(10));
}

#[test]
fn a_draining_node_calls_back_whoever_calls_it() {
    let mut scheduler = scheduler_at_rest(3);
    scheduler.heard_from(7, 40);
    assert!(calls_until(&mut scheduler, 40, 49, |_| KNEW_IT).is_empty());
    scheduler.contact(Everyone::All, 50);
    assert_eq!(sorted(peers(&calls_at(&mut scheduler, 50, |_| KNEW_IT))), [1, 2, 3]);
    scheduler.heard_from(7, 60);
    scheduler.heard_from(2, 60);
    scheduler.heard_from(OWN, 60);
    assert_eq!(scheduler.peers(), [1, 2, 3, 7]);
    assert_eq!(sorted(peers(&calls_at(&mut scheduler, 60, |_| KNEW_IT))), [1, 2, 3, 7], "at once");
    scheduler.set_peers(vec![1, 2], 70);
    assert_eq!(scheduler.peers(), [1, 2, 7], "DNS need not know it");
    // Nothing listens there: the connection came through a proxy.
    calls_at(&mut scheduler, 260, |call| if call.peer == 7 { Outcome::Failed } else { KNEW_IT });
    assert_eq!(scheduler.peers(), [1, 2]);
    scheduler.heard_from(7, 300);
    assert_eq!(scheduler.peers(), [1, 2], "it failed a moment ago");
    scheduler.heard_from(7, 1_260);
    assert_eq!(scheduler.peers(), [1, 2, 7], "a peer may be there by now");
    calls_at(&mut scheduler, 1_260, |_| Outcome::Failed);
    scheduler.heard_from(7, 2_260);
    assert_eq!(scheduler.peers(), [1, 2], "it has failed twice");
    calls_at(&mut scheduler, 2_260, |_| Outcome::Failed);
    assert_eq!(scheduler.peers(), [1, 2], "what is listed is not dropped");
}

#[test]
fn an_unlisted_peer_that_is_listed_later_is_one_like_the_others() {
    let mut scheduler = scheduler_at_rest(1);
    scheduler.contact(Everyone::All, 50);
    scheduler.heard_from(7, 60);
    scheduler.set_peers(vec![1, 7], 70);
    calls_at(&mut scheduler, 260, |_| Outcome::Failed);
    assert_eq!(scheduler.peers(), [1, 7]);
    scheduler.set_peers(vec![1], 300);
    assert_eq!(scheduler.peers(), [1]);
}

#[test]
fn strangers_are_called_back_only_up_to_a_limit() {
    let mut scheduler = scheduler(HOUR_MS, 1);
    scheduler.contact(Everyone::All, 0);
    (1..=100).for_each(|stranger| scheduler.heard_from(stranger, 0));
    assert_eq!(scheduler.peers().len(), 64);
}
