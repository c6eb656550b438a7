//! Runs the real binary: nodes as child processes, and HTTP clients that show every byte.
//!
//! Each node has an address of its own in 127.0.0.0/8, so that all nodes of a cluster use the same
//! ports, as pods do. Nothing here waits for a fixed time: conditions are polled under a deadline.
//! A node that is dropped is killed, and shows its log if its test is failing.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a condition is looked at.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// A node that does not answer in this time after its start never will.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Any answer of a node must come within this time; generous, since the machine may be busy.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How often a node whose port was taken is started again.
const MAX_STARTS: u32 = 50;

pub const KIB: usize = 1024;
pub const MIB: usize = 1024 * 1024;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_gossip-sidecar");

/// The binary under test, with nothing in its environment.
pub fn binary() -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().stdin(Stdio::null());
    command
}

/// Runs the binary to its end, with nothing in its environment but this.
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    run_with_input(arguments, environment, &[])
}

/// Runs the binary to its end, with something to read from standard input.
pub fn run_with_input(arguments: &[&str], environment: &[(&str, &str)], input: &[u8]) -> Output {
    let mut command = binary();
    command.args(arguments).envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary was built");
    let pid = child.id();
    let (ended, ends) = std::sync::mpsc::channel::<()>();
    // What should have ended with an error may serve on instead.
    let watch = std::thread::spawn(move || {
        if ends.recv_timeout(ANSWER_LIMIT) == Err(RecvTimeoutError::Timeout) {
            signal(pid, "KILL");
        }
    });
    // It need not read its input.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    let output = child.wait_with_output().expect("it is our child");
    drop(ended);
    watch.join().expect("the watch does not panic");
    output
}

/// Looks again and again until `look` gives `Ok`; fails with the last state once `limit` is over.
pub fn eventually<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(state) if began.elapsed() > limit => {
                panic!("not within {limit:?}: {what}; at the end: {state}")
            }
            Err(_) => std::thread::sleep(POLL_EVERY),
        }
    }
}

/// `Ok` if both are equal, for [`eventually`].
pub fn same<T: PartialEq + Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?} instead of {wanted:?}")) }
}

/// Waits until the wall clock shows a later millisecond: what is written now is the later write.
pub fn next_millisecond() {
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let start_ms = now_ms();
    while now_ms() < start_ms + 2 {
        std::thread::yield_now();
    }
}

/// Loopback addresses that no other test uses, in this process or another.
pub fn addresses(count: u32) -> Vec<Ipv4Addr> {
    static USED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(256).wrapping_add(USED.fetch_add(count, Relaxed));
    let address = |index: u32| {
        // The second byte from 1 to 254; the fourth may be anything in this network.
        let index = first.wrapping_add(index) % (254 << 16);
        Ipv4Addr::from(0x7f01_0000 + index)
    };
    (0..count).map(address).collect()
}

/// A port that is free on all these addresses.
pub fn free_port(addresses: &[IpAddr]) -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        // Below the ports that the system gives to clients.
        let port = std::process::id().wrapping_add(TRIED.fetch_add(1, Relaxed)) % 20_000;
        let port = 12_000 + port as u16;
        let is_free = |&ip: &IpAddr| TcpListener::bind((ip, port)).is_ok();
        if addresses.iter().all(is_free) {
            return port;
        }
    }
}

/// Sends a signal such as `TERM` to a process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(status.expect("there is a kill command").success(), "kill -{name} {pid}");
}

/// Whether a sidecar answers there.
fn answers(http: SocketAddr) -> bool {
    let ask = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(http)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"ok\n"))
}

/// A running sidecar.
pub struct Node {
    pub http: SocketAddr,
    pub peer: SocketAddr,
    settings: Vec<(String, String)>,
    /// Runs before the binary in a shell, such as `ulimit -n 64`.
    before: Option<&'static str>,
    child: Child,
    log: Arc<Mutex<Vec<u8>>>,
    log_reader: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node and waits until it answers HTTP.
    pub fn start(http: SocketAddr, peer: SocketAddr, settings: &[(&str, &str)]) -> Self {
        Self::start_after(None, http, peer, settings)
    }

