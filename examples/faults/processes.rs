//! Scenarios: faults of processes and of their clocks.

use crate::cluster::{SHORT_MEMORY, START_LIMIT, Setup};
use crate::dns::Answer;
use crate::history::{Kind, Outcome};
use crate::node::Node;
use crate::scenarios::{Proof, Run, Scenario, Unfinished, ensure};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A node drains for 5 s at most.
const LEAVE_LIMIT: Duration = Duration::from_secs(8);
/// DNS lists nodes that replace others after this time.
const DNS_LAG: Duration = Duration::from_millis(2500);
/// The library that gives a process another time without changing the machine's clock.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The scenarios of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "sigkill",
        about: "random nodes are killed and started again",
        is_cheap: true,
        setup: Setup::Usual,
        run: sigkill,
    },
    Scenario {
        name: "sigstop",
        about: "two nodes are halted for a moment",
        is_cheap: true,
        setup: Setup::Usual,
        run: sigstop,
    },
    Scenario {
        name: "sigstop-long",
        about: "a node is halted until the others have purged their deletions",
        is_cheap: true,
        setup: Setup::ShortTombstones,
        run: sigstop_long,
    },
    Scenario {
        name: "rolling-restart",
        about: "all nodes leave and come back, one after another",
        is_cheap: true,
        setup: Setup::Usual,
        run: rolling_restart,
    },
    Scenario {
        name: "replaced",
        about: "all nodes leave at once, and DNS lists those that replace them 2.5 s later",
        is_cheap: true,
        setup: Setup::Usual,
        run: replaced,
    },
    Scenario {
        name: "clocks",
        about: "clocks that are ahead, behind, and that jump",
        is_cheap: false,
        setup: Setup::Clocks,
        run: clocks,
    },
];

fn sigkill(run: &mut Run) -> Result<Proof, Unfinished> {
    let nodes = run.cluster.nodes.len();
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < run.time || kills < 3 {
        let victim = run.random.usize(..nodes);
        let witness = (victim + 1 + run.random.usize(..nodes - 1)) % nodes;
        run.witness(victim, witness);
        run.kill(victim)?;
        kills += 1;
        run.cluster.endure(Duration::from_millis(run.random.u64(50..500)))?;
        run.cluster.start(victim)?;
        run.cluster.wait_until_ready()?;
    }
    Ok(format!("{kills} processes ended by signal 9"))
}

fn halt(run: &mut Run, index: usize, time: Duration) -> Result<(), String> {
    let node = &run.cluster.nodes[index];
    node.target.serves.store(false, std::sync::atomic::Ordering::Relaxed);
    node.signal("STOP")?;
    run.cluster.wait("the node is halted", Duration::from_secs(2), |cluster| {
        let state = cluster.nodes[index].state();
        ensure(state == 'T', || format!("its state is {state}"))
    })?;
    run.cluster.endure(time)?;
    let state = run.cluster.nodes[index].state();
    ensure(state == 'T', || format!("node {index} was to be halted, its state is {state}"))?;
    run.cluster.nodes[index].signal("CONT")
}

