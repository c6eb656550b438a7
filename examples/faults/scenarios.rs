//! What a scenario is, how it is run, and how it is judged.

use crate::checker::{self, Verdict};
use crate::cluster::{Cluster, Setup};
use crate::history::{Kind, Operation, Outcome};
use crate::load::Load;
use crate::{links, names, processes, resources};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// All nodes of a cluster must have the same map within this time after all faults have ended.
const AGREE_LIMIT: Duration = Duration::from_secs(15);
/// A fault begins only after this many acknowledged writes.
const WRITES_BEFORE: usize = 60;
const WARM_UP_LIMIT: Duration = Duration::from_secs(10);
/// Violations shown in full.
const SHOWN: usize = 5;
const LOG_LINES_SHOWN: usize = 12;
/// How many nodes' logs are shown if the failure names none.
const LOGS_SHOWN: usize = 2;

/// One fault, or several that belong together.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// A description in one line.
    pub about: &'static str,
    /// Whether it belongs to the short run.
    pub is_cheap: bool,
    /// The settings of its nodes.
    pub setup: Setup,
    /// Causes the fault, and returns the proof that it happened.
    pub run: fn(&mut Run) -> Result<Proof, Unfinished>,
}

/// A scenario of the short run with the usual settings.
pub const fn usual(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Run) -> Result<Proof, Unfinished>,
) -> Scenario {
    Scenario { name, about, is_cheap: true, setup: Setup::Usual, run }
}

/// Evidence that a fault really happened.
pub type Proof = String;

/// Why a scenario did not complete.
pub enum Unfinished {
    /// It failed.
    Failed(String),
    /// This machine cannot cause the fault.
    Impossible(String),
}

impl From<String> for Unfinished {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// `Ok` if the condition holds.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    [links::SCENARIOS, names::SCENARIOS, processes::SCENARIOS, resources::SCENARIOS]
        .into_iter()
        .flat_map(|list| list.iter().map(|one| Scenario { ..*one }))
        .collect()
}

/// A running scenario.
pub struct Run<'a> {
    /// The nodes.
    pub cluster: &'a mut Cluster,
    /// The clients of each cluster.
    pub loads: Vec<Load>,
    /// How long a fault lasts that has no duration of its own.
    pub time: Duration,
    /// The source of all randomness.
    pub random: fastrand::Rng,
}

impl Run<'_> {
    /// Lets the fault last for the chosen time.
    pub fn endure(&self) -> Result<(), String> {
        self.cluster.endure(self.time)
    }

    /// Reads keys of one node at another: what that has may then no longer be lost with the first.
    pub fn witness(&self, victim: usize, witness: usize) {
        let mark = format!("-{victim}-");
        for load in &self.loads {
            let keys = load.common.keys();
            for key in keys.iter().rev().filter(|key| key.contains(&mark)).take(8) {
                let target = &self.cluster.nodes[witness].target;
                load.common.ask(target, Kind::Get, key, None);
            }
        }
    }

    /// Kills a node, and records that.
    pub fn kill(&mut self, index: usize) -> Result<(), String> {
        let node = &mut self.cluster.nodes[index];
        node.kill()?;
        self.record_kill(index);
        Ok(())
    }

    /// Records that a node's process was killed.
    pub fn record_kill(&self, index: usize) {
        let incarnation = self.cluster.nodes[index].target.incarnation.load(Relaxed);
        self.loads.iter().for_each(|load| load.common.recorder.killed(index, incarnation));
    }

    /// Writes at one node, waits until another has the value, and returns how long that took.
    pub fn spreads(&mut self, from: usize, to: usize, limit: Duration) -> Result<Duration, String> {
        let common = self.loads[0].common.clone();
        let key = format!("{}-spread-{}", common.prefix, common.recorder.now());
        let [from, to] = [from, to].map(|index| self.cluster.nodes[index].target.clone());
        let written = common.ask(&from, Kind::Put, &key, Some("s".into()));
        ensure(written == Outcome::Acknowledged, || {
            format!("node {} did not take a write: {written:?}", from.index)
        })?;
        let what = format!("a write at node {} reaches node {}", from.index, to.index);
        self.cluster.wait(&what, limit, |_| {
            let address = gossip_sidecar::client::map_target([key.as_str()]);
            let answer = crate::http::request(to.http, "GET", &address, &[]);
            ensure(answer.is_ok_and(|answer| answer.status == 200), || "it is not there".into())
        })
    }

    /// All operations so far.
    fn operations(&self) -> Vec<Operation> {
        let loads = self.loads.iter();
        loads.flat_map(|load| load.common.recorder.snapshot().operations).collect()
    }

    fn acknowledged_writes(&self) -> usize {
        self.operations().iter().filter(|operation| is_acknowledged_write(operation)).count()
    }
}

fn is_acknowledged_write(operation: &Operation) -> bool {
    operation.kind != Kind::Get && operation.outcome == Outcome::Acknowledged
}

/// How a scenario ended.
pub enum End {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed,
    /// Not at all.
    Skipped,
}

/// The columns of the report.
pub fn heading() -> String {
    let title = "scenario";
    format!(
        "{title:<20} nodes   ops  acked within  lost invented stale resurrected equal after  took  proof"
    )
}

