//! Blocking queries and writes that wait for replicas: each blocks a thread, and one thread wakes
//! them.

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

/// Requests that may wait at a time; each costs its connection and a thread.
const MAX_WATCHERS: usize = 512;

/// The longest pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a request waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Watched {
    /// A change of this key.
    Key(String),
    /// A change of any key that starts with this.
    Prefix(String),
    /// That others have the first so many writes made here.
    Replicas { replicas: Replicas, writes: u64 },
}

struct Watcher {
    thread: Thread,
    client: Option<SocketAddr>,
    watched: Watched,
    /// How many changes there had been when the map was looked at.
    seen: u64,
    end: Arc<OnceLock<End>>,
    _permit: Permit,
}

/// How a wait has ended, but for the end of its time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// What is watched may have changed.
    Concerned,
    /// Its permit was needed.
    ClientGone,
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

    /// A permit to wait, if there is one. Watchers whose clients are gone give theirs up once all
    /// are taken: tiny_http notices such a client only when it reads or writes.
    pub fn permit<F: Fn(Option<SocketAddr>) -> bool>(
        &self,
        is_gone: impl FnOnce() -> F,
    ) -> Option<Permit> {
        self.permits.try_acquire().or_else(|| {
            let is_gone = is_gone();
            self.end(End::ClientGone, &mut lock(&self.watching), |watcher| is_gone(watcher.client));
            self.permits.try_acquire()
        })
    }

    /// Blocks until what is watched may be different from what it was after `seen` changes, or until
    /// then; `false` if the client is gone.
    pub fn wait(
        &self,
        permit: Permit,
        client: Option<SocketAddr>,
        watched: &Watched,
        seen: u64,
        until: Instant,
    ) -> bool {
        let end = Arc::new(OnceLock::new());
        self.add(Watcher {
            thread: std::thread::current(),
            client,
            watched: watched.clone(),
            seen,
            end: end.clone(),
            _permit: permit,
        });
        while end.get().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let is_own = |watcher: &mut Watcher| Arc::ptr_eq(&watcher.end, &end);
                self.end(End::Concerned, &mut lock(&self.watching), is_own);
                break;
            }
            std::thread::park_timeout(left);
        }
        end.get() != Some(&End::ClientGone)
    }

    fn add(&self, watcher: Watcher) {
        let mut watching = lock(&self.watching);
        let is_write = matches!(watcher.watched, Watched::Replicas { .. });
        let is_first = is_write && self.node.blocked_writes.load(Relaxed) == 0;
        watching.push(watcher);
        self.count(&watching);
        drop(watching);
        if is_first {
            // The gossip thread goes and looks for them.
            self.node.tell(Event::ReplicasAwaited);
        }
        self.node.wake_watch_thread();
    }

    /// Wakes those that may have got what they wait for, for as long as the process lives.
    pub fn keep_waking(&self) {
        self.node.register_watch_thread();
        loop {
            match self.wake() {
                Some(pause) => std::thread::park_timeout(pause),
                None => std::thread::park(),
            }
        }
    }

    /// Says how long until there may be more to wake.
    fn wake(&self) -> Option<Duration> {
        let mut watching = lock(&self.watching);
        let mut store = self.node.store();
        if watching.is_empty() {
            // Who is just about to be added is told that it may have missed something.
            store.changes_mut().unwatch();
            return None;
        }
        store.purge_expired(wall_ms());
        // Nobody may have waited when the last one of them came.
        let _ = store.changes_mut().watch();
        let changes = store.changes();
        self.end(End::Concerned, &mut watching, |watcher| {
            let seen = std::mem::replace(&mut watcher.seen, changes.count());
            let changed = |fits: &dyn Fn(&str) -> bool| {
                changes.since(seen).is_none_or(|mut keys| keys.any(fits))
            };
            match &watcher.watched {
                Watched::Key(key) => changed(&|other| other == key),
                Watched::Prefix(prefix) => changed(&|key| key.starts_with(&**prefix)),
                Watched::Replicas { replicas, writes } => {
                    self.node.members().confirmations(*writes) >= replicas.wanted
                }
            }
        });
        let due_in = store.next_expiry_in_ms(wall_ms()).map_or(LOOK_EVERY, Duration::from_millis);
        Some(due_in.min(LOOK_EVERY))
    }

    /// Ends the wait of those that are concerned.
    fn end(
        &self,
        end: End,
        watching: &mut Vec<Watcher>,
        mut is_concerned: impl FnMut(&mut Watcher) -> bool,
    ) {
        watching.retain_mut(|watcher| {
            let stays = !is_concerned(watcher);
            if !stays {
                let _ = watcher.end.set(end);
                watcher.thread.unpark();
            }
            stays
        });
        self.count(watching);
    }

    fn count(&self, watching: &[Watcher]) {
        let is_write = |watcher: &&Watcher| matches!(watcher.watched, Watched::Replicas { .. });
        self.node.blocked_requests.store(watching.len(), Relaxed);
        self.node.blocked_writes.store(watching.iter().filter(is_write).count(), Relaxed);
    }
}
