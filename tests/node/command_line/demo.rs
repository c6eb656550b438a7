//! `gossip-sidecar demo`.

use super::COMMAND_LIMIT;
use crate::support::{Client, binary, eventually, find, same, signal};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

#[test]
fn the_demo_shows_a_write_and_a_recovery_and_cleans_up() {
    let mut demo = Demo::start();
    demo.wait_for("all three have found each other");
    let nodes = demo.nodes();
    assert_eq!(nodes.len(), 3, "{}", demo.printed());
    let mut before: Vec<u32> = nodes.iter().map(|&(_, pid)| pid).collect();
    before.sort();
    let mut children = children_of(demo.child.id());
    children.sort();
    assert_eq!(children, before);

    let put = Client::connect(nodes[0].0).put("/map?k=greeting", b"hello");
    assert_eq!(put.status, 201);
    demo.wait_for("a write has reached all three");
    assert!(demo.printed().contains("ms or less: 1 key\n"), "{}", demo.printed());
    for (http, _) in &nodes {
        assert_eq!(Client::connect(*http).get("/map?k=greeting").body, b"greeting=hello\n");
    }

    // As the printed instructions say.
    assert!(demo.printed().contains(&format!("kill -9 {}", nodes[2].1)), "{}", demo.printed());
    signal(nodes[2].1, "KILL");
    demo.wait_for("node 3 is gone");
    demo.wait_for("node 3 is back with 1 key");
    assert_eq!(Client::connect(nodes[2].0).get("/map?k=greeting").body, b"greeting=hello\n");

    let children = children_of(demo.child.id());
    assert_eq!(children.len(), 3);
    end_demo(&mut demo, "INT");
    demo.wait_for("nothing is left behind");
    for pid in children {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} still runs");
    }
}

#[test]
fn the_demo_cleans_up_whenever_it_is_ended() {
    // Before it has printed anything, and perhaps before all nodes have started.
    let mut demo = Demo::start();
    eventually(COMMAND_LIMIT, "it has begun to start nodes", || {
        same(!children_of(demo.child.id()).is_empty(), true)
    });
    let children = children_of(demo.child.id());
    end_demo(&mut demo, "TERM");
    for pid in children {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} still runs");
    }
}

#[test]
fn the_demo_cleans_up_if_nobody_reads_its_output() {
    let (reader, writer) = UnixStream::pair().expect("descriptors are left");
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    drop(reader);
    for (out, code) in [(Stdio::from(OwnedFd::from(writer)), 0), (full.into(), 1)] {
        let mut demo = binary().arg("demo").stdout(out).stderr(Stdio::null()).spawn().unwrap();
        let status = eventually(COMMAND_LIMIT, "the end of the demo", || {
            demo.try_wait().expect("it is our child").ok_or_else(|| "still running".to_owned())
        });
        // Its nodes have a cluster of their own, and no parent any more.
        let cluster = format!("CLUSTER=demo-{}\0", demo.id());
        let left = processes(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            find(&environment, cluster.as_bytes()).is_some()
        });
        left.iter().for_each(|&pid| signal(pid, "KILL"));
        assert_eq!((status.code(), left), (Some(code), vec![]));
    }
}

/// A running demo, and everything that it has printed.
struct Demo {
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl Demo {
    fn start() -> Self {
        let mut child =
            binary().arg("demo").stdout(Stdio::piped()).spawn().expect("the binary was built");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let printed = Arc::new(Mutex::new(String::new()));
        let all = printed.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                *all.lock().expect("nobody panics under it") += &(line + "\n");
            }
        });
        Self { child, printed }
    }

    fn printed(&self) -> String {
        self.printed.lock().expect("nobody panics under it").clone()
    }

    fn wait_for(&self, what: &str) {
        eventually(COMMAND_LIMIT, &format!("the demo prints {what:?}"), || {
            let printed = self.printed();
            if printed.contains(what) { Ok(()) } else { Err(printed) }
        });
    }

    /// The address and process id of each node, as printed at the start.
    fn nodes(&self) -> Vec<(SocketAddr, u32)> {
        let node = |line: &str| {
            let (address, rest) = line.split_once(": http://")?.1.split_once("  (process ")?;
            Some((address.parse().ok()?, rest.strip_suffix(')')?.parse().ok()?))
        };
        self.printed().lines().filter_map(node).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        for child in children_of(self.child.id()) {
            signal(child, "KILL");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child processes of a process.
fn children_of(parent: u32) -> Vec<u32> {
    processes(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, in parentheses, may contain anything; the state and the parent follow it.
        let parent_of = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        parent_of == Some(parent.to_string().as_str())
    })
}

fn processes(wanted: impl Fn(u32) -> bool) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("there is /proc");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid: &u32| wanted(pid)).collect()
}

fn end_demo(demo: &mut Demo, with: &str) {
    signal(demo.child.id(), with);
    let child = &mut demo.child;
    let status = eventually(COMMAND_LIMIT, "the end of the demo", || {
        child.try_wait().expect("it is our child").ok_or_else(|| "still running".to_owned())
    });
    assert_eq!(status.code(), Some(0));
}
