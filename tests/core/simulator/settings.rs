//! What a run follows from.

use super::Chaos;

/// What a run follows from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everything random follows from it.
    pub seed: u64,
    /// Nodes at the start; they have the addresses 0, 1, 2, …
    pub nodes: usize,
    /// The timer's interval.
    pub interval_ms: u64,
    /// Whether news is told at once, or by the timer only.
    pub eager: bool,
    /// When tombstones are purged.
    pub tombstone_ttl_ms: u64,
    /// One way of a packet, on average; drawn between half and one and a half of it. Connecting
    /// takes two, each turn one more: an idle exchange four, one that brings news six.
    pub leg_us: u64,
    /// The share of exchanges that break somewhere.
    pub fail: f64,
    /// The share of those that break without a word, so that both sides wait for their time-outs.
    pub silent: f64,
    /// What a look-up brings.
    pub view: View,
    /// A pod that comes or goes is listed or removed so much later.
    pub dns_lag_us: u64,
    /// Whether nodes leave their own address out by themselves, as with `MY_POD_IP`.
    pub knows_own_address: bool,
    /// Local writes in the whole cluster.
    pub writes_a_second: f64,
    /// The share of writes that are deletions.
    pub deletes: f64,
    /// The share of the other writes whose value expires.
    pub expiring: f64,
    /// For how long such a value is there.
    pub ttl_ms: (u64, u64),
    /// How many different keys are written.
    pub keys: u32,
    /// The chance of a local write between two steps of an exchange's turn.
    pub write_between_steps: f64,
    /// Random faults.
    pub chaos: Option<Chaos>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            nodes: 3,
            interval_ms: 1_000,
            eager: true,
            tombstone_ttl_ms: 24 * 3_600_000,
            leg_us: 500,
            fail: 0.0,
            silent: 0.0,
            view: View::Full,
            dns_lag_us: 0,
            knows_own_address: true,
            writes_a_second: 0.0,
            deletes: 0.2,
            expiring: 0.0,
            ttl_ms: (1, 20_000),
            keys: 64,
            write_between_steps: 0.0,
            chaos: None,
        }
    }
}

/// Which part of the addresses a look-up brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// All of them.
    Full,
    /// So many, drawn anew for each look-up.
    Drawn(usize),
    /// So many, nearly always the same ones for one node.
    Fixed(usize),
}
