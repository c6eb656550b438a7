//! How fast a write reaches every node, and what that costs, in simulated clusters of any size.
//!
//! ```text
//! cargo run --release --example simulate -- --nodes 1000 --runs 20 --fail 0.1 --svg spread.svg
//! ```

#[path = "../tests/core/simulator/mod.rs"]
mod simulator;

use lexopt::prelude::*;
use simulator::{Settings, Simulator, View};
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Instant;

const HELP: &str = "\
Simulates clusters of gossip sidecars, and prints how fast one write reaches every node.

Usage: cargo run --release --example simulate -- [OPTIONS]

      --nodes N               nodes in a cluster [100]
      --runs N                clusters, each with a seed of its own [20; 3 from 2000 nodes on]
      --seed N                the first one's seed [7]
      --eager on|off          spread news at once, or by the timer only [on]
      --interval-ms MS        the timer's interval [1000]
      --latency-ms MS         how long an exchange takes that brings news [3]
      --fail SHARE            share of exchanges that break somewhere [0]
      --silent SHARE          share of those after which both sides have to time out [0]
      --dead SHARE            share of listed addresses where nothing runs [0]
      --view N                a look-up returns N addresses drawn at random [all]
      --fixed-view N          a look-up returns N addresses, the same each time [all]
      --write-rate R          also write R random keys a second in the whole cluster [0]
      --seconds S             measure the load for S seconds before and after the write [4]
      --warm-up S             let clusters run for S seconds first [2]
      --partition-seconds X   partition the cluster into halves for X seconds after the write [0]
      --svg FILE              plot who knows the news over time
      --help                  print this
";

struct Plan {
    settings: Settings,
    runs: Option<u64>,
    dead: f64,
    seconds: f64,
    warm_up: f64,
    partition_seconds: f64,
    svg: Option<String>,
}

/// The measurements of one cluster.
struct Run {
    seed: u64,
    /// When each node learned of the write.
    learned_s: Vec<f64>,
    /// Whether every live node learned of it.
    is_whole: bool,
    /// Exchanges that the write has caused, for each live node.
    calls_for_news: f64,
    idle_bytes: f64,
    busy_bytes: f64,
    wall_s: f64,
}

impl Run {
    fn to_all_s(&self) -> f64 {
        if self.is_whole { self.learned_s.last().copied().unwrap_or(0.0) } else { f64::INFINITY }
    }
}

fn main() {
    match parse() {
        Ok(Some(plan)) => simulate(&plan),
        Ok(None) => print!("{HELP}"),
        Err(error) => {
            eprintln!("{error}; --help shows what can be asked for");
            std::process::exit(2);
        }
    }
}

fn parse() -> Result<Option<Plan>, lexopt::Error> {
    let mut plan = Plan {
        settings: Settings { nodes: 100, seed: 7, ..Settings::default() },
        runs: None,
        dead: 0.0,
        seconds: 4.0,
        warm_up: 2.0,
        partition_seconds: 0.0,
        svg: None,
    };
    let settings = &mut plan.settings;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("nodes") => settings.nodes = arguments.value()?.parse()?,
            Long("runs") => plan.runs = Some(arguments.value()?.parse()?),
            Long("seed") => settings.seed = arguments.value()?.parse()?,
            Long("eager") => {
                settings.eager = match arguments.value()?.string()?.as_str() {
                    "on" => true,
                    "off" => false,
                    other => return Err(format!("--eager takes on or off, not {other:?}").into()),
                };
            }
            Long("interval-ms") => settings.interval_ms = arguments.value()?.parse()?,
            Long("latency-ms") => {
                settings.leg_us = (arguments.value()?.parse::<f64>()? * 1000.0 / 6.0) as u64;
            }
            Long("fail") => settings.fail = arguments.value()?.parse()?,
            Long("silent") => settings.silent = arguments.value()?.parse()?,
            Long("dead") => plan.dead = arguments.value()?.parse()?,
            Long("view") => settings.view = View::Drawn(arguments.value()?.parse()?),
            Long("fixed-view") => settings.view = View::Fixed(arguments.value()?.parse()?),
            Long("write-rate") => settings.writes_a_second = arguments.value()?.parse()?,
            Long("seconds") => plan.seconds = arguments.value()?.parse()?,
            Long("warm-up") => plan.warm_up = arguments.value()?.parse()?,
            Long("partition-seconds") => plan.partition_seconds = arguments.value()?.parse()?,
            Long("svg") => plan.svg = Some(arguments.value()?.string()?),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    if settings.nodes < 2 || settings.interval_ms == 0 {
        return Err("a cluster has at least 2 nodes, and an interval above 0".into());
    }
    Ok(Some(plan))
}

