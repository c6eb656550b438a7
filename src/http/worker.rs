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

/// Workers of an endpoint that take requests, whatever number of others is blocked.
const WORKERS: usize = 2;

/// There may be hundreds of blocked workers, and what they use of it stays in memory.
const STACK_BYTES: usize = 128 * 1024;

pub struct Worker<'a> {
    pub endpoint: &'a Arc<Endpoint>,
    is_replaced: bool,
}

impl<'a> Worker<'a> {
    /// Starts workers until enough of them take requests.
    pub fn start_missing(endpoint: &Arc<Endpoint>) -> io::Result<()> {
        while join(endpoint) {
            let shared = endpoint.clone();
            let builder = Builder::new().stack_size(STACK_BYTES);
            supervise_in(builder, "http", Box::new(move || work(&shared))).inspect_err(|_| {
                endpoint.available_workers.fetch_sub(1, AcqRel);
            })?;
        }
        Ok(())
    }

    /// Sees to it that another worker takes the next request while this one blocks.
    pub fn replace(&mut self) {
        if !std::mem::replace(&mut self.is_replaced, true) {
            self.endpoint.available_workers.fetch_sub(1, AcqRel);
            // Out of threads, the next request waits until one of the workers is done.
            let _ = Self::start_missing(self.endpoint);
        }
    }

    /// Serves a request, and then those of its connection that came behind it.
    #[inline(never)]
    fn serve(&mut self, client: SocketAddr, mut request: Request) {
        loop {
            // A panic was logged; the connection must not wait for ever.
            let _ = catch_unwind(AssertUnwindSafe(|| Transaction::serve(self, client, request)));
            match self.endpoint.pipelines.leave(client) {
                Some(next) => request = next,
                None => return,
            }
        }
    }
}

/// Takes requests for as long as the worker is needed for it.
fn work(endpoint: &Arc<Endpoint>) {
    loop {
        let Some((client, request)) = endpoint.receive() else { continue };
        let mut worker = Worker { endpoint, is_replaced: false };
        worker.serve(client, request);
        if worker.is_replaced && !join(endpoint) {
            return;
        }
    }
}

/// Counts one more worker that takes requests, unless there are enough.
fn join(endpoint: &Endpoint) -> bool {
    let count = &endpoint.available_workers;
    count.fetch_update(AcqRel, Relaxed, |now| (now < WORKERS).then_some(now + 1)).is_ok()
}
