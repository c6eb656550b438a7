//! One request of a connection at a time, in the order in which they came.

use crate::http::listener::READ_TIMEOUT;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long nothing more is taken from a connection after it was closed to requests: longer
/// than one on which nothing comes stays open. Its address may be another one's then.
const CLOSED_FOR: Duration = READ_TIMEOUT.saturating_mul(2);

/// The connections that have a request under way, and the requests that came behind it.
///
/// Answers go out in the order of the requests. Without this a worker that has the answer to the
/// second would wait for as long as the first takes, be it a slow upload or a wait for a change.
pub struct Lanes<R>(Mutex<State<R>>);

type State<R> = HashMap<SocketAddr, Lane<R>>;

struct Lane<R> {
    /// The requests behind the one under way, if there is one.
    behind: Option<VecDeque<R>>,
    /// When it was closed.
    closed: Option<Instant>,
}

impl<R> Default for Lane<R> {
    fn default() -> Self {
        Self { behind: None, closed: None }
    }
}

impl<R> Lane<R> {
    fn is_closed(&self) -> bool {
        self.closed.is_some_and(|since| since.elapsed() < CLOSED_FOR)
    }
}

impl<R> Lanes<R> {
    /// Gives the request back if it is the first one; otherwise it will come from
    /// [`Lanes::leave`].
    pub fn enter(&self, connection: SocketAddr, request: R) -> Option<R> {
        let mut lanes = self.lanes();
        let lane = lanes.entry(connection).or_default();
        if let Some(behind) = &mut lane.behind {
            behind.push_back(request);
            return None;
        }
        lane.behind = Some(VecDeque::new());
        Some(request)
    }

    /// The request under way has its answer; gives the next one, which is now under way.
    pub fn leave(&self, connection: SocketAddr) -> Option<R> {
        let mut lanes = self.lanes();
        let lane = lanes.get_mut(&connection)?;
        let next = lane.behind.as_mut()?.pop_front();
        if next.is_none() {
            lane.behind = None;
            if !lane.is_closed() {
                lanes.remove(&connection);
            }
        }
        next
    }

    /// Nothing that follows on this connection is to be carried out: nobody knows where the next
    /// request begins (RFC 9112, section 6.3).
    pub fn close(&self, connection: SocketAddr) {
        let mut lanes = self.lanes();
        lanes.retain(|_, lane| lane.behind.is_some() || lane.is_closed());
        lanes.entry(connection).or_default().closed = Some(Instant::now());
    }

    /// Whether that was said.
    pub fn is_closed(&self, connection: SocketAddr) -> bool {
        self.lanes().get(&connection).is_some_and(Lane::is_closed)
    }

    fn lanes(&self) -> MutexGuard<'_, State<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Default for Lanes<R> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_one_request_under_way() {
        let lanes = Lanes::default();
        let [one, two] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(lanes.enter(one, 'a'), Some('a'));
        assert_eq!(lanes.enter(one, 'b'), None);
        assert_eq!(lanes.enter(two, 'c'), Some('c'), "another connection is not concerned");
        assert_eq!(lanes.enter(one, 'd'), None);
        assert_eq!(lanes.leave(one), Some('b'));
        assert_eq!(lanes.leave(one), Some('d'));
        assert_eq!(lanes.enter(one, 'e'), None);
        assert_eq!(lanes.leave(one), Some('e'));
        assert_eq!(lanes.leave(one), None);
        assert_eq!(lanes.enter(one, 'f'), Some('f'));
        assert_eq!(lanes.leave(two), None);
        lanes.close(one);
        assert!(lanes.is_closed(one) && !lanes.is_closed(two));
    }
}
