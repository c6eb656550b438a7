//! Rounds of the timer: when one starts, and which peers it calls.

use super::{HOUR_MS, KNEW_IT, calls_at, calls_until, gaps_ms, peers, scheduler, sorted};
use gossip_sidecar::{Action, Outcome};

#[test]
fn the_timer_fires_after_the_interval_give_or_take_ten_percent() {
    let mut scheduler = scheduler(1_000, 3);
    scheduler.set_peers(vec![1], 0);
    let gaps = gaps_ms(&calls_until(&mut scheduler, 0, 2_000_000, |_| KNEW_IT));
    assert!(gaps.len() > 1_800);
    assert!(gaps.iter().all(|gap| (900..=1_100).contains(gap)), "{gaps:?}");
    // The whole range is used, evenly.
    let mean = gaps.iter().sum::<u64>() as f64 / gaps.len() as f64;
    assert!((990.0..1_010.0).contains(&mean), "{mean}");
    assert!(gaps.iter().any(|gap| *gap < 910) && gaps.iter().any(|gap| *gap > 1_090));
}

#[test]
fn the_first_round_comes_at_a_random_time_within_the_first_interval() {
    let first_ms = |seed| match scheduler(1_000, seed).next(0) {
        Action::WaitUntil(ms) => ms,
        Action::Exchange { .. } => panic!("there is nobody to call"),
    };
    let phases: Vec<u64> = (0..500).map(first_ms).collect();
    // One that begins at once without a peer waits for the next.
    assert!(phases.iter().all(|ms| (1..=1_100).contains(ms)), "{phases:?}");
    for quarter in 0..4 {
        let is_in_it = |ms: &&u64| (quarter * 250..(quarter + 1) * 250).contains(*ms);
        let count = phases.iter().filter(is_in_it).count();
        assert!((80..170).contains(&count), "{count} of 500 in quarter {quarter}");
    }
}

#[test]
fn the_first_peers_start_a_round_at_once_and_later_ones_do_not() {
    let mut scheduler = scheduler(HOUR_MS, 2);
    assert!(calls_at(&mut scheduler, 7, |_| KNEW_IT).is_empty());
    scheduler.set_peers(vec![4], 7);
    assert_eq!(peers(&calls_at(&mut scheduler, 7, |_| KNEW_IT)), [4]);
    scheduler.set_peers(vec![4, 5], 8);
    assert!(calls_at(&mut scheduler, 8, |_| KNEW_IT).is_empty());
    // After all of them were gone, the next ones are the first again.
    scheduler.set_peers(vec![], 9);
    scheduler.set_peers(vec![6], 10);
    assert_eq!(peers(&calls_at(&mut scheduler, 10, |_| KNEW_IT)), [6]);
}

#[test]
fn a_shuffled_cycle_reaches_every_peer_once() {
    let mut scheduler = scheduler(1_000, 4);
    let everyone: Vec<u32> = (1..=20).collect();
    scheduler.set_peers(everyone.clone(), 0);
    let called = peers(&calls_until(&mut scheduler, 0, 200_000, |_| KNEW_IT));
    let cycles: Vec<&[u32]> = called.chunks_exact(20).collect();
    assert!(cycles.len() > 8);
    for cycle in &cycles {
        assert_eq!(sorted(cycle.to_vec()), everyone);
    }
    assert!(cycles.windows(2).all(|pair| pair[0] != pair[1]), "each in an order of its own");
}

#[test]
fn a_peer_that_is_no_longer_listed_is_not_called() {
    let mut scheduler = scheduler(1_000, 4);
    scheduler.set_peers((1..=20).collect(), 0);
    assert!(!calls_until(&mut scheduler, 0, 3_000, |_| KNEW_IT).is_empty());
    scheduler.set_peers(vec![9, 3, 9, 5], 3_000);
    assert_eq!(scheduler.peers(), [3, 5, 9]);
    let called = peers(&calls_until(&mut scheduler, 3_000, 30_000, |_| KNEW_IT));
    assert!(called.len() > 20 && called.iter().all(|peer| [3, 5, 9].contains(peer)), "{called:?}");
}

#[test]
fn a_round_tries_three_peers_until_one_answers() {
    let mut scheduler = scheduler(1_000, 5);
    scheduler.set_peers((1..=50).collect(), 0);
    let mut rounds = 0..;
    // The first call of a round succeeds, then the second, the third, and none.
    for successful_try in (1..=4).cycle().take(12) {
        let round_ms = match rounds.next() {
            Some(0) => 0,
            _ => match scheduler.next(0) {
                Action::WaitUntil(ms) => ms,
                Action::Exchange { .. } => panic!("the round before is not over"),
            },
        };
        let mut tries = 0;
        let calls = calls_at(&mut scheduler, round_ms, |_| {
            tries += 1;
            if tries == successful_try { KNEW_IT } else { Outcome::Failed }
        });
        let mut called = peers(&calls);
        assert_eq!(called.len(), successful_try.min(3), "{called:?}");
        called.dedup();
        assert_eq!(called.len(), calls.len(), "no peer is tried twice in a row");
    }
}

#[test]
fn an_incomplete_exchange_is_continued_with_the_same_peer_at_once() {
    let mut scheduler = scheduler(HOUR_MS, 6);
    scheduler.set_peers((1..=20).collect(), 0);
    let mut left = 4;
    let calls = calls_at(&mut scheduler, 0, |_| {
        left -= 1;
        if left > 0 { Outcome::Incomplete } else { KNEW_IT }
    });
    assert_eq!(peers(&calls), [calls[0].peer; 4]);
    assert!(calls_at(&mut scheduler, 1, |_| KNEW_IT).is_empty());
}

#[test]
fn an_incomplete_exchange_is_not_continued_with_a_peer_that_failed_or_left() {
    let start = || {
        let mut scheduler = scheduler(HOUR_MS, 6);
        scheduler.set_peers((1..=2).collect(), 0);
        let Action::Exchange { peer, .. } = scheduler.next(0) else { panic!("the first round") };
        scheduler.exchange_ended(peer, Outcome::Incomplete, 0);
        (scheduler, peer)
    };
    let (mut scheduler, peer) = start();
    assert_eq!(peers(&calls_at(&mut scheduler, 0, |_| Outcome::Failed)), [peer]);

    let (mut scheduler, peer) = start();
    scheduler.set_peers(vec![3 - peer], 0);
    assert!(calls_at(&mut scheduler, 0, |_| KNEW_IT).is_empty());
}
