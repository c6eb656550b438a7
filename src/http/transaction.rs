//! One request and its response.
//!
//! Hundreds of workers may be blocked at a time, and each keeps its stack. Functions with large frames
//! are therefore never inlined into those that block: tiny_http alone copies through several KiB.

use crate::core::api::operation::Operation;
use crate::core::api::request::{self, Head};
use crate::core::api::response::Response;
use crate::http::body::{self, MAX_DISCARDED_BYTES, TOO_SLOW, Unread};
use crate::http::endpoint::Endpoint;
use crate::http::handler::{self, Incoming};
use crate::http::response;
use crate::http::worker::Worker;
use crate::node::metrics::Counter;
use crate::node::watchers::Watched;
use crate::sys::lock::lock;
use crate::sys::semaphore::Permit;
use std::cell::LazyCell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tiny_http::{Method, Request, StatusCode};

/// A longer response may block the worker that writes it, if its client does not read.
const LONG_RESPONSE_BYTES: usize = 64 * 1024;

pub struct Transaction<'a, 'w> {
    worker: &'a mut Worker<'w>,
    endpoint: &'w Endpoint,
    client: SocketAddr,
    request: Request,
    unread: Unread,
    /// Held from the end of a blocking query to its response.
    query_response: Option<Permit>,
}

impl<'a, 'w> Transaction<'a, 'w> {
    #[inline(never)]
    pub fn serve(worker: &'a mut Worker<'w>, client: SocketAddr, request: Request) {
        let (endpoint, unread) = (worker.endpoint, Unread::of(&request));
        if unread != Unread::Nothing {
            worker.hand_over();
        }
        let mut this = Self { worker, endpoint, client, request, unread, query_response: None };
        let response = this.handle();
        this.finish(response);
    }

    #[inline(never)]
    fn handle(&mut self) -> Response {
        if self.endpoint.pipelines.is_closed(self.client) {
            let reason = "the previous request on this connection had an ambiguous length: open a new connection";
            return Response::problem(400, reason);
        }
        if let Some(reason) = body::ambiguity(&self.request) {
            self.endpoint.pipelines.close(self.client);
            return Response::problem(400, reason);
        }
        let response = self
            .operation()
            .and_then(|operation| handler::handle(&self.endpoint.node, &operation, self));
        response.unwrap_or_else(|problem| problem)
    }

    #[inline(never)]
    fn operation(&self) -> Result<Operation, Response> {
        let head = Head {
            method: self.request.method().as_str(),
            target: self.request.url(),
            header: &|name| {
                let values: Vec<&str> = body::header(&self.request, name).collect();
                (!values.is_empty()).then(|| values.join(","))
            },
        };
        request::parse(&head, self.endpoint.node.config.max_key_bytes)
    }

    /// Responds in the way that what is unread of the body requires.
    #[inline(never)]
    fn finish(mut self, response: Response) {
        let expects_continue = body::header(&self.request, "Expect").next().is_some();
        match self.unread {
            Unread::Nothing => self.respond(response),
            Unread::Length(length) if length > MAX_DISCARDED_BYTES => {
                self.abandon(&response, false)
            }
            // The client sends its body only after a 100. It gets the error instead, and tiny_http
            // discards whatever it sends nevertheless.
            Unread::Length(_) if response.status >= 400 && expects_continue => {
                self.count(&response);
                let _ = self.request.respond(plain(&response));
            }
            // tiny_http would discard the rest, for as long as that takes. So we do, within limits;
            // but a body that was too slow already is not waited for again.
            Unread::Length(length) => {
                if response.status != TOO_SLOW && self.discard_body(length as u64) {
                    self.respond(response)
                } else {
                    self.abandon(&response, true)
                }
            }
            // tiny_http does not discard the rest, and parses it as the next request.
            Unread::Chunked => {
                let pipelines = &self.endpoint.pipelines;
                if !pipelines.is_closed(self.client) && !self.discard_body(u64::MAX) {
                    pipelines.close(self.client);
                }
                self.respond(response)
            }
        }
    }

    /// Discards the body; returns whether its end was reached.
    fn discard_body(&mut self, length: u64) -> bool {
        let _permit = self.endpoint.uploads.acquire();
        body::discard(&mut self.request.as_reader().take(length))
    }

    #[inline(never)]
    fn respond(mut self, response: Response) {
        self.count(&response);
        let is_head = *self.request.method() == Method::Head;
        // Nothing more is carried out on a closed pipeline: the client needs a new connection.
        let closes = self.endpoint.pipelines.is_closed(self.client)
            || body::header(&self.request, "Connection")
                .any(|value| value.eq_ignore_ascii_case("close"));
        let bytes = response::encode(&response, is_head, closes);
        let is_long = response.body.len() > LONG_RESPONSE_BYTES && !is_head;
        drop(response);
        let permit = is_long.then(|| self.endpoint.long_responses.try_acquire()).flatten();
        if permit.is_some() {
            self.worker.hand_over();
            self.query_response = None;
        }
        let mut writer = self.request.into_writer();
        // An error means that the client is gone, and needs no response.
        let _ = writer.write_all(&bytes).and_then(|()| writer.flush());
    }

