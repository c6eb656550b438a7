//! The tiny_http servers on one listener: the one that accepts, and those that no longer do.

use crate::http::body::UPLOAD_TIMEOUT;
use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tiny_http::{Request, Server};

/// A connection on which nothing arrives for this long is closed, whether it is idle or in the middle
/// of an upload. This is longer than a blocking query lasts, and longer than the time between two
/// self-probes, since `accept` has the same timeout.
pub const READ_TIMEOUT: Duration = Duration::from_secs(75);

/// A client that takes nothing of its response for this long does not get the rest.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for a request.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(500);

/// The same while there are retired servers, which are asked in between.
const RECEIVE_TIMEOUT_WITH_RETIRED: Duration = Duration::from_millis(100);

/// The descriptors that must be free before a new server is started: without them `accept` fails
/// again.
const DESCRIPTORS_TO_LISTEN: usize = 8;

pub struct Servers {
    listener: TcpListener,
    current: Server,
    /// Servers that no longer accept, with the time of their last request: a connection stays with
    /// the server that has accepted it.
    retired: Vec<(Server, Instant)>,
    received: VecDeque<Request>,
}

impl Servers {
    /// Connections inherit timeouts from their listener: tiny_http sets none, and gives no access to
    /// them.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        // They are options of every socket, but the standard library has them for streams only.
        let socket = TcpStream::from(OwnedFd::from(listener.try_clone()?));
        socket.set_read_timeout(Some(READ_TIMEOUT))?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let current = start(&listener)?;
        Ok(Self { listener, current, retired: Vec::new(), received: VecDeque::new() })
    }

    /// Starts a new server on the same listener, and retires the current one.
    pub fn replace(&mut self) -> io::Result<()> {
        let retired = std::mem::replace(&mut self.current, start(&self.listener)?);
        self.retired.push((retired, Instant::now()));
        Ok(())
    }

    /// The next request, if one arrives soon; an error if the current server has stopped accepting.
    pub fn receive(&mut self) -> io::Result<Option<Request>> {
        if self.received.is_empty() {
            let is_alone = self.retired.is_empty();
            let timeout = if is_alone { RECEIVE_TIMEOUT } else { RECEIVE_TIMEOUT_WITH_RETIRED };
            let received = self.current.recv_timeout(timeout);
            self.retired.retain_mut(|(server, last_request)| {
                if let Ok(Some(request)) = server.try_recv() {
                    *last_request = Instant::now();
                    self.received.push_back(request);
                }
                // After that none of its connections can be open.
                last_request.elapsed() < READ_TIMEOUT + UPLOAD_TIMEOUT
            });
            self.received.extend(received?);
        }
        Ok(self.received.pop_front())
    }
}

/// Starts a server on a copy of the listener. All copies are made to see that enough descriptors are
/// free; one is kept.
fn start(listener: &TcpListener) -> io::Result<Server> {
    let copies = (0..DESCRIPTORS_TO_LISTEN).map(|_| listener.try_clone());
    let mut copies: Vec<TcpListener> = copies.collect::<io::Result<_>>()?;
    Server::from_listener(copies.swap_remove(0), None).map_err(io::Error::other)
}
