//! The state that all threads share.

use crate::config::Config;
use crate::core::digest::key_hash;
use crate::core::exchange::{Identity, Summary};
use crate::core::isolation::{LastComplete, isolated_since};
use crate::core::members::Members;
use crate::core::store::{Limits, Store};
use crate::node::event::Event;
use crate::node::metrics::{CLOCK_WARNING_MS, Counter, Metrics};
use crate::node::readiness::Readiness;
use crate::node::shared_store::{LockedStore, SharedStore};
use crate::sys::lock::lock;
use crate::sys::logger::Limiter;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds by the wall clock; 0 before 1970.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A number for an address, the same on all nodes: it orders the second relay tree. Part of the
/// protocol.
pub fn address_hash(address: &SocketAddr) -> u64 {
    key_hash(&address.to_string())
}

/// One node: its settings, its store, and what it knows of others and of itself.
pub struct Node {
    /// The settings.
    pub config: Config,
    /// The counters.
    pub metrics: Metrics,
    /// Whether it should be sent work.
    pub readiness: Readiness,
    /// When it started, by the wall clock.
    pub started_at: SystemTime,
    /// Connections abandoned for as long as this process lives, each with a thread.
    pub leaked_connections: AtomicUsize,
    /// Requests that wait for a change.
    pub blocked_requests: AtomicUsize,
    /// Writes among them, which wait for other nodes to hold them.
    pub blocked_writes: AtomicUsize,
    store: SharedStore,
    members: Mutex<Members<SocketAddr>>,
    last_complete: Mutex<Option<LastComplete>>,
    /// See [`Identity::complete_since_ms`].
    complete_since_ms: AtomicU64,
    /// Whether an [`Event::Wrote`] is on its way to the gossip thread.
    pub has_untold_write: AtomicBool,
    /// Whether it knows the address at which others reach it.
    has_advertise_address: AtomicBool,
    events: Sender<Event>,
}

impl Node {
    /// A node with an empty store, and the events for its gossip thread.
    pub fn new(config: Config) -> (Self, Receiver<Event>) {
        let limits = Limits {
            max_store_bytes: config.max_store_bytes,
            tombstone_ttl_ms: config.tombstone_ttl.as_millis() as u64,
        };
        let store = Store::new(fastrand::u32(..), fastrand::u64(..), limits);
        let (events, received) = channel();
        let node = Self {
            metrics: Metrics::default(),
            readiness: Readiness::new(config.ready_timeout),
            started_at: SystemTime::now(),
            leaked_connections: AtomicUsize::new(0),
            blocked_requests: AtomicUsize::new(0),
            blocked_writes: AtomicUsize::new(0),
            store: SharedStore::new(store),
            members: Mutex::default(),
            last_complete: Mutex::default(),
            complete_since_ms: AtomicU64::new(wall_ms()),
            has_untold_write: AtomicBool::new(false),
            has_advertise_address: AtomicBool::new(!config.own_addresses().is_empty()),
            events,
            config,
        };
        (node, received)
    }

