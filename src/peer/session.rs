//! One exchange over a connection.

use crate::core::exchange::{Exchange, Next, Summary};
use crate::core::message::{Message, ReadError, Refusal};
use crate::node::state::{Node, wall_ms};
use crate::peer::connection::Connection;
use std::fmt;
use std::io::{self, BufReader, Write};
use std::net::TcpStream;

/// What is read from the connection at a time.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// How an exchange failed.
#[derive(Debug)]
pub enum Failure {
    /// One side has refused the exchange.
    Refused(Refusal),
    /// The peer did not keep to the protocol; says what was expected.
    Grammar(&'static str),
    /// The network failed, or was too slow.
    Io(io::Error),
    /// The peer connected, and closed the connection before it had sent a byte; TCP probes do so.
    Silence,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Grammar(expected) => write!(f, "not the gossip protocol: expected {expected}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Silence => f.write_str("closed before the first byte"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs an exchange to its end.
///
/// The store is locked for single steps, and never while waiting for the peer.
pub fn run_exchange(
    node: &Node,
    stream: TcpStream,
    mut exchange: Exchange,
    mut next: Next,
) -> Result<Summary, Failure> {
    let connection = Connection::new(node, stream)?;
    let mut connection = BufReader::with_capacity(READ_BUFFER_BYTES, connection);
    loop {
        match next {
            Next::Over => return Ok(exchange.summary()),
            Next::Speak => {
                let turn = loop {
                    if let Some(turn) = exchange.reply(&mut node.store_after_others()) {
                        break turn;
                    }
                };
                connection.get_mut().write_all(&turn.bytes)?;
                if turn.last {
                    return Ok(exchange.summary());
                }
                connection.get_mut().begin_peer_turn();
                next = Next::Listen;
            }
            Next::Listen => {
                let message = read_message(&mut connection)?;
                let is_from_peer = matches!(message, Message::Refuse(_));
                // A statement of its own: the lock must be released before anything is sent.
                let received = exchange.receive(&mut node.store_after_others(), message, wall_ms());
                match received {
                    Ok(then) => next = then,
                    Err(refusal) => {
                        if !is_from_peer {
                            send(connection.get_mut(), &Message::Refuse(refusal))?;
                        }
                        return Err(Failure::Refused(refusal));
                    }
                }
            }
        }
    }
}

/// Reads a message. A peer that does not speak the protocol is told so.
fn read_message(connection: &mut BufReader<Connection<'_>>) -> Result<Message, Failure> {
    let (failure, refusal) = match Message::read(connection) {
        Ok(message) => return Ok(message),
        Err(ReadError::Closed) if !connection.get_ref().has_heard => return Err(Failure::Silence),
        Err(ReadError::Closed) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        Err(ReadError::Io(error)) => return Err(error.into()),
        Err(ReadError::Protocol) => (Failure::Refused(Refusal::Protocol), Refusal::Protocol),
        Err(ReadError::Grammar(expected)) => (Failure::Grammar(expected), Refusal::Grammar),
    };
    send(connection.get_mut(), &Message::Refuse(refusal))?;
    Err(failure)
}

/// Sends one message.
pub fn send(output: &mut impl Write, message: &Message) -> io::Result<()> {
    let mut line = Vec::new();
    message.write(&mut line);
    output.write_all(&line)
}
