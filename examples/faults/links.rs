//! Scenarios: faults of the network between the nodes.

use crate::cluster::{SHORT_MEMORY, Setup};
use crate::scenarios::{Proof, Run, Scenario, Unfinished, ensure, usual};
use crate::wire::{Counts, Faults};
use std::time::Duration;

/// A write must cross a bad network within this time.
const SPREAD_LIMIT: Duration = Duration::from_secs(20);

/// The scenarios of this file.
pub const SCENARIOS: &[Scenario] = &[
    usual("halves", "two halves that cannot reach each other", halves),
    usual("isolated", "one node that reaches no other", isolated),
    usual("one-way", "packets from one half to the other are lost, not those back", one_way),
    usual("bridge", "two halves that only one node connects", bridge),
    usual("ring", "each node reaches only the two beside it", ring),
    usual("loss", "20 % of all packets are lost", loss),
    usual("latency", "each packet takes 100 ± 50 ms", latency),
    usual("duplicated", "30 % of all packets are duplicated", duplicated),
    usual("reordered", "25 % of all packets are overtaken", reordered),
    Scenario {
        name: "all-alone",
        about: "no node reaches any other for longer than half of TOMBSTONE_TTL",
        is_cheap: true,
        setup: Setup::ShortTombstones,
        run: all_alone,
    },
];

/// Blocks all links except some for a while.
fn block_links(run: &mut Run, may_pass: impl Fn(usize, usize) -> bool) -> Result<Counts, String> {
    let before = run.cluster.wire.counts();
    run.cluster.connect_only(may_pass);
    run.endure()?;
    let now = run.cluster.wire.counts();
    ensure(now.blocked > before.blocked, || "no packet was sent over a blocked link".into())?;
    Ok(Counts { blocked: now.blocked - before.blocked, ..now })
}

fn halves(run: &mut Run) -> Result<Proof, Unfinished> {
    let half = run.cluster.nodes.len() / 2;
    let counts = block_links(run, |from, to| (from < half) == (to < half))?;
    Ok(format!("{} packets dropped between the halves", counts.blocked))
}

fn isolated(run: &mut Run) -> Result<Proof, Unfinished> {
    let alone = run.random.usize(..run.cluster.nodes.len());
    let counts = block_links(run, |from, to| from != alone && to != alone)?;
    Ok(format!("{} packets from and to node {alone} dropped", counts.blocked))
}

fn one_way(run: &mut Run) -> Result<Proof, Unfinished> {
    let half = run.cluster.nodes.len() / 2;
    let counts = block_links(run, |from, to| from >= half || to < half)?;
    Ok(format!("{} packets from the first half to the second dropped, none back", counts.blocked))
}

fn bridge(run: &mut Run) -> Result<Proof, Unfinished> {
    let (last, half) = (run.cluster.nodes.len() - 1, run.cluster.nodes.len() / 2);
    let counts = block_links(run, |from, to| from == 0 || to == 0 || (from < half) == (to < half))?;
    let took = run.spreads(1, last, SPREAD_LIMIT)?;
    let (dropped, seconds) = (counts.blocked, took.as_secs_f64());
    Ok(format!("{dropped} packets dropped; across the bridge in {seconds:.1} s"))
}

fn ring(run: &mut Run) -> Result<Proof, Unfinished> {
    let nodes = run.cluster.nodes.len();
    let beside = |from: usize, to: usize| (from + 1) % nodes == to || (to + 1) % nodes == from;
    let counts = block_links(run, beside)?;
    let took = run.spreads(0, nodes / 2, SPREAD_LIMIT)?;
    let (dropped, seconds) = (counts.blocked, took.as_secs_f64());
    Ok(format!("{dropped} packets dropped; half around in {seconds:.1} s"))
}

/// Makes the network bad for a while, and requires that a write still crosses it.
fn disturb(run: &mut Run, faults: Faults) -> Result<(Counts, Counts, Duration), String> {
    let before = run.cluster.wire.counts();
    run.cluster.wire.set(faults);
    run.endure()?;
    let took = run.spreads(0, run.cluster.nodes.len() - 1, SPREAD_LIMIT)?;
    Ok((before, run.cluster.wire.counts(), took))
}

/// Reports how many packets met the fault, which must be about the wanted share of them.
fn share(
    what: &str,
    (before, now, took): &(Counts, Counts, Duration),
    wanted: f64,
    count: impl Fn(&Counts) -> u64,
) -> Result<Proof, Unfinished> {
    let met = count(now) - count(before);
    let all = now.delivered - before.delivered + now.lost - before.lost;
    let share = met as f64 / all.max(1) as f64;
    ensure(all > 100 && share > wanted / 2.0, || {
        format!("{met} of {all} packets {what}, instead of a share of about {wanted}")
    })?;
    let (percent, seconds) = (share * 100.0, took.as_secs_f64());
    Ok(format!(
        "{met} of {all} packets {what} ({percent:.0} %); a write got through in {seconds:.1} s"
    ))
}

fn loss(run: &mut Run) -> Result<Proof, Unfinished> {
    let seen = disturb(run, Faults { loss: 0.2, ..Faults::default() })?;
    share("lost", &seen, 0.2, |counts| counts.lost)
}

fn latency(run: &mut Run) -> Result<Proof, Unfinished> {
    let [delay, jitter] = [100, 50].map(Duration::from_millis);
    let seen = disturb(run, Faults { delay, jitter, ..Faults::default() })?;
    share("late", &seen, 0.8, |counts| counts.late)
}

fn duplicated(run: &mut Run) -> Result<Proof, Unfinished> {
    let seen = disturb(run, Faults { duplicate: 0.3, ..Faults::default() })?;
    share("were duplicated", &seen, 0.2, |counts| counts.duplicated)
}

fn reordered(run: &mut Run) -> Result<Proof, Unfinished> {
    let seen = disturb(run, Faults { reorder: 0.25, ..Faults::default() })?;
    share("were overtaken", &seen, 0.02, |counts| counts.reordered)
}

fn all_alone(run: &mut Run) -> Result<Proof, Unfinished> {
    run.time = run.time.max(SHORT_MEMORY / 2 + Duration::from_secs(1));
    let counts = block_links(run, |_, _| false)?;
    let purged: u64 = run.cluster.nodes.iter().map(|node| node.count("nEntriesPurged")).sum();
    let (dropped, seconds) = (counts.blocked, run.time.as_secs());
    Ok(format!("{dropped} packets dropped in {seconds} s; {purged} entries purged by then"))
}
