//! A semaphore: bounds how many threads do one thing at a time.

use crate::sys::lock::lock;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A number of permits.
#[derive(Clone)]
pub struct Semaphore(Arc<Permits>);

struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

/// The right to do what the semaphore bounds; returned when dropped.
pub struct Permit(Arc<Permits>);

impl Semaphore {
    /// A semaphore with that many permits.
    pub fn new(permits: usize) -> Self {
        Self(Arc::new(Permits { free: Mutex::new(permits), returned: Condvar::new() }))
    }

    /// Takes a permit; blocks until there is one.
    pub fn acquire(&self) -> Permit {
        let free = self.0.returned.wait_while(lock(&self.0.free), |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Permit(self.0.clone())
    }

    /// Takes a permit, if there is one.
    pub fn try_acquire(&self) -> Option<Permit> {
        let mut free = lock(&self.0.free);
        *free = free.checked_sub(1)?;
        Some(Permit(self.0.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_given_back_to_whoever_waits_for_it() {
        let semaphore = Semaphore::new(2);
        let (first, second) = (semaphore.acquire(), semaphore.try_acquire());
        assert!(second.is_some() && semaphore.try_acquire().is_none());
        let waiting = std::thread::spawn({
            let semaphore = semaphore.clone();
            move || drop(semaphore.acquire())
        });
        drop(first);
        waiting.join().unwrap();
        assert!(semaphore.try_acquire().is_some());
    }
}