    /// Starts a node from a shell that runs `before` first.
    pub fn start_after(
        before: Option<&'static str>,
        http: SocketAddr,
        peer: SocketAddr,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut all: Vec<(String, String)> = [
            ("CLIENT_BIND", http.ip().to_string()),
            ("CLIENT_PORT", http.port().to_string()),
            ("PEER_BIND", peer.ip().to_string()),
            ("PEER_PORT", peer.port().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        all.extend(settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let log = Arc::default();
        let (child, log_reader) = spawn(before, &all, &log);
        let mut node = Self { http, peer, settings: all, before, child, log, log_reader };
        node.wait_for_http();
        node
    }

    /// A node that knows nobody else.
    pub fn alone(settings: &[(&str, &str)]) -> Self {
        Self::alone_after(None, settings)
    }

    /// A node that knows nobody else, started from a shell that runs `before` first.
    pub fn alone_after(before: Option<&'static str>, settings: &[(&str, &str)]) -> Self {
        let ip = IpAddr::from(addresses(1)[0]);
        let (http, peer) = (free_port(&[ip]), free_port(&[ip]));
        let name = ip.to_string();
        let settings = [&[("SERVICE_DNS_NAME", name.as_str())], settings].concat();
        Self::start_after(before, (ip, http).into(), (ip, peer).into(), &settings)
    }

    fn wait_for_http(&mut self) {
        let mut starts = 1;
        let began = Instant::now();
        loop {
            if answers(self.http) {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                let log = self.log();
                // The port was free a moment ago. But what this process had open then, to find that
                // out, was also open in a child that another test was just about to start.
                assert!(
                    log.contains("another process has it") && starts < MAX_STARTS,
                    "the node ended: {status}: {log}"
                );
                starts += 1;
                (self.child, self.log_reader) = spawn(self.before, &self.settings, &self.log);
            }
            assert!(began.elapsed() < START_LIMIT, "no answer after the start: {}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().expect("nobody panics under it")).into_owned()
    }

    /// The lines that it has logged so far.
    pub fn log_lines(&self) -> usize {
        self.log().lines().count()
    }

    /// SIGKILL: it is gone at once, with all it has.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_log_to_its_end();
    }

    /// Sends a signal such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end.
    pub fn wait_for_end(&mut self, limit: Duration) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually(limit, "the end of the process", || {
            child.try_wait().expect("it is our child").ok_or_else(|| "still running".to_owned())
        });
        self.read_log_to_its_end();
        status
    }

    /// Starts it again after its end, with an empty store, and with these settings changed.
    pub fn start_again(&mut self, settings: &[(&str, &str)]) {
        for &(name, value) in settings {
            self.settings.retain(|(known, _)| known != name);
            self.settings.push((name.to_owned(), value.to_owned()));
        }
        self.log.lock().expect("nobody panics under it").clear();
        (self.child, self.log_reader) = spawn(self.before, &self.settings, &self.log);
        self.wait_for_http();
    }

    fn read_log_to_its_end(&mut self) {
        if let Some(reader) = self.log_reader.take() {
            let _ = reader.join();
        }
    }

    /// A connection to its HTTP port.
    pub fn client(&self) -> Client {
        Client::connect(self.http)
    }

    /// Sends one request over a connection of its own.
    pub fn request(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        self.client().request(method, target, &[("Connection", "close")], body)
    }

    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) -> Answer {
        self.request("PUT", &map_target(&[key]), value.as_ref())
    }

    /// Writes a value, which must work.
    pub fn write(&self, key: &str, value: impl AsRef<[u8]>) {
        let answer = self.put(key, value);
        assert!([201, 204].contains(&answer.status), "PUT of {key:?}: {answer:?}");
    }

    /// The key's value, if it has one.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.request("GET", &map_target(&[key]), &[]);
        match answer.status {
            404 => None,
            200 => Some(answer.body[key.len() + 1..answer.body.len() - 1].to_vec()),
            _ => panic!("GET of {key:?}: {answer:?}"),
        }
    }

    /// The key's value as a text for people.
    pub fn read(&self, key: &str) -> String {
        match self.get(key) {
            Some(value) => String::from_utf8_lossy(&value).into_owned(),
            None => "(absent)".to_owned(),
        }
    }

    /// `/stats` by name.
    pub fn stats(&self) -> HashMap<String, String> {
        let answer = self.request("GET", "/stats", &[]);
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body).expect("/stats is a text");
        let fact = |line: &str| {
            let (name, value) = line.split_once('=').expect("each line is name=value");
            (name.to_owned(), value.to_owned())
        };
        text.lines().map(fact).collect()
    }

