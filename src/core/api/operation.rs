//! What a request asks for, once it has been parsed.

use crate::core::api::listing::Listing;
use crate::core::api::map::Representation;
use crate::core::api::preconditions::Preconditions;

/// The longest wait of a blocking query or for replicas, in milliseconds.
pub const MAX_WAIT_MS: u64 = 60_000;

/// The longest time to live, in milliseconds: a leap year.
pub const MAX_TTL_MS: u64 = 366 * 24 * 3_600_000;

/// The most replicas that a write can wait for.
pub const MAX_REPLICAS: usize = 1_000;

/// How long a write waits for replicas by default, in milliseconds.
pub const DEFAULT_REPLICAS_WAIT_MS: u64 = 2_000;

/// The replicas that a write waits for before the response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replicas {
    /// How many other nodes must hold the write.
    pub wanted: usize,
    /// How long to wait for them.
    pub wait_ms: u64,
}

/// What a well-formed request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "fields are named after the parameters and headers that give them")]
pub enum Operation {
    /// Read these keys, in this order.
    Get {
        keys: Vec<String>,
        representation: Representation,
        preconditions: Preconditions,
        /// How long to wait for a version that the client does not know.
        wait_ms: Option<u64>,
    },
    /// Write the body as the value of this key.
    Put {
        key: String,
        ttl_ms: Option<u64>,
        preconditions: Preconditions,
        /// Whether the response has an `ETag`; k8s-gossipcar's has none.
        sends_etag: bool,
        replicas: Option<Replicas>,
    },
    /// Write all keys and values of the body, which is a form.
    PutForm { ttl_ms: Option<u64>, replicas: Option<Replicas> },
    /// Delete these keys.
    Delete { keys: Vec<String>, preconditions: Preconditions, replicas: Option<Replicas> },
    /// List keys.
    List {
        listing: Listing,
        /// As JSON instead of a key a line.
        json: bool,
        /// On the ETag of all keys with the prefix.
        preconditions: Preconditions,
        wait_ms: Option<u64>,
    },
    /// Counters and gauges, one a line, or as JSON.
    Stats { json: bool },
    /// The members, one a line, or as JSON.
    Peers { json: bool },
    /// Counters and gauges for Prometheus.
    Metrics,
    /// Whether the process is alive.
    Healthz,
    /// Whether the node is ready.
    Readyz,
}