fn simulate(plan: &Plan) {
    let runs = plan.runs.unwrap_or(if plan.settings.nodes < 2000 { 20 } else { 3 });
    let done = Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicU64::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if number >= runs {
                return;
            }
            let run = run(plan, plan.settings.seed + number);
            done.lock().expect("no run panics").push(run);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (1..threads.min(runs as usize)).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let mut runs = done.into_inner().expect("no run panics");
    runs.sort_by_key(|run| run.seed);
    report(plan, &runs);
    if let Some(file) = &plan.svg {
        if let Err(error) = std::fs::write(file, plot(plan, &runs)) {
            eprintln!("cannot write {file}: {error}");
            std::process::exit(1);
        }
    }
}

fn run(plan: &Plan, seed: u64) -> Run {
    let started = Instant::now();
    let mut simulator = Simulator::new(Settings { seed, ..plan.settings.clone() });
    let us = |seconds: f64| (seconds * 1e6) as u64;
    let writer = seed as usize % plan.settings.nodes;
    // A first value, so that no node is a newcomer.
    simulator.put(writer, "older", b"something");
    simulator.run_for(us(plan.warm_up));
    simulator.run_until_equal(us(60.0));
    // The load without the write, once all tokens are available again.
    simulator.run_for(us(4.0));
    let before = simulator.counters.clone();
    simulator.run_for(us(plan.seconds));
    let idle = simulator.counters.clone();
    simulator.kill_share(plan.dead, writer);
    let half: Vec<usize> = (0..plan.settings.nodes / 2).collect();
    if plan.partition_seconds > 0.0 {
        simulator.partition(&half);
    }
    let written_us = simulator.now_us();
    simulator.put_and_watch(writer, "news");
    if plan.partition_seconds > 0.0 {
        simulator.run_for(us(plan.partition_seconds));
        simulator.heal();
    }
    // A node that had overwritten the key would never learn of the write, so only this write uses
    // it.
    let living = simulator.live().count();
    simulator.run_while(written_us + us(600.0), |it| it.learned_at_us.len() < living);
    let spread_us = simulator.now_us() - written_us;
    let is_whole = simulator.learned_at_us.len() == living;
    simulator.run_for(us(plan.seconds).saturating_sub(spread_us));
    let after = simulator.counters.clone();
    let measured_s = (simulator.now_us() - written_us) as f64 / 1e6;
    let per_node = |count: u64| count as f64 / living as f64;
    let all = plan.settings.nodes as f64;
    let idle_calls_a_second = (idle.calls - before.calls) as f64 / all / plan.seconds;
    Run {
        seed,
        learned_s: simulator
            .learned_at_us
            .iter()
            .map(|at_us| (at_us - written_us) as f64 / 1e6)
            .collect(),
        is_whole,
        calls_for_news: per_node(after.calls - idle.calls) - idle_calls_a_second * measured_s,
        idle_bytes: (idle.bytes - before.bytes) as f64 / all / plan.seconds,
        busy_bytes: per_node(after.bytes - idle.bytes) / measured_s,
        wall_s: started.elapsed().as_secs_f64(),
    }
}

