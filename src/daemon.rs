//! The life of the process: threads, signals, readiness, and leaving in good order.

use crate::config::Config;
use crate::digest::key_hash;
use crate::exchange::{Identity, Summary};
use crate::gossip::{Action, Duty, Ended, Gossip, cut_since};
use crate::logger::{Limiter, PANICS};
use crate::metrics::{self, Counter, Gauge, Metrics};
use crate::store::{Limits, MAX_COLLECTED_AT_ONCE, Store};
use crate::{http, peers};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Until DNS has answered for the first time, it is asked this often.
const FIRST_LOOK_UPS_EVERY: Duration = Duration::from_millis(200);

/// How long a thread that panicked waits before it starts anew.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Unix milliseconds by the wall clock; 0 before 1970.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A place among the few threads that may do one thing at a time; given back when dropped.
pub struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place, if fewer than `most` are taken.
    pub fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(taken.clone());
        (taken.fetch_add(1, AcqRel) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

/// What all threads share.
pub struct Node {
    /// The settings it runs with.
    pub config: Config,
    /// What it has counted.
    pub metrics: Metrics,
    /// Conversations being answered.
    pub answering: Arc<AtomicUsize>,
    store: Mutex<Store>,
    started: Instant,
    started_at: SystemTime,
    /// When it last met a peer, in Unix milliseconds; 0 for never.
    last_met_ms: AtomicU64,
    /// See [`Identity::since_ms`].
    since_ms: AtomicU64,
    caught_up: AtomicBool,
    leaving: AtomicBool,
    known_peers: AtomicUsize,
    /// Whether the gossip thread has still to take note of a write.
    wrote: AtomicBool,
    /// Whether it has been told at which address others reach us.
    is_placed: AtomicBool,
    tell: Sender<Event>,
}

impl Node {
    fn new(config: Config, tell: Sender<Event>) -> Self {
        let limits = Limits {
            max_store_bytes: config.max_store_bytes,
            tombstone_ttl_ms: config.tombstone_ttl.as_millis() as u64,
        };
        Self {
            store: Mutex::new(Store::new(fastrand::u32(..), fastrand::u64(..), limits)),
            metrics: Metrics::default(),
            answering: Arc::default(),
            started: Instant::now(),
            started_at: SystemTime::now(),
            last_met_ms: AtomicU64::new(0),
            since_ms: AtomicU64::new(wall_ms()),
            caught_up: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            known_peers: AtomicUsize::new(0),
            wrote: AtomicBool::new(false),
            is_placed: AtomicBool::new(!config.own_addresses().is_empty()),
            tell,
            config,
        }
    }

    /// The store, locked. Hold it for one call, and never while waiting for anything.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        // A panic under the lock is our bug and was logged; serving on beats serving nothing.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a local write, for the gossip thread to spread.
    pub fn wrote(&self) {
        // Hundreds of writes may come while one call is made: one word does for all of them.
        if !self.wrote.swap(true, Relaxed) {
            let _ = self.tell.send(Event::Wrote);
        }
    }

    /// Takes note of the addresses of a conversation that somebody else has opened.
    pub fn answered(&self, own: SocketAddr, caller: SocketAddr) {
        let _ = self.tell.send(Event::Heard(caller.ip().to_canonical()));
        self.reached_at(own);
    }

    /// Takes note of the address at which a caller has reached us, if we have no better one.
    fn reached_at(&self, address: SocketAddr) {
        if !self.is_placed.swap(true, Relaxed) {
            // A socket for both families shows IPv4 addresses in their IPv6 form.
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            let _ = self.tell.send(Event::Reached(address));
        }
    }

    /// What we say of ourselves in an exchange.
    pub fn identity(&self) -> Identity {
        let last_met_ms = Some(self.last_met_ms.load(Relaxed)).filter(|&ms| ms > 0);
        let tombstone_ttl_ms = self.config.tombstone_ttl.as_millis() as u64;
        Identity {
            cluster: self.config.cluster.clone(),
            since_ms: self.since_ms.load(Relaxed),
            cut_ms: cut_since(last_met_ms, wall_ms(), tombstone_ttl_ms),
        }
    }

    /// Takes note of a conversation that ran to its end.
    pub fn met(&self, summary: &Summary) {
        static CLOCK_LOG: Limiter = Limiter::new();
        self.metrics.add(Counter::RecordsSent, summary.sent);
        self.metrics.add(Counter::RecordsTaken, summary.taken);
        self.metrics.add(Counter::EntriesForgotten, summary.forgotten);
        if let Some(offset_ms) = summary.clock_offset_ms {
            if offset_ms.unsigned_abs() >= peers::CLOCK_WARNING_MS {
                self.metrics.count(Counter::ClocksOff);
                if let (Some(silent), Some(peer)) = (CLOCK_LOG.pass(), summary.peer) {
                    let offset_s = offset_ms / 1000;
                    log::warn!(
                        "the clock of node {peer:08x} is {offset_s} s ahead of ours{silent}"
                    );
                }
            }
        }
        if summary.taken > 0 || summary.duty.is_some() {
            let is_news = summary.taken > 0;
            let _ = self.tell.send(Event::Learned { is_news, duty: summary.duty });
        }
        if summary.complete {
            self.last_met_ms.store(summary.began_ms.max(1), Relaxed);
            self.since_ms.store(summary.since_ms, Relaxed);
            self.catch_up("an exchange with a peer is complete");
        }
    }

    fn catch_up(&self, why: &str) {
        if !self.caught_up.swap(true, Relaxed) {
            log::info!("ready after {} ms: {why}", self.started.elapsed().as_millis());
        }
    }

    /// Why this node should not be sent work, if it should not.
    pub fn unready(&self) -> Option<&'static str> {
        if self.leaving.load(Relaxed) {
            return Some("leaving: the last writes are being pushed to peers");
        }
        let is_ready =
            self.caught_up.load(Relaxed) || self.started.elapsed() >= self.config.ready_timeout;
        (!is_ready)
            .then_some("no exchange with a peer is complete yet (READY_TIMEOUT ends the wait)")
    }

    /// The text of `/stats`.
    pub fn stats(&self) -> String {
        let (node, root) = {
            let store = self.store();
            (store.node(), store.root().xor)
        };
        // The ancestor writes local date and time without a zone; ours is UTC.
        let since = humantime::format_rfc3339_millis(self.started_at).to_string();
        let facts = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("node", format!("{node:08x}")),
            ("pod", self.config.pod_name.clone().unwrap_or_default()),
            ("cluster", self.config.cluster.to_string()),
            ("digest", format!("{root:016x}")),
        ];
        metrics::stats(
            self.started.elapsed().as_secs(),
            since.trim_end_matches('Z'),
            &self.metrics,
            &facts,
            &self.gauges(),
        )
    }

    /// The text of `/metrics`.
    pub fn prometheus(&self) -> String {
        metrics::prometheus(&self.metrics, &self.gauges())
    }

    fn gauges(&self) -> [Gauge; 7] {
        let (keys, tombstones, bytes) = {
            let store = self.store();
            (store.live() as u64, store.tombstones() as u64, store.bytes())
        };
        let peers = self.known_peers.load(Relaxed) as u64;
        let ready = u64::from(self.unready().is_none());
        let up = self.started.elapsed().as_secs();
        let panics = PANICS.load(Relaxed);
        [
            ("keys", "keys", "keys that have a value", keys),
            ("tombstones", "tombstones", "deletions remembered", tombstones),
            ("storeBytes", "store_bytes", "what counts against MAX_STORE_BYTES", bytes),
            ("peers", "peers", "peers in the latest DNS answer", peers),
            ("ready", "ready", "1 if ready", ready),
            ("upSecs", "up_seconds", "time since the start", up),
            ("panics", "panics", "panics caught: each one is a bug", panics),
        ]
    }
}