    /// One number of `/stats`.
    pub fn count(&self, name: &str) -> u64 {
        self.stats()[name].parse().expect("it is a number")
    }

    pub fn is_ready(&self) -> bool {
        self.request("GET", "/readyz", &[]).status == 200
    }

    pub fn wait_until_ready(&self) {
        eventually(ANSWER_LIMIT, "ready", || same(self.is_ready(), true));
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("the process is running");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("there is VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("it is a number")
    }
}

impl Node {
    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.entries_of("task")
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        self.entries_of("fd")
    }

    fn entries_of(&self, directory: &str) -> usize {
        let path = format!("/proc/{}/{directory}", self.pid());
        std::fs::read_dir(path).expect("the process is running").count()
    }

    /// The most threads and the most resident KiB that it has while something is done to it.
    pub fn peaks_while(&self, act: impl FnOnce()) -> (usize, u64) {
        std::thread::scope(|scope| {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let watching = scope.spawn(move || {
                let mut peaks = (0, 0);
                loop {
                    peaks.0 = peaks.0.max(self.threads());
                    peaks.1 = peaks.1.max(self.resident_kib());
                    if stopped.recv_timeout(POLL_EVERY) != Err(RecvTimeoutError::Timeout) {
                        return peaks;
                    }
                }
            });
            act();
            drop(stop);
            watching.join().expect("the watch does not panic")
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the log of the node at {}:\n{}---", self.http, self.log());
        }
    }
}

fn spawn(
    before: Option<&str>,
    settings: &[(String, String)],
    log: &Arc<Mutex<Vec<u8>>>,
) -> (Child, Option<JoinHandle<()>>) {
    let mut command = match before {
        None => binary(),
        Some(before) => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &format!("{before} && exec \"$0\""), BINARY]).env_clear();
            shell
        }
    };
    let child = command.envs(settings.iter().map(|(name, value)| (name, value)));
    let mut child = child
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    let mut stderr = child.stderr.take().expect("it is piped");
    let log = log.clone();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut buffer) {
            log.lock().expect("nobody panics under it").extend_from_slice(&buffer[..read]);
        }
    });
    (child, Some(reader))
}

/// Nodes that know each other.
pub struct Cluster {
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Starts nodes, and waits until all of them are ready.
    pub fn start(count: u32, settings: &[(&str, &str)]) -> Self {
        let cluster = Self::places(count).start_first(count as usize, settings);
        cluster.nodes.iter().for_each(Node::wait_until_ready);
        cluster
    }

    /// Addresses for a cluster none of whose nodes runs yet.
    pub fn places(count: u32) -> Places {
        let ips: Vec<IpAddr> = addresses(count).into_iter().map(IpAddr::from).collect();
        let (http_port, peer_port) = (free_port(&ips), free_port(&ips));
        Places { ips, http_port, peer_port }
    }

    /// Waits until all nodes have the value, and says how long that took.
    pub fn wait_for(&self, limit: Duration, key: &str, value: &str) -> Duration {
        let began = Instant::now();
        eventually(limit, &format!("{key:?} is {value:?} on all nodes"), || {
            let found: Vec<String> = self.nodes.iter().map(|node| node.read(key)).collect();
            same(found, vec![value.to_owned(); self.nodes.len()])
        });
        began.elapsed()
    }

