//! One address on which HTTP is served, and what its workers share.

use crate::http::open_connections::OpenConnections;
use crate::http::pipelining::Pipelines;
use crate::http::self_probe;
use crate::http::servers::Servers;
use crate::http::worker::Worker;
use crate::node::metrics::Counter;
use crate::node::state::Node;
use crate::node::watchers::Watchers;
use crate::sys::lock::lock;
use crate::sys::logger::Limiter;
use crate::sys::semaphore::Semaphore;
use crate::sys::threads::supervise;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tiny_http::{ReadWrite, Request};

/// The most uploads that are read at a time; further ones wait.
const MAX_UPLOADS: usize = 16;

/// The most long responses for which another worker takes over; a worker that writes a further one
/// takes no requests meanwhile.
const MAX_LONG_RESPONSES: usize = 16;

/// The most blocking queries that respond at a time: one write may end all of them, and their values
/// together may be far larger than the map.
const MAX_QUERY_RESPONSES: usize = 4;

/// How long to wait before a server that has stopped accepting is replaced.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_millis(200);

pub struct Endpoint {
    pub node: Arc<Node>,
    pub address: SocketAddr,
    pub watchers: Arc<Watchers>,
    pub pipelines: Pipelines<Request>,
    pub uploads: Semaphore,
    pub long_responses: Semaphore,
    pub query_responses: Semaphore,
    /// Workers that take requests.
    pub available_workers: AtomicUsize,
    /// Held while receiving, so that the requests of a connection enter its pipeline in order.
    servers: Mutex<Servers>,
    /// Tells the worker that receives next to replace the server.
    pub must_replace_server: AtomicBool,
    /// Whether there was a request since the last self-probe.
    pub has_requests: AtomicBool,
    /// Connections with an unread body, kept until their clients are gone: see [`Transaction`].
    ///
    /// [`Transaction`]: crate::http::transaction::Transaction
    pub abandoned: Mutex<Vec<(SocketAddr, Box<dyn ReadWrite + Send>)>>,
}

/// Serves HTTP on the listeners, in threads of its own.
pub fn start(node: &Arc<Node>, listeners: Vec<TcpListener>) -> io::Result<()> {
    let watchers = Arc::new(Watchers::new(node.clone()));
    for listener in listeners {
        let address = listener.local_addr()?;
        let servers = Servers::new(listener).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot serve HTTP on {address}: {error}"))
        })?;
        let endpoint = Arc::new(Endpoint {
            node: node.clone(),
            address,
            watchers: watchers.clone(),
            pipelines: Pipelines::default(),
            uploads: Semaphore::new(MAX_UPLOADS),
            long_responses: Semaphore::new(MAX_LONG_RESPONSES),
            query_responses: Semaphore::new(MAX_QUERY_RESPONSES),
            available_workers: AtomicUsize::new(0),
            servers: Mutex::new(servers),
            must_replace_server: AtomicBool::new(false),
            has_requests: AtomicBool::new(false),
            abandoned: Mutex::default(),
        });
        Worker::start_missing(&endpoint)?;
        supervise("self-probe", move || self_probe::keep_probing(&endpoint))?;
    }
    supervise("watchers", move || watchers.keep_waking())
}

impl Endpoint {
    /// The next request; `None` if none arrives soon, or if it has to wait behind another one of its
    /// connection.
    #[inline(never)]
    pub fn receive(&self) -> Option<(SocketAddr, Request)> {
        let mut servers = lock(&self.servers);
        if self.must_replace_server.load(Relaxed) {
            std::thread::sleep(LISTEN_AGAIN_AFTER);
            // It fails while there are too few descriptors. The open connections are served meanwhile.
            if servers.replace().is_ok() {
                self.must_replace_server.store(false, Relaxed);
                self.node.metrics.count(Counter::HttpRestarts);
            }
        }
        let request = servers.receive().unwrap_or_else(|error| {
            // tiny_http's accepting thread ends on any error, and reports it once.
            static LOG: Limiter = Limiter::new();
            if let Some(suppressed) = LOG.pass() {
                log::warn!(
                    "cannot accept HTTP connections: {error}; replacing the server{suppressed}"
                );
            }
            self.must_replace_server.store(true, Relaxed);
            None
        })?;
        self.has_requests.store(true, Relaxed);
        let &client = request.remote_addr().expect("TCP connections have a remote address");
        self.pipelines.enter(client, request).map(|request| (client, request))
    }

    pub fn open_connections(&self) -> OpenConnections {
        OpenConnections::of(self.address.port())
    }
}
