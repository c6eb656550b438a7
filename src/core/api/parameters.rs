//! Query parameters and forms: percent-decoded, and each asked for once.

use crate::core::api::operation::{DEFAULT_REPLICAS_WAIT_MS, MAX_REPLICAS, MAX_WAIT_MS, Replicas};
use crate::core::api::response::Response;
use crate::core::message::MAX_KEY_BYTES;
use crate::core::store::Pairs;

/// The parameters of a query, decoded; each is removed when it is asked for, so that what remains
/// is unknown.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(query: &str) -> Result<Self, Response> {
        let pairs = pairs(query).map(|pair| {
            let (name, value) = pair?;
            Ok((text(name)?, text(value)?))
        });
        pairs.collect::<Result<_, Response>>().map(Self)
    }

    /// All values of a name.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let (found, rest) =
            std::mem::take(&mut self.0).into_iter().partition(|(found, _)| found == name);
        self.0 = rest;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|(_, value)| value).collect()
    }

    pub fn keys(&mut self, max_bytes: usize) -> Result<Vec<String>, Response> {
        self.all("k").into_iter().map(|key| checked_key(key, max_bytes)).collect()
    }

    pub fn text(&mut self, name: &str) -> Result<Option<String>, Response> {
        let mut values = self.all(name).into_iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => {
                Err(Response::problem(422, format_args!("{name} is given more than once")))
            }
            (value, None) => Ok(value),
        }
    }

    pub fn duration_ms(
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
    pub fn number(&mut self, name: &str, max: usize) -> Result<Option<usize>, Response> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse().ok().filter(|number| (1..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                Err(Response::problem(422, format_args!("{name} must be a number from 1 to {max}")))
            }
        }
    }

    pub fn replicas(&mut self) -> Result<Option<Replicas>, Response> {
        let wanted = self.number("replicas", MAX_REPLICAS)?;
        let wait_ms = self.duration_ms("wait", 0..=MAX_WAIT_MS)?;
        match wanted {
            Some(wanted) => {
                let wait_ms = wait_ms.unwrap_or(DEFAULT_REPLICAS_WAIT_MS);
                Ok(Some(Replicas { wanted, wait_ms }))
            }
            None if wait_ms.is_some() => {
                Err(Response::problem(422, "wait on a write needs replicas: replicas=1&wait=2s"))
            }
            None => Ok(None),
        }
    }

    /// Refuses the request if a parameter was never asked for.
    pub fn finish(&mut self, right: &str) -> Result<(), Response> {
        if self.0.is_empty() { Ok(()) } else { Err(Response::problem(422, right)) }
    }
}

/// The keys and values of a form, in which each key occurs once.
pub fn form(body: &[u8], max_key_bytes: usize) -> Result<Pairs, Response> {
    let not_utf8 = |_| Response::problem(400, "the form is not UTF-8: encode its bytes as %XX");
    let body = std::str::from_utf8(body).map_err(not_utf8)?;
    // Most likely a value for a single key, sent by `curl -d VALUE`, and not the key that it would be.
    if body.split('&').any(|field| !field.is_empty() && !field.contains('=')) {
        return Err(Response::problem(
            422,
            "a field of the form has no =: POST KEY=VALUE&KEY=VALUE to /map, or PUT one value to /map/KEY",
        ));
    }
    let mut form = Pairs::new();
    for pair in pairs(body) {
        let (key, value) = pair?;
        form.push((checked_key(text(key)?, max_key_bytes)?, value.into_boxed_slice()));
    }
    let mut keys: Vec<&str> = form.iter().map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Response::problem(422, "a key occurs more than once in the form"));
    }
    if form.is_empty() {
        return Err(Response::problem(422, "the form is empty: KEY=VALUE&KEY=VALUE"));
    }
    Ok(form)
}

/// Decodes `NAME=VALUE&NAME=VALUE`.
fn pairs(text: &str) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Response>> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name, true)?, decode(value, true)?))
    })
}

/// Refuses a key that is too long: for a write one longer than the setting, otherwise one that no
/// node can have.
pub fn checked_key(key: String, max_bytes: usize) -> Result<String, Response> {
    if key.len() <= max_bytes {
        return Ok(key);
    }
    let length = key.len();
    let whose = if max_bytes < MAX_KEY_BYTES { " (MAX_KEY_BYTES)" } else { "" };
    let reason = format!("the key has {length} bytes; the limit is {max_bytes}{whose}");
    Err(Response::problem(400, reason))
}

pub fn text(bytes: Vec<u8>) -> Result<String, Response> {
    String::from_utf8(bytes)
        .map_err(|_| Response::problem(400, "a parameter is not UTF-8: encode its bytes as %XX"))
}

/// Decodes percent-encoding; in queries and forms also `+` as a space, as k8s-gossipcar does.
pub fn decode(text: &str, plus_is_space: bool) -> Result<Vec<u8>, Response> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if plus_is_space => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    let reason =
                        "invalid percent-encoding: % must be followed by two hex digits; encode % itself as %25";
                    return Err(Response::problem(400, reason));
                };
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    Ok(bytes)
}