/// What the gossip thread is told.
pub enum Event {
    /// There was a write here; told once until it is taken note of.
    Wrote,
    /// A conversation has brought news, or a part of a wave, or both.
    Learned {
        /// Whether anything was taken.
        is_news: bool,
        /// The part of a wave.
        duty: Option<Duty>,
    },
    /// The address at which others reach us.
    Reached(SocketAddr),
    /// A peer has called from this address.
    Heard(IpAddr),
    /// The latest addresses, without our own, and whether ours was among them.
    Peers(Vec<SocketAddr>, bool),
    /// Leave: push what we have, then say so.
    Drain(Sender<()>),
}

/// Why the process could not start, or not go on: for the last line on standard error.
#[derive(Debug)]
pub struct CannotServe(pub String);

impl std::fmt::Display for CannotServe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Serves until a signal says to leave.
pub fn serve(config: Config) -> Result<(), CannotServe> {
    // Before anything else: as PID 1 a signal without a handler is lost.
    let signals =
        signals().map_err(|error| CannotServe(format!("cannot handle signals: {error}")))?;
    let peer_listeners = bind_all(&config.peer, "PEER_PORT", "PEER_BIND")?;
    let client_listeners = bind_all(&config.client, "CLIENT_PORT", "CLIENT_BIND")?;
    let (tell, told) = mpsc::channel();
    let node = Arc::new(Node::new(config, tell.clone()));
    let id = node.store().node();
    log::info!(
        "gossip-sidecar {} started: node {id:08x}, cluster {}, HTTP on {:?}, peers on {:?}",
        env!("CARGO_PKG_VERSION"),
        node.config.cluster,
        addresses(&client_listeners),
        addresses(&peer_listeners),
    );
    for listener in client_listeners {
        http::start(&node, listener)?;
    }
    for listener in peer_listeners {
        let node = node.clone();
        keep_alive("accept", move || peers::listen(&node, &listener))?;
    }
    let told = Mutex::new(told);
    let gossiping = node.clone();
    keep_alive("gossip", move || {
        gossip(&gossiping, &told.lock().unwrap_or_else(PoisonError::into_inner));
    })?;
    let resolving = node.clone();
    keep_alive("resolve", move || resolve(&resolving))?;

    let signal = signals.recv().unwrap_or("end of signals");
    log::info!("{signal}: leaving, the last writes are being pushed to peers");
    node.leaving.store(true, Relaxed);
    let (drained, done) = mpsc::channel();
    let _ = tell.send(Event::Drain(drained));
    let deadline = Instant::now() + node.config.drain_timeout;
    loop {
        if signals.try_recv().is_ok() {
            log::warn!("second signal: leaving at once");
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match done.recv_timeout(left.min(Duration::from_millis(50))) {
            Ok(()) => {
                log::info!("left: peers have everything");
                return Ok(());
            }
            Err(_) if left.is_zero() => {
                log::warn!("left without a peer's word that it has everything (DRAIN_TIMEOUT)");
                return Ok(());
            }
            Err(_) => {}
        }
    }
}

/// The names of the signals to leave, as they come.
pub fn signals() -> io::Result<Receiver<&'static str>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    let (sender, receiver) = mpsc::channel();
    for (signal, name) in [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")] {
        let (mut reader, writer) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(signal, writer)?;
        let sender = sender.clone();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            while reader.read_exact(&mut [0]).is_ok() && sender.send(name).is_ok() {}
        })?;
    }
    Ok(receiver)
}