    /// Responds, and abandons the connection with the body unread.
    ///
    /// When the reader of a body is dropped, tiny_http reads the rest into a buffer of the whole
    /// announced length. So the reader is kept: until the client is gone if it `may_end` then, and for
    /// ever otherwise. It keeps the connection and a thread of tiny_http.
    #[inline(never)]
    fn abandon(self, response: &Response, may_end: bool) {
        self.count(response);
        self.endpoint.node.metrics.count(Counter::HttpAbandoned);
        let is_head = *self.request.method() == Method::Head;
        // An upgrade is the only way to keep the reader, but tiny_http leaves out the length of the
        // response to it. So it sends an interim response, and ours follows.
        let mut stream = self.request.upgrade("close", tiny_http::Response::empty(100));
        let bytes = response::encode(response, is_head, true);
        let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
        if may_end {
            lock(&self.endpoint.abandoned).push((self.client, stream));
        } else {
            self.endpoint.node.leaked_connections.fetch_add(1, Relaxed);
            std::mem::forget(stream);
        }
    }

    fn count(&self, response: &Response) {
        let is_good = response.status < 400;
        let metrics = &self.endpoint.node.metrics;
        metrics.count(if is_good { Counter::GoodHttp } else { Counter::BadHttp });
    }
}

impl Incoming for Transaction<'_, '_> {
    fn has_body(&self) -> bool {
        self.unread != Unread::Nothing || self.request.body_length().unwrap_or(0) > 0
    }

    fn read_body(&mut self) -> Result<Box<[u8]>, Response> {
        let announced = match self.unread {
            Unread::Chunked => None,
            Unread::Nothing | Unread::Length(_) => Some(self.request.body_length().unwrap_or(0)),
        };
        let max = self.endpoint.node.config.max_value_bytes;
        // Before the first read, which makes tiny_http ask for the body of a request with `Expect`.
        if announced.is_some_and(|length| length > max) {
            return Err(body::too_large(max));
        }
        let _permit = (self.unread != Unread::Nothing).then(|| self.endpoint.uploads.acquire());
        let body = match body::read_whole(self.request.as_reader(), announced, max) {
            // tiny_http takes the end of the connection for the end of a chunked body. The kernel
            // knows whether the client has closed its side: then the body is truncated. A client
            // that closes its side after a complete body is refused too; none is known to do so.
            Ok(_)
                if announced.is_none()
                    && self.endpoint.open_connections().is_gone(&self.client) =>
            {
                Err(body::ended_early())
            }
            body => body,
        };
        let is_broken = |problem: &Response| matches!(problem.status, 400 | TOO_SLOW);
        if announced.is_none() && body.as_ref().is_err_and(is_broken) {
            self.endpoint.pipelines.close(self.client);
        }
        self.unread = if body.is_ok() { Unread::Nothing } else { self.unread };
        body.map(Vec::into_boxed_slice)
    }

    fn wait(&mut self, watched: &Watched, seen: u64, until: Instant) -> Result<(), Response> {
        if self.unread != Unread::Nothing {
            return Err(Response::problem(400, "a blocking query must not have a body"));
        }
        let too_many = || Response::problem(503, "too many blocked requests: try again later");
        let open = LazyCell::new(|| self.endpoint.open_connections());
        let permit =
            self.endpoint.watchers.permit(|client| open.is_gone(client)).ok_or_else(too_many)?;
        if !self.worker.hand_over() {
            return Err(too_many());
        }
        self.query_response = None;
        let is_client_there =
            self.endpoint.watchers.wait(permit, self.client, watched, seen, until);
        self.query_response = Some(self.endpoint.query_responses.acquire());
        is_client_there.then_some(()).ok_or_else(too_many)
    }
}

/// The response in tiny_http's own type: only `Request::respond` discards an unread body and goes on
/// with the connection.
fn plain(response: &Response) -> tiny_http::Response<io::Cursor<Vec<u8>>> {
    let mut plain = tiny_http::Response::from_data(response.body.clone())
        .with_status_code(StatusCode(response.status));
    let headers = [("Content-Type", response.content_type), ("Allow", response.allow)];
    for (name, value) in headers {
        let header = value.and_then(|value| tiny_http::Header::from_bytes(name, value).ok());
        header.into_iter().for_each(|header| plain.add_header(header));
    }
    plain
}
