//! Watchers: blocking queries, and writes that wait for replicas. Each blocks a thread, and one thread
//! wakes them.

use crate::core::api::operation::Replicas;
use crate::node::event::Event;
use crate::node::state::{Node, wall_ms};
use crate::sys::lock::lock;
use crate::sys::semaphore::{Permit, Semaphore};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// The most requests that are blocked at a time; each takes a connection and a thread.
const MAX_WATCHERS: usize = 512;

/// The longest time between two checks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a request waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Watched {
    /// A change of this key.
    Key(String),
    /// A change of any key that starts with this.
    Prefix(String),
    /// The other nodes that hold everything up to this revision.
    Replicas { replicas: Replicas, revision: u64 },
}

/// A blocked request.
struct Watcher {
    thread: Thread,
    client: SocketAddr,
    watched: Watched,
    /// The changes that have been checked for this watcher; at first, those that the request saw.
    seen: u64,
    /// Set when the wait ends before its time: whether the client is still there.
    end: Arc<OnceLock<bool>>,
    _permit: Permit,
}

pub struct Watchers {
    node: Arc<Node>,
    permits: Semaphore,
    watching: Mutex<Vec<Watcher>>,
}

impl Watchers {
    pub fn new(node: Arc<Node>) -> Self {
        Self { node, permits: Semaphore::new(MAX_WATCHERS), watching: Mutex::default() }
    }

    /// A permit to wait, if there is one. tiny_http does not notice that the client of a blocked
    /// request has gone: when all permits are taken, those of such clients are taken back.
    pub fn permit(&self, is_gone: impl Fn(&SocketAddr) -> bool) -> Option<Permit> {
        self.permits.try_acquire().or_else(|| {
            self.end(&mut lock(&self.watching), false, |watcher| is_gone(&watcher.client));
            self.permits.try_acquire()
        })
    }

    /// Blocks until what is watched may have changed since the first `seen` changes, or until `until`;
    /// returns whether the client is still there.
    pub fn wait(
        &self,
        permit: Permit,
        client: SocketAddr,
        watched: &Watched,
        seen: u64,
        until: Instant,
    ) -> bool {
        let (thread, watched) = (std::thread::current(), watched.clone());
        let is_write = matches!(watched, Watched::Replicas { .. });
        let end = Arc::new(OnceLock::new());
        let watcher = Watcher { thread, client, watched, seen, end: end.clone(), _permit: permit };
        let mut watching = lock(&self.watching);
        watching.push(watcher);
        let is_first = is_write && self.node.blocked_writes.load(Relaxed) == 0;
        self.count(&watching);
        drop(watching);
        if is_first {
            // The gossip thread contacts everyone at once.
            self.node.tell(Event::ReplicasAwaited);
        }
        self.node.wake_watch_thread();
        while end.get().is_none() && Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        let is_own = |watcher: &mut Watcher| Arc::ptr_eq(&watcher.end, &end);
        self.end(&mut lock(&self.watching), true, is_own);
        end.get() != Some(&false)
    }

    /// Wakes watchers for as long as the process lives.
    pub fn keep_waking(&self) {
        self.node.register_watch_thread();
        loop {
            match self.wake() {
                Some(pause) => std::thread::park_timeout(pause),
                None => std::thread::park(),
            }
        }
    }

    /// Wakes the watchers whose condition may hold; returns how long it is until the next check.
    fn wake(&self) -> Option<Duration> {
        let mut watching = lock(&self.watching);
        let mut store = self.node.store();
        if watching.is_empty() {
            // A watcher that is just being added will find that changes are no longer kept, and look
            // again.
            store.changes_mut().unwatch();
            return None;
        }
        store.purge_expired(wall_ms());
        // The changes may have been unwatched when the first of these watchers came.
        let _ = store.changes_mut().watch();
        let changes = store.changes();
        self.end(&mut watching, true, |watcher| {
            let seen = std::mem::replace(&mut watcher.seen, changes.count());
            match (&watcher.watched, changes.since(seen)) {
                (Watched::Replicas { replicas, revision }, _) => {
                    self.node.members().confirmations(*revision) >= replicas.wanted
                }
                (Watched::Key(key), Some(mut changed)) => changed.any(|other| other == key),
                (Watched::Prefix(prefix), Some(mut changed)) => {
                    changed.any(|key| key.starts_with(&**prefix))
                }
                (_, None) => true,
            }
        });
        let due_in = store.next_expiry_in_ms(wall_ms()).map_or(LOOK_EVERY, Duration::from_millis);
        Some(due_in.min(LOOK_EVERY))
    }

    /// Ends the wait of the watchers that are chosen, and wakes them.
    fn end(
        &self,
        watching: &mut Vec<Watcher>,
        is_client_there: bool,
        mut is_concerned: impl FnMut(&mut Watcher) -> bool,
    ) {
        watching.retain_mut(|watcher| {
            let ends = is_concerned(watcher);
            if ends {
                let _ = watcher.end.set(is_client_there);
                watcher.thread.unpark();
            }
            !ends
        });
        self.count(watching);
    }

    fn count(&self, watching: &[Watcher]) {
        let is_write = |watcher: &&Watcher| matches!(watcher.watched, Watched::Replicas { .. });
        self.node.blocked_requests.store(watching.len(), Relaxed);
        self.node.blocked_writes.store(watching.iter().filter(is_write).count(), Relaxed);
    }
}
