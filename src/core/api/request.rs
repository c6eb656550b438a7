//! What a request wants: method, target and headers in, an operation out, or why it cannot be had.

use crate::core::api::listing::{DEFAULT_PAGE_KEYS, Listing, MAX_PAGE_KEYS};
use crate::core::api::map::Representation;
use crate::core::api::preconditions::{Preconditions, prefers_second};
use crate::core::api::response::{JSON, OCTET_STREAM, PLAIN_TEXT, Response};
use crate::core::store::Pairs;

/// The bytes of a request's target that are looked at; a URL with many long keys has its place.
pub const MAX_TARGET_BYTES: usize = 64 * 1024;

/// How long a request may wait for a change, in milliseconds.
pub const MAX_WAIT_MS: u64 = 60_000;

/// The longest time to live, in milliseconds: a leap year.
pub const MAX_TTL_MS: u64 = 366 * 24 * 3_600_000;

/// The media type of a form, as `curl -d` sends it.
const FORM: &str = "application/x-www-form-urlencoded";

/// The head of a request.
pub struct Head<'a> {
    /// `GET`, `PUT` and so on.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The value of the header with this name; of several, all by commas.
    pub header: &'a dyn Fn(&'static str) -> Option<String>,
}

/// The most pods whose word a write can wait for.
pub const MAX_REPLICAS: usize = 1_000;

/// How long a write waits for their word if the request does not say, in milliseconds.
pub const DEFAULT_REPLICAS_WAIT_MS: u64 = 2_000;

/// The other pods that are to have a write before it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replicas {
    /// How many.
    pub wanted: usize,
    /// For how long to wait for them.
    pub wait_ms: u64,
}

/// A request that is well-formed and knows what it wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Read these keys, in this order.
    Get {
        /// At least one.
        keys: Vec<String>,
        /// Of the answer.
        representation: Representation,
        /// For one key only.
        preconditions: Preconditions,
        /// For how long to wait for another version than the one that the client knows.
        wait_ms: Option<u64>,
    },
    /// Write the body as this key's value.
    Put {
        /// Any.
        key: String,
        /// After which time the value is gone.
        ttl_ms: Option<u64>,
        /// Checked in the same step.
        preconditions: Preconditions,
        /// Whether the answer tells the version; k8s-gossipcar's does not.
        sends_etag: bool,
        /// Who is to have it before the answer.
        replicas: Option<Replicas>,
    },
    /// Write all that the body, a form, says.
    PutForm {
        /// After which time the values are gone.
        ttl_ms: Option<u64>,
        /// Who is to have them before the answer.
        replicas: Option<Replicas>,
    },
    /// Delete these keys.
    Delete {
        /// At least one.
        keys: Vec<String>,
        /// For one key only.
        preconditions: Preconditions,
        /// Who is to know before the answer.
        replicas: Option<Replicas>,
    },
    /// Say which keys there are.
    List {
        /// Which page of them.
        listing: Listing,
        /// Instead of a key a line.
        json: bool,
        /// On the tag of the whole prefix.
        preconditions: Preconditions,
        /// As for a key.
        wait_ms: Option<u64>,
    },
    /// Numbers for people, one a line, or as JSON.
    Stats(bool),
    /// Who the others are, one a line, or as JSON.
    Peers(bool),
    /// Numbers for Prometheus.
    Metrics,
    /// Is the process alive?
    Healthz,
    /// Has it caught up with its peers?
    Readyz,
}

