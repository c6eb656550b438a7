//! One request of a connection at a time, in the order in which they came.

use crate::http::listener::READ_TIMEOUT;
use crate::sys::lock::lock;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// For how long nothing more is taken from a connection after it was closed to requests: longer
/// than one on which nothing comes stays open. Its address may be another one's then.
const CLOSED_FOR: Duration = READ_TIMEOUT.saturating_mul(2);

/// The connections that have a request under way, and the requests that came behind it.
///
/// tiny_http hands out the next request while the one before it is still served, and lets nobody
/// write the second response before the first: a worker would wait for as long as that takes, be it
/// a slow upload or a blocking query.
pub struct Pipelines<R>(Mutex<State<R>>);

type State<R> = HashMap<SocketAddr, Pipeline<R>>;

struct Pipeline<R> {
    /// The requests behind the one under way, if there is one.
    behind: Option<VecDeque<R>>,
    closed_at: Option<Instant>,
}

impl<R> Default for Pipeline<R> {
    fn default() -> Self {
        Self { behind: None, closed_at: None }
    }
}

impl<R> Pipeline<R> {
    fn is_closed(&self) -> bool {
        self.closed_at.is_some_and(|since| since.elapsed() < CLOSED_FOR)
    }
}

impl<R> Pipelines<R> {
    /// Gives the request back if it is the first one; otherwise it will come from
    /// [`Pipelines::leave`].
    pub fn enter(&self, connection: SocketAddr, request: R) -> Option<R> {
        let mut pipelines = self.pipelines();
        let pipeline = pipelines.entry(connection).or_default();
        if let Some(behind) = &mut pipeline.behind {
            behind.push_back(request);
            return None;
        }
        pipeline.behind = Some(VecDeque::new());
        Some(request)
    }

    /// The request under way has its response; gives the next one, which is now under way.
    pub fn leave(&self, connection: SocketAddr) -> Option<R> {
        let mut pipelines = self.pipelines();
        let pipeline = pipelines.get_mut(&connection)?;
        let next = pipeline.behind.as_mut()?.pop_front();
        if next.is_none() {
            pipeline.behind = None;
            if !pipeline.is_closed() {
                pipelines.remove(&connection);
            }
        }
        next
    }

    /// Nothing that follows on this connection is to be carried out: nobody knows where the next
    /// request begins (RFC 9112, section 6.3).
    pub fn close(&self, connection: SocketAddr) {
        let mut pipelines = self.pipelines();
        pipelines.retain(|_, pipeline| pipeline.behind.is_some() || pipeline.is_closed());
        pipelines.entry(connection).or_default().closed_at = Some(Instant::now());
    }

    pub fn is_closed(&self, connection: SocketAddr) -> bool {
        self.pipelines().get(&connection).is_some_and(Pipeline::is_closed)
    }

    fn pipelines(&self) -> MutexGuard<'_, State<R>> {
        lock(&self.0)
    }
}

impl<R> Default for Pipelines<R> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
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
