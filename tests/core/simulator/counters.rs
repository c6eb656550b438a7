//! What happened in a run.

/// What happened so far, so that tests can tell that what they are about did happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls made, whatever became of them.
    pub calls: u64,
    /// Calls that ran to their end.
    pub exchanges: u64,
    /// Calls to an address where nobody was, or which a partition made unreachable.
    pub unreachable: u64,
    /// Calls refused since too many were being answered.
    pub busy: u64,
    /// Nodes that called themselves.
    pub exchanges_with_itself: u64,
    /// Exchanges broken before a word, or between two turns.
    pub broken_between_turns: u64,
    /// Exchanges broken within a turn.
    pub broken_within_turn: u64,
    /// Of both, those after which the two waited in vain.
    pub broken_silently: u64,
    /// Exchanges that a partition caught in the middle.
    pub broken_by_partition: u64,
    /// Exchanges whose other side died.
    pub broken_by_death: u64,
    /// Bytes of all turns.
    pub bytes: u64,
    /// Local writes, deletions among them.
    pub writes: u64,
    /// Local deletions.
    pub deletes: u64,
    /// Local writes in the place of a value.
    pub overwrites: u64,
    /// Local writes of values that expire.
    pub expiring: u64,
    /// Local writes between two steps of one turn.
    pub writes_between_steps: u64,
    /// Values that became tombstones since their time was up.
    pub expired: u64,
    /// Those of them that came so late that they were never a value there.
    pub expired_on_the_way: u64,
    /// Tombstones purged.
    pub tombstones_purged: u64,
    /// Entries purged since they were deleted while their holder was isolated.
    pub purged: u64,
    /// Restarts with an empty store, at the old address.
    pub restarts: u64,
    /// Pods that went, with another in their stead at a new address.
    pub replacements: u64,
    /// Partitions into two halves.
    pub partitions: u64,
    /// Sets of nodes that cannot call others, while they can be called.
    pub one_way_partitions: u64,
    /// Partitions of both kinds that ended.
    pub heals: u64,
    /// Clocks that were set.
    pub clock_jumps: u64,
    /// Clocks that stood still for some time.
    pub clock_freezes: u64,
    /// Look-ups that failed.
    pub failed_look_ups: u64,
}

impl Counters {
    /// What went wrong in the world, by name, for tests to demand that it did.
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

    /// What became of values that expire.
    pub fn expiries(&self) -> [(&'static str, u64); 3] {
        [
            ("values that expire", self.expiring),
            ("values expired", self.expired),
            ("values expired on the way", self.expired_on_the_way),
        ]
    }
}
