//! Carries out operations on a node. Each locks the store for one short step at a time.

use crate::core::api::map;
use crate::core::api::operation::{Operation, Replicas};
use crate::core::api::parameters;
use crate::core::api::preconditions::Preconditions;
use crate::core::api::response::{JSON, PLAIN_TEXT, Response};
use crate::core::shards::SHARDS;
use crate::node::members;
use crate::node::shared_store::LockedStore;
use crate::node::state::{Node, wall_ms};
use crate::node::stats;
use crate::node::watchers::Watched;
use std::time::{Duration, Instant};

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The request behind an operation. Reading its body and waiting for it may block.
pub trait Incoming {
    fn has_body(&self) -> bool;

    /// The whole body, or the response that refuses it.
    fn read_body(&mut self) -> Result<Box<[u8]>, Response>;

    /// Waits until what is watched may have changed since the first `seen` changes, or until `until`;
    /// an error if the request cannot wait.
    fn wait(&mut self, watched: &Watched, seen: u64, until: Instant) -> Result<(), Response>;
}

pub fn handle(
    node: &Node,
    operation: &Operation,
    incoming: &mut dyn Incoming,
) -> Result<Response, Response> {
    match *operation {
        Operation::Get { ref keys, representation, ref preconditions, wait_ms } => {
            // Only a request for one key can wait.
            let wait = wait_ms.map(|wait_ms| (Watched::Key(keys.concat()), wait_ms));
            respond_when_changed(incoming, wait, preconditions, &|| {
                // Before the look: what arrives between the two makes it ready.
                let may_lack_keys = node.may_lack_keys();
                let mut store = node.store();
                let seen = wait_ms.map_or(0, |_| store.changes_mut().watch());
                let lacks_key = || keys.iter().any(|key| store.find(key, wall_ms()).is_none());
                if may_lack_keys && lacks_key() {
                    return (Response::starting(), seen);
                }
                (map::get(&store, keys, representation, preconditions, wall_ms()), seen)
            })
        }
        Operation::List { ref listing, json, ref preconditions, wait_ms } => {
            let wait = wait_ms.map(|wait_ms| (Watched::Prefix(listing.prefix.clone()), wait_ms));
            respond_when_changed(incoming, wait, preconditions, &|| {
                let seen = wait_ms.map_or(0, |_| node.store().changes_mut().watch());
                let mut page = listing.clone().page();
                (0..SHARDS).for_each(|shard| {
                    page.visit(&node.store_after_others(), shard, wall_ms());
                });
                (map::list(page, json, preconditions), seen)
            })
        }
        Operation::Put { ref key, ttl_ms, ref preconditions, sends_etag, replicas } => {
            let value = incoming.read_body()?;
            let mut store = node.store();
            let put = map::put(&mut store, key, value, ttl_ms, preconditions, wall_ms());
            let etag = put.etag.clone().filter(|_| sends_etag);
            Ok(spread_and_await_replicas(node, store, Response { etag, ..put }, replicas, incoming))
        }
        Operation::PutForm { ttl_ms, replicas } => {
            let body = incoming.read_body()?;
            let form = parameters::form(&body, node.config.max_key_bytes)?;
            let mut store = node.store();
            let response = map::put_form(&mut store, form, ttl_ms, wall_ms());
            Ok(spread_and_await_replicas(node, store, response, replicas, incoming))
        }
        Operation::Delete { .. } if incoming.has_body() => {
            Err(Response::problem(400, "a DELETE must not have a body"))
        }
        Operation::Delete { ref keys, ref preconditions, replicas } => {
            let mut store = node.store();
            let response = map::delete(&mut store, keys, preconditions, wall_ms());
            Ok(spread_and_await_replicas(node, store, response, replicas, incoming))
        }
        Operation::Stats { json } => Ok(text_or_json(stats::stats(node, json), json)),
        Operation::Peers { json } => {
            let text = members::write(&node.members(), json, node.readiness.age_ms());
            Ok(text_or_json(text, json))
        }
        Operation::Metrics => {
            Ok(Response::ok(PROMETHEUS_TEXT, stats::prometheus(node).into_bytes()))
        }
        Operation::Healthz => Ok(Response::ok(PLAIN_TEXT, b"ok\n".to_vec())),
        Operation::Readyz => match node.readiness.not_ready_reason() {
            None => Ok(Response::ok(PLAIN_TEXT, b"ready\n".to_vec())),
            Some(reason) => Err(Response::problem(503, reason)),
        },
    }
}

fn text_or_json(text: String, is_json: bool) -> Response {
    Response::ok(if is_json { JSON } else { PLAIN_TEXT }, text.into_bytes())
}

/// The response of `look`, as soon as it is not what the client has already, or when the wait is over.
///
/// `look` also returns the number of changes at that moment. Whatever changes after that ends the wait,
/// so that nothing is missed between looking and waiting.
fn respond_when_changed(
    incoming: &mut dyn Incoming,
    wait: Option<(Watched, u64)>,
    preconditions: &Preconditions,
    look: &dyn Fn() -> (Response, u64),
) -> Result<Response, Response> {
    let now = Instant::now();
    let wait = wait.map(|(watched, ms)| (watched, now + Duration::from_millis(ms)));
    loop {
        let (response, seen) = look();
        match &wait {
            Some((watched, until))
                if response.keeps_query_waiting(preconditions) && Instant::now() < *until =>
            {
                incoming.wait(watched, seen, *until)?;
            }
            _ => return Ok(response),
        }
    }
}

/// Spreads a write, and returns its response once enough other nodes hold it.
fn spread_and_await_replicas(
    node: &Node,
    store: LockedStore<'_>,
    response: Response,
    replicas: Option<Replicas>,
    incoming: &mut dyn Incoming,
) -> Response {
    let revision = store.revision();
    drop(store);
    if response.status >= 400 {
        return response;
    }
    node.wrote();
    let Some(replicas) = replicas else { return response };
    let watched = Watched::Replicas { replicas, revision };
    let until = Instant::now() + Duration::from_millis(replicas.wait_ms);
    loop {
        let (have, wanted) = (node.members().confirmations(revision), replicas.wanted);
        if have >= wanted {
            return response;
        }
        if Instant::now() >= until || incoming.wait(&watched, 0, until).is_err() {
            let reason = format!(
                "{have} of {wanted} other pods have confirmed the write so far; it is kept here, and still goes to all others"
            );
            return Response { etag: response.etag, ..Response::problem(504, reason) };
        }
    }
}
