//! The listening socket of an endpoint, which outlives the tiny_http servers on it.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A connection on which nothing comes for this long is closed, be it idle or half-way through an
/// upload. It is more than the time of a blocking query, and more than the time between two
/// self-probes: `accept` has the same limit.
pub const READ_TIMEOUT: Duration = Duration::from_secs(75);

/// A client that takes nothing of its response for this long does not get the rest.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Descriptors that must be free for a new server: without them accepting fails again.
const DESCRIPTORS_TO_LISTEN: usize = 8;

pub struct Listener(TcpListener);

impl Listener {
    /// Sets the timeouts, which connections inherit from their listener: tiny_http has none, and
    /// gives no access to its connections.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        // They are options of every socket, but the standard library has them for streams only.
        let socket = TcpStream::from(OwnedFd::from(listener.try_clone()?));
        socket.set_read_timeout(Some(READ_TIMEOUT))?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(Self(listener))
    }

    /// A copy for a server, if enough descriptors are free for accepting to go well.
    pub fn copy(&self) -> io::Result<TcpListener> {
        let spare: Vec<TcpListener> =
            (0..DESCRIPTORS_TO_LISTEN).map(|_| self.0.try_clone()).collect::<io::Result<_>>()?;
        drop(spare);
        self.0.try_clone()
    }
}
