//! What all threads of a sidecar share.

use crate::config::Config;
use crate::core::api::response::{JSON, PLAIN_TEXT, Response};
use crate::core::dissemination::Subtree;
use crate::core::exchange::{Identity, Summary};
use crate::core::isolation::isolated_since;
use crate::core::store::{Limits, Store};
use crate::node::members::Members;
use crate::node::metrics::{self, CLOCK_WARNING_MS, Counter, Gauge, Metrics};
use crate::sys::lock::lock;
use crate::sys::logger::{Limiter, PANICS};
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a thread with many steps to do lets others go first before it goes on all the same.
const MAX_YIELDS: u32 = 10_000;

/// Unix milliseconds by the wall clock; 0 before 1970.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// What all threads share.
pub struct Node {
    /// The settings it runs with.
    pub config: Config,
    /// What it has counted.
    pub metrics: Metrics,
    /// Connections given up for as long as this process lives, each with a thread.
    pub lost_connections: AtomicUsize,
    /// Requests that wait for a change.
    pub waits: AtomicUsize,
    /// Writes among them that wait for others to have them.
    pub unconfirmed: AtomicUsize,
    /// The thread that looks for what they wait for.
    watcher: OnceLock<Thread>,
    store: Mutex<Store>,
    /// Threads that wait for the lock.
    waiting_for_store: AtomicUsize,
    started: Instant,
    started_at: SystemTime,
    /// When it last met a peer, in Unix milliseconds; 0 for never.
    last_exchange_ms: AtomicU64,
    /// See [`Identity::complete_since_ms`].
    complete_since_ms: AtomicU64,
    is_ready: AtomicBool,
    draining: AtomicBool,
    members: Mutex<Members>,
    /// Whether the gossip thread has still to take note of a write.
    pub has_told_of_write: AtomicBool,
    /// Whether it has been told at which address others reach us.
    has_advertise_address: AtomicBool,
    events: Sender<Event>,
}

impl Node {
    /// A node that knows nobody and has nothing, and what its gossip thread is told.
    pub fn new(config: Config) -> (Self, Receiver<Event>) {
        let limits = Limits {
            max_store_bytes: config.max_store_bytes,
            tombstone_ttl_ms: config.tombstone_ttl.as_millis() as u64,
        };
        let (events, received) = channel();
        let node = Self {
            waiting_for_store: AtomicUsize::new(0),
            store: Mutex::new(Store::new(fastrand::u32(..), fastrand::u64(..), limits)),
            metrics: Metrics::default(),
            lost_connections: AtomicUsize::new(0),
            waits: AtomicUsize::new(0),
            unconfirmed: AtomicUsize::new(0),
            watcher: OnceLock::new(),
            started: Instant::now(),
            started_at: SystemTime::now(),
            last_exchange_ms: AtomicU64::new(0),
            complete_since_ms: AtomicU64::new(wall_ms()),
            is_ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            members: Mutex::default(),
            has_told_of_write: AtomicBool::new(false),
            has_advertise_address: AtomicBool::new(!config.own_addresses().is_empty()),
            events,
            config,
        };
        (node, received)
    }

