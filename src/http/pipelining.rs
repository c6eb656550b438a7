//! One request of a connection at a time, in the order in which they came.

use crate::http::servers::READ_TIMEOUT;
use crate::sys::lock::lock;
use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// For how long nothing more is taken from a connection after it was closed to requests: longer
/// than one on which nothing comes stays open. Its address may be another one's then.
const CLOSED_FOR: Duration = READ_TIMEOUT.saturating_mul(2);

/// tiny_http hands out the next request while the one before it is still served, and lets nobody
/// write the second response before the first: a worker would wait for as long as that takes, be it
/// a slow upload or a blocking query.
pub struct Pipelines<R> {
    /// The requests behind the one under way, of each connection that has one.
    behind: Mutex<HashMap<SocketAddr, VecDeque<R>>>,
    closed: Mutex<HashMap<SocketAddr, Instant>>,
}

impl<R> Pipelines<R> {
    /// Gives the request back if it is the first one; otherwise it will come from
    /// [`Pipelines::leave`].
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

    /// The request under way has its response; gives the next one, which is now under way.
    pub fn leave(&self, connection: SocketAddr) -> Option<R> {
        let mut behind = lock(&self.behind);
        let next = behind.get_mut(&connection)?.pop_front();
        if next.is_none() {
            behind.remove(&connection);
        }
        next
    }

    /// Nothing that follows on this connection is to be carried out: nobody knows where the next
    /// request begins (RFC 9112, section 6.3).
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
