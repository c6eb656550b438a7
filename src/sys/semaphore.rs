//! A bound on how many threads do one thing at a time.

use crate::sys::lock::lock;
use std::sync::{Arc, Mutex};

/// A number of permits.
#[derive(Clone)]
pub struct Semaphore(Arc<Permits>);

struct Permits {
    free: Mutex<usize>,
}

/// The right to do what the semaphore bounds; given back when dropped.
pub struct Permit(Arc<Permits>);

impl Semaphore {
    /// A semaphore with that many permits.
    pub fn new(permits: usize) -> Self {
        Self(Arc::new(Permits { free: Mutex::new(permits) }))
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_given_back_when_dropped() {
        let semaphore = Semaphore::new(1);
        let permit = semaphore.try_acquire();
        assert!(permit.is_some() && semaphore.try_acquire().is_none());
        drop(permit);
        assert!(semaphore.try_acquire().is_some());
    }
}
