//! The counters of a node.

use crate::core::message::Refusal;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Hellos whose sender's clock is this far from ours are counted, and some of them logged.
pub const CLOCK_WARNING_MS: u64 = 60_000;

/// What is counted. The order is that of [`COUNTERS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the table below says what each one counts")]
pub enum Counter {
    OutSyncs,
    InSyncs,
    BadHttp,
    GoodHttp,
    FailedOutSyncs,
    FailedInSyncs,
    RefusedProtocol,
    RefusedCluster,
    RefusedOwnAddress,
    RefusedBusy,
    RefusedGrammar,
    RecordsSent,
    RecordsTaken,
    EntriesPurged,
    BytesSent,
    BytesReceived,
    FailedLookUps,
    ClocksOff,
    HttpRestarts,
    HttpAbandoned,
}

/// The names of the counters: in `/stats`, in `/metrics` (after `gossip_sidecar_`), and for people.
///
/// The first four are k8s-gossipcar's, in its order.
pub const COUNTERS: [(Counter, &str, &str, &str); 20] = [
    (
        Counter::OutSyncs,
        "nOutSyncs",
        "exchanges_initiated_total",
        "exchanges that this node opened and that completed",
    ),
    (
        Counter::InSyncs,
        "nInSyncs",
        "exchanges_accepted_total",
        "exchanges that peers opened and that completed",
    ),
    (
        Counter::BadHttp,
        "nBadHttpReqs",
        "http_requests_bad_total",
        "HTTP requests answered with 4xx or 5xx",
    ),
    (
        Counter::GoodHttp,
        "nGoodHttpReqs",
        "http_requests_good_total",
        "HTTP requests answered with 2xx or 3xx",
    ),
    (
        Counter::FailedOutSyncs,
        "nFailedOutSyncs",
        "exchanges_initiated_failed_total",
        "exchanges that this node opened and that failed",
    ),
    (
        Counter::FailedInSyncs,
        "nFailedInSyncs",
        "exchanges_accepted_failed_total",
        "exchanges that peers opened and that failed",
    ),
    (
        Counter::RefusedProtocol,
        "nRefusedProtocol",
        "refused_protocol_total",
        "exchanges refused: another protocol version",
    ),
    (
        Counter::RefusedCluster,
        "nRefusedCluster",
        "refused_cluster_total",
        "exchanges refused: another cluster",
    ),
    (
        Counter::RefusedOwnAddress,
        "nRefusedSelf",
        "refused_self_total",
        "exchanges refused: own address",
    ),
    (
        Counter::RefusedBusy,
        "nRefusedBusy",
        "refused_busy_total",
        "exchanges refused: too many at a time",
    ),
    (
        Counter::RefusedGrammar,
        "nRefusedGrammar",
        "refused_grammar_total",
        "exchanges refused: not the protocol",
    ),
    (Counter::RecordsSent, "nRecordsSent", "records_sent_total", "records sent to peers"),
    (
        Counter::RecordsTaken,
        "nRecordsTaken",
        "records_taken_total",
        "records received from peers that were fresher",
    ),
    (
        Counter::EntriesPurged,
        "nEntriesPurged",
        "entries_purged_total",
        "entries dropped that were deleted while this node was isolated",
    ),
    (Counter::BytesSent, "nBytesSent", "peer_bytes_sent_total", "bytes sent to peers"),
    (
        Counter::BytesReceived,
        "nBytesReceived",
        "peer_bytes_received_total",
        "bytes received from peers",
    ),
    (
        Counter::FailedLookUps,
        "nFailedLookUps",
        "dns_failures_total",
        "look-ups of SERVICE_DNS_NAME that failed or came back empty",
    ),
    (
        Counter::ClocksOff,
        "nClocksOff",
        "clocks_off_total",
        "exchanges opened with a peer whose clock was off by a minute or more",
    ),
    (
        Counter::HttpRestarts,
        "nHttpRestarts",
        "http_restarts_total",
        "times that the HTTP server was replaced",
    ),
    (
        Counter::HttpAbandoned,
        "nHttpAbandoned",
        "http_abandoned_total",
        "connections abandoned with an unread body, too large or too slow to discard",
    ),
];

/// The counters of one node.
#[derive(Default)]
pub struct Metrics([AtomicU64; COUNTERS.len()]);

impl Metrics {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts several.
    pub fn add(&self, counter: Counter, number: u64) {
        self.0[counter as usize].fetch_add(number, Relaxed);
    }

    /// Counts an exchange that was not to be.
    pub fn refused(&self, refusal: Refusal) {
        self.count(match refusal {
            Refusal::Protocol => Counter::RefusedProtocol,
            Refusal::Cluster => Counter::RefusedCluster,
            Refusal::OwnAddress => Counter::RefusedOwnAddress,
            Refusal::Busy => Counter::RefusedBusy,
            Refusal::Grammar => Counter::RefusedGrammar,
        });
    }

    /// The count so far.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_counters() {
        for (index, &(counter, ..)) in COUNTERS.iter().enumerate() {
            assert_eq!(counter as usize, index, "{counter:?}");
        }
    }
}