    /// Waits until all nodes have the same map, and says which digest and how many keys it has.
    pub fn wait_for_agreement(&self, limit: Duration) -> (String, u64) {
        eventually(limit, "all nodes have the same map", || {
            let state = |node: &Node| {
                let stats = node.stats();
                (stats["digest"].clone(), stats["keys"].parse().expect("it is a number"))
            };
            let states: Vec<(String, u64)> = self.nodes.iter().map(state).collect();
            let all_agree = states.iter().all(|state| *state == states[0]);
            if all_agree { Ok(states[0].clone()) } else { Err(format!("{states:?}")) }
        })
    }

    /// The sum of a number of `/stats` over all nodes.
    pub fn sum(&self, name: &str) -> u64 {
        self.nodes.iter().map(|node| node.count(name)).sum()
    }
}

/// The addresses of a cluster.
pub struct Places {
    pub ips: Vec<IpAddr>,
    pub http_port: u16,
    pub peer_port: u16,
}

impl Places {
    /// All of them, as `SERVICE_DNS_NAME` takes them.
    pub fn list(&self) -> String {
        self.list_of(&(0..self.ips.len()).collect::<Vec<_>>())
    }

    /// Some of them, as `SERVICE_DNS_NAME` takes them.
    pub fn list_of(&self, indices: &[usize]) -> String {
        let names: Vec<String> = indices.iter().map(|&index| self.ips[index].to_string()).collect();
        names.join(",")
    }

    /// Starts one node, which knows all addresses unless the settings say otherwise.
    pub fn start(&self, index: usize, settings: &[(&str, &str)]) -> Node {
        let list = self.list();
        let http = SocketAddr::new(self.ips[index], self.http_port);
        let peer = SocketAddr::new(self.ips[index], self.peer_port);
        // The last of two values counts.
        Node::start(http, peer, &[&[("SERVICE_DNS_NAME", list.as_str())], settings].concat())
    }

    fn start_first(&self, count: usize, settings: &[(&str, &str)]) -> Cluster {
        Cluster { nodes: (0..count).map(|index| self.start(index, settings)).collect() }
    }
}

/// The target that names these keys: `/map?k=…&k=…`.
pub fn map_target(keys: &[&str]) -> String {
    let mut target = "/map".to_owned();
    for (index, key) in keys.iter().enumerate() {
        target.push_str(if index == 0 { "?k=" } else { "&k=" });
        target.push_str(&encode(key.as_bytes()));
    }
    target
}

/// Percent-encodes all but letters and digits.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text.push(char::from(byte)),
            _ => write!(text, "%{byte:02X}").expect("writing to memory cannot fail"),
        }
    }
    text
}

/// An HTTP answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Status line and headers, without the empty line that ends them.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The header's value; there must not be two of it.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (found, value) = line.split_once(':').expect("each header is NAME: VALUE");
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        });
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice: {}", self.head);
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is a text")
    }
}

impl Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.body[..self.body.len().min(300)];
        write!(f, "{:?} {:?}", self.head, String::from_utf8_lossy(shown))
    }
}

