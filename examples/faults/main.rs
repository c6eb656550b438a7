//! Fault injection: real sidecars, on a network that can be broken.
//!
//! ```sh
//! cargo build --release
//! sudo target/release/examples/faults --short
//! ```
//!
//! Each node is a process in its own network namespace. Clients read and write all the time and
//! record the results. A scenario breaks something, proves that it was broken, and repairs it. Then
//! all nodes must have the same map, and nothing that was promised may be missing.

mod checker;
mod cluster;
mod dns;
mod group;
mod history;
mod http;
mod links;
mod load;
mod names;
mod network;
mod node;
mod processes;
mod resources;
mod scenarios;
mod wire;

use cluster::Cluster;
use lexopt::prelude::*;
use scenarios::{End, Scenario};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const HELP: &str =
    "Usage: faults [--short] [--scenario NAME]... [--seed N] [--seconds N] [--nodes N]
              [--binary PATH] [--list] [--clean]

  --short     the cheap scenarios, each as short as it can be
  --scenario  only this one; may be given several times
  --seed      of all randomness                            [drawn, and printed]
  --seconds   how long a fault lasts                       [10, with --short 2]
  --nodes     8 to 40                                      [8]
  --binary    the program                                  [target/release/gossip-sidecar]
  --list      show all scenarios
  --clean     only remove what killed runs have left behind

Needs root, for network namespaces. Exit code 1 if a scenario fails, 2 if something is missing.
";

/// Something is missing, or the command line is wrong.
const CANNOT_RUN: u8 = 2;

struct Options {
    is_short: bool,
    only: Vec<String>,
    seed: u64,
    seconds: Option<u64>,
    nodes: usize,
    binary: PathBuf,
    cleans: bool,
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        is_short: false,
        only: Vec::new(),
        seed: fastrand::u64(..1 << 32),
        seconds: None,
        nodes: 8,
        binary: "target/release/gossip-sidecar".into(),
        cleans: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("short") => options.is_short = true,
            Long("scenario") => options.only.push(parser.value()?.string()?),
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("seconds") => options.seconds = Some(parser.value()?.parse()?),
            Long("nodes") => options.nodes = parser.value()?.parse()?,
            Long("binary") => options.binary = parser.value()?.into(),
            Long("clean") => options.cleans = true,
            Long("list") => {
                for Scenario { name, about, is_cheap, .. } in scenarios::all() {
                    println!("{name:<20} {about}{}", if is_cheap { "" } else { " (not short)" });
                }
                return Ok(None);
            }
            Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            _ => return Err(argument.unexpected()),
        }
    }
    if !(8..=40).contains(&options.nodes) {
        return Err(format!("--nodes {}: 8 to 40", options.nodes).into());
    }
    Ok(Some(options))
}

fn cannot_run(why: &str) -> ExitCode {
    eprintln!("faults: {why}");
    ExitCode::from(CANNOT_RUN)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => return cannot_run(&format!("{error}\n{HELP}")),
    };
    if options.cleans {
        let pids = network::clean_leftovers();
        group::clean_leftovers(&pids);
        println!("faults: cleaned up after {} runs", pids.len());
        return ExitCode::SUCCESS;
    }
    let all = scenarios::all();
    if let Some(name) = options.only.iter().find(|name| !all.iter().any(|one| one.name == **name)) {
        return cannot_run(&format!("there is no scenario {name:?}; --list shows all"));
    }
    let missing = network::missing();
    if !missing.is_empty() {
        return cannot_run(&missing.join("\nfaults: "));
    }
    let binary = match options.binary.canonicalize() {
        Ok(binary) => binary,
        Err(error) => {
            let path = options.binary.display();
            return cannot_run(&format!("{path}: {error}; first: cargo build --release"));
        }
    };
    let mut chosen: Vec<Scenario> = all
        .into_iter()
        .filter(|one| match &options.only[..] {
            [] => one.is_cheap || !options.is_short,
            names => names.iter().any(|name| name == one.name),
        })
        .collect();
    // Scenarios with the same setup follow each other, so that the nodes keep running.
    chosen.sort_by_key(|one| one.setup as u8);
    let interrupted = Arc::<AtomicBool>::default();
    watch_signals(&interrupted);
    fastrand::seed(options.seed);
    let began = Instant::now();
    let nodes = options.nodes;
    let outcome = Cluster::new(nodes, binary, options.seed, interrupted.clone())
        .map(|mut cluster| run(&options, &chosen, &mut cluster, &interrupted));
    group::clean_leftovers(&[std::process::id()]);
    match outcome {
        Err(why) => cannot_run(&why),
        Ok([passed, failed, skipped]) => {
            let seconds = began.elapsed().as_secs();
            println!("seed {}, {seconds} s", options.seed);
            println!("faults: {passed} passed, {failed} failed, {skipped} skipped");
            ExitCode::from(u8::from(failed > 0))
        }
    }
}

/// Runs the scenarios, and counts how many passed, failed and were skipped.
fn run(
    options: &Options,
    chosen: &[Scenario],
    cluster: &mut Cluster,
    interrupted: &AtomicBool,
) -> [usize; 3] {
    let seconds = options.seconds.unwrap_or(if options.is_short { 2 } else { 10 });
    let mut counts = [0; 3];
    println!("{}", scenarios::heading());
    for scenario in chosen {
        let end = scenarios::run(scenario, cluster, Duration::from_secs(seconds), options.seed);
        counts[match end {
            End::Passed => 0,
            End::Failed => 1,
            End::Skipped => 2,
        }] += 1;
        if interrupted.load(Relaxed) {
            break;
        }
    }
    println!("{}", cluster.abilities);
    counts
}

/// Ends all waits on SIGTERM and SIGINT, so that everything is removed in order.
fn watch_signals(interrupted: &Arc<AtomicBool>) {
    match gossip_sidecar::Signals::new() {
        Err(error) => eprintln!("faults: signals are not handled: {error}"),
        Ok(signals) => {
            let interrupted = interrupted.clone();
            std::thread::spawn(move || {
                loop {
                    if signals.wait(std::time::Duration::from_secs(1)).is_some() {
                        interrupted.store(true, Relaxed);
                    }
                }
            });
        }
    }
}
