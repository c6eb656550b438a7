//! An exchange over a simulated connection: turns of real bytes, and what can happen to them.

use super::node::Notice;
use super::{CONNECT_TIMEOUT_US, Event, Simulator};
use gossip_sidecar::{Exchange, Message, Next, Outcome, Refusal, Subtree};

/// The shell's limit of exchanges in which a node responds at a time.
const MAX_ANSWERS_AT_A_TIME: usize = 8;

/// The shell's timeout for a peer's first byte.
const FIRST_WORD_TIMEOUT_US: u64 = 1_000_000;

/// The shell's timeout for each later byte.
const BYTE_TIMEOUT_US: u64 = 5_000_000;

/// The points at which an exchange may break: while connecting, and in each of its turns.
const BREAKING_POINTS: u32 = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Initiator = 0,
    Responder = 1,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

struct Party {
    node: usize,
    incarnation: u32,
    /// `None` before the connection is established and after this side has ended.
    exchange: Option<Exchange>,
    has_heard: bool,
}

/// One connection and its exchange.
pub(super) struct Session {
    parties: [Party; 2],
    subtree: Option<Subtree>,
    /// How many turns from now it breaks, if it does.
    breaks_in: Option<u32>,
    /// Whether it breaks without a reset, so that both sides have to time out.
    silently: bool,
}

impl Session {
    fn party(&mut self, side: Side) -> &mut Party {
        &mut self.parties[side as usize]
    }

    pub(super) fn side_of(&self, node: usize) -> Option<Side> {
        let is_open =
            |side: Side| side == Side::Initiator || self.parties[side as usize].exchange.is_some();
        [Side::Initiator, Side::Responder]
            .into_iter()
            .find(|&side| self.parties[side as usize].node == node && is_open(side))
    }
}

impl Simulator {
    /// A node connects to a peer.
    pub(super) fn call(&mut self, node: usize, peer: u32, subtree: Option<Subtree>) {
        self.counters.calls += 1;
        self.last_session += 1;
        let id = self.last_session;
        let responder = peer as usize;
        let fails = self.chance(self.settings.fail);
        let breaks_in = fails.then(|| self.rng.u32(..BREAKING_POINTS));
        let silently = fails && self.chance(self.settings.silent);
        let party = |node: usize, incarnation| Party {
            node,
            incarnation,
            exchange: None,
            has_heard: false,
        };
        let parties = [
            party(node, self.nodes[node].incarnation),
            party(responder, self.nodes[responder].incarnation),
        ];
        self.sessions.insert(id, Session { parties, subtree, breaks_in, silently });
        self.nodes[node].calling = Some(id);
        self.nodes[node].calls += 1;
        if breaks_in == Some(0) {
            self.counters.broken_between_turns += 1;
            self.counters.broken_silently += u64::from(silently);
            let after_us = if silently { CONNECT_TIMEOUT_US } else { self.leg_us() * 2 };
            self.schedule(after_us, Event::Broken { id, side: Side::Initiator });
        } else if !self.nodes[responder].is_up || self.is_blocked(node, responder) {
            self.counters.unreachable += 1;
            self.schedule(CONNECT_TIMEOUT_US, Event::Broken { id, side: Side::Initiator });
        } else {
            let after_us = self.leg_us() + self.leg_us();
            self.schedule(after_us, Event::Connected { id });
        }
    }

    pub(super) fn connected(&mut self, id: u64) {
        let Some(session) = self.sessions.get(&id) else { return };
        let [initiator, responder] = session.parties.each_ref().map(|party| party.node);
        let subtree = session.subtree;
        if !self.nodes[responder].is_up || self.is_blocked(initiator, responder) {
            self.counters.unreachable += 1;
            return self.schedule(CONNECT_TIMEOUT_US, Event::Broken { id, side: Side::Initiator });
        }
        let incarnation = self.nodes[responder].incarnation;
        let has_room = self.nodes[responder].answering < MAX_ANSWERS_AT_A_TIME;
        let (identity, wall_ms) = (self.identity(initiator), self.note_time(initiator));
        let store = &mut self.nodes[initiator].store;
        let asking = Exchange::initiate(identity, store, wall_ms, subtree);
        let answering = has_room.then(|| Exchange::respond(self.identity(responder)));
        let session = self.sessions.get_mut(&id).expect("it was just there");
        session.party(Side::Initiator).exchange = Some(asking);
        session.party(Side::Responder).incarnation = incarnation;
        session.party(Side::Responder).exchange = answering;
        if has_room {
            self.nodes[responder].answering += 1;
            self.speak(id, Side::Initiator);
        } else {
            self.counters.busy += 1;
            self.send(id, Side::Responder, refuse(Refusal::Busy));
        }
    }