/// Listens on all the addresses, leaving out those of a family that this machine does not have.
fn bind_all(
    addresses: &[SocketAddr],
    port_setting: &str,
    bind_setting: &str,
) -> Result<Vec<TcpListener>, CannotServe> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for &address in addresses {
        let takes_both_families = |listener: &TcpListener| {
            listener.local_addr().is_ok_and(|bound| bound.is_ipv6() && bound.ip().is_unspecified())
        };
        if address.is_ipv4()
            && address.ip().is_unspecified()
            && listeners.iter().any(takes_both_families)
        {
            continue;
        }
        match TcpListener::bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                let is_last_hope = listeners.is_empty() && Some(&address) == addresses.last();
                let family_missing = error.kind() == io::ErrorKind::AddrNotAvailable
                    || error.kind() == io::ErrorKind::Unsupported
                    || error.raw_os_error() == Some(97);
                if address.is_ipv6() && family_missing && !is_last_hope {
                    log::debug!("no IPv6 here: not listening on {address}");
                    continue;
                }
                let advice = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        format!("another process has it; choose another with {port_setting}")
                    }
                    io::ErrorKind::PermissionDenied => format!(
                        "ports below 1024 need a privilege (in Kubernetes the pod sysctl \
                         net.ipv4.ip_unprivileged_port_start=0); or choose another with {port_setting}, such as 8080"
                    ),
                    _ => format!("check {bind_setting} and {port_setting}"),
                };
                return Err(CannotServe(format!("cannot listen on {address}: {error}: {advice}")));
            }
        }
    }
    Ok(listeners)
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Runs `body` in a thread of its own, and again if it panics.
pub fn keep_alive(name: &'static str, body: impl Fn() + Send + 'static) -> Result<(), CannotServe> {
    let run = move || {
        while catch_unwind(AssertUnwindSafe(&body)).is_err() {
            std::thread::sleep(RESTART_PAUSE);
        }
    };
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(drop)
        .map_err(|error| CannotServe(format!("cannot start the {name} thread: {error}")))
}

