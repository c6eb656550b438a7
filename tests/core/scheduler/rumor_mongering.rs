//! Rumor mongering, and how fast calls for news may follow each other.

use super::{
    Call, HOUR_MS, KNEW_IT, LEARNED_IT, calls_at, calls_until, gaps_ms, peers, scheduler,
    scheduler_at_rest, sorted,
};
use gossip_sidecar::{Action, Outcome, Scheduler, Subtree};

/// A scheduler without relay trees, since it does not know its own address, at rest.
fn scheduler_without_trees(count: u32) -> Scheduler<u32> {
    let mut scheduler = scheduler(HOUR_MS, 1);
    scheduler.set_peers((1..=count).collect(), 0);
    calls_at(&mut scheduler, 0, |_| KNEW_IT);
    scheduler
}

/// How many contacts rumor mongering makes if they end like this; then nobody learns any more.
fn contacts(scheduler: &mut Scheduler<u32>, from_ms: u64, outcomes: &[Outcome]) -> Vec<Call> {
    let mut outcomes = outcomes.iter().copied();
    calls_until(scheduler, from_ms, from_ms + 10_000, |_| outcomes.next().unwrap_or(KNEW_IT))
}

#[test]
fn it_ends_after_two_unnecessary_contacts_in_a_row() {
    for (outcomes, count) in [
        (&[][..], 2),
        (&[LEARNED_IT], 3),
        (&[KNEW_IT, LEARNED_IT], 4),
        (&[LEARNED_IT, KNEW_IT, LEARNED_IT, LEARNED_IT, KNEW_IT, LEARNED_IT], 8),
    ] {
        let mut scheduler = scheduler_without_trees(30);
        scheduler.learned(None, 100);
        let calls = contacts(&mut scheduler, 100, outcomes);
        assert_eq!(calls.len(), count, "{outcomes:?}");
        assert!(calls.iter().all(|call| call.subtree.is_none()));
    }
}

#[test]
fn a_failed_contact_is_neither_necessary_nor_unnecessary() {
    let mut scheduler = scheduler_without_trees(30);
    scheduler.learned(None, 100);
    let outcomes = [KNEW_IT, Outcome::Failed, Outcome::Failed, KNEW_IT];
    assert_eq!(contacts(&mut scheduler, 100, &outcomes).len(), 4);
}

#[test]
fn it_starts_at_once_and_contacts_a_random_peer_every_20_ms() {
    let mut scheduler = scheduler_without_trees(30);
    scheduler.learned(None, 100);
    let calls = contacts(&mut scheduler, 100, &[LEARNED_IT; 8]);
    assert_eq!(calls[0].at_ms, 100);
    assert_eq!(gaps_ms(&calls), [20; 9]);
    let mut different = sorted(peers(&calls));
    different.dedup();
    assert_eq!(different.len(), calls.len(), "of one cycle: {calls:?}");
}

#[test]
fn with_relay_trees_it_waits_until_they_are_done_and_the_relaying_peer_counts_as_a_contact() {
    let mut starts = Vec::new();
    for seed in 0..50 {
        let mut scheduler = scheduler(HOUR_MS, seed);
        scheduler.set_peers((1..=30).collect(), 0);
        calls_at(&mut scheduler, 0, |_| KNEW_IT);
        scheduler.learned(Some(Subtree { tree: 0, size: 0 }), 100);
        let calls = contacts(&mut scheduler, 100, &[]);
        assert_eq!(calls.len(), 1, "the peer that told us knew it as well");
        starts.push(calls[0].at_ms - 100);
    }
    assert!(starts.iter().all(|ms| (50..150).contains(ms)), "{starts:?}");
    assert!(starts.iter().any(|ms| *ms < 75) && starts.iter().any(|ms| *ms > 125), "{starts:?}");
}

#[test]
fn a_relaying_peer_counts_as_one_contact_however_often_it_brings_news() {
    let mut scheduler = scheduler_without_trees(30);
    scheduler.learned(None, 100);
    let subtree = Some(Subtree { tree: 0, size: 0 });
    let calls = calls_at(&mut scheduler, 100, |_| KNEW_IT);
    assert_eq!(calls.len(), 1);
    for _ in 0..3 {
        scheduler.learned(subtree, 100);
    }
    assert_eq!(contacts(&mut scheduler, 100, &[]).len(), 1, "one more of the two");
}