    /// The store, locked: see [`SharedStore::lock`].
    pub fn store(&self) -> LockedStore<'_> {
        self.with_time(self.store.lock())
    }

    /// The store, locked for one of many steps: see [`SharedStore::lock_after_others`].
    pub fn store_after_others(&self) -> LockedStore<'_> {
        self.with_time(self.store.lock_after_others())
    }

    fn with_time<'a>(&self, mut store: LockedStore<'a>) -> LockedStore<'a> {
        store.note_time(wall_ms(), self.readiness.age_ms());
        store
    }

    /// From now on the calling thread looks for changes when the store has changed.
    pub fn register_watch_thread(&self) {
        self.store.register_watch_thread();
    }

    /// Makes the watch thread look for changes.
    pub fn wake_watch_thread(&self) {
        self.store.wake_watch_thread();
    }

    /// The other nodes, as far as they are known.
    pub fn members(&self) -> MutexGuard<'_, Members<SocketAddr>> {
        lock(&self.members)
    }

    /// Tells the gossip thread something.
    pub fn tell(&self, event: Event) {
        // The receiver lives as long as the process.
        let _ = self.events.send(event);
    }

    /// There was a local write, for the gossip thread to spread.
    pub fn wrote(&self) {
        if !self.has_untold_write.swap(true, Relaxed) {
            self.tell(Event::Wrote);
        }
    }

    /// A peer at `initiator` has contacted us at `own`, and the exchange went well.
    pub fn was_contacted(&self, own: SocketAddr, initiator: SocketAddr) {
        self.tell(Event::Heard(initiator.ip().to_canonical()));
        if !self.has_advertise_address.swap(true, Relaxed) {
            // A socket for both families shows IPv4 addresses in their IPv6 form.
            let own = SocketAddr::new(own.ip().to_canonical(), own.port());
            self.tell(Event::AdvertiseAddress(own));
        }
    }

    /// What we say of ourselves in an exchange.
    pub fn identity(&self) -> Identity {
        let last_complete = *lock(&self.last_complete);
        let tombstone_ttl_ms = self.config.tombstone_ttl.as_millis() as u64;
        Identity {
            cluster: self.config.cluster.clone(),
            complete_since_ms: self.complete_since_ms.load(Relaxed),
            isolated_since_ms: isolated_since(
                last_complete,
                self.readiness.age_ms(),
                tombstone_ttl_ms,
            ),
            is_ready: self.readiness.is_ready(),
        }
    }

    /// An exchange has ended well; `peer` is the address that we contacted, if we opened it.
    pub fn record_exchange(&self, peer: Option<SocketAddr>, summary: &Summary) {
        self.members().record_exchange(peer, summary, self.readiness.age_ms());
        if let (Some(peer), Some(offset_ms)) = (peer, summary.clock_offset_ms) {
            // One vote an address, however often the process there is replaced.
            self.store().record_peer_clock(address_hash(&peer), offset_ms, wall_ms());
        }
        if self.blocked_writes.load(Relaxed) > 0 {
            self.wake_watch_thread();
        }
        self.metrics.add(Counter::RecordsSent, summary.sent);
        self.metrics.add(Counter::RecordsTaken, summary.taken);
        self.metrics.add(Counter::EntriesPurged, summary.purged);
        self.warn_of_clock(summary);
        let is_news = summary.taken > 0;
        if is_news || summary.subtree.is_some() {
            self.tell(Event::Learned { is_news, subtree: summary.subtree });
        }
        if summary.complete {
            let last = LastComplete { began_ms: summary.began_ms, age_ms: self.readiness.age_ms() };
            *lock(&self.last_complete) = Some(last);
            self.complete_since_ms.store(summary.complete_since_ms, Relaxed);
            if peer.is_some() && !summary.peer_is_starting {
                self.readiness.become_ready("an exchange with a ready peer is complete");
            }
        }
    }

    /// Whether other nodes may have a key that this one lacks, since it has not caught up with them.
    pub fn may_lack_keys(&self) -> bool {
        let is_alone = || self.readiness.has_looked_up() && self.members().listed().is_empty();
        !self.readiness.is_ready() && !is_alone()
    }

    fn warn_of_clock(&self, summary: &Summary) {
        static LOG: Limiter = Limiter::new();
        let Some(offset_ms) = summary.clock_offset_ms else { return };
        if offset_ms.unsigned_abs() < CLOCK_WARNING_MS {
            return;
        }
        self.metrics.count(Counter::ClocksOff);
        if let (Some(suppressed), Some(peer)) = (LOG.pass(), summary.peer) {
            let offset_s = offset_ms.unsigned_abs() / 1000;
            let direction = if offset_ms > 0 { "ahead of" } else { "behind" };
            log::warn!(
                "the clock of node {peer:08x} is {offset_s} s {direction} this node's{suppressed}"
            );
        }
    }

    /// Begins the drain: peers are to get everything.
    pub fn drain(&self) {
        self.store().drain();
        self.members().drain();
        self.readiness.drain();
        self.tell(Event::Wrote);
    }

    /// Whether this node has never had anything; if so, it refuses local writes from now on.
    pub fn has_nothing_to_hand_over(&self) -> bool {
        let mut store = self.store();
        store.close_if_held(0);
        store.to_hand_over() == 0
    }

    /// Refuses local writes if enough members that stay hold all of them; whether they do.
    pub fn is_drained(&self) -> bool {
        let revision = self.store().to_hand_over();
        if !self.members().have_taken_over(revision) {
            return false;
        }
        let mut store = self.store();
        store.close_if_held(revision);
        store.is_closed() && store.to_hand_over() == revision
    }

    /// How many writes, made here or received from others, no peer is known to hold.
    pub fn unconfirmed_writes(&self) -> u64 {
        let revision = self.store().to_hand_over();
        self.members().unconfirmed(revision)
    }
}
