//! Clients that read and write all the time, and record everything.
//!
//! Most keys are written through one node only, by one client, one write after another: their
//! history has one order. A few are written through all nodes at once.

use crate::history::{Kind, Operation, Outcome, Recorder};
use crate::http::{self, Broken};
use crate::node::Target;
use fastrand::Rng;
use gossip_sidecar::client::map_target;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Keys that one node writes at a time.
const OWN_KEYS: usize = 4;
/// Keys that all nodes write.
const SHARED_KEYS: usize = 4;
const THREADS: usize = 4;
/// The longest pause of a client between two requests.
const MAX_PAUSE_MS: u64 = 12;
/// How often a node writes one of its keys, on average.
const WRITES_A_KEY: usize = 5;
/// This many of the latest keys are read as often as all others together.
const LATEST_KEYS: usize = 40;
/// The TTL of values that have one.
const LIFE_MS: u64 = 500;

/// The features that the program has beyond plain reads and writes.
#[derive(Clone, Copy, Default)]
pub struct Abilities {
    /// `DELETE /map?k=KEY`.
    pub delete: bool,
    /// `PUT` with `ttl=`.
    pub ttl: bool,
    /// `PUT` with `replicas=`.
    pub replicas: bool,
    /// `ETag` in the response to a `GET`.
    pub versions: bool,
}

impl std::fmt::Display for Abilities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { delete, ttl, replicas, versions } = *self;
        let named = [("DELETE", delete), ("ttl", ttl), ("replicas", replicas), ("ETag", versions)];
        let list = |wanted: bool| {
            let names = named.iter().filter(|&&(_, has)| has == wanted).map(|&(name, _)| name);
            names.collect::<Vec<_>>().join(", ")
        };
        write!(f, "tested: [{}], not in this program: [{}]", list(true), list(false))
    }
}

impl Abilities {
    /// Tries each feature on a node.
    pub fn of(target: &Target) -> Self {
        let ask = |method, more: &str| {
            http::request(target.http, method, &format!("/map?k=probe{more}"), b"1")
        };
        let takes = |method, more| {
            ask(method, more).is_ok_and(|answer| !matches!(answer.status, 405 | 422))
        };
        let (ttl, replicas) = (takes("PUT", "&ttl=1h"), takes("PUT", "&replicas=1"));
        let _ = ask("PUT", "");
        let versions = ask("GET", "").is_ok_and(|answer| answer.version.is_some());
        Self { delete: takes("DELETE", ""), ttl, replicas, versions }
    }
}

/// What all clients of a load have in common.
pub struct Common {
    /// The nodes to which they send requests.
    pub targets: Vec<Arc<Target>>,
    /// Where they record what they do.
    pub recorder: Arc<Recorder>,
    /// The features that the program has.
    pub abilities: Abilities,
    /// The prefix of all keys.
    pub prefix: String,
    /// Whether there are keys that all nodes write.
    pub shares: bool,
    keys: Mutex<Vec<String>>,
    values: AtomicU64,
    ends: AtomicBool,
}

impl Common {
    /// Sends a request and records it.
    pub fn ask(&self, target: &Target, kind: Kind, key: &str, value: Option<String>) -> Outcome {
        let incarnation = target.incarnation.load(Relaxed);
        let (method, more) = match kind {
            Kind::Get => ("GET", String::new()),
            Kind::Delete => ("DELETE", String::new()),
            Kind::Put => ("PUT", String::new()),
            Kind::PutConfirmed => ("PUT", "&replicas=1".into()),
            Kind::PutFor(ms) => ("PUT", format!("&ttl={ms}ms")),
        };
        let address = map_target([key]) + &more;
        let began = self.recorder.now();
        let body = value.as_deref().unwrap_or_default().as_bytes();
        let answer = http::request(target.http, method, &address, body);
        let ended = self.recorder.now();
        let (mut kind, mut value, mut version) = (kind, value, None);
        let outcome = match answer {
            Err(Broken::Unsent(why)) => Outcome::Refused(why),
            Err(Broken::Unknown(why)) => Outcome::Unknown(why),
            Ok(answer) => {
                version = answer.version;
                match (kind, answer.status) {
                    (Kind::Get, 200) => {
                        let text = String::from_utf8_lossy(&answer.body).into_owned();
                        let found = text.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
                        value = Some(found.unwrap_or(&text).trim_end_matches('\n').to_owned());
                        Outcome::Acknowledged
                    }
                    (Kind::Get | Kind::Delete, 404) => {
                        kind = Kind::Get;
                        Outcome::Acknowledged
                    }
                    (Kind::Get, status) => Outcome::Refused(status.to_string()),
                    (_, 200..300) => Outcome::Acknowledged,
                    // It is written, but no other node has confirmed it.
                    (_, 504) => Outcome::Unknown("504".into()),
                    (_, status) => Outcome::Refused(status.to_string()),
                }
            }
        };
        let outcome = match outcome {
            // It is unknown which of two processes responded.
            Outcome::Acknowledged if target.incarnation.load(Relaxed) != incarnation => {
                Outcome::Unknown("the node was started meanwhile".into())
            }
            outcome => outcome,
        };
        let (node, key, told) = (target.index, key.to_owned(), outcome.clone());
        let operation =
            Operation { node, incarnation, kind, key, value, version, began, ended, outcome };
        self.recorder.add(operation);
        told
    }

