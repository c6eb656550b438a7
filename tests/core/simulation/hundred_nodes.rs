//! A hundred nodes under every kind of fault.

use super::{MINUTE_MS, SECOND_US, TEN_YEARS_MS, settle};
use crate::simulator::{Chaos, Settings, Simulator};

fn hundred_nodes(seed: u64) -> Simulator {
    let mut simulator = Simulator::new(Settings {
        seed,
        nodes: 100,
        fail: 0.1,
        silent: 0.1,
        dns_lag_us: 2 * SECOND_US,
        writes_a_second: 30.0,
        deletes: 0.3,
        expiring: 0.2,
        keys: 50,
        write_between_steps: 0.0005,
        chaos: Some(Chaos { every_us: SECOND_US / 5, survivors: 0.8, jump_ms: 5 * MINUTE_MS }),
        ..Settings::default()
    });
    let mut skew = fastrand::Rng::with_seed(seed);
    for node in &mut simulator.nodes {
        node.wall.ahead_ms = skew.i64(-5 * MINUTE_MS..=5 * MINUTE_MS);
    }
    simulator.nodes[42].wall.ahead_ms = TEN_YEARS_MS;
    for _ in 0..8 {
        simulator.run_for(2 * SECOND_US);
        simulator.check_stores();
    }
    settle(&mut simulator, 30 * SECOND_US);
    simulator
}

#[test]
fn a_hundred_nodes_converge_after_every_kind_of_fault() {
    let seed = 7;
    println!("seed {seed}");
    let simulator = hundred_nodes(seed);
    let counters = simulator.counters.clone();
    println!("{counters:?}, {} µs", simulator.now_us());
    for (name, count) in counters.faults().into_iter().chain(counters.expiries()) {
        assert!(count > 0, "{name} did not happen");
    }
    let again = hundred_nodes(seed);
    assert_eq!((again.trace(), again.counters), (simulator.trace(), counters));
    assert_ne!(hundred_nodes(seed + 1).trace(), simulator.trace());
}