/// Finds out what a request wants, or why it cannot be had.
pub fn operation(head: &Head<'_>, max_key_bytes: usize) -> Result<Operation, Response> {
    let target = head.target;
    if target.len() > MAX_TARGET_BYTES {
        let reason = format!("the URL is longer than {MAX_TARGET_BYTES} bytes: ask for fewer keys");
        return Err(Response::problem(414, reason));
    }
    // RFC 9112, section 3.2.2: the absolute form, which is meant for proxies, must be taken too.
    let target = match target.strip_prefix("http://") {
        Some(absolute) => absolute.find('/').map_or("/", |path| &absolute[path..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let method = Method::parse(head.method);
    let mut query = Query::parse(query)?;
    match path {
        "/map" | "/map/" => match method {
            Method::Read => get_operation(head, query, max_key_bytes),
            Method::Put => put_operation(head, query, max_key_bytes),
            Method::Post => form_operation(head, query),
            Method::Delete => delete_operation(head, query, max_key_bytes),
            Method::Other => Err(not_allowed(head.method, "GET, HEAD, PUT, POST, DELETE")),
        },
        "/keys" if method == Method::Read => list_operation(head, query, max_key_bytes),
        // As in k8s-gossipcar, parameters may be there and mean nothing.
        "/stats" if method == Method::Read => {
            Ok(Operation::Stats(json_or(head, PLAIN_TEXT, true)?))
        }
        "/peers" | "/metrics" | "/healthz" | "/readyz" if method == Method::Read => {
            query.finish("this path takes no parameters")?;
            Ok(match path {
                "/peers" => Operation::Peers(json_or(head, PLAIN_TEXT, false)?),
                "/metrics" => Operation::Metrics,
                "/healthz" => Operation::Healthz,
                _ => Operation::Readyz,
            })
        }
        "/keys" | "/stats" | "/peers" | "/metrics" | "/healthz" | "/readyz" => {
            Err(not_allowed(head.method, "GET, HEAD"))
        }
        _ => match path.strip_prefix("/map/") {
            Some(key) => one_key_operation(head, method, key, query, max_key_bytes),
            None => Err(Response::problem(
                404,
                "no such path: there are /map, /map/KEY, /keys, /peers, /stats, /metrics, /healthz and /readyz",
            )),
        },
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    /// `HEAD` is a `GET` whose body is not sent.
    Read,
    Put,
    Post,
    Delete,
    Other,
}

impl Method {
    fn parse(name: &str) -> Self {
        match name {
            "GET" | "HEAD" => Self::Read,
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

fn not_allowed(method: &str, allow: &'static str) -> Response {
    let known = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    let method = known.iter().find(|known| **known == method).unwrap_or(&"this method");
    let problem = Response::problem(405, format_args!("{method} is not for this path: {allow}"));
    Response { allow: Some(allow), ..problem }
}

fn get_operation(
    head: &Head<'_>,
    mut query: Query,
    max_key_bytes: usize,
) -> Result<Operation, Response> {
    // As in k8s-gossipcar, parameters of other names may be there and mean nothing.
    let keys = query.keys(max_key_bytes)?;
    if keys.is_empty() {
        return Err(Response::problem(422, "no key: GET /map?k=KEY, or several: ?k=A&k=B"));
    }
    let preconditions = preconditions(head)?;
    let wait_ms = query.duration_ms("wait", 0..=MAX_WAIT_MS)?;
    if keys.len() > 1 && (!preconditions.is_empty() || wait_ms.is_some()) {
        return Err(Response::problem(
            422,
            "If-Match, If-None-Match and wait are for one key: GET /map?k=KEY",
        ));
    }
    let json = json_or(head, OCTET_STREAM, true)?;
    let representation = if json { Representation::Json } else { Representation::Pairs };
    Ok(Operation::Get { keys, representation, preconditions, wait_ms })
}

fn put_operation(
    head: &Head<'_>,
    mut query: Query,
    max_key_bytes: usize,
) -> Result<Operation, Response> {
    let mut keys = query.keys(max_key_bytes)?.into_iter();
    let ttl_ms = query.duration_ms("ttl", 1..=MAX_TTL_MS)?;
    let replicas = query.replicas()?;
    query.finish(
        "a PUT takes the parameters k, ttl, replicas and wait only: PUT /map?k=KEY&ttl=30s",
    )?;
    match (keys.next(), keys.next()) {
        (Some(key), None) => put_one(head, key, ttl_ms, replicas, false),
        (None, _) => Err(Response::problem(422, "no key: PUT /map?k=KEY")),
        _ => Err(Response::problem(422, "more than one k: a PUT writes one key")),
    }
}

fn put_one(
    head: &Head<'_>,
    key: String,
    ttl_ms: Option<u64>,
    replicas: Option<Replicas>,
    sends_etag: bool,
) -> Result<Operation, Response> {
    if (head.header)("Content-Range").is_some() {
        return Err(Response::problem(400, "a value is written whole: no Content-Range"));
    }
    as_it_is(head)?;
    Ok(Operation::Put { key, ttl_ms, preconditions: preconditions(head)?, sends_etag, replicas })
}

fn form_operation(head: &Head<'_>, mut query: Query) -> Result<Operation, Response> {
    let ttl_ms = query.duration_ms("ttl", 1..=MAX_TTL_MS)?;
    let replicas = query.replicas()?;
    query.finish(
        "a POST takes the parameters ttl, replicas and wait only, and keys and values in its body",
    )?;
    as_it_is(head)?;
    if !preconditions(head)?.is_empty() {
        return Err(Response::problem(
            422,
            "If-Match and If-None-Match are for one key: PUT /map?k=KEY",
        ));
    }
    let content_type = (head.header)("Content-Type").unwrap_or_else(|| FORM.to_owned());
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(FORM) {
        Ok(Operation::PutForm { ttl_ms, replicas })
    } else {
        Err(Response::problem(415, format_args!("a POST takes a form: Content-Type: {FORM}")))
    }
}

fn delete_operation(
    head: &Head<'_>,
    mut query: Query,
    max_key_bytes: usize,
) -> Result<Operation, Response> {
    let keys = query.keys(max_key_bytes)?;
    let replicas = query.replicas()?;
    query.finish("a DELETE takes the parameters k, replicas and wait only: DELETE /map?k=KEY")?;
    if keys.is_empty() {
        return Err(Response::problem(422, "no key: DELETE /map?k=KEY, or several: ?k=A&k=B"));
    }
    let preconditions = preconditions(head)?;
    if keys.len() > 1 && !preconditions.is_empty() {
        return Err(Response::problem(
            422,
            "If-Match and If-None-Match are for one key: DELETE /map?k=KEY",
        ));
    }
    Ok(Operation::Delete { keys, preconditions, replicas })
}

fn one_key_operation(
    head: &Head<'_>,
    method: Method,
    key: &str,
    mut query: Query,
    max_key_bytes: usize,
) -> Result<Operation, Response> {
    let key = checked_key(text(decode(key, false)?)?, max_key_bytes)?;
    match method {
        Method::Read => {
            let wait_ms = query.duration_ms("wait", 0..=MAX_WAIT_MS)?;
            query
                .finish("a GET of one key takes the parameter wait only: GET /map/KEY?wait=30s")?;
            if prefers_second(&accept(head), OCTET_STREAM, OCTET_STREAM).is_none() {
                return Err(not_acceptable(OCTET_STREAM));
            }
            let preconditions = preconditions(head)?;
            Ok(Operation::Get {
                keys: vec![key],
                representation: Representation::Value,
                preconditions,
                wait_ms,
            })
        }
        Method::Put => {
            let ttl_ms = query.duration_ms("ttl", 1..=MAX_TTL_MS)?;
            let replicas = query.replicas()?;
            query.finish(
                "a PUT of one key takes ttl, replicas and wait only: PUT /map/KEY?ttl=30s",
            )?;
            put_one(head, key, ttl_ms, replicas, true)
        }
        Method::Delete => {
            let replicas = query.replicas()?;
            query.finish("a DELETE of one key takes replicas and wait only: DELETE /map/KEY")?;
            Ok(Operation::Delete { keys: vec![key], preconditions: preconditions(head)?, replicas })
        }
        Method::Post | Method::Other => Err(not_allowed(head.method, "GET, HEAD, PUT, DELETE")),
    }
}

fn list_operation(
    head: &Head<'_>,
    mut query: Query,
    max_key_bytes: usize,
) -> Result<Operation, Response> {
    let prefix = checked_key(query.text("prefix")?.unwrap_or_default(), max_key_bytes)?;
    let after = query.text("after")?.map(|key| checked_key(key, max_key_bytes)).transpose()?;
    let limit = query.number("limit", MAX_PAGE_KEYS)?.unwrap_or(DEFAULT_PAGE_KEYS);
    let wait_ms = query.duration_ms("wait", 0..=MAX_WAIT_MS)?;
    query.finish("/keys takes the parameters prefix, after, limit and wait only")?;
    let json = json_or(head, PLAIN_TEXT, false)?;
    let listing = Listing { prefix, after, limit };
    Ok(Operation::List { listing, json, preconditions: preconditions(head)?, wait_ms })
}

fn preconditions(head: &Head<'_>) -> Result<Preconditions, Response> {
    let (if_match, if_none_match) = ((head.header)("If-Match"), (head.header)("If-None-Match"));
    Preconditions::parse(if_match.as_deref(), if_none_match.as_deref()).ok_or_else(|| {
        Response::problem(
            400,
            "If-Match and If-None-Match take * or versions in quotes, as ETag says them",
        )
    })
}

/// That the body is not packed: what is stored would come back without a word about it.
fn as_it_is(head: &Head<'_>) -> Result<(), Response> {
    match (head.header)("Content-Encoding") {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => {
            Err(Response::problem(415, "a body is taken as it is: no Content-Encoding"))
        }
        _ => Ok(()),
    }
}

fn accept(head: &Head<'_>) -> String {
    (head.header)("Accept").unwrap_or_default()
}

fn not_acceptable(media_type: &str) -> Response {
    Response::problem(406, format_args!("there is {media_type}, which Accept does not take"))
}

/// Whether JSON is preferred to the usual form. k8s-gossipcar never looked at `Accept`; where it
/// answered, a client that takes neither gets the usual form as well.
fn json_or(head: &Head<'_>, usual: &str, is_lenient: bool) -> Result<bool, Response> {
    match prefers_second(&accept(head), usual, JSON) {
        Some(json) => Ok(json),
        None if is_lenient => Ok(false),
        None => Err(not_acceptable(&format!("{usual} and {JSON}"))),
    }
}

/// The parameters of a query that nobody has asked for yet, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Result<Self, Response> {
        let pairs = pairs(query).map(|pair| {
            let (name, value) = pair?;
            Ok((text(name)?, text(value)?))
        });
        pairs.collect::<Result<_, Response>>().map(Self)
    }

    /// All values of that name.
    fn all(&mut self, name: &str) -> Vec<String> {
        let (found, rest) =
            std::mem::take(&mut self.0).into_iter().partition(|(found, _)| found == name);
        self.0 = rest;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|(_, value)| value).collect()
    }

    fn keys(&mut self, max_key_bytes: usize) -> Result<Vec<String>, Response> {
        self.all("k").into_iter().map(|key| checked_key(key, max_key_bytes)).collect()
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Response> {
        let mut values = self.all(name).into_iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Response::problem(422, format_args!("more than one {name}"))),
            (value, None) => Ok(value),
        }
    }

    fn duration_ms(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Response> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let ms = humantime::parse_duration(&text).ok().map(|duration| duration.as_millis());
        match ms.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| range.contains(ms)) {
            Some(ms) => Ok(Some(ms)),
            None => Err(Response::problem(
                422,
                format_args!(
                    "{name} is a duration from {} ms to {} s, such as 250ms or 30s",
                    range.start(),
                    range.end() / 1000
                ),
            )),
        }
    }

    /// A number from 1 to `max`.
    fn number(&mut self, name: &str, max: usize) -> Result<Option<usize>, Response> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse().ok().filter(|number| (1..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Response::problem(422, format_args!("{name} is a number from 1 to {max}"))),
        }
    }

    fn replicas(&mut self) -> Result<Option<Replicas>, Response> {
        let wanted = self.number("replicas", MAX_REPLICAS)?;
        let wait_ms = self.duration_ms("wait", 0..=MAX_WAIT_MS)?;
        match wanted {
            Some(wanted) => {
                let wait_ms = wait_ms.unwrap_or(DEFAULT_REPLICAS_WAIT_MS);
                Ok(Some(Replicas { wanted, wait_ms }))
            }
            None if wait_ms.is_some() => Err(Response::problem(
                422,
                "wait goes with replicas on a write: replicas=1&wait=2s",
            )),
            None => Ok(None),
        }
    }

    /// That there is nothing else.
    fn finish(&mut self, right: &str) -> Result<(), Response> {
        if self.0.is_empty() { Ok(()) } else { Err(Response::problem(422, right)) }
    }
}

/// The keys and values of a form, each key once.
pub fn form(body: &[u8], max_key_bytes: usize) -> Result<Pairs, Response> {
    let not_utf8 = |_| Response::problem(400, "the form is not UTF-8: encode its bytes as %XX");
    let body = std::str::from_utf8(body).map_err(not_utf8)?;
    let mut form = Pairs::new();
    for pair in pairs(body) {
        let (key, value) = pair?;
        form.push((checked_key(text(key)?, max_key_bytes)?, value.into_boxed_slice()));
    }
    let mut keys: Vec<&str> = form.iter().map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Response::problem(422, "a key stands in the form more than once"));
    }
    if form.is_empty() {
        return Err(Response::problem(422, "the form is empty: KEY=VALUE&KEY=VALUE"));
    }
    Ok(form)
}

/// Names and values by `=` and `&`, decoded.
fn pairs(text: &str) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Response>> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name, true)?, decode(value, true)?))
    })
}

fn checked_key(key: String, max_key_bytes: usize) -> Result<String, Response> {
    if key.len() <= max_key_bytes {
        return Ok(key);
    }
    let length = key.len();
    let reason =
        format!("the key has {length} bytes, at most {max_key_bytes} are taken (MAX_KEY_BYTES)");
    Err(Response::problem(400, reason))
}

fn text(bytes: Vec<u8>) -> Result<String, Response> {
    String::from_utf8(bytes)
        .map_err(|_| Response::problem(400, "a key is not UTF-8: encode it as UTF-8, then as %XX"))
}

/// Decodes percent-encoding; in queries and forms also `+` as a space, as k8s-gossipcar does.
fn decode(text: &str, plus_is_space: bool) -> Result<Vec<u8>, Response> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if plus_is_space => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    let reason =
                        "bad percent-encoding: % takes two hex digits, and a % itself is %25";
                    return Err(Response::problem(400, reason));
                };
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    Ok(bytes)
}
