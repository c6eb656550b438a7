//! What one thread has to be told by others.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Messages in the order in which they came.
pub struct Mailbox<T> {
    messages: Mutex<VecDeque<T>>,
    arrived: Condvar,
}

impl<T> Mailbox<T> {
    /// Puts a message in.
    pub fn send(&self, message: T) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push_back(message);
        self.arrived.notify_one();
    }

    /// Takes the next message; waits for it no longer than that, and perhaps less.
    pub fn receive(&self, timeout: Duration) -> Option<T> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.is_empty() && !timeout.is_zero() {
            let woken = self.arrived.wait_timeout(messages, timeout);
            (messages, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
        messages.pop_front()
    }
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { messages: Mutex::default(), arrived: Condvar::new() }
    }
}
