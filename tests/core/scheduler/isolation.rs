//! When a node counts as isolated.

use gossip_sidecar::isolated_since;

#[test]
fn a_node_is_isolated_once_its_last_exchange_is_more_than_half_a_tombstones_life_ago() {
    const TTL_MS: u64 = 1_000;
    assert_eq!(isolated_since(Some(7_000), 7_500, TTL_MS), None);
    assert_eq!(isolated_since(Some(7_000), 7_501, TTL_MS), Some(7_000));
    assert_eq!(isolated_since(None, 7_000, TTL_MS), Some(0), "it never had a peer");
    assert_eq!(isolated_since(Some(7_000), 0, TTL_MS), None, "the clock was set back");
}