/// Keeps looking the peers up, and passes each answer on. The last good answer stays in use while
/// look-ups fail or come back empty.
fn resolve(node: &Node) {
    let own_addresses = node.config.own_addresses();
    let (mut has_answered, mut is_failing) = (false, false);
    loop {
        match peers::resolve(&node.config.service) {
            Ok(addresses) if !addresses.is_empty() => {
                if is_failing {
                    log::info!(
                        "look-up of SERVICE_DNS_NAME: found {} addresses again",
                        addresses.len()
                    );
                }
                (has_answered, is_failing) = (true, false);
                let (own, peers): (Vec<_>, Vec<_>) =
                    addresses.into_iter().partition(|address| own_addresses.contains(address));
                let _ = node.tell.send(Event::Peers(peers, !own.is_empty()));
            }
            failed => {
                node.metrics.count(Counter::FailedLookUps);
                if !is_failing && node.started.elapsed() > Duration::from_secs(2) {
                    is_failing = true;
                    let why =
                        failed.map_or_else(|error| error.to_string(), |_| "no address".into());
                    log::warn!(
                        "look-up of SERVICE_DNS_NAME: {why}; going on with what was found before"
                    );
                }
            }
        }
        let interval = node.config.sync_interval;
        std::thread::sleep(if has_answered {
            interval
        } else {
            interval.min(FIRST_LOOK_UPS_EVERY)
        });
    }
}

/// Calls peers as the scheduler says.
fn gossip(node: &Node, events: &Receiver<Event>) {
    let now_ms = || node.started.elapsed().as_millis() as u64;
    let interval_ms = node.config.sync_interval.as_millis() as u64;
    let mut gossip = Gossip::new(interval_ms, now_ms(), fastrand::Rng::new(), place_hash);
    node.config.own_addresses().first().into_iter().for_each(|&own| gossip.set_own_place(own));
    let peer_port = node.config.peer[0].port();
    let mut silent = BTreeSet::new();
    let mut leave: Option<(Sender<()>, u64)> = None;
    loop {
        let patience = match gossip.next(now_ms()) {
            Action::Call { peer, duty } => {
                let called = peers::call(node, peer, duty);
                log_call(&mut silent, peer, &called);
                gossip.ended(peer, called.unwrap_or(Ended::Failed), now_ms());
                Duration::ZERO
            }
            Action::WaitUntil(ms) => Duration::from_millis(ms.saturating_sub(now_ms())),
        };
        match events.recv_timeout(patience) {
            Ok(Event::Wrote) => {
                node.wrote.store(false, Relaxed);
                gossip.wrote(now_ms());
            }
            Ok(Event::Learned { is_news: true, duty }) => gossip.learned(duty, now_ms()),
            Ok(Event::Learned { is_news: false, duty }) => {
                duty.into_iter().for_each(|duty| gossip.handed(duty));
            }
            Ok(Event::Reached(own)) => gossip.set_own_place(own),
            // All peers of a Service listen on the same port.
            Ok(Event::Heard(ip)) => gossip.heard_from(SocketAddr::new(ip, peer_port)),
            Ok(Event::Peers(peers, found_ourselves)) => {
                silent.retain(|peer| peers.contains(peer));
                gossip.set_peers(peers, now_ms());
                if gossip.peers() == 0 && (found_ourselves || gossip.has_met_itself()) {
                    node.catch_up("DNS knows nobody but ourselves");
                }
            }
            Ok(Event::Drain(drained)) => {
                leave = Some((drained, node.store().writes()));
                gossip.drain(now_ms());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        node.known_peers.store(gossip.peers(), Relaxed);
        if let Some((drained, writes)) = &mut leave {
            let latest = node.store().writes();
            if *writes != latest {
                *writes = latest;
                gossip.drain(now_ms());
            } else if gossip.is_drained() {
                let _ = drained.send(());
            }
        }
        // Many deletions may fall due at once; the lock is given back between any thousand of them.
        while node.store().collect(wall_ms()) == MAX_COLLECTED_AT_ONCE {}
    }
}

/// Where an address stands in the order of the second wave. Part of the protocol.
fn place_hash(address: &SocketAddr) -> u64 {
    key_hash(&address.to_string())
}

/// Says once of each peer that it does not answer, and once that it does again.
fn log_call(
    silent: &mut BTreeSet<SocketAddr>,
    peer: SocketAddr,
    called: &Result<Ended, peers::Failure>,
) {
    static LOG: Limiter = Limiter::new();
    match called {
        Err(failure) if silent.insert(peer) => {
            if let Some(more) = LOG.pass() {
                log::warn!("peer {peer} does not answer: {failure}{more}");
            }
        }
        Err(failure) => log::debug!("peer {peer} does not answer: {failure}"),
        Ok(_) if silent.remove(&peer) => log::info!("peer {peer} answers"),
        Ok(_) => {}
    }
}
