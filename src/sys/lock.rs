//! Mutexes that a panic does not take out of service.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it even if a thread has panicked while it held the lock: the panic was our bug and was
/// logged, and serving on beats serving nothing.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
