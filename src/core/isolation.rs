//! The isolation rule: what happens when a node that had no peer for long meets the others again.
//!
//! Tombstones are purged after a time. A node that was isolated for more than half of it may hold
//! entries that were deleted, and whose tombstones were purged, in the meantime; nothing that the
//! others still hold says so. If it merged as usual, the deleted keys would come back everywhere.
//! So each side says since when it has had everything that its cluster had, and, if it was
//! isolated, since when. What an isolated node had before it was isolated, and a peer that was there
//! the whole time lacks, was deleted: the isolated node purges it.

use crate::core::version::Version;

/// A node's last complete exchange.
#[derive(Clone, Copy, Debug)]
pub struct LastComplete {
    /// When it began: see [`Store::begin_exchange`](crate::core::store::Store::begin_exchange).
    pub began_ms: u64,
    /// How long the process had been running when it ended.
    pub age_ms: u64,
}

/// Since when a node has been isolated, if it has: since its last complete exchange began, if that is
/// longer ago than half of the tombstones' time to live; 0 if it never had one.
///
/// How long ago goes by `age_ms`, the time for which the process has been running. A wall clock that
/// is set forwards or backwards isolates nobody, and ends no isolation.
pub fn isolated_since(
    last: Option<LastComplete>,
    age_ms: u64,
    tombstone_ttl_ms: u64,
) -> Option<u64> {
    match last {
        None => Some(0),
        Some(last) => {
            let is_isolated = age_ms.saturating_sub(last.age_ms) > tombstone_ttl_ms / 2;
            is_isolated.then_some(last.began_ms)
        }
    }
}

/// How far back the knowledge of the two sides of an exchange goes.
#[derive(Clone, Copy, Debug)]
pub struct Isolation {
    /// Since when we have had everything that our cluster had.
    complete_since_ms: u64,
    /// Since when we have been isolated, if we have.
    isolated_since_ms: Option<u64>,
    /// The same of the peer, as far as it has said so.
    peer_complete_since_ms: Option<u64>,
    peer_isolated_since_ms: Option<u64>,
}

impl Isolation {
    /// What we know of ourselves, before the peer has said anything.
    pub fn new(complete_since_ms: u64, isolated_since_ms: Option<u64>) -> Self {
        Self {
            complete_since_ms,
            isolated_since_ms,
            peer_complete_since_ms: None,
            peer_isolated_since_ms: None,
        }
    }

    /// The peer says since when it has had everything.
    pub fn peer_is_complete_since(&mut self, ms: u64) {
        self.peer_complete_since_ms = Some(ms);
    }

    /// The peer says since when it has been isolated.
    pub fn peer_is_isolated_since(&mut self, ms: u64) {
        self.peer_isolated_since_ms = Some(ms);
    }

    /// Whether we purge an entry that the peer lacks.
    ///
    /// Only what we had before we were isolated, and only on the word of a peer that was not
    /// isolated itself and had everything already when we became so: two newcomers that meet an
    /// isolated node first would empty it otherwise.
    pub fn purges(&self, version: Version) -> bool {
        let was_there = |&isolated_since_ms: &u64| {
            self.peer_isolated_since_ms.is_none()
                && self.peer_complete_since_ms.is_some_and(|since_ms| since_ms <= isolated_since_ms)
        };
        self.isolated_since_ms.filter(was_there).is_some_and(|ms| version.ms() < ms)
    }

    /// Whether the peer is to purge an entry that we lack: the same rule from the other side.
    pub fn peer_purges(&self, version: Version) -> bool {
        let was_there = |&isolated_since_ms: &u64| {
            self.isolated_since_ms.is_none() && self.complete_since_ms <= isolated_since_ms
        };
        self.peer_isolated_since_ms.filter(was_there).is_some_and(|ms| version.ms() < ms)
    }

    /// Since when we have had everything, once the exchange that began at `began_ms` is complete.
    ///
    /// An isolated node has caught up with what its peer knows, and so as far back as that; two
    /// isolated nodes know only what they have from now on.
    pub fn complete_since_ms(&self, began_ms: u64) -> u64 {
        match (self.isolated_since_ms, self.peer_isolated_since_ms) {
            (None, _) => self.complete_since_ms,
            (Some(_), Some(_)) => began_ms,
            (Some(_), None) => self.peer_complete_since_ms.unwrap_or(began_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISOLATED_MS: u64 = 1_000_000;

    fn written_at(ms: u64) -> Version {
        Version::new(ms, 0, 1)
    }

    /// The rule between an isolated node and a peer that had everything since then.
    fn isolated_and_peer(peer_complete_since_ms: u64) -> [Isolation; 2] {
        let mut isolated = Isolation::new(0, Some(ISOLATED_MS));
        isolated.peer_is_complete_since(peer_complete_since_ms);
        let mut peer = Isolation::new(peer_complete_since_ms, None);
        peer.peer_is_complete_since(0);
        peer.peer_is_isolated_since(ISOLATED_MS);
        [isolated, peer]
    }

    #[test]
    fn an_isolated_node_purges_what_it_had_before_and_its_peer_lacks() {
        let [isolated, peer] = isolated_and_peer(ISOLATED_MS);
        for rule in [Isolation::purges, Isolation::peer_purges] {
            let sides = if rule(&isolated, written_at(0)) { &isolated } else { &peer };
            assert!(rule(sides, written_at(ISOLATED_MS - 1)));
            assert!(!rule(sides, written_at(ISOLATED_MS)), "written since then");
        }
        assert!(isolated.purges(written_at(0)) && !isolated.peer_purges(written_at(0)));
        assert!(peer.peer_purges(written_at(0)) && !peer.purges(written_at(0)));
    }

    #[test]
    fn a_peer_that_came_later_or_was_isolated_itself_purges_nothing() {
        let [newcomer_met, newcomer] = isolated_and_peer(ISOLATED_MS + 1);
        assert!(!newcomer_met.purges(written_at(0)) && !newcomer.peer_purges(written_at(0)));
        let mut both = Isolation::new(0, Some(ISOLATED_MS));
        both.peer_is_complete_since(0);
        both.peer_is_isolated_since(ISOLATED_MS);
        assert!(!both.purges(written_at(0)) && !both.peer_purges(written_at(0)));
        let silent = Isolation::new(0, Some(ISOLATED_MS));
        assert!(!silent.purges(written_at(0)), "the peer has said nothing");
    }

    #[test]
    fn knowledge_goes_back_as_far_as_that_of_whoever_was_there() {
        let began_ms = 2 * ISOLATED_MS;
        let [mut isolated, peer] = isolated_and_peer(7);
        assert_eq!(isolated.complete_since_ms(began_ms), 7);
        assert_eq!(peer.complete_since_ms(began_ms), 7);
        isolated.peer_is_isolated_since(0);
        assert_eq!(isolated.complete_since_ms(began_ms), began_ms);
        assert_eq!(Isolation::new(3, None).complete_since_ms(began_ms), 3);
    }

    #[test]
    fn half_of_the_tombstones_time_without_a_peer_isolates_a_node() {
        let last = Some(LastComplete { began_ms: ISOLATED_MS, age_ms: 1_000 });
        assert_eq!(isolated_since(None, 5, 100), Some(0));
        assert_eq!(isolated_since(last, 1_050, 100), None);
        assert_eq!(isolated_since(last, 1_051, 100), Some(ISOLATED_MS));
        assert_eq!(isolated_since(last, 999, 100), None, "another thread was faster");
    }
}
