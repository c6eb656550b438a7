//! Requests that wait for a change. They wait as data: none has a thread of its own.

use crate::node::state::{Event, Node, wall_ms};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests that may wait at a time; each costs its connection, that is about 16 KiB.
pub const MAX_WAITS: usize = 512;

/// The longest pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a request waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Interest {
    /// A change of this key.
    Key(String),
    /// A change of any key that starts with this.
    Prefix(String),
    /// That others have the writes made here so far.
    Replicas {
        /// How many others.
        wanted: usize,
        /// How many writes.
        writes: u64,
    },
}

impl Interest {
    fn fits(&self, changed: &str) -> bool {
        match self {
            Self::Key(key) => key == changed,
            Self::Prefix(prefix) => changed.starts_with(&**prefix),
            Self::Replicas { .. } => false,
        }
    }
}

/// A request that waits.
pub struct Wait<R> {
    /// To be answered in the end.
    pub request: R,
    /// What for.
    pub interest: Interest,
    /// How many changes there had been when the map was looked at.
    pub seen: u64,
    /// It is answered then at the latest.
    pub until: Instant,
}

/// All requests that wait.
pub struct Waits<R> {
    node: Arc<Node>,
    waiting: Mutex<Vec<Wait<R>>>,
}

impl<R> Waits<R> {
    /// Nobody waits yet.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node, waiting: Mutex::default() }
    }

    /// Has a request wait, or gives it back if there are too many already. Those whose client is
    /// gone make room then, and are given back as well; `look` gives what tells them.
    pub fn add<F: Fn(&R) -> bool>(
        &self,
        wait: Wait<R>,
        look: impl FnOnce() -> F,
    ) -> (Result<(), R>, Vec<R>) {
        let mut waiting = self.waiting();
        let mut gone = Vec::new();
        if waiting.len() >= MAX_WAITS {
            let is_gone = look();
            let (left, here) = std::mem::take(&mut *waiting)
                .into_iter()
                .partition::<Vec<_>, _>(|wait| is_gone(&wait.request));
            *waiting = here;
            gone.extend(left.into_iter().map(|wait| wait.request));
        }
        if waiting.len() >= MAX_WAITS {
            return (Err(wait.request), gone);
        }
        let is_write = matches!(wait.interest, Interest::Replicas { .. });
        let is_first = is_write && self.node.unconfirmed.load(Relaxed) == 0;
        waiting.push(wait);
        self.count(&waiting);
        drop(waiting);
        if is_first {
            // The gossip thread goes and looks for them.
            self.node.tell(Event::Seek);
        }
        self.node.look_for_changes();
        (Ok(()), gone)
    }

    /// Passes on whatever may have come to its end, for ever. What it waited for may turn out not
    /// to have happened: then it is to be added again.
    pub fn watch(&self, pass_on: impl Fn(R)) {
        self.node.wake_by_changes();
        loop {
            let (ended, pause) = self.ended();
            match pause {
                _ if !ended.is_empty() => ended.into_iter().for_each(&pass_on),
                Some(pause) => std::thread::park_timeout(pause),
                None => std::thread::park(),
            }
        }
    }

    /// Those that have come to their end, and how long until there may be more.
    fn ended(&self) -> (Vec<R>, Option<Duration>) {
        let mut waiting = self.waiting();
        let mut store = self.node.store();
        if waiting.is_empty() {
            // Who is just about to be added is told that it may have missed something.
            store.changes_mut().unwatch();
            return (Vec::new(), None);
        }
        store.collect(wall_ms());
        // Nobody may have waited when the last one of them came.
        let _ = store.changes_mut().watch();
        let changes = store.changes();
        let now = Instant::now();
        let mut ended = Vec::new();
        let mut pause = store.due_in_ms(wall_ms()).map_or(LOOK_EVERY, Duration::from_millis);
        let mut index = 0;
        while let Some(wait) = waiting.get_mut(index) {
            let is_concerned = match (&wait.interest, changes.since(wait.seen)) {
                (Interest::Replicas { wanted, writes }, _) => {
                    self.node.roster().confirmations(*writes) >= *wanted
                }
                (interest, Some(mut changed)) => changed.any(|key| interest.fits(key)),
                (_, None) => true,
            };
            wait.seen = changes.count();
            if is_concerned || wait.until <= now {
                ended.push(waiting.swap_remove(index).request);
            } else {
                pause = pause.min(wait.until - now);
                index += 1;
            }
        }
        self.count(&waiting);
        (ended, Some(pause.min(LOOK_EVERY)))
    }

    fn count(&self, waiting: &[Wait<R>]) {
        let is_write = |wait: &&Wait<R>| matches!(wait.interest, Interest::Replicas { .. });
        self.node.waits.store(waiting.len(), Relaxed);
        self.node.unconfirmed.store(waiting.iter().filter(is_write).count(), Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Wait<R>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
