//! The tiny_http servers of an endpoint: the one that accepts, and those that no longer do.

use crate::http::body::UPLOAD_TIMEOUT;
use crate::http::listener::{Listener, READ_TIMEOUT};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};
use tiny_http::{Request, Server};

/// How long to wait for a request.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(500);

/// The same while there are retired servers, whose requests are looked for in between.
const RECEIVE_TIMEOUT_WITH_RETIRED: Duration = Duration::from_millis(100);

/// Connections stay with the server that accepted them, so a retired one is still asked for
/// requests.
pub struct Servers {
    listener: Listener,
    current: Server,
    retired: Vec<Retired>,
    received: VecDeque<Request>,
}

struct Retired {
    server: Server,
    last_request: Instant,
}

impl Servers {
    pub fn new(listener: Listener) -> io::Result<Self> {
        let current = start(&listener)?;
        Ok(Self { listener, current, retired: Vec::new(), received: VecDeque::new() })
    }

    /// Starts a new server on the same listener and retires the current one.
    pub fn replace(&mut self) -> io::Result<()> {
        let server = std::mem::replace(&mut self.current, start(&self.listener)?);
        self.retired.push(Retired { server, last_request: Instant::now() });
        Ok(())
    }

    /// The next request, if one comes soon. An error says that the current server has stopped
    /// accepting.
    pub fn receive(&mut self) -> io::Result<Option<Request>> {
        if self.received.is_empty() {
            let timeout = match self.retired.is_empty() {
                true => RECEIVE_TIMEOUT,
                false => RECEIVE_TIMEOUT_WITH_RETIRED,
            };
            let received = self.current.recv_timeout(timeout);
            self.receive_from_retired();
            self.received.extend(received?);
        }
        Ok(self.received.pop_front())
    }

    /// Asks retired servers until none of their connections can be left.
    fn receive_from_retired(&mut self) {
        self.retired.retain_mut(|Retired { server, last_request }| {
            if let Ok(Some(request)) = server.try_recv() {
                *last_request = Instant::now();
                self.received.push_back(request);
            }
            last_request.elapsed() < READ_TIMEOUT + UPLOAD_TIMEOUT
        });
    }
}

fn start(listener: &Listener) -> io::Result<Server> {
    Server::from_listener(listener.copy()?, None).map_err(io::Error::other)
}
