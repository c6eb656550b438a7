//! Clusters under faults: whatever happens, in the end all nodes have the same map, and the right
//! one.

mod clocks;

mod hundred_nodes;

mod isolation;

mod drain;

mod swarm;

use crate::simulator::Simulator;

const SECOND_US: u64 = 1_000_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 60 * MINUTE_MS;

/// Ends the faults and requires that all nodes agree on the greatest version of each key that a
/// survivor had. Then lets every value with a TTL expire, and requires that all nodes show the same
/// map.
fn settle(simulator: &mut Simulator, within_us: u64) {
    simulator.set_writing(false);
    simulator.end_faults();
    simulator.check_stores();
    let expected = simulator.expected();
    assert!(
        simulator.run_until_equal(within_us),
        "the nodes do not converge: {:?}",
        simulator.counters
    );
    simulator.check_kept(&expected);
    simulator.check_stores();
    if simulator.counters.expiring > 0 && is_time_agreed(simulator) {
        simulator.expire_all();
        let end_us = simulator.now_us() + within_us;
        while !simulator.is_equal() || !simulator.unsettled().is_empty() {
            let unsettled = simulator.unsettled();
            assert!(simulator.now_us() < end_us, "the nodes never show the same: {unsettled:?}");
            simulator.run_for(SECOND_US);
        }
        simulator.check_kept(&expected);
        simulator.check_stores();
    }
}

/// Whether the nodes come to agree on about the right time. Of two clocks they go by the slower
/// one, even if that is ten years behind; of three or more, never by such a one.
fn is_time_agreed(simulator: &Simulator) -> bool {
    let is_behind = |node: usize| simulator.nodes[node].wall.ahead_ms < -TEN_YEARS_MS / 2;
    simulator.live().count() > 2 || !simulator.live().any(is_behind)
}
