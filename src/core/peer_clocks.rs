//! The clocks of other nodes, and the time on which nearly all nodes agree.
//!
//! Values expire and tombstones are purged by the lower median of the clocks heard lately, ours
//! included. A node that went by its own clock alone would, if that clock is wrong, hide what all
//! others show or purge what they keep, and would never hold the same entries as they do.
//!
//! A clock is heard only from a peer that we have contacted ourselves and that replied at once, and
//! each address has one vote: whoever contacts us may be anybody, and what comes in may be old.

use std::collections::VecDeque;

/// How many other nodes' clocks are kept.
pub const MAX_CLOCKS: usize = 8;

/// For how long a clock counts after it was heard, in milliseconds: a node that comes back at another
/// address must not count twice for long.
pub const CLOCK_HEARD_FOR_MS: u64 = 30_000;

/// What another node's clock showed when it replied.
struct PeerClock {
    /// Stands for the address.
    address: u64,
    /// When that was, by our clock.
    heard_at_ms: u64,
    /// How far it was ahead of ours.
    ahead_ms: i64,
}

/// The clocks heard last, one entry an address.
#[derive(Default)]
pub struct PeerClocks {
    clocks: VecDeque<PeerClock>,
    /// How far the median is ahead of our clock.
    ahead_ms: i64,
    /// What our clock showed when the process started, as far as one can tell now.
    started_at_ms: Option<u64>,
}

impl PeerClocks {
    /// Our clock shows `wall_ms`, and the process has been running for `age_ms`: if the two do not
    /// keep step, our clock has been set, and is now as much further ahead of the others.
    ///
    /// Without this, a clock that jumps would make all others look as if they were heard long ago,
    /// and be believed alone until they are heard again.
    pub fn note_time(&mut self, wall_ms: u64, age_ms: u64) {
        let started_at_ms = wall_ms.wrapping_sub(age_ms);
        let before_ms = self.started_at_ms.replace(started_at_ms).unwrap_or(started_at_ms);
        let jump_ms = started_at_ms.wrapping_sub(before_ms) as i64;
        if jump_ms != 0 {
            for clock in &mut self.clocks {
                clock.heard_at_ms = clock.heard_at_ms.wrapping_add_signed(jump_ms);
                clock.ahead_ms = clock.ahead_ms.saturating_sub(jump_ms);
            }
            self.refresh(wall_ms);
        }
    }

    /// Records how far the clock at an address is ahead of ours.
    pub fn record(&mut self, address: u64, ahead_ms: i64, wall_ms: u64) {
        self.clocks.retain(|clock| clock.address != address);
        if self.clocks.len() == MAX_CLOCKS {
            self.clocks.pop_front();
        }
        self.clocks.push_back(PeerClock { address, heard_at_ms: wall_ms, ahead_ms });
        self.refresh(wall_ms);
    }

    /// Takes the median anew, without the clocks that were heard too long ago.
    pub fn refresh(&mut self, wall_ms: u64) {
        let is_recent =
            |clock: &&PeerClock| wall_ms.abs_diff(clock.heard_at_ms) <= CLOCK_HEARD_FOR_MS;
        let recent = self.clocks.iter().filter(is_recent);
        let mut ahead_ms: Vec<i64> = recent.map(|clock| clock.ahead_ms).collect();
        ahead_ms.push(0);
        ahead_ms.sort_unstable();
        // The lower one of two in the middle, so that two nodes both go by the slower clock.
        self.ahead_ms = ahead_ms[(ahead_ms.len() - 1) / 2];
    }

    /// The time by the median clock.
    pub fn now_ms(&self, wall_ms: u64) -> u64 {
        wall_ms.saturating_add_signed(self.ahead_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL_MS: u64 = 1_700_000_000_000;

    fn ahead_ms(offsets_ms: &[i64]) -> i64 {
        let mut clocks = PeerClocks::default();
        for (address, &offset_ms) in (1..).zip(offsets_ms) {
            clocks.record(address, offset_ms, WALL_MS);
        }
        clocks.now_ms(WALL_MS) as i64 - WALL_MS as i64
    }

    #[test]
    fn the_lower_median_counts_with_our_own_clock_among_them() {
        assert_eq!(ahead_ms(&[]), 0);
        assert_eq!(ahead_ms(&[50]), 0, "of two clocks the slower one");
        assert_eq!(ahead_ms(&[-50]), -50);
        assert_eq!(ahead_ms(&[100, 300]), 100);
        assert_eq!(ahead_ms(&[i64::MAX, -100]), 0, "one mad clock moves nothing");
        assert_eq!(ahead_ms(&[300, 200, 100]), 100);
    }

    #[test]
    fn a_clock_counts_once_an_address_and_not_for_long() {
        let mut clocks = PeerClocks::default();
        for _ in 0..5 {
            clocks.record(1, 1_000, WALL_MS);
        }
        assert_eq!(clocks.now_ms(WALL_MS), WALL_MS, "one vote against ours");
        clocks.record(2, 2_000, WALL_MS);
        assert_eq!(clocks.now_ms(WALL_MS), WALL_MS + 1_000);
        let late_ms = WALL_MS + CLOCK_HEARD_FOR_MS + 1;
        clocks.refresh(late_ms);
        assert_eq!(clocks.now_ms(late_ms), late_ms);
    }

    #[test]
    fn a_clock_that_is_set_is_not_believed_alone() {
        const JUMP_MS: u64 = 13 * 3_600_000;
        let mut clocks = PeerClocks::default();
        clocks.note_time(WALL_MS, 5_000);
        clocks.record(1, 100, WALL_MS);
        clocks.record(2, 200, WALL_MS);
        for age_ms in [6_000, 7_000] {
            let wall_ms = WALL_MS + JUMP_MS + age_ms - 5_000;
            clocks.note_time(wall_ms, age_ms);
            let now_ms = WALL_MS + age_ms - 5_000 + 200;
            assert_eq!(clocks.now_ms(wall_ms), now_ms, "ours is the fastest of three");
        }
        clocks.note_time(WALL_MS + 3_000, 8_000);
        assert_eq!(clocks.now_ms(WALL_MS + 3_000), WALL_MS + 3_100, "it is set back");
        clocks.note_time(WALL_MS + 30_001, 35_001);
        clocks.refresh(WALL_MS + 30_001);
        assert_eq!(clocks.now_ms(WALL_MS + 30_001), WALL_MS + 30_001, "heard too long ago");
    }

    #[test]
    fn the_clocks_heard_last_are_kept() {
        let mut clocks = PeerClocks::default();
        (0..100).for_each(|address| clocks.record(address, 7, WALL_MS));
        assert_eq!(clocks.clocks.len(), MAX_CLOCKS);
        assert!(clocks.clocks.iter().all(|clock| clock.address >= 100 - MAX_CLOCKS as u64));
    }
}