/// A connection that is kept for any number of requests.
pub struct Client {
    pub stream: TcpStream,
    /// What has come and was not yet asked for.
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the node listens");
        stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("the limit is not zero");
        stream.set_write_timeout(Some(ANSWER_LIMIT)).expect("the limit is not zero");
        stream.set_nodelay(true).expect("the socket is open");
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).expect("the node reads");
        self
    }

    /// Sends one request and reads the answer.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.send(request_bytes(method, target, headers, body));
        self.answer_to(method)
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, &[], &[])
    }

    pub fn put(&mut self, target: &str, body: &[u8]) -> Answer {
        self.request("PUT", target, &[], body)
    }

    /// Reads an answer.
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// Reads the answer to a method: HEAD has none of the body that is announced.
    pub fn answer_to(&mut self, method: &str) -> Answer {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            assert!(
                self.read_more().expect("the node answers") > 0,
                "closed within the head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let rest = self.buffer.split_off(end + 4);
        let mut head = std::mem::replace(&mut self.buffer, rest);
        head.truncate(end);
        let head = String::from_utf8(head).expect("the head is a text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut answer =
            Answer { status: status.expect("there is a status"), head, body: Vec::new() };
        let length = match answer.header("Content-Length") {
            Some(length) => length.parse().expect("it is a number"),
            // Only an interim answer, and one that says that nothing has changed, have none.
            None => {
                assert!([100, 304].contains(&answer.status), "no Content-Length: {answer:?}");
                0
            }
        };
        let length = if method == "HEAD" { 0 } else { length };
        while self.buffer.len() < length {
            assert!(self.read_more().expect("the node answers") > 0, "closed within the body");
        }
        let rest = self.buffer.split_off(length);
        answer.body = std::mem::replace(&mut self.buffer, rest);
        answer
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let read = loop {
            match self.stream.read(&mut buffer) {
                // A process that is halted and goes on finds its waits with a timeout cut short.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        self.buffer.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    /// Reads to the end of the connection, which must be an orderly one; gives what still came.
    pub fn rest(mut self) -> Vec<u8> {
        while self.read_more().expect("the node closes in order") > 0 {}
        self.buffer
    }
}

/// A request as it goes over the wire.
pub fn request_bytes(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("writing to memory cannot fail");
    }
    if !body.is_empty() || method == "PUT" {
        write!(head, "Content-Length: {}\r\n", body.len()).expect("writing to memory cannot fail");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Where `part` first stands in `bytes`.
pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// That a refusal has the status, and one line of text that says more than the status does.
#[track_caller]
pub fn assert_refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    let text = answer.text();
    assert!(text.ends_with('\n') && text.lines().count() == 1 && text.len() > 12, "{text:?}");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(answer.header("Content-Length"), Some(text.len().to_string().as_str()));
}

/// That the node answers a PUT and a GET, over a connection of its own.
#[track_caller]
pub fn assert_serves(node: &Node) {
    node.write("still", "serving");
    assert_eq!(node.read("still"), "serving");
}

/// That the node answers, and that a newcomer and it come to have the same.
#[track_caller]
pub fn assert_lives_on(node: &Node) {
    assert_serves(node);
    let here = node.peer.to_string();
    let settings = [("SERVICE_DNS_NAME", here.as_str()), ("SYNC_INTERVAL", "50ms")];
    let newcomer = Node::alone(&settings);
    newcomer.wait_until_ready();
    node.write("from here", "news");
    newcomer.write("from the newcomer", "more news");
    eventually(ANSWER_LIMIT, "both have the same", || {
        same(newcomer.read("from here"), "news".to_owned())?;
        same(node.read("from the newcomer"), "more news".to_owned())?;
        same(newcomer.stats()["digest"].clone(), node.stats()["digest"].clone())
    });
}

/// Closes a connection with a reset, whatever was sent or is unread.
pub fn reset(stream: TcpStream) {
    unsafe extern "C" {
        // The standard library links it and has no stable function that calls it for this.
        safe fn setsockopt(
            socket: BorrowedFd<'_>,
            level: i32,
            name: i32,
            value: &[i32; 2],
            length: u32,
        ) -> i32;
    }
    // Linux's numbers: linger, for no time.
    const SOL_SOCKET: i32 = 1;
    const SO_LINGER: i32 = 13;
    assert_eq!(setsockopt(stream.as_fd(), SOL_SOCKET, SO_LINGER, &[1, 0], 8), 0);
}

/// Lets this process, and the nodes that it starts from now on, have thousands of connections.
pub fn allow_thousands_of_connections() {
    let pid = std::process::id().to_string();
    let prlimit = Command::new("prlimit").args(["--pid", &pid, "--nofile=8192:"]).status();
    // Where there is no such command the limit may do as it is; if not, connecting says so.
    if !prlimit.as_ref().is_ok_and(ExitStatus::success) {
        println!("the limit of open files is as it was: {prlimit:?}");
    }
}
