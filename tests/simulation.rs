//! Clusters under faults: whatever happens, in the end all have the same, and the right thing.

mod simulator;

use gossip_sidecar::entry::Entry;
use simulator::{Chaos, Settings, Simulator, View};

const SECOND_US: u64 = 1_000_000;
const MINUTE_MS: i64 = 60_000;
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 60 * MINUTE_MS;

/// Ends the faults and demands that all agree, on the highest version of each key that a survivor
/// had.
fn settle(simulator: &mut Simulator, within_us: u64) {
    simulator.set_writing(false);
    simulator.calm();
    simulator.check_stores();
    let expected = simulator.expected();
    assert!(simulator.run_until_equal(within_us), "no agreement: {:?}", simulator.counters);
    simulator.check_all_hold(&expected);
    simulator.check_stores();
}

fn hundred_nodes(seed: u64) -> Simulator {
    let mut simulator = Simulator::new(Settings {
        seed,
        nodes: 100,
        fail: 0.1,
        silent: 0.1,
        dns_lag_us: 2 * SECOND_US,
        writes_a_second: 30.0,
        deletes: 0.3,
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
fn a_hundred_nodes_agree_after_all_kinds_of_faults() {
    let seed = 7;
    println!("seed {seed}");
    let simulator = hundred_nodes(seed);
    let counters = simulator.counters.clone();
    println!("{counters:?}, {} µs", simulator.now_us());
    for (name, count) in [
        ("unreachable", counters.unreachable),
        ("cut between turns", counters.cut_between_turns),
        ("cut within a turn", counters.cut_within_turn),
        ("cut silently", counters.cut_silently),
        ("cut by a partition", counters.cut_by_partition),
        ("cut by a death", counters.cut_by_death),
        ("deletes", counters.deletes),
        ("writes between steps", counters.writes_between_steps),
        ("restarts", counters.restarts),
        ("replacements", counters.replacements),
        ("partitions", counters.partitions),
        ("one-way cuts", counters.one_way_cuts),
        ("heals", counters.heals),
        ("clock jumps", counters.clock_jumps),
        ("clock freezes", counters.clock_freezes),
        ("failed look-ups", counters.failed_look_ups),
    ] {
        assert!(count > 0, "{name}: did not happen");
    }
    let again = hundred_nodes(seed);
    assert_eq!((again.trace(), again.counters), (simulator.trace(), counters));
    assert_ne!(hundred_nodes(seed + 1).trace(), simulator.trace());
}

/// A cluster of ten with short-lived tombstones that all have the same hundred keys.
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
fn who_was_cut_off_brings_no_deleted_key_back_and_keeps_its_own_writes() {
    for seed in 0..5 {
        let mut simulator = ten_nodes(seed);
        simulator.partition(&[9]);
        simulator.run_for(SECOND_US);
        for number in 0..50 {
            simulator.delete(number % 9, &format!("old {number}"));
        }
        simulator.put(9, "old 60", b"written while cut off");
        simulator.run_for(12 * SECOND_US);
        simulator.put(9, "new", b"written while cut off");
        simulator.put(4, "elsewhere", b"written meanwhile");
        simulator.run_for(20 * SECOND_US);
        assert_eq!(simulator.counters.collected, 9 * 50, "the tombstones are gone");
        assert_eq!(simulator.nodes[9].store.live(), 101);

        // Even if conversations break while it comes back.
        simulator.settings.fail = 0.3;
        simulator.heal();
        assert!(simulator.run_until_equal(90 * SECOND_US), "seed {seed}: no agreement");
        assert!(simulator.counters.forgotten >= 50);
        for node in simulator.live() {
            let store = &simulator.nodes[node].store;
            let value = |key: &str| store.entry(key).and_then(Entry::value);
            let resurrected =
                (0..50).filter(|number| value(&format!("old {number}")).is_some()).count();
            assert_eq!(resurrected, 0, "seed {seed}, node {node}");
            assert_eq!(store.live(), 52, "seed {seed}, node {node}");
            assert_eq!(value("new"), Some(&b"written while cut off"[..]));
            assert_eq!(value("old 60"), Some(&b"written while cut off"[..]));
            assert_eq!(value("elsewhere"), Some(&b"written meanwhile"[..]));
        }
    }
}

#[test]
fn nothing_is_lost_when_all_are_cut_off_from_all() {
    for seed in 0..5 {
        let mut simulator = ten_nodes(seed);
        simulator.settings.deletes = 0.0;
        simulator.settings.writes_a_second = 20.0;
        simulator.settings.keys = 1_000;
        simulator.set_writing(true);
        simulator.run_for(2 * SECOND_US);
        simulator.fail_look_ups(true);
        simulator.scatter();
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
fn what_was_written_right_before_a_cut_is_kept() {
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

/// A small cluster whose every parameter follows from the seed.
fn small_cluster(seed: u64) {
    let mut draw = fastrand::Rng::with_seed(seed);
    let mut share = |most: f64| if draw.bool() { most * draw.f64() } else { 0.0 };
    let settings = Settings {
        seed,
        fail: share(0.4),
        silent: share(0.5),
        deletes: share(0.6),
        write_between_steps: share(0.01),
        ..Settings::default()
    };
    let view = match draw.u32(..4) {
        0 => View::Drawn(draw.usize(3..6)),
        1 => View::Fixed(draw.usize(3..6)),
        _ => View::Full,
    };
    let mut simulator = Simulator::new(Settings {
        nodes: draw.usize(2..=8),
        interval_ms: [200, 1_000, 3_000][draw.usize(..3)],
        eager: draw.u32(..4) > 0,
        leg_us: [50, 500, 5_000, 50_000][draw.usize(..4)],
        view,
        dns_lag_us: draw.u64(..5 * SECOND_US),
        knows_own_address: draw.bool(),
        writes_a_second: draw.f64() * 30.0,
        keys: draw.u32(1..200),
        chaos: draw.bool().then_some(Chaos {
            every_us: draw.u64(SECOND_US / 10..SECOND_US),
            survivors: 0.5,
            jump_ms: 5 * MINUTE_MS,
        }),
        ..settings
    });
    // Who is in nobody's view hears no clock but its own.
    if draw.u32(..4) == 0 && view == View::Full {
        // What a clock so far behind deletes is past its time at once, and may come back.
        let is_behind = simulator.settings.deletes == 0.0;
        simulator.nodes[0].wall.ahead_ms = if is_behind { -TEN_YEARS_MS } else { TEN_YEARS_MS };
    }
    for _ in 0..5 {
        simulator.run_for(2 * SECOND_US);
        simulator.check_stores();
    }
    settle(&mut simulator, 180 * SECOND_US);
}

fn swarm(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        println!("seed {seed}");
        small_cluster(seed);
    }
}

#[test]
fn a_few_small_clusters_of_all_kinds_agree() {
    swarm(0..20);
}

#[test]
#[ignore = "the swarm: run by test.sh in release"]
fn a_thousand_small_clusters_of_all_kinds_agree() {
    swarm(1_000..2_000);
}
