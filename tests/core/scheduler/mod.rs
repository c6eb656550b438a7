//! Whom a node calls and when, seen through the scheduler's public face.
//!
//! The limits appear here as plain numbers, so that changing one is a decision that a test notices.

mod rounds;

mod back_off;

mod relay_trees;

mod rumor_mongering;

mod own_address;

mod confirmation;

mod isolation;

use fastrand::Rng;
use gossip_sidecar::{Action, Outcome, Scheduler, Subtree};

/// An interval so long that the timer does not interfere.
const HOUR_MS: u64 = 3_600_000;

/// The address of the node under test, where it is known.
const OWN: u32 = 0;

/// An exchange after which the peer had nothing new to learn.
const KNEW_IT: Outcome = Outcome::Complete { was_news: false };

/// An exchange from which the peer learned something.
const LEARNED_IT: Outcome = Outcome::Complete { was_news: true };

/// A call, and when it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Call {
    at_ms: u64,
    peer: u32,
    subtree: Option<Subtree>,
}

/// The second order of the addresses: the same on all nodes, and not the first.
fn hashed(address: &u32) -> u64 {
    u64::from(*address).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn scheduler(interval_ms: u64, seed: u64) -> Scheduler<u32> {
    Scheduler::new(interval_ms, 0, Rng::with_seed(seed), hashed)
}

/// A scheduler that knows its own address and `count` peers, after the round that these started.
fn scheduler_at_rest(count: u32) -> Scheduler<u32> {
    let mut scheduler = scheduler(HOUR_MS, 1);
    scheduler.set_advertise_address(OWN);
    scheduler.set_peers((1..=count).collect(), 0);
    assert_eq!(calls_at(&mut scheduler, 0, |_| KNEW_IT).len(), 1, "the first round");
    scheduler
}

/// Makes all calls that are due up to `end_ms`, each of which takes no time.
fn calls_until(
    scheduler: &mut Scheduler<u32>,
    from_ms: u64,
    end_ms: u64,
    mut outcome: impl FnMut(Call) -> Outcome,
) -> Vec<Call> {
    let (mut now_ms, mut calls) = (from_ms, Vec::new());
    loop {
        match scheduler.next(now_ms) {
            Action::Exchange { peer, subtree } => {
                let call = Call { at_ms: now_ms, peer, subtree };
                calls.push(call);
                assert!(calls.len() < 100_000, "it calls for ever");
                scheduler.exchange_ended(peer, outcome(call), now_ms);
            }
            Action::WaitUntil(ms) => {
                assert!(ms > now_ms, "waiting for {ms} at {now_ms} is a busy loop");
                now_ms = ms;
                if now_ms > end_ms {
                    return calls;
                }
            }
        }
    }
}

/// Makes all calls that are due now.
fn calls_at(
    scheduler: &mut Scheduler<u32>,
    now_ms: u64,
    outcome: impl FnMut(Call) -> Outcome,
) -> Vec<Call> {
    calls_until(scheduler, now_ms, now_ms, outcome)
}

fn peers(calls: &[Call]) -> Vec<u32> {
    calls.iter().map(|call| call.peer).collect()
}

fn sorted(mut peers: Vec<u32>) -> Vec<u32> {
    peers.sort_unstable();
    peers
}

/// The gaps between calls.
fn gaps_ms(calls: &[Call]) -> Vec<u64> {
    calls.windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms).collect()
}

#[test]
fn the_same_seed_leads_to_the_same_actions() {
    let run = |seed| {
        let mut scheduler = scheduler(1_000, seed);
        scheduler.set_advertise_address(OWN);
        scheduler.set_peers((1..=20).collect(), 0);
        let mut outcomes = Rng::with_seed(5);
        let mut calls = Vec::new();
        for step in 0..50 {
            match step % 5 {
                0 => scheduler.wrote(step * 700),
                1 => scheduler.learned(Some(Subtree { tree: 1, size: 6 }), step * 700),
                2 => scheduler.learned(None, step * 700),
                _ => {}
            }
            calls.extend(calls_until(&mut scheduler, step * 700, step * 700 + 699, |_| {
                match outcomes.u32(..4) {
                    0 => Outcome::Failed,
                    1 => LEARNED_IT,
                    _ => KNEW_IT,
                }
            }));
        }
        calls
    };
    assert!(run(1).len() > 200);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
