//! The node's own address among those that DNS lists.

use super::{HOUR_MS, KNEW_IT, LEARNED_IT, calls_at, calls_until, peers, scheduler, sorted};
use gossip_sidecar::{Action, Everyone, Outcome};

#[test]
fn the_advertise_address_is_never_called() {
    for is_set_first in [true, false] {
        let mut scheduler = scheduler(1_000, 1);
        if is_set_first {
            scheduler.set_advertise_address(3);
        }
        scheduler.set_peers((1..=5).collect(), 0);
        scheduler.set_advertise_address(3);
        assert_eq!(scheduler.peers(), [1, 2, 4, 5]);
        assert!(!scheduler.knows_own_address(), "no exchange has found it");
        for now_ms in [0, 20_000, 40_000] {
            scheduler.wrote(now_ms);
            let calls = calls_until(&mut scheduler, now_ms, now_ms + 19_000, |_| LEARNED_IT);
            assert!(calls.len() > 20 && !peers(&calls).contains(&3), "{calls:?}");
        }
    }
}

#[test]
fn without_an_advertise_address_a_write_spreads_by_rumor_mongering_alone() {
    let mut scheduler = scheduler(HOUR_MS, 1);
    scheduler.set_peers((1..=5).collect(), 0);
    calls_at(&mut scheduler, 0, |_| KNEW_IT);
    scheduler.wrote(1);
    let calls = calls_until(&mut scheduler, 1, 1_000, |_| KNEW_IT);
    assert!(!calls.is_empty() && calls.iter().all(|call| call.subtree.is_none()), "{calls:?}");
}

#[test]
fn an_address_that_turns_out_to_be_the_own_one_is_left_out_and_orders_the_trees() {
    let mut scheduler = scheduler(HOUR_MS, 1);
    scheduler.set_peers((1..=8).collect(), 0);
    scheduler.contact(Everyone::Responsive, 0);
    // Everyone is called, and so the node itself.
    let calls = calls_at(&mut scheduler, 0, |call| match call.peer {
        5 => Outcome::OwnAddress,
        _ => KNEW_IT,
    });
    scheduler.contact(Everyone::No, 0);
    assert!(peers(&calls).contains(&5));
    assert!(scheduler.knows_own_address());
    assert_eq!(scheduler.peers(), [1, 2, 3, 4, 6, 7, 8]);
    scheduler.wrote(1);
    let calls = calls_at(&mut scheduler, 1, |_| LEARNED_IT);
    let heads: Vec<(u32, u32)> = calls
        .iter()
        .filter_map(|call| Some((call.peer, call.subtree.filter(|it| it.tree == 0)?.size)))
        .collect();
    assert_eq!(heads, [(1, 3), (7, 1), (6, 0)]);
    scheduler.set_peers((1..=9).collect(), 2);
    assert_eq!(scheduler.peers(), [1, 2, 3, 4, 6, 7, 8, 9], "it stays left out");
}

#[test]
fn an_own_address_counts_as_another_pods_once_it_was_unlisted() {
    let mut scheduler = scheduler(HOUR_MS, 1);
    scheduler.set_advertise_address(1);
    scheduler.set_peers(vec![1, 2], 0);
    let Action::Exchange { peer: 2, .. } = scheduler.next(0) else { panic!("only 2 is left") };
    // The node is reached at a second address.
    scheduler.exchange_ended(2, Outcome::OwnAddress, 0);
    assert_eq!((scheduler.peers(), scheduler.knows_own_address()), (&[][..], true));
    scheduler.set_peers(vec![1, 2, 3], 1);
    assert_eq!(scheduler.peers(), [3]);
    scheduler.set_peers(vec![1, 3], 2);
    scheduler.set_peers(vec![1, 2, 3], 3);
    assert_eq!((scheduler.peers(), scheduler.knows_own_address()), (&[2, 3][..], false));
}

#[test]
fn an_exchange_with_itself_does_not_end_a_round() {
    let mut scheduler = scheduler(HOUR_MS, 1);
    scheduler.set_peers(vec![1, 2], 0);
    let mut has_found_itself = false;
    let calls = calls_at(&mut scheduler, 0, |_| {
        if std::mem::replace(&mut has_found_itself, true) { KNEW_IT } else { Outcome::OwnAddress }
    });
    assert_eq!(sorted(peers(&calls)), [1, 2]);
}