    /// Writes and sends the turn of a side.
    fn speak(&mut self, id: u64, side: Side) {
        let Some((node, mut exchange)) = self.take_exchange(id, side) else { return };
        let turn = loop {
            self.maybe_write(node);
            let purged = exchange.summary().purged;
            let turn = exchange.reply(&mut self.nodes[node].store);
            self.note_purged(node, exchange.summary().purged - purged);
            if let Some(turn) = turn {
                break turn;
            }
        };
        if turn.last {
            let initiator = self.sessions[&id].parties[0].node as u32;
            self.send(id, side, turn.bytes);
            let summary = exchange.summary();
            self.close(id, side);
            self.record_exchange(node, None, &summary);
            if self.nodes[node].store.is_draining() {
                self.nodes[node].inbox.push_back(Notice::Heard(initiator));
            }
            if !self.nodes[node].has_advertise_address {
                self.nodes[node].has_advertise_address = true;
                self.nodes[node].inbox.push_back(Notice::AdvertiseAddress(node as u32));
            }
            if self.nodes[node].calling.is_none() && !self.nodes[node].inbox.is_empty() {
                self.run_gossip(node);
            }
        } else {
            self.put_exchange(id, side, exchange);
            self.send(id, side, turn.bytes);
        }
    }

    /// Sends bytes, of which some are lost if the exchange breaks here.
    fn send(&mut self, id: u64, from: Side, mut bytes: Vec<u8>) {
        self.counters.bytes += bytes.len() as u64;
        let to = from.other();
        let after_us = self.leg_us();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let silently = session.silently;
        session.breaks_in = session.breaks_in.map(|turns| turns.saturating_sub(1));
        let breaks = session.breaks_in == Some(0);
        let [initiator, responder] = session.parties.each_ref().map(|party| party.node);
        if self.is_blocked(initiator, responder) {
            self.counters.broken_by_partition += 1;
            return self.time_out(id);
        }
        if breaks {
            let through = self.rng.usize(..bytes.len());
            bytes.truncate(through);
            let counters = &mut self.counters;
            let count = if through == 0 {
                &mut counters.broken_between_turns
            } else {
                &mut counters.broken_within_turn
            };
            *count += 1;
            counters.broken_silently += u64::from(silently);
        }
        let is_reset = breaks && !silently;
        self.schedule(after_us, Event::Arrive { id, to, bytes, is_reset });
        if breaks && silently {
            self.time_out(id);
        } else if breaks {
            self.schedule(after_us, Event::Broken { id, side: from });
        }
    }

    /// Neither side receives anything any more, so that both time out.
    pub(super) fn time_out(&mut self, id: u64) {
        for side in [Side::Initiator, Side::Responder] {
            let Some(session) = self.sessions.get_mut(&id) else { return };
            let has_heard = session.party(side).has_heard;
            let after_us = if has_heard { BYTE_TIMEOUT_US } else { FIRST_WORD_TIMEOUT_US };
            self.schedule(after_us, Event::Broken { id, side });
        }
    }

    pub(super) fn arrive(&mut self, id: u64, side: Side, bytes: &[u8], is_reset: bool) {
        let Some((node, mut exchange)) = self.take_exchange(id, side) else { return };
        let session = self.sessions.get_mut(&id).expect("it was just there");
        session.party(side).has_heard |= !bytes.is_empty();
        let breaks = session.breaks_in == Some(0);
        let mut input = bytes;
        loop {
            let message = match Message::read(&mut input) {
                Ok(message) => message,
                // The turn is truncated here; the side times out later.
                Err(_) if breaks && !is_reset => return self.put_exchange(id, side, exchange),
                Err(_) if is_reset => {
                    self.put_exchange(id, side, exchange);
                    return self.broken(id, side);
                }
                Err(error) => panic!("a whole turn cannot be read: {error:?}\n{input:?}"),
            };
            self.maybe_write(node);
            let heard_refusal = matches!(message, Message::Refuse(_));
            match self.receive(node, &mut exchange, message) {
                Ok(Next::Listen) => {}
                Ok(Next::Speak) => {
                    assert!(input.is_empty(), "bytes follow the end of a turn");
                    self.put_exchange(id, side, exchange);
                    return self.speak(id, side);
                }
                Ok(Next::Over) => {
                    let summary = exchange.summary();
                    let session = &self.sessions[&id];
                    let peer = session.parties[1].node as u32;
                    self.counters.exchanges += 1;
                    self.close(id, side);
                    self.record_exchange(node, Some(peer), &summary);
                    let ended = match summary.peer {
                        Some(_) if summary.complete => {
                            Outcome::Complete { was_news: summary.sent > 0 }
                        }
                        _ => Outcome::Incomplete,
                    };
                    return self.ended(node, peer, ended);
                }
                Err(refusal) => {
                    let is_own_address = refusal == Refusal::OwnAddress;
                    assert!(
                        matches!(refusal, Refusal::OwnAddress | Refusal::Busy),
                        "node {node} refused: {refusal}"
                    );
                    if !heard_refusal {
                        self.send(id, side, refuse(refusal));
                    }
                    let peer = self.sessions[&id].parties[1].node as u32;
                    self.close(id, side);
                    if side == Side::Initiator {
                        self.counters.exchanges_with_itself += u64::from(is_own_address);
                        let ended =
                            if is_own_address { Outcome::OwnAddress } else { Outcome::Failed };
                        self.ended(node, peer, ended);
                    }
                    return;
                }
            }
        }
    }

