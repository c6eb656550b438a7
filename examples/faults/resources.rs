//! Scenarios: faults of the machine, which has no disk, memory, threads or descriptors left.

use crate::group::Group;
use crate::http;
use crate::network;
use crate::scenarios::{Proof, Run, Scenario, Unfinished, ensure, usual};
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const LEAVE_LIMIT: Duration = Duration::from_secs(8);
/// A node must serve again within this time after the shortage.
const SERVE_LIMIT: Duration = Duration::from_secs(10);
/// A shortage must show its effect within this time.
const FAULT_LIMIT: Duration = Duration::from_secs(10);
/// How much more memory a node may use before the kernel kills it.
const SPARE_MEMORY: u64 = 3 << 20;
const BULK_BYTES: usize = 256 << 10;
const BULK_VALUES: usize = 40;
/// How many more descriptors a node may open.
const SPARE_DESCRIPTORS: usize = 10;

/// The scenarios of this file.
pub const SCENARIOS: &[Scenario] = &[
    usual("disk-full", "the working directory and the log are on full disks", disk_full),
    usual("out-of-memory", "the kernel ends a node that takes too much", out_of_memory),
    usual("no-threads", "a node can start no more threads", no_threads),
    usual("no-descriptors", "a node can open no more connections", no_descriptors),
];

/// A small disk in memory; removed when dropped.
struct Disk(PathBuf);

