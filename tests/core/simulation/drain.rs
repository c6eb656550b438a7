//! Nodes that exit in order lose nothing, even if all of them are replaced at once.

use super::SECOND_US;
use crate::simulator::{Settings, Simulator};

/// Has all nodes of a cluster exit within a second while clients write and DNS lags, and as many
/// others start meanwhile; returns how many had handed over everything.
fn replace_all(seed: u64) -> (u64, u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let nodes = rng.usize(1..7);
    let mut simulator = Simulator::new(Settings {
        seed,
        nodes,
        writes_a_second: 20.0,
        write_between_steps: if rng.bool() { 0.01 } else { 0.0 },
        keys: 1_000,
        deletes: 0.0,
        leg_us: [500, 5_000, 20_000][rng.usize(..3)],
        fail: [0.0, 0.0, 0.05, 0.2][rng.usize(..4)],
        silent: 0.2,
        dns_lag_us: rng.u64(..3 * SECOND_US),
        knows_own_address: rng.bool(),
        ..Settings::default()
    });
    simulator.run_for(4 * SECOND_US);
    let mut moments: Vec<(u64, Option<usize>)> = (0..nodes)
        .flat_map(|node| [(rng.u64(..SECOND_US), Some(node)), (rng.u64(..2 * SECOND_US), None)])
        .collect();
    moments.sort_unstable();
    let began_us = simulator.now_us();
    for (at_us, draining) in moments {
        simulator.run_for(began_us + at_us - simulator.now_us());
        match draining {
            Some(node) => simulator.drain(node, 20 * SECOND_US),
            None => drop(simulator.join()),
        }
    }
    simulator.run_for(22 * SECOND_US);
    assert!(simulator.live().all(|node| node >= nodes), "all old nodes have exited");
    let counters = &simulator.counters;
    assert_eq!(counters.drained + counters.drains_timed_out, nodes as u64);
    let outcome = (counters.drained, counters.drains_timed_out);
    simulator.set_writing(false);
    simulator.settings.fail = 0.0;
    let expected = simulator.expected();
    assert!(simulator.run_until_equal(60 * SECOND_US), "the new nodes do not converge");
    simulator.check_all_hold(&expected);
    outcome
}

#[test]
fn nodes_that_are_all_replaced_at_once_hand_over_everything() {
    let (mut drained, mut timed_out) = (0, 0);
    for seed in 0..50 {
        println!("seed {seed}");
        let outcome = replace_all(seed);
        drained += outcome.0;
        timed_out += outcome.1;
    }
    println!("{drained} have handed over everything, {timed_out} ran out of time");
    assert!(timed_out * 20 < drained, "{timed_out} of {} ran out of time", drained + timed_out);
}
