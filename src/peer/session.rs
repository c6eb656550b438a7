//! Exchanges over TCP, opened by us or by a peer.
//!
//! Every wait has a deadline and every size a limit: the peer port is open to the pod network.

use crate::core::dissemination::Subtree;
use crate::core::exchange::{Exchange, FULL_TURN_BYTES, Next, Summary};
use crate::core::message::{
    MAX_KEY_BYTES, MAX_LINE_BYTES, MAX_VALUE_BYTES, Message, ReadError, Refusal,
};
use crate::core::scheduler::Outcome;
use crate::node::metrics::Counter;
use crate::node::state::{Node, wall_ms};
use crate::sys::logger::Limiter;
use crate::sys::semaphore::Semaphore;
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A peer that does not accept in this time is taken to be dead.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The first word of a peer, and of an initiator, must come within this time.
pub const FIRST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// Any later byte must come, or be taken, within this time.
pub const BYTE_TIMEOUT: Duration = Duration::from_secs(5);

/// A whole exchange ends within this time.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Exchanges answered at a time; initiators beyond them are told to come back.
pub const MAX_ANSWERS_AT_A_TIME: usize = 8;

/// What is read in one turn at most: a full turn ends with the record that filled it.
const MAX_TURN_BYTES: u64 =
    (2 * FULL_TURN_BYTES + MAX_KEY_BYTES + MAX_VALUE_BYTES + MAX_LINE_BYTES) as u64;

