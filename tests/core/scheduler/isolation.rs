//! When a node counts as isolated.

use gossip_sidecar::{LastComplete, isolated_since};

#[test]
fn a_node_is_isolated_once_its_last_exchange_is_more_than_half_a_tombstones_life_ago() {
    const TTL_MS: u64 = 1_000;
    const BEGAN_MS: u64 = 1_700_000_000_000;
    // The process had run for so long then; what the wall clock shows now does not matter.
    let last = Some(LastComplete { began_ms: BEGAN_MS, age_ms: 7_000 });
    assert_eq!(isolated_since(last, 7_500, TTL_MS), None);
    assert_eq!(isolated_since(last, 7_501, TTL_MS), Some(BEGAN_MS));
    assert_eq!(isolated_since(None, 7_000, TTL_MS), Some(0), "it never had a peer");
    assert_eq!(isolated_since(last, 0, TTL_MS), None, "the ages were taken in another order");
}
