//! The store behind its lock, and whoever has to learn of its changes.

use crate::core::store::Store;
use crate::sys::lock::lock;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread::Thread;

/// How often [`SharedStore::lock_after_others`] yields to other threads before it locks regardless.
const MAX_YIELDS: u32 = 10_000;

/// The store, for all threads.
pub struct SharedStore {
    store: Mutex<Store>,
    /// Threads that wait for the lock.
    waiting: AtomicUsize,
    /// Wakes the watchers of whatever has changed.
    watch_thread: OnceLock<Thread>,
}

impl SharedStore {
    /// Puts a store behind a lock.
    pub fn new(store: Store) -> Self {
        Self {
            store: Mutex::new(store),
            waiting: AtomicUsize::new(0),
            watch_thread: OnceLock::new(),
        }
    }

    /// Locks the store. Hold it for one call, and never while waiting for anything.
    pub fn lock(&self) -> LockedStore<'_> {
        let store = self.store.try_lock().unwrap_or_else(|held| match held {
            TryLockError::Poisoned(store) => store.into_inner(),
            TryLockError::WouldBlock => {
                self.waiting.fetch_add(1, Relaxed);
                let store = lock(&self.store);
                self.waiting.fetch_sub(1, Relaxed);
                store
            }
        });
        LockedStore { changes_before: store.changes().count(), store, shared: self }
    }

    /// Locks the store for one of many steps in a row: other threads that wait for it go first.
    ///
    /// The lock is not fair: a thread that unlocks it and locks it again at once would keep all
    /// others out.
    pub fn lock_after_others(&self) -> LockedStore<'_> {
        for _ in 0..MAX_YIELDS {
            if self.waiting.load(Relaxed) == 0 {
                break;
            }
            std::thread::yield_now();
        }
        self.lock()
    }

    /// From now on changes unpark the calling thread.
    pub fn register_watch_thread(&self) {
        let _ = self.watch_thread.set(std::thread::current());
    }

    /// Makes the watch thread look for what has changed.
    pub fn wake_watch_thread(&self) {
        self.watch_thread.get().into_iter().for_each(Thread::unpark);
    }
}

/// The store, locked. If something has changed that may be watched, the watch thread is woken before
/// the lock is released.
pub struct LockedStore<'a> {
    store: MutexGuard<'a, Store>,
    changes_before: u64,
    shared: &'a SharedStore,
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
            self.shared.wake_watch_thread();
        }
    }
}
