//! A sidecar: a real process in its namespace.

use crate::http;
use crate::network::{Namespace, SERVICE};
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const CLIENT_PORT: u16 = 8080;
/// The port on which the sidecars talk to each other.
pub const PEER_PORT: u16 = 46747;
/// How much of a node's log is kept.
const LOG_LINES: usize = 400;
/// A killed process ends within this time.
const END_LIMIT: Duration = Duration::from_secs(10);

/// What clients know of a node.
pub struct Target {
    /// Its index.
    pub index: usize,
    /// Its HTTP address, which never changes.
    pub http: SocketAddr,
    /// The number of its starts.
    pub incarnation: AtomicU32,
    /// Whether it is expected to serve.
    pub serves: AtomicBool,
}

/// Unusual surroundings of a process.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The file of a control group to which the process writes its id.
    pub group: Option<String>,
    /// The working directory.
    pub directory: Option<String>,
    /// Where its log goes instead of to the driver.
    pub log_to: Option<String>,
}

/// One sidecar.
pub struct Node {
    /// What clients know.
    pub target: Arc<Target>,
    /// Its namespace.
    pub namespace: Namespace,
    /// The cluster that it belongs to.
    pub cluster: String,
    /// For the next start.
    pub surroundings: Surroundings,
    child: Option<Child>,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Node {
    /// A node that is not running yet.
    pub fn new(index: usize, namespace: Namespace) -> Self {
        let target = Target {
            index,
            http: SocketAddr::from((namespace.control, CLIENT_PORT)),
            incarnation: AtomicU32::new(0),
            serves: AtomicBool::new(false),
        };
        Self {
            target: Arc::new(target),
            namespace,
            cluster: "default".into(),
            surroundings: Surroundings::default(),
            child: None,
            log: Arc::default(),
        }
    }

    /// Starts the process; does not wait until it serves.
    pub fn start(&mut self, binary: &Path, settings: &[(&str, &str)]) -> Result<(), String> {
        let Surroundings { group, directory, log_to } = self.surroundings.clone();
        let namespace = &self.namespace;
        // Each of the programs replaces the one before, so that the sidecar has the process id of
        // the first.
        let mut script = String::new();
        if let Some(group) = group {
            script += &format!("echo $$ >{group} && ");
        }
        script += &format!("exec ip netns exec {} setpriv --pdeathsig KILL -- ", namespace.name);
        // After `ip`, which changes mounts and may lose the working directory.
        match directory {
            Some(directory) => script += &format!("sh -c 'cd {directory} && exec \"$0\"' \"$0\""),
            None => script += "\"$0\"",
        }
        if let Some(log_to) = &log_to {
            script += &format!(" 2>{log_to}");
        }
        let name = format!("node-{}", self.target.index);
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .arg(binary)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CLIENT_BIND", namespace.control.to_string())
            .env("CLIENT_PORT", CLIENT_PORT.to_string())
            .env("PEER_BIND", namespace.data.to_string())
            .env("PEER_PORT", PEER_PORT.to_string())
            .env("SERVICE_DNS_NAME", SERVICE)
            .env("MY_POD_IP", namespace.data.to_string())
            .env("MY_POD_NAME", &name)
            .env("CLUSTER", &self.cluster)
            .env("SYNC_INTERVAL", "1s")
            .env("DRAIN_TIMEOUT", "5s")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C must reach the driver only, which then ends the nodes.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{name}: {}: {error}", binary.display()))?;
        let stderr = child.stderr.take().expect("it is piped");
        let log = self.log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                if log.len() == LOG_LINES {
                    log.pop_front();
                }
                log.push_back(line);
            }
        });
        self.child = Some(child);
        self.target.incarnation.fetch_add(1, Relaxed);
        self.target.serves.store(true, Relaxed);
        Ok(())
    }

    /// The process id; 0 if it is not running.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Whether a process was started and not seen to end.
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// How the process ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        self.target.serves.store(false, Relaxed);
        Some(status)
    }

    /// Sends the process a signal.
    pub fn signal(&self, name: &str) -> Result<(), String> {
        crate::network::run("sh", &["-c", &format!("kill -{name} {}", self.pid())]).map(drop)
    }

    /// Waits for the end of the process.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.has_ended() {
                return Ok(status);
            }
            if began.elapsed() > limit {
                return Err(format!("node {} has not ended in {limit:?}", self.target.index));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills the process, and checks that the signal ended it.
    pub fn kill(&mut self) -> Result<(), String> {
        self.target.serves.store(false, Relaxed);
        self.signal("KILL")?;
        let status = self.wait_for_end(END_LIMIT)?;
        match status.signal() {
            Some(9) => Ok(()),
            _ => {
                Err(format!("node {} was to be killed, and ended with {status}", self.target.index))
            }
        }
    }

    /// Sends SIGTERM, and waits until the process has exited.
    pub fn leave(&mut self, limit: Duration) -> Result<(), String> {
        self.signal("TERM")?;
        let status = self.wait_for_end(limit)?;
        match status.code() {
            Some(0) => Ok(()),
            _ => Err(format!("node {} was asked to leave: {status}", self.target.index)),
        }
    }

    /// The state letter in `/proc/PID/stat`: `T` means stopped.
    pub fn state(&self) -> char {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.unwrap_or('-')
    }

    /// Regular files that the process has open for writing.
    pub fn files_written(&self) -> Result<Vec<String>, String> {
        let folder = format!("/proc/{}/fd", self.pid());
        let entries = fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
        let mut written = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            // A descriptor may be closed meanwhile.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let info = path.to_string_lossy().replace("/fd/", "/fdinfo/");
            let info = fs::read_to_string(info).unwrap_or_default();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            // The last octal digit has the access mode: 1 and 2 write.
            let writes = flags.is_some_and(|flags| flags.trim().ends_with(['1', '2']));
            if metadata.is_file() && writes {
                let name = fs::read_link(&path).unwrap_or_default();
                written.push(name.to_string_lossy().into_owned());
            }
        }
        Ok(written)
    }

    /// How many descriptors the process has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// The values of `/stats`; none if the node does not respond.
    pub fn stats(&self) -> HashMap<String, String> {
        let Ok(answer) = http::request(self.target.http, "GET", "/stats", &[]) else {
            return HashMap::new();
        };
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// A number in `/stats`; 0 if the node does not respond.
    pub fn count(&self, name: &str) -> u64 {
        self.stats().get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Whether it is ready to serve.
    pub fn is_ready(&self) -> bool {
        http::request(self.target.http, "GET", "/readyz", &[]).is_ok_and(|got| got.status == 200)
    }

    /// The latest lines of its log.
    pub fn log(&self, lines: usize) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().skip(log.len().saturating_sub(lines)).cloned().collect()
    }

    /// How many lines of its log contain this text.
    pub fn logged(&self, text: &str) -> usize {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
