//! Clocks that jump, and processes that stand still.

use super::SECOND_US;
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
