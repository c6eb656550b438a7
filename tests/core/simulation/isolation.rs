//! Partitions that last longer than tombstones are kept.

use super::SECOND_US;
use crate::simulator::{Settings, Simulator};
use gossip_sidecar::Entry;

/// Ten nodes with the same hundred keys, and tombstones that are purged soon.
fn ten_nodes(seed: u64) -> Simulator {
    println!("seed {seed}");
    let mut simulator = Simulator::new(Settings {
        seed,
        nodes: 10,
        tombstone_ttl_ms: 20_000,
        ..Settings::default()
    });
    for number in 0..100 {
        simulator.put(number % 10, &format!("old {number}"), b"old");
    }
    assert!(simulator.run_until_equal(10 * SECOND_US));
    assert_eq!(simulator.nodes[3].store.live(), 100);
    simulator
}

#[test]
fn an_isolated_node_resurrects_nothing_and_keeps_its_own_writes() {
    for seed in 0..5 {
        let mut simulator = ten_nodes(seed);
        simulator.partition(&[9]);
        simulator.run_for(SECOND_US);
        for number in 0..50 {
            simulator.delete(number % 9, &format!("old {number}"));
        }
        simulator.put(9, "old 60", b"written while isolated");
        simulator.run_for(12 * SECOND_US);
        simulator.put(9, "new", b"written while isolated");
        simulator.put(4, "elsewhere", b"written meanwhile");
        simulator.run_for(20 * SECOND_US);
        assert_eq!(simulator.counters.tombstones_purged, 9 * 50, "the tombstones are purged");
        assert_eq!(simulator.nodes[9].store.live(), 101);

        // Exchanges may break while it reconnects.
        simulator.settings.fail = 0.3;
        simulator.heal();
        assert!(simulator.run_until_equal(90 * SECOND_US), "seed {seed}: no agreement");
        assert!(simulator.counters.purged >= 50);
        for node in simulator.live() {
            let store = &simulator.nodes[node].store;
            let value = |key: &str| store.entry(key).and_then(Entry::value);
            let resurrected =
                (0..50).filter(|number| value(&format!("old {number}")).is_some()).count();
            assert_eq!(resurrected, 0, "seed {seed}, node {node}");
            assert_eq!(store.live(), 52, "seed {seed}, node {node}");
            assert_eq!(value("new"), Some(&b"written while isolated"[..]));
            assert_eq!(value("old 60"), Some(&b"written while isolated"[..]));
            assert_eq!(value("elsewhere"), Some(&b"written meanwhile"[..]));
        }
    }
}

#[test]
fn nothing_is_lost_when_every_node_is_isolated() {
    for seed in 0..5 {
        let mut simulator = ten_nodes(seed);
        simulator.settings.deletes = 0.0;
        simulator.settings.writes_a_second = 20.0;
        simulator.settings.keys = 1_000;
        simulator.set_writing(true);
        simulator.run_for(2 * SECOND_US);
        simulator.fail_look_ups(true);
        simulator.partition_all();
        simulator.run_for(30 * SECOND_US);
        simulator.set_writing(false);
        let expected = simulator.expected();
        assert!(expected.len() > 300 && simulator.counters.failed_look_ups > 0);
        assert!(!simulator.is_equal());
        simulator.fail_look_ups(false);
        simulator.heal();
        assert!(simulator.run_until_equal(90 * SECOND_US), "seed {seed}: no agreement");
        simulator.check_all_hold(&expected);
    }
}

#[test]
fn a_write_right_before_a_partition_is_kept() {
    for seed in 0..30 {
        let mut simulator = Simulator::new(Settings {
            seed,
            tombstone_ttl_ms: 20_000,
            writes_a_second: 1.0,
            write_between_steps: 0.3,
            leg_us: 20_000,
            deletes: 0.0,
            keys: 1_000,
            ..Settings::default()
        });
        simulator.run_for(3 * SECOND_US + seed * 20_011);
        simulator.set_writing(false);
        simulator.partition(&[2]);
        simulator.run_for(15 * SECOND_US);
        let expected = simulator.expected();
        simulator.heal();
        assert!(simulator.run_until_equal(90 * SECOND_US), "seed {seed}: no agreement");
        simulator.check_all_hold(&expected);
    }
}

#[test]
fn writes_made_while_isolated_are_kept_though_the_clock_was_set_back() {
    for seed in 0..5 {
        let mut simulator = ten_nodes(seed);
        simulator.partition(&[9]);
        simulator.jump_clock(9, -5_000);
        for number in 0..500 {
            simulator.put(9, &format!("new {number}"), b"written while isolated");
        }
        simulator.run_for(40 * SECOND_US);
        let expected = simulator.expected();
        simulator.heal();
        assert!(simulator.run_until_equal(90 * SECOND_US), "seed {seed}: no agreement");
        simulator.check_all_hold(&expected);
    }
}
