//! A sidecar, run as a child process.

use crate::support::{
    BINARY, Client, POLL_EVERY, RESPONSE_LIMIT, Response, binary, eventually, free_port, fresh_ips,
    map_target, same, signal,
};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A node must serve within this time after its start.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How often a node is started again if its port is in use.
const MAX_STARTS: u32 = 50;

/// A running sidecar. It is killed when dropped, and shows its log if its test is failing.
pub struct Node {
    pub http: SocketAddr,
    pub peer: SocketAddr,
    settings: Vec<(String, String)>,
    /// A shell command that runs before the binary, such as `ulimit -n 64`.
    before: Option<&'static str>,
    child: Child,
    log: Arc<Mutex<Vec<u8>>>,
    log_reader: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node, and waits until it serves HTTP.
    pub fn start(http: SocketAddr, peer: SocketAddr, settings: &[(&str, &str)]) -> Self {
        Self::start_after(None, http, peer, settings)
    }

    /// Starts a node from a shell that first runs `before`.
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

    /// Starts a node that knows no peer.
    pub fn alone(settings: &[(&str, &str)]) -> Self {
        Self::alone_after(None, settings)
    }

    /// Starts a node that knows no peer from a shell that first runs `before`.
    pub fn alone_after(before: Option<&'static str>, settings: &[(&str, &str)]) -> Self {
        let ip = IpAddr::from(fresh_ips(1)[0]);
        let (http, peer) = (free_port(&[ip]), free_port(&[ip]));
        let name = ip.to_string();
        let is_alone = settings.iter().all(|(name, _)| *name != "SERVICE_DNS_NAME");
        let settings = [&[("SERVICE_DNS_NAME", name.as_str())], settings].concat();
        let node = Self::start_after(before, (ip, http).into(), (ip, peer).into(), &settings);
        if is_alone {
            // Until it knows that it is alone, it does not say that a key is absent.
            node.wait_until_ready();
        }
        node
    }

    fn wait_for_http(&mut self) {
        let mut starts = 1;
        let began = Instant::now();
        loop {
            if responds(self.http) {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                let log = self.log();
                // The port was free a moment ago. But a child process that another test was
                // starting may have inherited the socket that found that out.
                assert!(
                    log.contains("another process has it") && starts < MAX_STARTS,
                    "the node ended: {status}: {log}"
                );
                starts += 1;
                (self.child, self.log_reader) = spawn(self.before, &self.settings, &self.log);
            }
            assert!(began.elapsed() < START_LIMIT, "no response after the start: {}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().expect("nobody panics under it")).into_owned()
    }

    /// Waits until it has logged this. What is counted is logged a little later.
    pub fn wait_for_log(&self, text: &str) {
        eventually(RESPONSE_LIMIT, &format!("{text:?} is logged"), || {
            let log = self.log();
            if log.contains(text) { Ok(()) } else { Err(log) }
        });
    }

    /// The number of lines that it has logged.
    pub fn log_lines(&self) -> usize {
        self.log().lines().count()
    }

    /// Kills the process, so that its map is lost.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_log_to_its_end();
    }

    /// Sends a signal such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits until the process has exited.
    pub fn wait_for_end(&mut self, limit: Duration) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually(limit, "the end of the process", || {
            child.try_wait().expect("it is our child").ok_or_else(|| "still running".to_owned())
        });
        self.read_log_to_its_end();
        status
    }

    /// Starts it again after it has exited, with an empty store and with these settings changed.
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

    pub fn client(&self) -> Client {
        Client::connect(self.http)
    }

    /// Sends one request over a new connection.
    pub fn request(&self, method: &str, target: &str, body: &[u8]) -> Response {
        self.client().request(method, target, &[("Connection", "close")], body)
    }

    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) -> Response {
        self.request("PUT", &map_target(&[key]), value.as_ref())
    }

    /// Writes a value, which must succeed.
    pub fn write(&self, key: &str, value: impl AsRef<[u8]>) {
        let response = self.put(key, value);
        assert!([201, 204].contains(&response.status), "PUT of {key:?}: {response:?}");
    }

    /// The value of a key, if it has one; a node that starts need not know.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let response = self.request("GET", &map_target(&[key]), &[]);
        match response.status {
            404 | 503 => None,
            200 => Some(response.body[key.len() + 1..response.body.len() - 1].to_vec()),
            _ => panic!("GET of {key:?}: {response:?}"),
        }
    }

    /// The value of a key as a text, for comparisons and messages.
    pub fn read(&self, key: &str) -> String {
        match self.get(key) {
            Some(value) => String::from_utf8_lossy(&value).into_owned(),
            None => "(absent)".to_owned(),
        }
    }

    /// The values of `/stats` by name.
    pub fn stats(&self) -> HashMap<String, String> {
        let response = self.request("GET", "/stats", &[]);
        assert_eq!(response.status, 200);
        let text = String::from_utf8(response.body).expect("/stats is a text");
        let fact = |line: &str| {
            let (name, value) = line.split_once('=').expect("each line is name=value");
            (name.to_owned(), value.to_owned())
        };
        text.lines().map(fact).collect()
    }

    /// A number in `/stats`.
    pub fn count(&self, name: &str) -> u64 {
        self.stats()[name].parse().expect("it is a number")
    }

    pub fn is_ready(&self) -> bool {
        self.request("GET", "/readyz", &[]).status == 200
    }

    pub fn wait_until_ready(&self) {
        eventually(RESPONSE_LIMIT, "ready", || same(self.is_ready(), true));
    }

    /// Its resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("the process is running");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("there is VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("it is a number")
    }
}

impl Node {
    pub fn threads(&self) -> usize {
        self.entries_of("task")
    }

    /// The number of its open descriptors.
    pub fn descriptors(&self) -> usize {
        self.entries_of("fd")
    }

    fn entries_of(&self, directory: &str) -> usize {
        let path = format!("/proc/{}/{directory}", self.pid());
        std::fs::read_dir(path).expect("the process is running").count()
    }

    /// The greatest number of threads and of resident KiB during `act`.
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

/// Whether a sidecar serves at this address.
fn responds(http: SocketAddr) -> bool {
    let ask = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(http)?;
        stream.set_read_timeout(Some(RESPONSE_LIMIT))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response)?;
        Ok(response)
    };
    ask()
        .is_ok_and(|response| response.starts_with(b"HTTP/1.1 200 ") && response.ends_with(b"ok\n"))
}
