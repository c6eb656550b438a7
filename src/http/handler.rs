//! Does what a request asks for, on a node: locks the store for it, call by call.

use crate::core::api::map;
use crate::core::api::preconditions::Conditions;
use crate::core::api::request::{self, Plan, Replicas};
use crate::core::api::response::{PLAIN_TEXT, Response};
use crate::core::store::SHARDS;
use crate::node::state::{LockedStore, Node, wall_ms};
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

pub fn handle(node: &Node, plan: &Plan, incoming: &mut dyn Incoming) -> Result<Response, Response> {
    match *plan {
        Plan::Get { ref keys, shape, ref conditions, wait_ms } => {
            let wait = wait_ms.map(|wait_ms| (Watched::Key(keys.concat()), wait_ms));
            until_changed(incoming, wait, conditions, &|| {
                let mut store = node.store();
                let seen = wait_ms.map_or(0, |_| store.changes_mut().watch());
                (map::get(&store, keys, shape, conditions, wall_ms()), seen)
            })
        }
        Plan::List { ref listing, json, ref conditions, wait_ms } => {
            let wait = wait_ms.map(|wait_ms| (Watched::Prefix(listing.prefix.clone()), wait_ms));
            until_changed(incoming, wait, conditions, &|| {
                let seen = wait_ms.map_or(0, |_| node.store().changes_mut().watch());
                let mut page = listing.clone().page();
                (0..SHARDS).for_each(|shard| {
                    page.visit(&node.store_after_others(), shard, wall_ms());
                });
                (map::list(page, json, conditions), seen)
            })
        }
        Plan::Put { ref key, ttl_ms, ref conditions, tells_version, replicas } => {
            let value = incoming.read_body()?;
            let mut store = node.store();
            let put = map::put(&mut store, key, value, ttl_ms, conditions, wall_ms());
            let tag = put.tag.clone().filter(|_| tells_version);
            Ok(written(node, store, Response { tag, ..put }, replicas, incoming))
        }
        Plan::PutForm { ttl_ms, replicas } => {
            let body = incoming.read_body()?;
            let form = request::form(&body, node.config.max_key_bytes)?;
            let mut store = node.store();
            let response = map::put_form(&mut store, form, ttl_ms, wall_ms());
            Ok(written(node, store, response, replicas, incoming))
        }
        Plan::Delete { .. } if incoming.has_body() => {
            Err(Response::problem(400, "a DELETE has no body"))
        }
        Plan::Delete { ref keys, ref conditions, replicas } => {
            let mut store = node.store();
            let response = map::delete(&mut store, keys, conditions, wall_ms());
            Ok(written(node, store, response, replicas, incoming))
        }
        Plan::Stats(json) => Ok(node.stats(json)),
        Plan::Peers(json) => Ok(node.peers(json)),
        Plan::Metrics => Ok(Response::ok(PROMETHEUS_TEXT, node.prometheus().into_bytes())),
        Plan::Healthz => Ok(Response::ok(PLAIN_TEXT, b"ok\n".to_vec())),
        Plan::Readyz => match node.unready() {
            None => Ok(Response::ok(PLAIN_TEXT, b"ready\n".to_vec())),
            Some(reason) => Err(Response::problem(503, reason)),
        },
    }
}

/// What `look` finds once it is not what the client knows, or when the milliseconds of the wait are
/// over.
fn until_changed(
    incoming: &mut dyn Incoming,
    wait: Option<(Watched, u64)>,
    conditions: &Conditions,
    look: &dyn Fn() -> (Response, u64),
) -> Result<Response, Response> {
    let now = Instant::now();
    let wait = wait.map(|(watched, ms)| (watched, now + Duration::from_millis(ms)));
    loop {
        let (response, seen) = look();
        match &wait {
            Some((watched, until))
                if response.is_unchanged(conditions) && Instant::now() < *until =>
            {
                incoming.wait(watched, seen, *until)?;
            }
            _ => return Ok(response),
        }
    }
}

/// Passes a write on, and gives its response once enough others have it.
fn written(
    node: &Node,
    store: LockedStore<'_>,
    response: Response,
    replicas: Option<Replicas>,
    incoming: &mut dyn Incoming,
) -> Response {
    let writes = store.writes();
    drop(store);
    if response.status >= 400 {
        return response;
    }
    node.wrote();
    let Some(replicas) = replicas else { return response };
    let watched = Watched::Replicas { replicas, writes };
    let until = Instant::now() + Duration::from_millis(replicas.wait_ms);
    loop {
        let (have, wanted) = (node.roster().confirmations(writes), replicas.wanted);
        if have >= wanted {
            return response;
        }
        if Instant::now() >= until || incoming.wait(&watched, 0, until).is_err() {
            let reason = format!(
                "{have} of {wanted} other pods have confirmed the write so far; it is done here, and goes on to all"
            );
            return Response { tag: response.tag, ..Response::problem(504, reason) };
        }
    }
}
