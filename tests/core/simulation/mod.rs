//! Clusters under faults: whatever happens, in the end all have the same, and the right thing.

mod hundred_nodes;

mod isolation;

mod swarm;

use crate::simulator::Simulator;

const SECOND_US: u64 = 1_000_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 60 * MINUTE_MS;

/// Ends the faults, demands that all agree on the highest version of each key that a survivor
/// had, lets all expire that is to, and demands that all show the same.
fn settle(simulator: &mut Simulator, within_us: u64) {
    simulator.set_writing(false);
    simulator.end_faults();
    simulator.check_stores();
    let expected = simulator.expected();
    assert!(simulator.run_until_equal(within_us), "no agreement: {:?}", simulator.counters);
    simulator.check_kept(&expected);
    simulator.check_stores();
    if simulator.counters.expiring > 0 && is_time_agreed(simulator) {
        simulator.expire_all();
        let end_us = simulator.now_us() + within_us;
        while !simulator.is_equal() || !simulator.unsettled().is_empty() {
            let unsettled = simulator.unsettled();
            assert!(simulator.now_us() < end_us, "never alike: {unsettled:?}");
            simulator.run_for(SECOND_US);
        }
        simulator.check_kept(&expected);
        simulator.check_stores();
    }
}

/// Whether all nodes come to go by about the same time: of two clocks they take the slower one, be
/// that the mad one; of three, never.
fn is_time_agreed(simulator: &Simulator) -> bool {
    let is_behind = |node: usize| simulator.nodes[node].wall.ahead_ms < -TEN_YEARS_MS / 2;
    simulator.live().count() > 2 || !simulator.live().any(is_behind)
}
