//! Carries out what a request wants, on a node: locks the store for it, call by call.

use crate::core::api::map;
use crate::core::api::request::{self, Operation, Replicas};
use crate::core::api::response::{PLAIN_TEXT, Response};
use crate::core::store::SHARDS;
use crate::node::state::{Node, wall_ms};
use crate::node::watchers::Interest;
use std::time::{Duration, Instant};

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a request comes to.
pub enum Outcome {
    /// This.
    Answer(Response),
    /// Nothing yet: what it waits for, how many changes there had been, and until when.
    Wait(Interest, u64, Instant),
    /// This, once others have the write, or so long as that may take.
    Confirm(Response, Replicated, Instant),
}

/// The other nodes that are to have so many of our writes.
#[derive(Clone, Copy)]
pub struct Replicated {
    /// How many others.
    pub wanted: usize,
    /// How many writes.
    pub writes: u64,
}

/// That too few others have a write so far; `done` is the answer that it would have had.
pub fn unconfirmed(have: usize, wanted: usize, done: Response) -> Response {
    let reason = format!(
        "{have} of {wanted} other pods have confirmed the write so far; it is done here, and goes on to all"
    );
    Response { etag: done.etag, ..Response::problem(504, reason) }
}

/// Does what a request asks for; one that has waited already does so `until` then.
pub fn carry_out(
    node: &Node,
    plan: Operation,
    has_body: bool,
    read_body: impl FnOnce() -> Result<Box<[u8]>, Response>,
    until: Option<Instant>,
) -> Outcome {
    let (interest, wait_ms, response, seen, preconditions) = match plan {
        Operation::Get { mut keys, representation, preconditions, wait_ms } => {
            let mut store = node.store();
            let seen = if wait_ms.is_some() { store.changes_mut().watch() } else { 0 };
            let response = map::get(&store, &keys, representation, &preconditions, wall_ms());
            let interest = Interest::Key(keys.pop().unwrap_or_default());
            (interest, wait_ms, response, seen, preconditions)
        }
        Operation::List { listing, json, preconditions, wait_ms } => {
            let seen = wait_ms.map_or(0, |_| node.store().changes_mut().watch());
            let interest = Interest::Prefix(listing.prefix.clone());
            let mut page = listing.page();
            (0..SHARDS).for_each(|shard| {
                page.visit(&node.store_after_others(), shard, wall_ms());
            });
            (interest, wait_ms, map::list(page, json, &preconditions), seen, preconditions)
        }
        Operation::Put { .. } | Operation::PutForm { .. } | Operation::Delete { .. } => {
            return write(node, plan, has_body, read_body);
        }
        plan => return Outcome::Answer(show(node, &plan)),
    };
    let now = Instant::now();
    let until = until.or_else(|| Some(now + Duration::from_millis(wait_ms?)));
    match until {
        Some(until) if response.is_unchanged(&preconditions) && now < until => {
            Outcome::Wait(interest, seen, until)
        }
        _ => Outcome::Answer(response),
    }
}

fn write(
    node: &Node,
    plan: Operation,
    has_body: bool,
    read_body: impl FnOnce() -> Result<Box<[u8]>, Response>,
) -> Outcome {
    // What was written, and how many writes there have been with it.
    let (written, replicas) = match plan {
        Operation::Put { key, ttl_ms, preconditions, sends_etag, replicas } => {
            let written = read_body().map(|value| {
                let mut store = node.store();
                let put = map::put(&mut store, &key, value, ttl_ms, &preconditions, wall_ms());
                let etag = put.etag.clone().filter(|_| sends_etag);
                (Response { etag, ..put }, store.writes())
            });
            (written, replicas)
        }
        Operation::PutForm { ttl_ms, replicas } => {
            let form = read_body().and_then(|body| request::form(&body, node.config.max_key_bytes));
            let written = form.map(|form| {
                let mut store = node.store();
                (map::put_form(&mut store, form, ttl_ms, wall_ms()), store.writes())
            });
            (written, replicas)
        }
        Operation::Delete { .. } if has_body => {
            return Outcome::Answer(Response::problem(400, "a DELETE has no body"));
        }
        Operation::Delete { keys, preconditions, replicas } => {
            let mut store = node.store();
            let response = map::delete(&mut store, &keys, &preconditions, wall_ms());
            (Ok((response, store.writes())), replicas)
        }
        plan => return Outcome::Answer(show(node, &plan)),
    };
    let (response, writes) = match written {
        Ok((response, writes)) if response.status < 400 => (response, writes),
        Ok((problem, _)) | Err(problem) => return Outcome::Answer(problem),
    };
    node.wrote();
    match replicas {
        None => Outcome::Answer(response),
        Some(Replicas { wanted, wait_ms }) => {
            let until = Instant::now() + Duration::from_millis(wait_ms);
            Outcome::Confirm(response, Replicated { wanted, writes }, until)
        }
    }
}

/// What has nothing to do with the map.
fn show(node: &Node, plan: &Operation) -> Response {
    let text = |text: &[u8]| Response::ok(PLAIN_TEXT, text.to_vec());
    match plan {
        Operation::Stats(json) => node.stats(*json),
        Operation::Peers(json) => node.peers(*json),
        Operation::Metrics => Response::ok(PROMETHEUS_TEXT, node.prometheus().into_bytes()),
        Operation::Readyz => match node.not_ready_reason() {
            None => text(b"ready\n"),
            Some(reason) => Response::problem(503, reason),
        },
        // The others have been carried out already.
        _ => text(b"ok\n"),
    }
}