    /// Receives one message, as under the store's lock, and checks records against the oracle.
    fn receive(
        &mut self,
        node: usize,
        exchange: &mut Exchange,
        message: Message,
    ) -> Result<Next, Refusal> {
        let wall_ms = self.note_time(node);
        let record = match &message {
            Message::Record(record) => {
                self.oracle.check_record(record);
                Some(record.clone())
            }
            _ => None,
        };
        let version_of =
            |key: &str, store: &gossip_sidecar::Store| store.entry(key).map(|entry| entry.version);
        let store = &mut self.nodes[node].store;
        let before = record.as_ref().and_then(|record| version_of(&record.key, store));
        let purged = exchange.summary().purged;
        let next = exchange.receive(store, message, wall_ms);
        let after = record.as_ref().and_then(|record| version_of(&record.key, store));
        self.note_purged(node, exchange.summary().purged - purged);
        if let Some(record) = record {
            let (key, version) = (&record.key, record.entry.version);
            assert_eq!(
                after,
                before.max(Some(version).filter(|_| after.is_some())),
                "node {node} merged {key} {version} into {before:?}"
            );
            if after != before {
                self.check_taken(node, &record);
                self.holds(node, key, version);
            }
        }
        next
    }

    /// Lets an application write between any two steps, by chance.
    fn maybe_write(&mut self, node: usize) {
        if self.writing && self.chance(self.settings.write_between_steps) {
            self.counters.writes_between_steps += 1;
            self.write_at(node);
        }
    }

    fn note_purged(&mut self, node: usize, purged: u64) {
        if purged > 0 {
            self.counters.purged += purged;
            self.drop_held(node);
        }
    }

    /// One side notices that the exchange has failed.
    pub(super) fn broken(&mut self, id: u64, side: Side) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let peer = session.parties[1].node as u32;
        let Party { node, incarnation, ref exchange, .. } = session.parties[side as usize];
        let is_over = match side {
            Side::Initiator => self.nodes[node].calling != Some(id),
            Side::Responder => exchange.is_none(),
        };
        if is_over || !self.nodes[node].is_up || self.nodes[node].incarnation != incarnation {
            return;
        }
        self.close(id, side);
        if side == Side::Initiator {
            self.ended(node, peer, Outcome::Failed);
        }
    }

    /// Ends the exchange for one side; the session is dropped once both have ended.
    fn close(&mut self, id: u64, side: Side) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let party = session.party(side);
        party.exchange = None;
        let node = party.node;
        let other_is_over = session.party(side.other()).exchange.is_none();
        match side {
            Side::Initiator => self.nodes[node].calling = None,
            Side::Responder => self.nodes[node].answering -= 1,
        }
        // The responder's last turn may still be in flight.
        if side == Side::Initiator && other_is_over {
            self.sessions.remove(&id);
        } else if side == Side::Responder && other_is_over {
            let initiator = self.sessions[&id].parties[0].node;
            if self.nodes[initiator].calling != Some(id) {
                self.sessions.remove(&id);
            }
        }
    }

    /// The node on one side of a connection.
    pub(super) fn node_of(&self, id: u64, side: Side) -> Option<usize> {
        self.sessions.get(&id).map(|session| session.parties[side as usize].node)
    }

    /// Ends all exchanges of a node that dies; its peers notice a little later.
    pub(super) fn hang_up(&mut self, node: usize) {
        let ids: Vec<(u64, Side)> = self
            .sessions
            .iter()
            .filter_map(|(&id, session)| Some((id, session.side_of(node)?)))
            .collect();
        for (id, side) in ids {
            let after_us = self.leg_us();
            let other = side.other();
            self.counters.broken_by_death += 1;
            self.close(id, side);
            self.schedule(after_us, Event::Broken { id, side: other });
        }
    }

    /// Takes out the exchange of a side, if its node is alive and the side has not ended.
    fn take_exchange(&mut self, id: u64, side: Side) -> Option<(usize, Exchange)> {
        let party = self.sessions.get_mut(&id)?.party(side);
        let node = party.node;
        let is_same = self.nodes[node].is_up && self.nodes[node].incarnation == party.incarnation;
        let exchange = party.exchange.take().filter(|_| is_same)?;
        Some((node, exchange))
    }

    fn put_exchange(&mut self, id: u64, side: Side, exchange: Exchange) {
        let session = self.sessions.get_mut(&id).expect("one of its sides has not ended");
        session.party(side).exchange = Some(exchange);
    }
}

fn refuse(refusal: Refusal) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message::Refuse(refusal).write(&mut bytes);
    bytes
}
