//! Pipelining (RFC 9112, section 9.3.2): one request of a connection is served at a time, in order.

use crate::http::servers::READ_TIMEOUT;
use crate::sys::lock::lock;
use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a connection stays closed to requests: longer than an idle one stays open. Its address
/// may be another connection's after that.
const CLOSED_FOR: Duration = READ_TIMEOUT.saturating_mul(2);

/// The requests that wait behind another one of their connection.
///
/// tiny_http hands out the next request of a connection while the one before it is still served, but
/// blocks whoever responds to the second one first: a worker would be held for as long as a slow
/// upload or a blocking query takes.
pub struct Pipelines<R> {
    /// The requests that wait, for each connection that has one under way.
    behind: Mutex<HashMap<SocketAddr, VecDeque<R>>>,
    closed: Mutex<HashMap<SocketAddr, Instant>>,
}

impl<R> Pipelines<R> {
    /// Returns the request if no other one of its connection is under way. Otherwise
    /// [`Pipelines::leave`] will return it.
    pub fn enter(&self, connection: SocketAddr, request: R) -> Option<R> {
        match lock(&self.behind).entry(connection) {
            Entry::Vacant(first) => {
                first.insert(VecDeque::new());
                return Some(request);
            }
            Entry::Occupied(mut behind) => behind.get_mut().push_back(request),
        }
        None
    }

    /// The request under way has its response; returns the next one, which is now under way.
    pub fn leave(&self, connection: SocketAddr) -> Option<R> {
        let mut behind = lock(&self.behind);
        let next = behind.get_mut(&connection)?.pop_front();
        if next.is_none() {
            behind.remove(&connection);
        }
        next
    }

    /// No further request of this connection is carried out, since it is not known where the next one
    /// begins (RFC 9112, section 6.3).
    pub fn close(&self, connection: SocketAddr) {
        let mut closed = lock(&self.closed);
        closed.retain(|_, since| since.elapsed() < CLOSED_FOR);
        closed.insert(connection, Instant::now());
    }

    pub fn is_closed(&self, connection: SocketAddr) -> bool {
        lock(&self.closed).get(&connection).is_some_and(|since| since.elapsed() < CLOSED_FOR)
    }
}

impl<R> Default for Pipelines<R> {
    fn default() -> Self {
        Self { behind: Mutex::default(), closed: Mutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_one_request_under_way() {
        let pipelines = Pipelines::default();
        let [one, two] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(pipelines.enter(one, 'a'), Some('a'));
        assert_eq!(pipelines.enter(one, 'b'), None);
        assert_eq!(pipelines.enter(two, 'c'), Some('c'), "another connection is not concerned");
        assert_eq!(pipelines.enter(one, 'd'), None);
        assert_eq!(pipelines.leave(one), Some('b'));
        assert_eq!(pipelines.leave(one), Some('d'));
        assert_eq!(pipelines.enter(one, 'e'), None);
        assert_eq!(pipelines.leave(one), Some('e'));
        assert_eq!(pipelines.leave(one), None);
        assert_eq!(pipelines.enter(one, 'f'), Some('f'));
        assert_eq!(pipelines.leave(two), None);
        pipelines.close(one);
        assert!(pipelines.is_closed(one) && !pipelines.is_closed(two));
    }
}