#[test]
fn relay_calls_do_not_count_as_contacts() {
    let mut scheduler = scheduler_at_rest(30);
    scheduler.wrote(1);
    let relayed = calls_at(&mut scheduler, 1, |_| KNEW_IT);
    assert!(relayed.len() == 10 && relayed.iter().all(|call| call.subtree.is_some()));
    assert_eq!(contacts(&mut scheduler, 1, &[LEARNED_IT]).len(), 3);
}

#[test]
fn peers_that_the_trees_passed_over_are_contacted_first() {
    let mut scheduler = scheduler_at_rest(15);
    scheduler.wrote(1);
    calls_at(&mut scheduler, 1, |call| match call.peer {
        8..=10 => Outcome::Failed,
        _ => LEARNED_IT,
    });
    let calls = contacts(&mut scheduler, 1, &[]);
    assert_eq!(sorted(peers(&calls)), [8, 9, 10], "and unnecessary contacts do not end it before");
}

#[test]
fn a_peer_that_failed_three_times_in_a_row_is_not_contacted_for_being_passed_over() {
    let mut scheduler = scheduler_at_rest(15);
    let mut now_ms = 1;
    for _ in 0..6 {
        scheduler.wrote(now_ms);
        calls_until(&mut scheduler, now_ms, now_ms + 500, |call| match call.peer {
            8 => Outcome::Failed,
            _ => KNEW_IT,
        });
        // Its pause is over by then.
        now_ms += 60_000;
    }
    scheduler.wrote(now_ms);
    let calls = calls_until(&mut scheduler, now_ms, now_ms + 500, |call| match call.peer {
        8 => Outcome::Failed,
        _ => KNEW_IT,
    });
    let contacted: Vec<&Call> =
        calls.iter().filter(|call| call.subtree.is_none() && call.peer == 8).collect();
    assert!(contacted.is_empty(), "{contacted:?}");
}

/// Makes as many calls for news as it may now: there is always more.
fn calls_for_news(scheduler: &mut Scheduler<u32>, now_ms: u64) -> (usize, u64) {
    let mut count = 0;
    loop {
        scheduler.wrote(now_ms);
        match scheduler.next(now_ms) {
            Action::Exchange { peer, .. } => scheduler.exchange_ended(peer, LEARNED_IT, now_ms),
            Action::WaitUntil(ms) => return (count, ms),
        }
        count += 1;
        assert!(count < 1_000, "there is no limit");
    }
}

#[test]
fn thirty_two_calls_for_news_may_be_made_at_once_and_then_one_every_100_ms() {
    let mut scheduler = scheduler_at_rest(100);
    assert_eq!(calls_for_news(&mut scheduler, 1_000), (32, 1_100));
    assert_eq!(calls_for_news(&mut scheduler, 1_099), (0, 1_100));
    assert_eq!(calls_for_news(&mut scheduler, 1_100), (1, 1_200));
    assert_eq!(calls_for_news(&mut scheduler, 1_550), (4, 1_600), "the rest of a time is kept");
    assert_eq!(calls_for_news(&mut scheduler, 1_600), (1, 1_700));
    assert_eq!(calls_for_news(&mut scheduler, 4_699).0, 30);
    assert_eq!(calls_for_news(&mut scheduler, 60_000).0, 32, "no more is saved up than that");
}

#[test]
fn the_timer_needs_no_token() {
    let mut scheduler = scheduler(1_000, 1);
    scheduler.set_advertise_address(0);
    scheduler.set_peers((1..=100).collect(), 0);
    calls_at(&mut scheduler, 0, |_| KNEW_IT);
    assert_eq!(calls_for_news(&mut scheduler, 10).0, 32);
    let calls = calls_until(&mut scheduler, 10, 1_200, |_| LEARNED_IT);
    let by_timer = calls.iter().filter(|call| call.subtree.is_none()).count();
    assert!(by_timer >= 1, "{calls:?}");
    assert!(calls.len() - by_timer <= 11, "{calls:?}");
}

#[test]
fn a_contact_needs_a_token() {
    let mut scheduler = scheduler_without_trees(100);
    scheduler.learned(None, 1_000);
    let calls = calls_until(&mut scheduler, 1_000, 11_000, |_| LEARNED_IT);
    assert!((130..=133).contains(&calls.len()), "{} contacts in ten seconds", calls.len());
}
