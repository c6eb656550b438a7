//! Addresses that fail are left alone for a while.

use super::{KNEW_IT, calls_until, gaps_ms, scheduler};
use gossip_sidecar::{Outcome, Scheduler};

/// So short that a peer is called as soon as its back-off is over, give or take one round.
const INTERVAL_MS: u64 = 10;

/// The longest time between two rounds.
const ROUND_MS: u64 = 11;

fn scheduler_with_one_peer() -> Scheduler<u32> {
    let mut scheduler = scheduler(INTERVAL_MS, 8);
    scheduler.set_peers(vec![1], 0);
    scheduler
}

#[track_caller]
fn assert_pauses(gaps_ms: &[u64], pauses_ms: &[u64]) {
    assert_eq!(gaps_ms.len(), pauses_ms.len(), "{gaps_ms:?}");
    for (gap, pause) in gaps_ms.iter().zip(pauses_ms) {
        assert!((*pause..=pause + ROUND_MS).contains(gap), "{gaps_ms:?}, not {pauses_ms:?}");
    }
}

#[test]
fn the_pause_after_a_failure_doubles_from_one_second_up_to_thirty() {
    let mut scheduler = scheduler_with_one_peer();
    let calls = calls_until(&mut scheduler, 0, 125_000, |_| Outcome::Failed);
    let pauses_ms = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000];
    assert_pauses(&gaps_ms(&calls), &pauses_ms);
}

#[test]
fn a_success_resets_the_pause() {
    let mut scheduler = scheduler_with_one_peer();
    let mut count = 0;
    // Three failures, a success, and failures again.
    let calls = calls_until(&mut scheduler, 0, 10_050, |_| {
        count += 1;
        if count == 4 { KNEW_IT } else { Outcome::Failed }
    });
    assert_pauses(&gaps_ms(&calls), &[1_000, 2_000, 4_000, 0, 1_000, 2_000]);
}

#[test]
fn hearing_from_a_peer_resets_its_pause() {
    let mut scheduler = scheduler_with_one_peer();
    let failed = calls_until(&mut scheduler, 0, 3_100, |_| Outcome::Failed);
    assert_eq!(failed.len(), 3, "the third failure is followed by a pause of four seconds");
    scheduler.heard_from(1, 0);
    let calls = calls_until(&mut scheduler, 3_100, 6_200, |_| Outcome::Failed);
    assert!(calls[0].at_ms <= 3_100 + ROUND_MS, "{calls:?}");
    assert_pauses(&gaps_ms(&calls), &[1_000, 2_000]);
}

#[test]
fn a_peer_that_was_unlisted_meanwhile_starts_without_a_pause() {
    let mut scheduler = scheduler_with_one_peer();
    assert_eq!(calls_until(&mut scheduler, 0, 3_100, |_| Outcome::Failed).len(), 3);
    scheduler.set_peers(vec![], 3_100);
    scheduler.set_peers(vec![1], 3_100);
    let calls = calls_until(&mut scheduler, 3_100, 3_200, |_| Outcome::Failed);
    assert_eq!((calls.len(), calls[0].at_ms), (1, 3_100));
}

#[test]
fn a_pause_holds_up_no_other_peer() {
    let mut scheduler = scheduler(INTERVAL_MS, 8);
    scheduler.set_peers(vec![1, 2], 0);
    let calls = calls_until(&mut scheduler, 0, 900, |call| match call.peer {
        1 => Outcome::Failed,
        _ => KNEW_IT,
    });
    assert_eq!(calls.iter().filter(|call| call.peer == 1).count(), 1);
    assert!(calls.len() > 80, "the other one is called in each round: {}", calls.len());
}
