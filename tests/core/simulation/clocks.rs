//! Clocks that jump, and processes that stand still.

use super::{HOUR_MS, SECOND_US};
use crate::simulator::{Settings, Simulator};

/// How far the time by which a node's values expire is from its clock, which is right.
fn error_ms(simulator: &Simulator, node: usize) -> u64 {
    let wall_ms = simulator.nodes[node].wall.ms(simulator.now_us());
    simulator.nodes[node].store.now_ms(wall_ms).abs_diff(wall_ms)
}

#[test]
fn a_process_that_was_halted_does_not_take_the_time_from_what_waited_meanwhile() {
    for seed in 0..20 {
        println!("seed {seed}");
        let mut simulator =
            Simulator::new(Settings { seed, nodes: 8, leg_us: 5_000, ..Settings::default() });
        simulator.run_for(5 * SECOND_US);
        simulator.halt(3, (5 + seed) * SECOND_US);
        simulator.run_for((5 + seed) * SECOND_US);
        for _ in 0..1_000 {
            simulator.run_for(10_000);
            assert!(error_ms(&simulator, 3) < 100, "{} ms", error_ms(&simulator, 3));
        }
        assert!(simulator.counters.busy > 0 || simulator.counters.calls > 0);
        simulator.put_for(3, "key", b"value", Some(20_000));
        assert!(simulator.run_until_equal(10 * SECOND_US));
        for node in simulator.live() {
            assert_eq!(simulator.nodes[node].store.live(), 1, "node {node}");
        }
    }
}

/// Lets the clock of one of six nodes jump, while all are written to and some exchanges fail.
fn after_a_jump(seed: u64, by_ms: i64) -> Simulator {
    println!("seed {seed}, {by_ms} ms");
    let mut simulator = Simulator::new(Settings {
        seed,
        nodes: 6,
        eager: false,
        fail: 0.2,
        writes_a_second: 50.0,
        deletes: 0.4,
        keys: 2_000,
        expiring: 0.3,
        ttl_ms: (20 * HOUR_MS, 30 * HOUR_MS),
        ..Settings::default()
    });
    simulator.run_for(20 * SECOND_US);
    simulator.jump_clock(3, by_ms);
    for _ in 0..20 {
        simulator.run_for(2 * SECOND_US);
        simulator.check_stores();
    }
    assert!(simulator.counters.deletes > 50 && simulator.counters.expiring > 50);
    simulator
}

#[test]
fn a_clock_that_jumps_makes_nobody_forget() {
    for seed in 0..10 {
        for hours in [13, 25, 1_000, -13, -1_000] {
            let mut simulator = after_a_jump(seed, hours * HOUR_MS as i64);
            assert_eq!(simulator.counters.purged, 0, "purged as deleted elsewhere");
            assert_eq!(simulator.counters.tombstones_purged, 0, "tombstones purged");
            assert_eq!(simulator.counters.expired + simulator.counters.expired_on_the_way, 0);
            simulator.set_writing(false);
            let expected = simulator.expected();
            assert!(simulator.run_until_equal(60 * SECOND_US));
            simulator.check_all_hold(&expected);
        }
    }
}