fn sigstop(run: &mut Run) -> Result<Proof, Unfinished> {
    let first = run.random.usize(..run.cluster.nodes.len());
    let second = (first + 1) % run.cluster.nodes.len();
    for index in [first, second] {
        halt(run, index, run.time / 2)?;
        run.cluster.nodes[index].target.serves.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(format!(
        "nodes {first} and {second} in state T for {:.1} s each",
        run.time.as_secs_f64() / 2.0
    ))
}

/// Deletes values on one node while another is stopped, until the tombstones are purged.
fn sigstop_long(run: &mut Run) -> Result<Proof, Unfinished> {
    let halted = run.cluster.nodes.len() - 1;
    let common = run.loads[0].common.clone();
    let keys: Vec<String> = (0..10).map(|at| format!("{}-gone-{at}", common.prefix)).collect();
    let [first, last] = [0, halted].map(|index| run.cluster.nodes[index].target.clone());
    for key in &keys {
        common.ask(&first, Kind::Put, key, Some(format!("{key}-value")));
        run.cluster.wait("the value is everywhere", Duration::from_secs(5), |_| {
            let address = gossip_sidecar::client::map_target([key.as_str()]);
            let answer = crate::http::request(last.http, "GET", &address, &[]);
            ensure(answer.is_ok_and(|answer| answer.status == 200), || "it is not there".into())
        })?;
    }
    let own = format!("{}-kept", common.prefix);
    let written = common.ask(&last, Kind::Put, &own, Some("kept".into()));
    ensure(written == Outcome::Acknowledged, || format!("not taken: {written:?}"))?;
    let deletes = run.cluster.abilities.delete;
    let tombstones = || run.cluster.nodes[0].count("tombstones");
    let before = tombstones();
    // After it has stopped, so that it cannot have received them.
    let node = &run.cluster.nodes[halted];
    node.target.serves.store(false, std::sync::atomic::Ordering::Relaxed);
    node.signal("STOP")?;
    if deletes {
        for key in &keys {
            common.ask(&first, Kind::Delete, key, None);
        }
    }
    let after = tombstones();
    halt(run, halted, SHORT_MEMORY + Duration::from_secs(3))?;
    let purge_took =
        run.cluster.wait("the node has had an exchange", Duration::from_secs(10), |cluster| {
            let purged = cluster.nodes[halted].count("nEntriesPurged");
            ensure(!deletes || purged > 0, || "it has purged nothing".into())
        })?;
    let (seconds, moment) = (SHORT_MEMORY.as_secs() + 3, purge_took.as_secs_f64());
    let purged = run.cluster.nodes[halted].count("nEntriesPurged");
    Ok(format!(
        "node {halted} in state T for {seconds} s; tombstones elsewhere {before} then {after}; it purged {purged} entries within {moment:.1} s"
    ))
}

fn rolling_restart(run: &mut Run) -> Result<Proof, Unfinished> {
    let mut longest = Duration::ZERO;
    for index in 0..run.cluster.nodes.len() {
        // So that it has writes of its own to push.
        run.cluster.endure(run.time / run.cluster.nodes.len() as u32)?;
        let began = Instant::now();
        run.cluster.nodes[index].leave(LEAVE_LIMIT)?;
        longest = longest.max(began.elapsed());
        let word = run.cluster.nodes[index].logged("exiting: peers have everything");
        ensure(word > 0, || format!("node {index} exited without a peer's confirmation"))?;
        run.cluster.start(index)?;
        run.cluster.wait("the node is ready again", START_LIMIT, |cluster| {
            ensure(cluster.nodes[index].is_ready(), || format!("node {index} is not"))
        })?;
    }
    let (nodes, ms) = (run.cluster.nodes.len(), longest.as_millis());
    Ok(format!("{nodes} processes ended with 0 after SIGTERM, the slowest in {ms} ms"))
}

/// One half of the nodes replaces the other.
fn replaced(run: &mut Run) -> Result<Proof, Unfinished> {
    let nodes = run.cluster.nodes.len();
    let half = nodes / 2;
    let list = |run: &Run, range: std::ops::Range<usize>| {
        let addresses = run.cluster.nodes[range].iter().map(|node| node.namespace.data).collect();
        Answer::Addresses(addresses)
    };
    for index in half..nodes {
        run.cluster.nodes[index].leave(LEAVE_LIMIT)?;
    }
    let (old, new) = (list(run, 0..half), list(run, half..nodes));
    run.cluster.dns_says(|_| old.clone());
    run.cluster.wait("the old nodes know only each other", START_LIMIT, |cluster| {
        let knows = |node: &Node| node.count("peers") as usize + 1 == half;
        ensure(cluster.nodes[..half].iter().all(knows), || "they know others".into())
    })?;
    run.endure()?;
    let began = Instant::now();
    run.cluster.dns_says(|node| Answer::Addresses(vec![node.namespace.data]));
    for index in 0..half {
        run.cluster.nodes[index].signal("TERM")?;
    }
    for index in half..nodes {
        run.cluster.start(index)?;
    }
    run.cluster.endure(DNS_LAG)?;
    run.cluster.dns_says(|_| new.clone());
    for index in 0..half {
        let node = &mut run.cluster.nodes[index];
        let status = node.wait_for_end(LEAVE_LIMIT)?;
        let word = node.logged("exiting: peers have everything");
        ensure(status.success() && word > 0, || {
            format!("node {index} left without a peer's word: {status}")
        })?;
    }
    let took = began.elapsed().as_secs_f64();
    run.cluster.wait_until_ready()?;
    Ok(format!("{half} processes handed over to {} others in {took:.1} s", nodes - half))
}

/// A file with the offset of a clock; removed when dropped.
struct ClockFile(PathBuf);

impl Drop for ClockFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn clocks(run: &mut Run) -> Result<Proof, Unfinished> {
    if !Path::new(FAKETIME).exists() {
        return Err(Unfinished::Impossible(format!(
            "{FAKETIME} is missing (apt-get install faketime)"
        )));
    }
    let file = std::env::temp_dir().join(format!("gsf-{}-clock", std::process::id()));
    let file = ClockFile(file);
    let file = &file.0;
    let set = |offset: &str| {
        std::fs::write(file, offset).map_err(|error| format!("{}: {error}", file.display()))
    };
    set("+0s")?;
    let name = file.to_string_lossy().into_owned();
    let common = [("LD_PRELOAD", FAKETIME), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let clocks: [&[(&str, &str)]; 3] = [
        &[("FAKETIME", "+600s")],
        &[("FAKETIME", "-600s")],
        &[("FAKETIME_TIMESTAMP_FILE", &name), ("FAKETIME_CACHE_DURATION", "1")],
    ];
    run.loads.iter().for_each(|load| load.common.recorder.clocks_jump());
    for (index, clock) in clocks.iter().enumerate() {
        run.cluster.nodes[index].leave(LEAVE_LIMIT)?;
        run.cluster.start_with(index, &[&common[..], clock].concat())?;
    }
    run.cluster.wait_until_ready()?;
    for offset in ["+300s", "-300s", "+0s"] {
        set(offset)?;
        run.endure()?;
        for (from, to) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
            run.spreads(from, to, Duration::from_secs(5))?;
        }
    }
    let off: u64 = run.cluster.nodes.iter().map(|node| node.count("nClocksOff")).sum();
    ensure(off > 0, || "no node has seen that a clock is off".into())?;
    // Their clocks are right again before the verdict, as after a repair.
    for index in 0..clocks.len() {
        run.cluster.nodes[index].leave(LEAVE_LIMIT)?;
        run.cluster.start(index)?;
    }
    Ok(format!(
        "{off} hellos from clocks that are off; 10 min ahead, 10 min behind, jumps of 5 and 10 min"
    ))
}