impl Disk {
    fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("gsf-{}-disk", std::process::id()));
        let name = path.to_string_lossy().into_owned();
        fs::create_dir_all(&path).map_err(|error| format!("{name}: {error}"))?;
        let disk = Self(path);
        network::run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &name])?;
        Ok(disk)
    }

    /// Writes until the disk is full, and returns the kind of the error.
    fn fill(&self) -> Result<ErrorKind, String> {
        let path = self.0.join("ballast");
        let mut file =
            fs::File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                return Ok(error.kind());
            }
        }
    }

    fn make_read_only(&self) -> Result<ErrorKind, String> {
        let name = self.0.to_string_lossy().into_owned();
        network::run("mount", &["-o", "remount,ro", &name])?;
        match fs::write(self.0.join("more"), "x") {
            Ok(()) => Err(format!("{name} was to be read-only and is not")),
            Err(error) => Ok(error.kind()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let name = self.0.to_string_lossy().into_owned();
        let _ = network::run("umount", &["--lazy", &name]);
        let _ = fs::remove_dir(&self.0);
    }
}

/// Restarts a node in other surroundings.
fn restart(run: &mut Run, index: usize, prepare: impl FnOnce(&mut Run)) -> Result<(), String> {
    run.cluster.nodes[index].leave(LEAVE_LIMIT)?;
    prepare(run);
    run.cluster.start(index)?;
    run.cluster.wait_until_ready()?;
    Ok(())
}

fn disk_full(run: &mut Run) -> Result<Proof, Unfinished> {
    let victim = run.cluster.nodes.len() - 1;
    let disk = Disk::new()?;
    let full = disk.fill()?;
    ensure(full == ErrorKind::StorageFull, || format!("the full disk says {full}"))?;
    let directory = disk.0.to_string_lossy().into_owned();
    restart(run, victim, |run| {
        let surroundings = &mut run.cluster.nodes[victim].surroundings;
        surroundings.directory = Some(directory.clone());
        surroundings.log_to = Some("/dev/full".into());
    })?;
    let pid = run.cluster.nodes[victim].pid();
    let works_in = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    ensure(works_in == disk.0, || format!("node {victim} works in {}", works_in.display()))?;
    run.cluster.endure(run.time / 2)?;
    let read_only = disk.make_read_only()?;
    run.cluster.endure(run.time / 2)?;
    run.spreads(victim, 0, Duration::from_secs(5))?;
    for node in &run.cluster.nodes {
        let written = node.files_written()?;
        let index = node.target.index;
        ensure(written.is_empty(), || format!("node {index} writes to {}", written.join(", ")))?;
    }
    // Before the disk is removed.
    restart(run, victim, |run| run.cluster.nodes[victim].surroundings = Default::default())?;
    Ok(format!(
        "{directory}: {full:?}, then {read_only:?}, log to /dev/full; no node has a file open for writing"
    ))
}

fn out_of_memory(run: &mut Run) -> Result<Proof, Unfinished> {
    let victim = run.cluster.nodes.len() - 1;
    let group = Group::new("memory").map_err(Unfinished::Impossible)?;
    let procs_file = group.procs_file();
    restart(run, victim, |run| run.cluster.nodes[victim].surroundings.group = Some(procs_file))?;
    let limit = group.memory()? + SPARE_MEMORY;
    group.limit_memory(limit)?;
    let target = run.cluster.nodes[victim].target.clone();
    let prefix = run.loads[0].common.prefix.clone();
    let address = |index: usize| format!("/map?k={prefix}-bulk-{index}");
    let began = Instant::now();
    let mut written = 0;
    let status = loop {
        if let Some(status) = run.cluster.nodes[victim].has_ended() {
            break status;
        }
        ensure(written < BULK_VALUES && began.elapsed() < FAULT_LIMIT, || {
            format!("node {victim} has taken {written} values and lives with {limit} bytes")
        })?;
        let put = http::request(target.http, "PUT", &address(written), &vec![b'b'; BULK_BYTES]);
        written += usize::from(put.is_ok());
        std::thread::sleep(Duration::from_millis(5));
    };
    run.record_kill(victim);
    ensure(status.signal() == Some(9), || format!("node {victim} ended with {status}"))?;
    let killed = group.killed();
    ensure(killed > 0, || "the kernel counts no killed process".into())?;
    run.cluster.nodes[victim].surroundings.group = None;
    run.cluster.start(victim)?;
    run.cluster.wait_until_ready()?;
    run.cluster.wait("the node has the map again", Duration::from_secs(5), |cluster| {
        let [own, others] = [victim, 0].map(|index| cluster.nodes[index].count("keys"));
        ensure(own >= others, || format!("node {victim} has {own} keys, node 0 {others}"))
    })?;
    let keys = run.cluster.nodes[victim].count("keys");
    // Later scenarios need not keep these large values.
    for index in 0..=written {
        let _ = http::request(run.cluster.nodes[0].target.http, "PUT", &address(index), &[]);
    }
    Ok(format!(
        "oom_kill {killed} at {limit} bytes, signal 9; node {victim} has all {keys} keys again"
    ))
}

/// Opens connections to a node, each with an incomplete request.
fn hold_connections(run: &Run, index: usize, count: usize) -> Vec<TcpStream> {
    let http = run.cluster.nodes[index].target.http;
    let connect = |_| {
        let mut stream = TcpStream::connect_timeout(&http, Duration::from_secs(1)).ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: si").ok()?;
        Some(stream)
    };
    (0..count).filter_map(connect).collect()
}

fn serves_again(run: &mut Run, index: usize) -> Result<Duration, String> {
    run.cluster.wait("the node serves again", SERVE_LIMIT, |cluster| {
        let node = &cluster.nodes[index];
        ensure(node.is_ready(), || "it does not".into())
    })
}

fn no_threads(run: &mut Run) -> Result<Proof, Unfinished> {
    let victim = run.cluster.nodes.len() - 1;
    let group = Group::new("pids").map_err(Unfinished::Impossible)?;
    let procs_file = group.procs_file();
    restart(run, victim, |run| run.cluster.nodes[victim].surroundings.group = Some(procs_file))?;
    let threads = group.processes()?;
    group.limit_processes(Some(threads))?;
    run.cluster.nodes[victim].target.serves.store(false, Relaxed);
    let held = hold_connections(run, victim, 20);
    run.cluster.wait("the node is refused a thread", FAULT_LIMIT, |_| {
        ensure(group.refused() > 0, || format!("{} threads, none refused", threads))
    })?;
    run.endure()?;
    let refused = group.refused();
    group.limit_processes(None)?;
    drop(held);
    let took = serves_again(run, victim)?;
    let panics = run.cluster.nodes[victim].count("panics");
    // Out of the group, so that the group can be removed.
    restart(run, victim, |run| run.cluster.nodes[victim].surroundings.group = None)?;
    let seconds = took.as_secs_f64();
    Ok(format!(
        "pids.events max {refused} at {threads} threads, {panics} panics caught; served {seconds:.1} s after"
    ))
}

fn no_descriptors(run: &mut Run) -> Result<Proof, Unfinished> {
    let victim = run.cluster.nodes.len() - 1;
    let pid = run.cluster.nodes[victim].pid();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let usual = line.and_then(|line| line.split_whitespace().next()).unwrap_or("1024").to_owned();
    let limit = run.cluster.nodes[victim].descriptors() + SPARE_DESCRIPTORS;
    let set = |soft: &str| {
        let (pid, limit) = (pid.to_string(), format!("--nofile={soft}:"));
        network::run("prlimit", &["--pid", &pid, &limit]).map(drop)
    };
    set(&limit.to_string())?;
    run.cluster.nodes[victim].target.serves.store(false, Relaxed);
    let held = hold_connections(run, victim, 3 * SPARE_DESCRIPTORS);
    let mut most = 0;
    run.cluster.wait("the node is out of descriptors", FAULT_LIMIT, |cluster| {
        most = most.max(cluster.nodes[victim].descriptors());
        let said = cluster.nodes[victim].logged("Too many open files");
        // The last one is mostly free when it is counted, since refused connections are retried.
        ensure(most + 1 >= limit && said > 0, || {
            format!("{most} of {limit} descriptors are open, said {said} times")
        })
    })?;
    run.endure()?;
    let said = run.cluster.nodes[victim].logged("Too many open files");
    set(&usual)?;
    drop(held);
    let seconds = serves_again(run, victim)?.as_secs_f64();
    let restarts = run.cluster.nodes[victim].count("nHttpRestarts");
    // tiny_http may panic when it copies a socket at that moment, and is then restarted.
    let panics = run.cluster.nodes[victim].count("panics");
    restart(run, victim, |_| {})?;
    Ok(format!(
        "{most} of {limit} descriptors open, {said} log lines with EMFILE, {restarts} HTTP restarts, {panics} panics caught; served {seconds:.1} s after"
    ))
}
