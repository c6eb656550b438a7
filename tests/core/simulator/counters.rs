//! What happened in a run, counted.

/// What has happened so far, so that tests can assert that the faults they are about took place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections attempted, whatever became of them.
    pub calls: u64,
    /// Exchanges that ran to their end.
    pub exchanges: u64,
    /// Connections to an address where nothing runs, or that a partition makes unreachable.
    pub unreachable: u64,
    /// Exchanges refused because the responder was busy with too many.
    pub busy: u64,
    /// Exchanges that a node began with itself.
    pub exchanges_with_itself: u64,
    /// Exchanges broken before the first turn or between two turns.
    pub broken_between_turns: u64,
    /// Exchanges broken within a turn.
    pub broken_within_turn: u64,
    /// Those of both kinds that broke without a reset, so that both sides waited for their
    /// timeouts.
    pub broken_silently: u64,
    /// Exchanges interrupted by a partition.
    pub broken_by_partition: u64,
    /// Exchanges of which one side's process ended.
    pub broken_by_death: u64,
    /// Nodes that exited after they had handed over everything.
    pub drained: u64,
    /// Nodes that exited since the time for their drain was over.
    pub drains_timed_out: u64,
    /// Bytes of all turns.
    pub bytes: u64,
    /// Local writes, deletions among them.
    pub writes: u64,
    /// Local deletions.
    pub deletes: u64,
    /// Local writes that replaced a value.
    pub overwrites: u64,
    /// Local writes of values with a TTL.
    pub expiring: u64,
    /// Local writes between two steps of one turn.
    pub writes_between_steps: u64,
    /// Values that became tombstones because their TTL was over.
    pub expired: u64,
    /// Values that arrived only after they had expired by the receiver's clock.
    pub expired_on_the_way: u64,
    /// Tombstones purged.
    pub tombstones_purged: u64,
    /// Entries purged because they had been deleted while their holder was isolated.
    pub purged: u64,
    /// Restarts with an empty store, at the old address.
    pub restarts: u64,
    /// Pods replaced by another at a new address.
    pub replacements: u64,
    /// Partitions into two halves.
    pub partitions: u64,
    /// Partitions in one direction only.
    pub one_way_partitions: u64,
    /// Times that all partitions ended.
    pub heals: u64,
    /// Clocks that were set.
    pub clock_jumps: u64,
    /// Clocks that were stopped.
    pub clock_freezes: u64,
    /// Processes stopped for a time.
    pub halts: u64,
    /// Look-ups that failed.
    pub failed_look_ups: u64,
}

impl Counters {
    /// The faults by name, for tests that require each of them to have happened.
    pub fn faults(&self) -> [(&'static str, u64); 17] {
        [
            ("unreachable", self.unreachable),
            ("broken between turns", self.broken_between_turns),
            ("broken within a turn", self.broken_within_turn),
            ("broken silently", self.broken_silently),
            ("broken by a partition", self.broken_by_partition),
            ("broken by a death", self.broken_by_death),
            ("deletes", self.deletes),
            ("writes between steps", self.writes_between_steps),
            ("restarts", self.restarts),
            ("replacements", self.replacements),
            ("partitions", self.partitions),
            ("one-way partitions", self.one_way_partitions),
            ("heals", self.heals),
            ("clock jumps", self.clock_jumps),
            ("clock freezes", self.clock_freezes),
            ("failed look-ups", self.failed_look_ups),
            ("overwrites", self.overwrites),
        ]
    }

    /// What became of values with a TTL, by name.
    pub fn expiries(&self) -> [(&'static str, u64); 3] {
        [
            ("values that expire", self.expiring),
            ("values expired", self.expired),
            ("values expired on the way", self.expired_on_the_way),
        ]
    }
}