/// How an exchange failed.
#[derive(Debug)]
pub enum Failure {
    /// One of the two does not talk to the other.
    Refused(Refusal),
    /// The other side did not keep to the protocol; says what was expected.
    Grammar(&'static str),
    /// The network failed, or was too slow.
    Io(io::Error),
    /// Connected, and closed without a word: a TCP probe, for one.
    Silence,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Grammar(expected) => write!(f, "not the gossip protocol: expected {expected}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Silence => f.write_str("closed without a word"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Calls a peer and makes both stores equal.
pub fn call(node: &Node, peer: SocketAddr, subtree: Option<Subtree>) -> Result<Outcome, Failure> {
    let outcome = TcpStream::connect_timeout(&peer, CONNECT_TIMEOUT).map_err(Failure::Io).and_then(
        |stream| {
            let exchange = Exchange::initiate(node.identity(), &node.store(), wall_ms(), subtree);
            run_exchange(node, stream, exchange, Next::Speak)
        },
    );
    let summary = match outcome {
        Ok(summary) => summary,
        Err(Failure::Refused(Refusal::OwnAddress)) => return Ok(Outcome::OwnAddress),
        Err(failure) => {
            node.metrics.count(Counter::FailedCalls);
            return Err(failure);
        }
    };
    node.metrics.count(Counter::OutSyncs);
    node.record_exchange(Some(peer), &summary);
    Ok(match summary.peer {
        Some(node) if summary.complete => Outcome::Complete { node, was_news: summary.sent > 0 },
        _ => Outcome::Incomplete,
    })
}

/// Answers callers until the end of the process.
pub fn listen(node: &Arc<Node>, listener: &TcpListener, permits: &Semaphore) {
    static LOG: Limiter = Limiter::new();
    loop {
        let outcome = listener.accept().and_then(|(stream, peer)| {
            let Some(permit) = permits.try_acquire() else {
                return refuse_busy(node, stream);
            };
            let node = node.clone();
            let answer = move || {
                let _permit = permit;
                answer(&node, stream, peer);
            };
            std::thread::Builder::new().name("answer".into()).spawn(answer).map(drop)
        });
        if let Err(error) = outcome {
            // Out of descriptors or threads, most likely: some will be free soon.
            if let Some(silent) = LOG.pass() {
                log::warn!("answering a peer: {error}{silent}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn refuse_busy(node: &Node, stream: TcpStream) -> io::Result<()> {
    node.metrics.refused(Refusal::Busy);
    stream.set_nonblocking(true)?;
    // An initiator that cannot take these few bytes learns it from the close.
    let _ = say(&mut &stream, &Message::Refuse(Refusal::Busy));
    Ok(())
}

fn answer(node: &Node, stream: TcpStream, peer: SocketAddr) {
    static LOG: Limiter = Limiter::new();
    let own = stream.local_addr();
    let failure = match run_exchange(node, stream, Exchange::respond(node.identity()), Next::Listen)
    {
        Ok(summary) => {
            node.metrics.count(Counter::InSyncs);
            own.into_iter().for_each(|own| node.answered(own, peer));
            return node.record_exchange(None, &summary);
        }
        Err(failure) => failure,
    };
    match &failure {
        Failure::Silence => return log::debug!("initiator {peer}: {failure}"),
        // That is how a node finds out which of the addresses is its own.
        Failure::Refused(refusal @ Refusal::OwnAddress) => return node.metrics.refused(*refusal),
        Failure::Refused(refusal) => node.metrics.refused(*refusal),
        Failure::Grammar(_) => node.metrics.refused(Refusal::Grammar),
        Failure::Io(_) => node.metrics.count(Counter::BrokenAnswers),
    }
    // Addresses come back under other owners, and ports are scanned: neither may flood the log.
    if let Some(silent) = LOG.pass() {
        log::warn!("initiator {peer}: {failure}{silent}");
    }
}

/// Holds one exchange over a connection. The store is locked for single steps, never while
/// waiting for the other side.
fn run_exchange(
    node: &Node,
    stream: TcpStream,
    mut exchange: Exchange,
    mut next: Next,
) -> Result<Summary, Failure> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(16 * 1024, Wire::new(node, stream));
    loop {
        match next {
            Next::Over => return Ok(exchange.summary()),
            Next::Speak => {
                let turn = loop {
                    if let Some(turn) = exchange.reply(&mut node.store_after_others()) {
                        break turn;
                    }
                };
                input.get_mut().write_all(&turn.bytes)?;
                if turn.last {
                    return Ok(exchange.summary());
                }
                input.get_mut().turn_bytes_left = MAX_TURN_BYTES;
                next = Next::Listen;
            }
            Next::Listen => {
                let message = listen_to(&mut input)?;
                let heard_refusal = matches!(message, Message::Refuse(_));
                // A statement of its own: the lock must be gone before anything is sent.
                let received = exchange.receive(&mut node.store_after_others(), message, wall_ms());
                match received {
                    Ok(then) => next = then,
                    Err(refusal) => {
                        if !heard_refusal {
                            say(input.get_mut(), &Message::Refuse(refusal))?;
                        }
                        return Err(Failure::Refused(refusal));
                    }
                }
            }
        }
    }
}

fn listen_to(input: &mut BufReader<Wire<'_>>) -> Result<Message, Failure> {
    let (failure, refusal) = match Message::read(input) {
        Ok(message) => return Ok(message),
        Err(ReadError::Closed) if !input.get_ref().has_heard => return Err(Failure::Silence),
        Err(ReadError::Closed) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        Err(ReadError::Io(error)) => return Err(error.into()),
        Err(ReadError::Protocol) => (Failure::Refused(Refusal::Protocol), Refusal::Protocol),
        Err(ReadError::Grammar(expected)) => (Failure::Grammar(expected), Refusal::Grammar),
    };
    say(input.get_mut(), &Message::Refuse(refusal))?;
    Err(failure)
}

fn say(output: &mut impl Write, message: &Message) -> io::Result<()> {
    let mut line = Vec::new();
    message.write(&mut line);
    output.write_all(&line)
}

/// A connection whose every wait is bounded, and whose bytes are counted.
struct Wire<'a> {
    node: &'a Node,
    stream: TcpStream,
    deadline: Instant,
    /// How much the other side may still say in this turn.
    turn_bytes_left: u64,
    has_heard: bool,
}

impl<'a> Wire<'a> {
    fn new(node: &'a Node, stream: TcpStream) -> Self {
        Self {
            node,
            stream,
            deadline: Instant::now() + EXCHANGE_TIMEOUT,
            turn_bytes_left: MAX_TURN_BYTES,
            has_heard: false,
        }
    }

    /// How long the next wait may be.
    fn timeout(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(too_long());
        }
        Ok(Some(left.min(if self.has_heard { BYTE_TIMEOUT } else { FIRST_WORD_TIMEOUT })))
    }
}

impl Wire<'_> {
    /// Why a wait failed: because all of the time is up, or for its own reason.
    fn in_time(&self, error: io::Error) -> io::Error {
        if Instant::now() < self.deadline { error } else { too_long() }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the exchange took too long")
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.turn_bytes_left == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the turn is too long"));
        }
        self.stream.set_read_timeout(self.timeout()?)?;
        let room = buffer.len().min(usize::try_from(self.turn_bytes_left).unwrap_or(usize::MAX));
        let read = self.stream.read(&mut buffer[..room]);
        let read = read.map_err(|error| self.in_time(error))?;
        self.has_heard |= read > 0;
        self.turn_bytes_left -= read as u64;
        self.node.metrics.add(Counter::BytesReceived, read as u64);
        Ok(read)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.timeout()?)?;
        let written = self.stream.write(buffer).map_err(|error| self.in_time(error))?;
        self.node.metrics.add(Counter::BytesSent, written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