/// Runs a scenario and prints how it went.
pub fn run(scenario: &Scenario, cluster: &mut Cluster, time: Duration, seed: u64) -> End {
    let began = Instant::now();
    let name = scenario.name;
    let failed = |cluster: &mut Cluster, why: &str| {
        cluster.restart_before_next();
        println!("{name:<20} FAILED: {why}");
        let nodes = 0..cluster.nodes.len();
        let named: Vec<usize> = nodes.clone().filter(|&index| is_named(index, why)).collect();
        let shown = if named.is_empty() { nodes.take(LOGS_SHOWN).collect() } else { named };
        shown.into_iter().for_each(|index| show_log(index, cluster));
        End::Failed
    };
    if let Err(why) = cluster.set_up(scenario.setup) {
        return failed(cluster, &why);
    }
    let abilities = cluster.abilities;
    // Keys of earlier scenarios are still present, and must not be confused with this one's.
    let prefix = format!("{name}-{}", fastrand::u32(..));
    let start = |cluster_name: &str| {
        // Of two writes by different clocks, the later one need not win.
        let shares = scenario.setup != Setup::Clocks;
        Load::start(cluster.targets(cluster_name), abilities, &prefix, shares, seed)
    };
    let names: &[&str] = if scenario.setup == Setup::Two { &["a", "b"] } else { &["a"] };
    let loads = names.iter().map(|name| start(name)).collect();
    let random = fastrand::Rng::with_seed(seed);
    let mut run = Run { cluster, loads, time, random };
    let ended = execute(scenario, &mut run);
    let (proof, equal_after) = match ended {
        Ok(ended) => ended,
        Err(unfinished) => {
            drop(std::mem::take(&mut run.loads));
            let _ = run.cluster.heal();
            return match unfinished {
                Unfinished::Failed(why) => failed(run.cluster, &why),
                Unfinished::Impossible(why) => {
                    println!("{name:<20} skipped: {why}");
                    End::Skipped
                }
            };
        }
    };
    let (operations, acknowledged) = (run.operations().len(), run.acknowledged_writes());
    let verdict = match judge(&mut run) {
        Ok(verdict) => verdict,
        Err(why) => return failed(run.cluster, &why),
    };
    let Verdict { invented, stale, lost, resurrected, within_promise } = &verdict;
    println!(
        "{name:<20} {:>5} {operations:>5} {acknowledged:>6} {:>6} {:>5} {:>8} {:>5} {:>11} {:>9.1} s {:>4.0} s  {proof}",
        run.cluster.nodes.len(),
        within_promise.len(),
        lost.len(),
        invented.len(),
        stale.len(),
        resurrected.len(),
        equal_after.as_secs_f64(),
        began.elapsed().as_secs_f64(),
    );
    if verdict.is_good() {
        return End::Passed;
    }
    let violations = verdict.violations();
    for (kind, text) in violations.iter().take(SHOWN) {
        println!("   {kind}: {text}");
    }
    if violations.len() > SHOWN {
        println!("   and {} more", violations.len() - SHOWN);
    }
    let concerned =
        |index: usize| violations.iter().take(SHOWN).any(|(_, text)| is_named(index, text));
    let nodes = 0..run.cluster.nodes.len();
    nodes.filter(|&index| concerned(index)).for_each(|index| show_log(index, run.cluster));
    End::Failed
}

/// Causes the fault and heals it, and returns how long it took until all nodes agreed.
fn execute(scenario: &Scenario, run: &mut Run) -> Result<(Proof, Duration), Unfinished> {
    let began = Instant::now();
    while run.acknowledged_writes() < WRITES_BEFORE {
        if began.elapsed() > WARM_UP_LIMIT {
            return Err(Unfinished::Failed(format!(
                "not {WRITES_BEFORE} writes in {WARM_UP_LIMIT:?}"
            )));
        }
        run.cluster.endure(Duration::from_millis(50))?;
    }
    let proof = (scenario.run)(run)?;
    run.cluster.heal()?;
    let healed = Instant::now();
    run.cluster.wait_until_ready()?;
    run.loads.iter_mut().for_each(Load::stop);
    run.cluster.wait("all nodes have the same map", AGREE_LIMIT, |cluster| cluster.agree())?;
    let equal_after = healed.elapsed();
    for node in &mut run.cluster.nodes {
        let index = node.target.index;
        if let Some(status) = node.has_ended() {
            return Err(Unfinished::Failed(format!("node {index} has ended: {status}")));
        }
        let panics = node.count("panics");
        ensure(panics == 0, || format!("node {index} counts {panics} panics"))?;
    }
    Ok((proof, equal_after))
}

/// Reads what the nodes have, and checks it against the history.
fn judge(run: &mut Run) -> Result<Verdict, String> {
    let mut all = Verdict::default();
    for (load, name) in run.loads.iter().zip(["a", "b"]) {
        let keys: Vec<String> = {
            let operations = load.common.recorder.snapshot().operations;
            let names = operations.into_iter().map(|operation| operation.key);
            names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
        };
        let recorder = &load.common.recorder;
        let members = run.cluster.nodes.iter().filter(|node| node.cluster == name);
        let contents = members
            .map(|node| run.cluster.contents(node.target.index, &keys, recorder))
            .collect::<Result<Vec<_>, _>>()?;
        let verdict = checker::check(&recorder.snapshot(), &contents);
        all.invented.extend(verdict.invented);
        all.stale.extend(verdict.stale);
        all.lost.extend(verdict.lost);
        all.resurrected.extend(verdict.resurrected);
        all.within_promise.extend(verdict.within_promise);
    }
    Ok(all)
}

fn is_named(index: usize, text: &str) -> bool {
    let mark = format!("node {index}");
    let after = |(at, _): (usize, &str)| text[at + mark.len()..].chars().next();
    text.match_indices(&mark).any(|found| !after(found).is_some_and(|next| next.is_ascii_digit()))
}

fn show_log(index: usize, cluster: &Cluster) {
    println!("   the end of the log of node {index}:");
    cluster.nodes[index].log(LOG_LINES_SHOWN).iter().for_each(|line| println!("      {line}"));
}
