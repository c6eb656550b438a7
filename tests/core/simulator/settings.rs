//! The parameters of a run.

use super::Chaos;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Seeds all randomness.
    pub seed: u64,
    /// The number of nodes at the start; they have the addresses 0, 1, 2, …
    pub nodes: usize,
    /// The timer's interval.
    pub interval_ms: u64,
    /// Whether news spreads at once, or by the timer only.
    pub eager: bool,
    /// How long tombstones are kept.
    pub tombstone_ttl_ms: u64,
    /// The mean one-way latency; each packet takes between half and one and a half times as long.
    /// Connecting takes two packets and each turn one more, so that an idle exchange takes four and
    /// one that brings news six.
    pub leg_us: u64,
    /// The share of exchanges that break somewhere.
    pub fail: f64,
    /// The share of those that break without a reset, so that both sides have to time out.
    pub silent: f64,
    /// Which addresses a look-up returns.
    pub view: View,
    /// How much later DNS lists a pod that starts, or removes one that ends.
    pub dns_lag_us: u64,
    /// Whether nodes know their own address, as with `MY_POD_IP`.
    pub knows_own_address: bool,
    /// Local writes a second in the whole cluster.
    pub writes_a_second: f64,
    /// The share of writes that are deletions.
    pub deletes: f64,
    /// The share of the other writes that have a TTL.
    pub expiring: f64,
    /// The shortest and the longest TTL.
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

/// Which part of the addresses a look-up returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// All of them.
    Full,
    /// This many, drawn for each look-up.
    Drawn(usize),
    /// This many, mostly the same ones for a given node.
    Fixed(usize),
}
