//! A TCP connection whose every wait is bounded, and whose bytes are counted.

use crate::core::exchange::FULL_TURN_BYTES;
use crate::core::message::{MAX_KEY_BYTES, MAX_LINE_BYTES, MAX_VALUE_BYTES};
use crate::node::metrics::Counter;
use crate::node::state::Node;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The first byte of the peer must arrive within this time.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(1);

/// Each later byte must arrive, or be taken, within this time.
pub const BYTE_TIMEOUT: Duration = Duration::from_secs(5);

/// A whole exchange ends within this time.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that is read in one turn: a full turn ends with the record that filled it.
const MAX_TURN_BYTES: u64 =
    (2 * FULL_TURN_BYTES + MAX_KEY_BYTES + MAX_VALUE_BYTES + MAX_LINE_BYTES) as u64;

/// One connection to a peer, for one exchange.
pub struct Connection<'a> {
    node: &'a Node,
    stream: TcpStream,
    deadline: Instant,
    /// How much the peer may still send in this turn.
    turn_bytes_left: u64,
    /// Whether a byte of the peer has arrived.
    pub has_heard: bool,
}

impl<'a> Connection<'a> {
    /// A connection on which nothing has been sent yet.
    pub fn new(node: &'a Node, stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            node,
            stream,
            deadline: Instant::now() + EXCHANGE_TIMEOUT,
            turn_bytes_left: MAX_TURN_BYTES,
            has_heard: false,
        })
    }

    /// The peer's next turn begins.
    pub fn begin_peer_turn(&mut self) {
        self.turn_bytes_left = MAX_TURN_BYTES;
    }

    /// How long the next read or write may take.
    fn timeout(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(timed_out());
        }
        Ok(Some(left.min(if self.has_heard { BYTE_TIMEOUT } else { FIRST_BYTE_TIMEOUT })))
    }

    /// The reason why a read or write failed: a deadline that has passed, or else its own error.
    fn failure(&self, error: io::Error) -> io::Error {
        if Instant::now() < self.deadline { error } else { timed_out() }
    }
}

fn timed_out() -> io::Error {
    let limit = EXCHANGE_TIMEOUT.as_secs();
    io::Error::new(io::ErrorKind::TimedOut, format!("the exchange took longer than {limit} s"))
}

impl Read for Connection<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.turn_bytes_left == 0 {
            let reason = format!("the peer's turn is longer than {MAX_TURN_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        self.stream.set_read_timeout(self.timeout()?)?;
        let room = buffer.len().min(usize::try_from(self.turn_bytes_left).unwrap_or(usize::MAX));
        let read = self.stream.read(&mut buffer[..room]).map_err(|error| self.failure(error))?;
        self.has_heard |= read > 0;
        self.turn_bytes_left -= read as u64;
        self.node.metrics.add(Counter::BytesReceived, read as u64);
        Ok(read)
    }
}

impl Write for Connection<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.timeout()?)?;
        let written = self.stream.write(buffer).map_err(|error| self.failure(error))?;
        self.node.metrics.add(Counter::BytesSent, written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
