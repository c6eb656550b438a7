//! A thread that serves requests, each from start to end.

use crate::http::endpoint::Endpoint;
use crate::http::transaction::Transaction;
use crate::sys::threads::supervise_in;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::thread::Builder;
use tiny_http::Request;

/// How many workers of an endpoint take requests, however many others are blocked.
const MIN_AVAILABLE_WORKERS: usize = 2;

/// The stack of a worker: small, since there may be hundreds of them, and far more than one needs.
const STACK_BYTES: usize = 128 * 1024;

pub struct Worker<'a> {
    pub endpoint: &'a Arc<Endpoint>,
    has_handed_over: bool,
}

impl<'a> Worker<'a> {
    /// Starts workers until enough of them take requests.
    pub fn start_missing(endpoint: &Arc<Endpoint>) -> io::Result<()> {
        while reserve_slot(endpoint) {
            let shared = endpoint.clone();
            let builder = Builder::new().stack_size(STACK_BYTES);
            supervise_in(builder, "http", Box::new(move || work(&shared))).inspect_err(|_| {
                endpoint.available_workers.fetch_sub(1, AcqRel);
            })?;
        }
        Ok(())
    }

    /// Makes sure that another worker takes the next request while this one blocks; returns whether
    /// one does. None does if no more threads can be started: then the next request waits until a
    /// worker is done.
    pub fn hand_over(&mut self) -> bool {
        if !std::mem::replace(&mut self.has_handed_over, true) {
            self.endpoint.available_workers.fetch_sub(1, AcqRel);
            let _ = Self::start_missing(self.endpoint);
        }
        self.endpoint.available_workers.load(Relaxed) > 0
    }

    /// Serves a request, and then those that have come after it on its connection.
    #[inline(never)]
    fn serve(&mut self, client: SocketAddr, mut request: Request) {
        loop {
            // A panic was logged. The requests behind this one must not wait for ever.
            let _ = catch_unwind(AssertUnwindSafe(|| Transaction::serve(self, client, request)));
            match self.endpoint.pipelines.leave(client) {
                Some(next) => request = next,
                None => return,
            }
        }
    }
}

/// Takes requests until enough other workers do.
fn work(endpoint: &Arc<Endpoint>) {
    loop {
        let Some((client, request)) = endpoint.receive() else { continue };
        let mut worker = Worker { endpoint, has_handed_over: false };
        worker.serve(client, request);
        if worker.has_handed_over && !reserve_slot(endpoint) {
            return;
        }
    }
}

/// Counts one more worker that takes requests, unless there are enough of them.
fn reserve_slot(endpoint: &Endpoint) -> bool {
    let count = &endpoint.available_workers;
    count
        .fetch_update(AcqRel, Relaxed, |now| (now < MIN_AVAILABLE_WORKERS).then_some(now + 1))
        .is_ok()
}
