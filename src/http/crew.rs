//! Threads for work that may take long: started when there is some, gone when there is none.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A piece of work.
pub type Job = Box<dyn FnOnce() + Send>;

/// At most so many threads; jobs beyond them wait for their turn.
pub struct Crew {
    name: &'static str,
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    threads: usize,
}

impl Crew {
    /// A crew without any thread yet.
    pub fn new(name: &'static str, most: usize) -> Arc<Self> {
        Arc::new(Self { name, most, state: Mutex::default() })
    }

    /// Has a job done.
    pub fn hand(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        state.waiting.push_back(Box::new(job));
        if state.threads == self.most {
            return;
        }
        state.threads += 1;
        drop(state);
        let crew = self.clone();
        let work = move || crew.work();
        if std::thread::Builder::new().name(self.name.into()).spawn(work).is_err() {
            // Out of threads: do it here. Slow for the others, but nothing is lost.
            self.work();
        }
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            // A panic was logged; the thread's place must be given back all the same.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    /// The next job; with none the thread's place is given back.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        let next = state.waiting.pop_front();
        state.threads -= usize::from(next.is_none());
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
