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

/// Far more than a worker needs: there may be hundreds of them.
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

    /// Sees to it that another worker takes the next request while this one blocks. If there is
    /// none, since threads have run out, the next request waits until some worker is done.
    pub fn replace(&mut self) -> bool {
        if !std::mem::replace(&mut self.is_replaced, true) {
            self.endpoint.available_workers.fetch_sub(1, AcqRel);
            let _ = Self::start_missing(self.endpoint);
        }
        self.endpoint.available_workers.load(Relaxed) > 0
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
