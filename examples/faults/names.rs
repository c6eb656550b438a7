//! Scenarios: faults of DNS, such as missing, wrong or too many answers.

use crate::cluster::{Cluster, SHORT_MEMORY, Setup};
use crate::dns::Answer;
use crate::node::Node;
use crate::scenarios::{Proof, Run, Scenario, Unfinished, ensure};
use std::time::Duration;

/// Two rounds of one second, and the time that a pending look-up may take.
const RECOVERY_LIMIT: Duration = Duration::from_millis(2000 + 2000);
/// Until each node has looked up its peers again; a look-up without an answer takes 2 s, and there
/// are two.
const ASK_LIMIT: Duration = Duration::from_secs(12);
/// Useless answers may take effect late, but the test requires that they do.
const TAKE_LIMIT: Duration = Duration::from_secs(60);

/// The scenarios of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "dns-modes",
        about: "NXDOMAIN, SERVFAIL, silence, no address, 1000, only dead ones, only our own",
        is_cheap: true,
        setup: Setup::Usual,
        run: modes,
    },
    Scenario {
        name: "dns-new-address",
        about: "nodes that come back under other addresses",
        is_cheap: true,
        setup: Setup::Usual,
        run: new_address,
    },
    Scenario {
        name: "dns-death",
        about: "no DNS at all for longer than half of TOMBSTONE_TTL",
        is_cheap: true,
        setup: Setup::ShortTombstones,
        run: death,
    },
    Scenario {
        name: "swapped-clusters",
        about: "each of two clusters is told the addresses of the other",
        is_cheap: true,
        setup: Setup::Two,
        run: swapped,
    },
];

/// Waits until every node has got this kind of answer this many times more.
fn wait_for_questions(run: &mut Run, kind: &'static str, times: u64) -> Result<u64, String> {
    let nodes = 0..run.cluster.nodes.len();
    let before: Vec<u64> = nodes.clone().map(|node| run.cluster.asked(node, kind)).collect();
    run.cluster.wait(&format!("each node is answered: {kind}"), ASK_LIMIT, |cluster| {
        let waiting = before
            .iter()
            .enumerate()
            .find(|&(node, before)| cluster.asked(node, kind) < before + times);
        waiting.map_or(Ok(()), |(node, _)| Err(format!("node {node} has not asked")))
    })?;
    Ok(nodes.map(|node| run.cluster.asked(node, kind) - before[node]).sum())
}

/// Waits until every running node has this many addresses from DNS.
fn wait_for_peers(
    run: &mut Run,
    wanted: impl Fn(&Cluster, &Node) -> usize,
    limit: Duration,
) -> Result<Duration, String> {
    run.cluster.wait("all nodes take up what DNS says", limit, |cluster| {
        for node in cluster.nodes.iter().filter(|node| node.is_started()) {
            let (index, known) = (node.target.index, node.count("peers") as usize);
            let wanted = wanted(cluster, node);
            ensure(known == wanted, || format!("node {index} has {known} peers, not {wanted}"))?;
        }
        Ok(())
    })
}

fn wait_until_all_are_known(run: &mut Run) -> Result<Duration, String> {
    wait_for_peers(run, |cluster, node| cluster.size(&node.cluster) - 1, RECOVERY_LIMIT)
}

