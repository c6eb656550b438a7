//! Does what a request asks for, on a node: locks the store for it, call by call.

use crate::core::api::map;
use crate::core::api::operation::{Operation, Replicas};
use crate::core::api::parameters;
use crate::core::api::preconditions::Preconditions;
use crate::core::api::response::{JSON, PLAIN_TEXT, Response};
use crate::core::store::SHARDS;
use crate::node::shared_store::LockedStore;
use crate::node::state::{Node, wall_ms};
use crate::node::stats;
use crate::node::watchers::Watched;
use std::time::{Duration, Instant};

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a request can be asked for beyond its head. Two of these may block.
pub trait Incoming {
    fn has_body(&self) -> bool;

    /// The whole body, or why it cannot be had.
    fn read_body(&mut self) -> Result<Box<[u8]>, Response>;

    /// Waits until what is watched may be different from what it was after `seen` changes, or until
    /// then; or says why the request cannot wait.
    fn wait(&mut self, watched: &Watched, seen: u64, until: Instant) -> Result<(), Response>;
}

pub fn handle(node: &Node, operation: Operation, incoming: &mut dyn Incoming) -> Response {
    done(node, operation, incoming).unwrap_or_else(|problem| problem)
}

fn done(
    node: &Node,
    operation: Operation,
    incoming: &mut dyn Incoming,
) -> Result<Response, Response> {
    let text = |text: &[u8]| Response::ok(PLAIN_TEXT, text.to_vec());
    match operation {
        Operation::Get { keys, representation, preconditions, wait_ms } => {
            let watched = Watched::Key(keys.last().cloned().unwrap_or_default());
            until_changed(incoming, &watched, &preconditions, wait_ms, || {
                let mut store = node.store();
                let seen = wait_ms.map_or(0, |_| store.changes_mut().watch());
                (map::get(&store, &keys, representation, &preconditions, wall_ms()), seen)
            })
        }
        Operation::List { listing, json, preconditions, wait_ms } => {
            let watched = Watched::Prefix(listing.prefix.clone());
            until_changed(incoming, &watched, &preconditions, wait_ms, || {
                let seen = wait_ms.map_or(0, |_| node.store().changes_mut().watch());
                let mut page = listing.clone().page();
                (0..SHARDS).for_each(|shard| {
                    page.visit(&node.store_after_others(), shard, wall_ms());
                });
                (map::list(page, json, &preconditions), seen)
            })
        }
        Operation::Put { key, ttl_ms, preconditions, sends_etag, replicas } => {
            let value = incoming.read_body()?;
            write(node, incoming, replicas, |store| {
                let put = map::put(store, &key, value, ttl_ms, &preconditions, wall_ms());
                let etag = put.etag.clone().filter(|_| sends_etag);
                Response { etag, ..put }
            })
        }
        Operation::PutForm { ttl_ms, replicas } => {
            let body = incoming.read_body()?;
            let form = parameters::form(&body, node.config.max_key_bytes)?;
            write(node, incoming, replicas, |store| map::put_form(store, form, ttl_ms, wall_ms()))
        }
        Operation::Delete { .. } if incoming.has_body() => {
            Err(Response::problem(400, "a DELETE must not have a body"))
        }
        Operation::Delete { keys, preconditions, replicas } => {
            write(node, incoming, replicas, |store| {
                map::delete(store, &keys, &preconditions, wall_ms())
            })
        }
        Operation::Stats(json) => Ok(text_or_json(stats::stats(node, json), json)),
        Operation::Peers(json) => Ok(text_or_json(node.members().write(json), json)),
        Operation::Metrics => {
            Ok(Response::ok(PROMETHEUS_TEXT, stats::prometheus(node).into_bytes()))
        }
        Operation::Healthz => Ok(text(b"ok\n")),
        Operation::Readyz => match node.readiness.not_ready_reason() {
            None => Ok(text(b"ready\n")),
            Some(reason) => Err(Response::problem(503, reason)),
        },
    }
}

fn text_or_json(text: String, is_json: bool) -> Response {
    Response::ok(if is_json { JSON } else { PLAIN_TEXT }, text.into_bytes())
}

/// What `look` finds once it is not what the client knows, or when its time is up.
fn until_changed(
    incoming: &mut dyn Incoming,
    watched: &Watched,
    preconditions: &Preconditions,
    wait_ms: Option<u64>,
    look: impl Fn() -> (Response, u64),
) -> Result<Response, Response> {
    let until = wait_ms.map(|wait_ms| Instant::now() + Duration::from_millis(wait_ms));
    loop {
        let (response, seen) = look();
        match until {
            Some(until) if response.is_unchanged(preconditions) && Instant::now() < until => {
                incoming.wait(watched, seen, until)?;
            }
            _ => return Ok(response),
        }
    }
}

/// Writes, and responds once enough others have what was written.
fn write(
    node: &Node,
    incoming: &mut dyn Incoming,
    replicas: Option<Replicas>,
    write: impl FnOnce(&mut LockedStore<'_>) -> Response,
) -> Result<Response, Response> {
    let (response, writes) = {
        let mut store = node.store();
        (write(&mut store), store.writes())
    };
    if response.status >= 400 {
        return Err(response);
    }
    node.wrote();
    let Some(replicas) = replicas else { return Ok(response) };
    let watched = Watched::Replicas { replicas, writes };
    let until = Instant::now() + Duration::from_millis(replicas.wait_ms);
    loop {
        let (have, wanted) = (node.members().confirmations(writes), replicas.wanted);
        if have >= wanted {
            return Ok(response);
        }
        if Instant::now() >= until || incoming.wait(&watched, 0, until).is_err() {
            let reason = format!(
                "{have} of {wanted} other pods have confirmed the write so far; it is kept here, and still goes to all others"
            );
            return Err(Response { etag: response.etag, ..Response::problem(504, reason) });
        }
    }
}