    /// The store, locked. Hold it for one call, and never while waiting for anything.
    pub fn store(&self) -> LockedStore<'_> {
        let store = self.store.try_lock().unwrap_or_else(|held| match held {
            TryLockError::Poisoned(store) => store.into_inner(),
            TryLockError::WouldBlock => {
                self.waiting_for_store.fetch_add(1, Relaxed);
                let store = lock(&self.store);
                self.waiting_for_store.fetch_sub(1, Relaxed);
                store
            }
        });
        LockedStore { changes_before: store.changes().count(), store, node: self }
    }

    /// The store, locked for one of many steps in a row: others who wait for it come first.
    ///
    /// The lock is not fair. Who unlocks it and locks it again at once keeps all others out.
    pub fn store_after_others(&self) -> LockedStore<'_> {
        for _ in 0..MAX_YIELDS {
            if self.waiting_for_store.load(Relaxed) == 0 {
                break;
            }
            std::thread::yield_now();
        }
        self.store()
    }

    /// Has the calling thread woken by changes from now on, as if it were unparked.
    pub fn register_watch_thread(&self) {
        let _ = self.watcher.set(std::thread::current());
    }

    /// Wakes the thread that looks for changes.
    pub fn wake_watchers(&self) {
        self.watcher.get().into_iter().for_each(Thread::unpark);
    }

    /// Tells the gossip thread something.
    pub fn tell(&self, event: Event) {
        // Its receiver lives as long as the process.
        let _ = self.events.send(event);
    }

    /// Takes note of a local write, for the gossip thread to spread.
    pub fn wrote(&self) {
        // Hundreds of writes may come while one call is made: one word does for all of them.
        if !self.has_told_of_write.swap(true, Relaxed) {
            self.tell(Event::Wrote);
        }
    }

    /// Takes note of the addresses of a exchange that somebody else has opened.
    pub fn answered(&self, own: SocketAddr, initiator: SocketAddr) {
        self.tell(Event::Heard(initiator.ip().to_canonical()));
        self.reached_at(own);
    }

    /// Takes note of the address at which an initiator has reached us, if we have no better one.
    fn reached_at(&self, address: SocketAddr) {
        if !self.has_advertise_address.swap(true, Relaxed) {
            // A socket for both families shows IPv4 addresses in their IPv6 form.
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            self.tell(Event::AdvertiseAddress(address));
        }
    }

    /// What we say of ourselves in an exchange.
    pub fn identity(&self) -> Identity {
        let last_exchange_ms = Some(self.last_exchange_ms.load(Relaxed)).filter(|&ms| ms > 0);
        let tombstone_ttl_ms = self.config.tombstone_ttl.as_millis() as u64;
        Identity {
            cluster: self.config.cluster.clone(),
            complete_since_ms: self.complete_since_ms.load(Relaxed),
            isolated_since_ms: isolated_since(last_exchange_ms, wall_ms(), tombstone_ttl_ms),
        }
    }

    /// Takes note of an exchange that ran to its end, and of where it was called, if it was.
    pub fn record_exchange(&self, called_at: Option<SocketAddr>, summary: &Summary) {
        static CLOCK_LOG: Limiter = Limiter::new();
        self.members().record_exchange(called_at, summary);
        if self.unconfirmed.load(Relaxed) > 0 {
            self.wake_watchers();
        }
        self.metrics.add(Counter::RecordsSent, summary.sent);
        self.metrics.add(Counter::RecordsTaken, summary.taken);
        self.metrics.add(Counter::EntriesPurged, summary.purged);
        if let Some(offset_ms) = summary.clock_offset_ms {
            if offset_ms.unsigned_abs() >= CLOCK_WARNING_MS {
                self.metrics.count(Counter::ClocksOff);
                if let (Some(silent), Some(peer)) = (CLOCK_LOG.pass(), summary.peer) {
                    let offset_s = offset_ms / 1000;
                    log::warn!(
                        "the clock of node {peer:08x} is {offset_s} s ahead of ours{silent}"
                    );
                }
            }
        }
        if summary.taken > 0 || summary.subtree.is_some() {
            let is_news = summary.taken > 0;
            self.tell(Event::Learned { is_news, subtree: summary.subtree });
        }
        if summary.complete {
            self.last_exchange_ms.store(summary.began_ms.max(1), Relaxed);
            self.complete_since_ms.store(summary.complete_since_ms, Relaxed);
            self.become_ready("an exchange with a peer is complete");
        }
    }

    /// Is ready from now on.
    pub fn become_ready(&self, why: &str) {
        if !self.is_ready.swap(true, Relaxed) {
            log::info!("ready after {} ms: {why}", self.started.elapsed().as_millis());
        }
    }

    /// Begins to leave: peers are to get everything.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
        self.tell(Event::Wrote);
    }

    /// Whether we are leaving.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Whether we may end.
    pub fn has_drained(&self) -> bool {
        self.store().is_closed()
    }

    /// How long this process has been running.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Why this node should not be sent work, if it should not.
    pub fn not_ready_reason(&self) -> Option<&'static str> {
        if self.draining.load(Relaxed) {
            return Some("leaving: the last writes are being pushed to peers");
        }
        let ready =
            self.is_ready.load(Relaxed) || self.started.elapsed() >= self.config.ready_timeout;
        (!ready).then_some("no exchange with a peer is complete yet (READY_TIMEOUT ends the wait)")
    }

    /// The others, as far as they are known.
    pub fn members(&self) -> MutexGuard<'_, Members> {
        lock(&self.members)
    }

    /// The answer to `/stats`.
    pub fn stats(&self, json: bool) -> Response {
        let (node, root) = {
            let store = self.store();
            (store.node(), store.root().xor)
        };
        // k8s-gossipcar writes local date and time without a zone; ours is UTC.
        let since = humantime::format_rfc3339_millis(self.started_at).to_string();
        let facts = [
            ("upSince", since.trim_end_matches('Z').to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("node", format!("{node:08x}")),
            ("pod", self.config.pod_name.clone().unwrap_or_default()),
            ("cluster", self.config.cluster.to_string()),
            ("digest", format!("{root:016x}")),
        ];
        let up_secs = self.started.elapsed().as_secs();
        let text = metrics::stats(json, up_secs, &self.metrics, &facts, &self.gauges());
        Response::ok(if json { JSON } else { PLAIN_TEXT }, text.into_bytes())
    }

    /// The answer to `/peers`.
    pub fn peers(&self, json: bool) -> Response {
        let text = self.members().write(json);
        Response::ok(if json { JSON } else { PLAIN_TEXT }, text.into_bytes())
    }

    /// The text of `/metrics`.
    pub fn prometheus(&self) -> String {
        metrics::prometheus(&self.metrics, &self.gauges())
    }

    fn gauges(&self) -> [Gauge; 8] {
        let (keys, tombstones, bytes) = {
            let store = self.store();
            (store.live() as u64, store.tombstones() as u64, store.bytes())
        };
        let peers = self.members().len() as u64;
        let waits = self.waits.load(Relaxed) as u64;
        let ready = u64::from(self.not_ready_reason().is_none());
        let up = self.started.elapsed().as_secs();
        let panics = PANICS.load(Relaxed);
        [
            ("keys", "keys", "keys that have a value", keys),
            ("tombstones", "tombstones", "deletions remembered", tombstones),
            ("storeBytes", "store_bytes", "what counts against MAX_STORE_BYTES", bytes),
            ("peers", "peers", "peers in the latest DNS answer", peers),
            ("waits", "waits", "requests that wait for a change", waits),
            ("ready", "ready", "1 if ready", ready),
            ("upSecs", "up_seconds", "time since the start", up),
            ("panics", "panics", "panics caught: each one is a bug", panics),
        ]
    }
}

/// The store, locked. When it is given back with a change that somebody may wait for, they are
/// told.
pub struct LockedStore<'a> {
    store: MutexGuard<'a, Store>,
    changes_before: u64,
    node: &'a Node,
}

impl Deref for LockedStore<'_> {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl DerefMut for LockedStore<'_> {
    fn deref_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

impl Drop for LockedStore<'_> {
    fn drop(&mut self) {
        let changes = self.store.changes();
        if changes.is_watched() && changes.count() != self.changes_before {
            self.node.wake_watchers();
        }
    }
}

/// What the gossip thread is told.
pub enum Event {
    /// There was a write here; told once until it is taken note of.
    Wrote,
    /// Somebody waits for others to have what was written here.
    ReplicasAwaited,
    /// An exchange has brought news, or a part of a relay tree, or both.
    Learned {
        /// Whether anything was taken.
        is_news: bool,
        /// The part of a relay tree.
        subtree: Option<Subtree>,
    },
    /// The address at which others reach us.
    AdvertiseAddress(SocketAddr),
    /// A peer has called from this address.
    Heard(IpAddr),
    /// The latest addresses, without our own, and whether ours was among them.
    Peers(Vec<SocketAddr>, bool),
}