fn modes(run: &mut Run) -> Result<Proof, Unfinished> {
    let dead = run.cluster.network.dead_addresses(1000);
    let many = dead[..1000 - run.cluster.nodes.len()].to_vec();
    let of_all = run.cluster.addresses("a");
    let among_many = [many, of_all].concat();
    let ten_dead = dead[..10].to_vec();
    let others = run.cluster.nodes.len() - 1;
    type AnswerFor = Box<dyn Fn(&Node) -> Answer>;
    // The number of peers that a node then has: those that it knew, if it gets no answer.
    let told: [(&str, usize, AnswerFor); 7] = [
        ("NXDOMAIN", others, Box::new(|_| Answer::NoSuchName)),
        ("SERVFAIL", others, Box::new(|_| Answer::ServerFailure)),
        ("silence", others, Box::new(|_| Answer::Silence)),
        ("nothing", others, Box::new(|_| Answer::Nothing)),
        ("1000 addresses", 999, Box::new(move |_| Answer::Addresses(among_many.clone()))),
        ("dead ones", 10, Box::new(move |_| Answer::Addresses(ten_dead.clone()))),
        ("the own address", 0, Box::new(|node| Answer::Addresses(vec![node.namespace.data]))),
    ];
    let mut proof = Vec::new();
    for (name, peers, told) in told {
        let truncated = run.cluster.dns.truncated();
        run.cluster.dns_says(&told);
        let kind = told(&run.cluster.nodes[0]).kind();
        // The first answer may belong to an earlier query.
        let answers = wait_for_questions(run, kind, 2)?;
        if kind == "long" {
            let truncated = run.cluster.dns.truncated() - truncated;
            ensure(truncated > 0, || "no long answer was truncated".into())?;
            proof.push(format!("{truncated} truncated"));
        }
        let taken = wait_for_peers(run, |_, _| peers, TAKE_LIMIT)
            .map_err(|why| format!("told {name}: {why}"))?;
        run.cluster.endure(run.time / 4)?;
        run.cluster.dns_is_good();
        let took = wait_until_all_are_known(run).map_err(|why| format!("after {name}: {why}"))?;
        let (taken, took) = (taken.as_secs_f64(), took.as_secs_f64());
        proof.push(format!("{answers} {name} ({taken:.1}, {took:.1} s)"));
    }
    Ok(format!("answers (until taken up, until recovered): {}", proof.join(", ")))
}

fn new_address(run: &mut Run) -> Result<Proof, Unfinished> {
    let mut moves = Vec::new();
    for index in [1, run.cluster.nodes.len() - 1] {
        let old = run.cluster.nodes[index].namespace.data;
        run.cluster.nodes[index].leave(Duration::from_secs(8))?;
        run.cluster.readdress(index)?;
        run.cluster.start(index)?;
        run.cluster.dns_is_good();
        let new = run.cluster.nodes[index].namespace.data;
        run.cluster.wait_until_ready()?;
        wait_until_all_are_known(run)?;
        run.spreads(index, 0, Duration::from_secs(5))?;
        run.spreads(0, index, Duration::from_secs(5))?;
        moves.push(format!("node {index} from {old} to {new}"));
    }
    Ok(moves.join(", "))
}

fn death(run: &mut Run) -> Result<Proof, Unfinished> {
    run.cluster.dns_says(|_| Answer::Silence);
    let restarted = run.cluster.nodes.len() - 1;
    wait_for_questions(run, "silence", 1)?;
    // A newcomer without DNS knows no peer, but the others still connect to its address.
    run.cluster.nodes[restarted].leave(Duration::from_secs(8))?;
    run.cluster.start(restarted)?;
    let time = run.time.max(SHORT_MEMORY / 2 + Duration::from_secs(2));
    run.cluster.endure(time)?;
    let failed = run.cluster.nodes.iter().map(|node| node.count("nFailedLookUps")).min();
    let failed = failed.unwrap_or(0);
    ensure(failed > 0, || "a node has not noticed that there is no DNS".into())?;
    run.cluster.dns_is_good();
    let took = wait_until_all_are_known(run)?;
    Ok(format!(
        "at least {failed} failed look-ups a node in {} s, node {restarted} restarted without DNS; all known {:.1} s after",
        time.as_secs(),
        took.as_secs_f64()
    ))
}

fn swapped(run: &mut Run) -> Result<Proof, Unfinished> {
    let refused = |run: &Run| -> Vec<u64> {
        run.cluster.nodes.iter().map(|node| node.count("nRefusedCluster")).collect()
    };
    let before: u64 = refused(run).iter().sum();
    let [a, b] = ["a", "b"].map(|name| run.cluster.addresses(name));
    run.cluster.dns_says(|node| {
        Answer::Addresses(if node.cluster == "a" { b.clone() } else { a.clone() })
    });
    run.endure()?;
    run.cluster.wait("all nodes refuse the other cluster", ASK_LIMIT, |cluster| {
        let none = cluster.nodes.iter().find(|node| node.count("nRefusedCluster") == 0);
        none.map_or(Ok(()), |node| Err(format!("node {} has not", node.target.index)))
    })?;
    let after: u64 = refused(run).iter().sum();
    run.cluster.dns_is_good();
    wait_until_all_are_known(run)?;
    Ok(format!("{} exchanges refused for the cluster's name", after - before))
}