    fn value(&self) -> String {
        format!("v{}", self.values.fetch_add(1, Relaxed))
    }

    /// All keys that were ever written.
    pub fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn new_key(&self, name: String) -> String {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        name
    }

    /// A random node, rarely one that is known not to serve.
    fn any<'a>(&'a self, random: &mut Rng) -> &'a Target {
        let mut tries = 0;
        loop {
            let target = &self.targets[random.usize(..self.targets.len())];
            tries += 1;
            if target.serves.load(Relaxed) || tries > 20 || random.u8(..) < 5 {
                return target;
            }
        }
    }
}

/// Running clients; they end when this is dropped.
pub struct Load {
    /// What they have in common.
    pub common: Arc<Common>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the clients.
    pub fn start(
        targets: Vec<Arc<Target>>,
        abilities: Abilities,
        prefix: &str,
        shares: bool,
        seed: u64,
    ) -> Self {
        let common = Arc::new(Common {
            targets,
            recorder: Arc::new(Recorder::new()),
            abilities,
            prefix: prefix.into(),
            shares,
            keys: Mutex::default(),
            values: AtomicU64::new(0),
            ends: AtomicBool::new(false),
        });
        (0..SHARED_KEYS).filter(|_| shares).for_each(|index| {
            common.new_key(format!("{prefix}-shared-{index}"));
        });
        let client = |number: usize| {
            let (common, random) = (common.clone(), Rng::with_seed(seed + number as u64));
            std::thread::spawn(move || Client::new(&common, number, random).run())
        };
        Self { threads: (0..THREADS).map(client).collect(), common }
    }

    /// Ends all clients, once their last requests are answered or have timed out.
    pub fn stop(&mut self) {
        self.common.ends.store(true, Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One client, and the keys that only it writes.
struct Client<'a> {
    common: &'a Common,
    random: Rng,
    own: Vec<Own<'a>>,
}

/// A key that is written through one node only.
struct Own<'a> {
    target: &'a Target,
    slot: usize,
    generation: usize,
    /// Whether its values have a TTL.
    ends: bool,
    key: String,
    incarnation: u32,
}

impl Own<'_> {
    /// Replaces it by a new key, so that the writes of each key are certain and follow one clock.
    fn renew(&mut self, common: &Common) {
        self.incarnation = self.target.incarnation.load(Relaxed);
        self.generation += 1;
        let (prefix, node) = (&common.prefix, self.target.index);
        let kind = if self.ends { "ending" } else { "own" };
        self.key =
            common.new_key(format!("{prefix}-{kind}-{node}-{}-{}", self.slot, self.generation));
    }
}

impl<'a> Client<'a> {
    fn new(common: &'a Common, number: usize, random: Rng) -> Self {
        let mut own = Vec::new();
        for target in common.targets.iter().skip(number).step_by(THREADS) {
            for slot in 0..OWN_KEYS + usize::from(common.abilities.ttl) {
                let ends = slot == OWN_KEYS;
                let mut key =
                    Own { target, slot, generation: 0, ends, key: String::new(), incarnation: 0 };
                key.renew(common);
                own.push(key);
            }
        }
        Self { common, random, own }
    }

    fn run(mut self) {
        while !self.common.ends.load(Relaxed) {
            match self.random.u8(..100) {
                0..40 => self.read(),
                40..90 => self.write_own(),
                _ if self.common.shares => self.write_shared(),
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(self.random.u64(..MAX_PAUSE_MS)));
        }
    }

    fn read(&mut self) {
        let keys = self.common.keys();
        let first = if self.random.bool() { 0 } else { keys.len().saturating_sub(LATEST_KEYS) };
        let key = &keys[self.random.usize(first..keys.len())];
        let target = self.common.any(&mut self.random);
        self.common.ask(target, Kind::Get, key, None);
    }

    fn write_own(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let index = self.random.usize(..self.own.len());
        let own = &mut self.own[index];
        if !own.target.serves.load(Relaxed) && self.random.u8(..) > 5 {
            return;
        }
        // A process that has not caught up yet knows nothing of versions from the future.
        if !self.common.shares && own.incarnation != own.target.incarnation.load(Relaxed) {
            own.renew(self.common);
        }
        let kind = match self.random.u8(..100) {
            _ if own.ends => Kind::PutFor(LIFE_MS),
            0..20 if self.common.abilities.delete => Kind::Delete,
            20..30 if self.common.abilities.replicas => Kind::PutConfirmed,
            _ => Kind::Put,
        };
        let value = (kind != Kind::Delete).then(|| self.common.value());
        let outcome = self.common.ask(own.target, kind, &own.key, value);
        // And many keys, since of each only the last write can be found to be missing at the end.
        if matches!(outcome, Outcome::Unknown(_)) || self.random.usize(..WRITES_A_KEY) == 0 {
            own.renew(self.common);
        }
    }

    fn write_shared(&mut self) {
        let key = format!("{}-shared-{}", self.common.prefix, self.random.usize(..SHARED_KEYS));
        let target = self.common.any(&mut self.random);
        self.common.ask(target, Kind::Put, &key, Some(self.common.value()));
    }
}
