//! What a request asks for, once it has been parsed.

use crate::core::api::listing::Listing;
use crate::core::api::map::Representation;
use crate::core::api::preconditions::Preconditions;

/// How long a request may wait for a change, in milliseconds.
pub const MAX_WAIT_MS: u64 = 60_000;

/// The longest time to live, in milliseconds: a leap year.
pub const MAX_TTL_MS: u64 = 366 * 24 * 3_600_000;

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
