//! A swarm of small clusters, each drawn from its seed.

use super::{HOUR_MS, MINUTE_MS, SECOND_US, TEN_YEARS_MS, settle};
use crate::simulator::{Chaos, Settings, Simulator, View};
use std::collections::BTreeMap;

/// How the clocks of a small cluster behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Clocks {
    Right,
    Skewed,
    Frozen,
    Ahead,
    Behind,
}

/// Runs a small cluster, every parameter of which follows from the seed. It requires:
///
/// - In the end all digests are equal, and nothing that a survivor had is lost.
/// - At all times each entry is what was written with its version or, once it has expired by the
///   clock of a node that had it, a tombstone of the same version. A node returns no value that has
///   expired by its own clock.
/// - Unless a clock is ten years off, no tombstone is purged within the day that it is kept, and
///   values with a TTL of hours are present on all nodes.
/// - Once every TTL is over, no key that was deleted or has expired has a value anywhere, and all
///   nodes show the same map.
///
/// If a clock is ten years off, a tombstone that only its node had may be purged at once, and an
/// older value may come back, the same on all nodes. A value that this node wrote before it knew any
/// other clock may expire ten years from now and be present on some nodes only. In a cluster of two,
/// one of which is ten years behind, only equal digests are required of values with a TTL.
fn small_cluster(seed: u64, tally: &mut BTreeMap<&'static str, u64>) {
    let mut draw = fastrand::Rng::with_seed(seed);
    let mut share = |most: f64| if draw.bool() { most * draw.f64() } else { 0.0 };
    let settings = Settings {
        seed,
        fail: share(0.4),
        silent: share(0.5),
        deletes: share(0.6),
        expiring: share(1.0),
        write_between_steps: share(0.01),
        ..Settings::default()
    };
    let view = match draw.u32(..4) {
        0 => View::Drawn(draw.usize(3..6)),
        1 => View::Fixed(draw.usize(3..6)),
        _ => View::Full,
    };
    let (lasts_long, ttl_ms) = match draw.u32(..3) {
        0 => (true, (4 * HOUR_MS, 6 * HOUR_MS)),
        1 => (false, (1, 2 * HOUR_MS)),
        _ => (false, (1, 10_000)),
    };
    let mut simulator = Simulator::new(Settings {
        nodes: draw.usize(2..=8),
        interval_ms: [200, 1_000, 3_000][draw.usize(..3)],
        eager: draw.u32(..4) > 0,
        ttl_ms,
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
    let clocks = match draw.u32(..8) {
        // A node that is in nobody's view never learns of another clock.
        0 if view == View::Full => Clocks::Ahead,
        1 if view == View::Full => Clocks::Behind,
        2 => Clocks::Frozen,
        3..6 => Clocks::Skewed,
        _ => Clocks::Right,
    };
    match clocks {
        Clocks::Right => {}
        Clocks::Skewed => {
            for node in &mut simulator.nodes {
                node.wall.ahead_ms = draw.i64(-5 * MINUTE_MS..=5 * MINUTE_MS);
            }
        }
        Clocks::Frozen => simulator.freeze_clock(0),
        Clocks::Ahead => simulator.nodes[0].wall.ahead_ms = TEN_YEARS_MS,
        Clocks::Behind => simulator.nodes[0].wall.ahead_ms = -TEN_YEARS_MS,
    }
    for _ in 0..5 {
        simulator.run_for(2 * SECOND_US);
        simulator.check_stores();
        let is_absurd = matches!(clocks, Clocks::Ahead | Clocks::Behind);
        let counters = &simulator.counters;
        assert!(is_absurd || counters.tombstones_purged == 0, "purged within a day");
        let expired = counters.expired + counters.expired_on_the_way;
        assert!(is_absurd || !lasts_long || expired == 0, "a value with a TTL of hours is gone");
    }
    settle(&mut simulator, 180 * SECOND_US);
    let counters = &simulator.counters;
    for (name, count) in counters.faults().into_iter().chain(counters.expiries()).chain([
        ("met itself", counters.exchanges_with_itself),
        ("clocks frozen", u64::from(clocks == Clocks::Frozen)),
        ("clocks minutes apart", u64::from(clocks == Clocks::Skewed)),
        ("a clock ten years ahead", u64::from(clocks == Clocks::Ahead)),
        ("a clock ten years behind", u64::from(clocks == Clocks::Behind)),
        ("values that last for hours", if lasts_long { counters.expiring } else { 0 }),
        ("tombstones purged under mad clocks", counters.tombstones_purged),
    ]) {
        *tally.entry(name).or_default() += count;
    }
}

/// Runs a small cluster for each seed and counts what happened in all of them together.
fn swarm(seeds: std::ops::Range<u64>) -> BTreeMap<&'static str, u64> {
    let mut tally = BTreeMap::new();
    let began = std::time::Instant::now();
    let first = seeds.start;
    for seed in seeds {
        // Printed before the run, so that a failure shows which seed it was.
        println!("seed {seed}");
        small_cluster(seed, &mut tally);
        if (seed + 1 - first) % 1_000 == 0 {
            println!("{} seeds in {} s", seed + 1 - first, began.elapsed().as_secs());
        }
    }
    tally
}

#[test]
fn a_few_random_small_clusters_converge() {
    let _ = swarm(0..20);
}

/// A thousand seeds take seconds, a million take hours. The last seed printed is the one that
/// failed:
///
/// ```text
/// FIRST=0 SEEDS=1000000 cargo test --profile long-tests --test core_tests -- \
///     --ignored --nocapture swarm
/// ```
#[test]
#[ignore = "run by ./test.sh swarm"]
fn a_swarm_of_random_small_clusters_converges() {
    let number = |name: &str, otherwise: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text}")),
        Err(_) => otherwise,
    };
    let (first, count) = (number("FIRST", 1_000), number("SEEDS", 1_000));
    println!("{count} seeds, beginning with {first}");
    let tally = swarm(first..first + count);
    println!("{tally:#?}");
    for (name, happened) in tally {
        assert!(count < 1_000 || happened > 0, "{name} did not happen");
    }
}