/// The value that this share of the sorted values does not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn report(plan: &Plan, runs: &[Run]) {
    let row = |name: &str, digits: usize, values: Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| percentile(&values, share));
        println!("{name:<34} {mean:>9.digits$} {p50:>9.digits$} {p99:>9.digits$} {max:>9.digits$}");
    };
    let of = |measure: fn(&Run) -> f64| sorted(runs.iter().map(measure));
    let interval_s = plan.settings.interval_ms as f64 / 1000.0;
    println!(
        "{} nodes, {} runs from seed {}, eager {}",
        plan.settings.nodes,
        runs.len(),
        plan.settings.seed,
        if plan.settings.eager { "on" } else { "off" }
    );
    println!("{:<34} {:>9} {:>9} {:>9} {:>9}", "", "mean", "p50", "p99", "max");
    row("seconds to half of the nodes", 3, of(|run| percentile(&run.learned_s, 0.5)));
    row("seconds to 99 % of the nodes", 3, of(|run| percentile(&run.learned_s, 0.99)));
    row("seconds to all nodes", 3, of(Run::to_all_s));
    row(
        "rounds of the timer to all nodes",
        2,
        sorted(runs.iter().map(|run| run.to_all_s() / interval_s)),
    );
    row("exchanges an update and node", 2, of(|run| run.calls_for_news));
    row("bytes a node and second, before", 0, of(|run| run.idle_bytes));
    row("bytes a node and second, after", 0, of(|run| run.busy_bytes));
    row("real seconds a run", 2, of(|run| run.wall_s));
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 50.0;

/// Plots one line for each run: the share of nodes that have the write, over time.
fn plot(plan: &Plan, runs: &[Run]) -> String {
    let longest = runs.iter().filter_map(|run| run.learned_s.last()).fold(0.001, |a, &b| b.max(a));
    // The axis has four parts, each of a round length.
    let power = 10f64.powf((longest / 4.0).log10().floor());
    let part = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0].map(|times| times * power);
    let longest = 4.0 * part.into_iter().find(|&part| 4.0 * part >= longest).unwrap_or(longest);
    let x = |seconds: f64| LEFT + seconds / longest * (WIDTH - LEFT - 30.0);
    let y = |share: f64| TOP + (1.0 - share) * (HEIGHT - TOP - 60.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"28\" font-size=\"16\">Who knows of one write: {} nodes, {} runs, \
         eager {}{}</text>\n",
        plan.settings.nodes,
        runs.len(),
        if plan.settings.eager { "on" } else { "off" },
        [("failing", plan.settings.fail), ("dead", plan.dead)]
            .map(|(what, share)| match share {
                0.0 => String::new(),
                _ => format!(", {:.0} % {what}", share * 100.0),
            })
            .concat()
    );
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        let (across, up, seconds) = (x(longest * share), y(share), longest * share);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {up:.1}H{:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>\n\
             <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{seconds:.3}</text>\n",
            WIDTH - 30.0,
            LEFT - 8.0,
            up + 4.0,
            share * 100.0,
            y(0.0) + 20.0,
        );
    }
    for run in runs {
        let total = run.learned_s.len() as f64;
        // More than a point for each half per cent would not be visible.
        let step = (run.learned_s.len() / 200).max(1);
        let last = run.learned_s.len() - 1;
        let shown = (0..run.learned_s.len()).filter(|index| index % step == 0 || *index == last);
        let points: Vec<String> = shown
            .map(|index| {
                let share = (index + 1) as f64 / total;
                format!("{:.1},{:.1}", x(run.learned_s[index]), y(share))
            })
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1668a8\" stroke-opacity=\"0.5\"/>",
            points.join(" ")
        );
    }
    let _ = write!(
        svg,
        "<path d=\"M{LEFT} {TOP}V{bottom:.1}H{:.1}\" fill=\"none\" stroke=\"black\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">seconds after the write</text>\n\
         <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">nodes that \
         know</text>\n</svg>\n",
        WIDTH - 30.0,
        (LEFT + WIDTH) / 2.0,
        HEIGHT - 15.0,
        y(0.5),
        bottom = y(0.0),
    );
    svg
}
