//! Breaks each promise once, and shows for each exception that it is no violation.

use super::*;

/// Requests, 10 ms apart, to nodes that were never restarted unless the story says so.
#[derive(Default)]
struct Story {
    history: History,
    time: u64,
    contents: Vec<Contents>,
}

impl Story {
    fn add(mut self, node: usize, kind: Kind, value: Option<&str>) -> Self {
        let incarnation =
            1 + self.history.killed.iter().filter(|&&(killed, ..)| killed == node).count() as u32;
        self.time += 10_000;
        self.history.operations.push(Operation {
            node,
            incarnation,
            kind,
            key: "key".into(),
            value: value.map(str::to_owned),
            version: None,
            began: self.time,
            ended: self.time + 1_000,
            outcome: Outcome::Acknowledged,
        });
        self
    }

    fn put(self, node: usize, value: &str) -> Self {
        self.add(node, Kind::Put, Some(value))
    }

    fn delete(self, node: usize) -> Self {
        self.add(node, Kind::Delete, None)
    }

    fn get(self, node: usize, value: Option<&str>) -> Self {
        self.add(node, Kind::Get, value)
    }

    fn last(&mut self) -> &mut Operation {
        self.history.operations.last_mut().expect("there is one")
    }

    fn unknown(mut self) -> Self {
        self.last().outcome = Outcome::Unknown("broken".into());
        self
    }

    fn refused(mut self) -> Self {
        self.last().outcome = Outcome::Refused("507".into());
        self
    }

    fn version(mut self, version: &str) -> Self {
        self.last().version = Some(version.into());
        self
    }

    /// Lets the last two operations overlap.
    fn together(mut self) -> Self {
        self.last().began -= 10_000;
        self
    }

    fn kill(mut self, node: usize) -> Self {
        self.time += 10_000;
        let incarnation =
            1 + self.history.killed.iter().filter(|&&(killed, ..)| killed == node).count() as u32;
        self.history.killed.push((node, incarnation, self.time));
        self
    }

    fn later(mut self, us: u64) -> Self {
        self.time += us;
        self
    }

    fn end(mut self, node: usize, value: Option<&str>) -> Self {
        let values = value.map(|value| ("key".to_owned(), value.to_owned())).into_iter().collect();
        self.contents.push(Contents { node, at: self.time + 10_000, values });
        self
    }

    /// The numbers of values invented, stale, lost, resurrected, and lost within the promise.
    fn counts(&self) -> [usize; 5] {
        let verdict = check(&self.history, &self.contents);
        let Verdict { invented, stale, lost, resurrected, within_promise } = verdict;
        [invented.len(), stale.len(), lost.len(), resurrected.len(), within_promise.len()]
    }
}

fn story() -> Story {
    Story::default()
}

const GOOD: [usize; 5] = [0; 5];
const INVENTED: [usize; 5] = [1, 0, 0, 0, 0];
const STALE: [usize; 5] = [0, 1, 0, 0, 0];
const LOST: [usize; 5] = [0, 0, 1, 0, 0];
const RESURRECTED: [usize; 5] = [0, 0, 0, 1, 0];
const WITHIN: [usize; 5] = [0, 0, 0, 0, 1];

#[test]
fn a_valid_history_passes() {
    let story = story().get(1, None).put(0, "a").get(1, None).put(0, "b").get(1, Some("a"));
    let story = story.get(1, Some("b")).delete(0).get(1, None).put(0, "c").get(1, Some("c"));
    assert_eq!(story.end(0, Some("c")).end(1, Some("c")).counts(), GOOD);
}

#[test]
fn a_value_that_nobody_wrote_is_invented() {
    assert_eq!(story().put(0, "a").get(1, Some("x")).counts(), INVENTED);
    assert_eq!(story().get(1, Some("a")).put(0, "a").counts(), INVENTED, "read too early");
    assert_eq!(story().put(0, "a").refused().get(1, Some("a")).counts(), INVENTED, "refused");
    assert_eq!(story().get(0, None).end(0, Some("x")).counts(), INVENTED, "at the end");
    assert_eq!(story().end(0, Some("x")).counts(), INVENTED, "a key that was never written");
}

#[test]
fn a_write_in_progress_may_be_read() {
    assert_eq!(story().put(0, "a").get(1, Some("a")).together().counts(), GOOD);
    assert_eq!(story().put(0, "a").unknown().get(1, Some("a")).counts(), GOOD);
}

#[test]
fn an_older_value_after_a_newer_one_is_stale() {
    let two = || story().put(0, "a").put(0, "b");
    assert_eq!(two().get(1, Some("b")).get(1, Some("a")).counts(), STALE);
    assert_eq!(two().get(1, Some("b")).get(2, Some("a")).counts(), GOOD, "another node");
    let killed = two().get(1, Some("b")).kill(1).get(1, Some("a"));
    assert_eq!(killed.counts(), GOOD, "another process");
}

#[test]
fn versions_order_writes_that_times_do_not() {
    let two = || story().put(0, "a").put(1, "b").together();
    let read =
        |first, second| two().get(2, Some("a")).version(first).get(2, Some("b")).version(second);
    assert_eq!(read("2-0", "1-0").counts(), STALE);
    assert_eq!(read("1-0", "2-0").counts(), GOOD);
    assert_eq!(two().get(2, Some("b")).get(2, Some("a")).counts(), GOOD, "either may win");
}

#[test]
fn a_value_that_disappears_without_a_deletion_is_stale() {
    assert_eq!(story().put(0, "a").get(1, Some("a")).get(1, None).counts(), STALE);
    let deleted = story().put(0, "a").delete(0).put(0, "b").get(1, Some("b")).get(1, None);
    assert_eq!(deleted.counts(), STALE, "the deletion is older than what was seen");
    assert_eq!(story().put(0, "a").get(1, Some("a")).delete(0).get(1, None).counts(), GOOD);
    let ended = story().add(0, Kind::PutFor(5), Some("a")).get(1, Some("a")).get(1, None);
    assert_eq!(ended.counts(), GOOD, "it was to end");
}

#[test]
fn a_node_that_does_not_show_its_own_write_is_stale() {
    assert_eq!(story().put(1, "a").put(1, "b").get(1, Some("a")).counts(), STALE);
    assert_eq!(story().put(1, "a").get(1, None).counts(), STALE);
    assert_eq!(story().put(1, "a").delete(1).get(1, Some("a")).counts(), STALE);
    assert_eq!(story().put(1, "a").delete(1).get(1, None).counts(), GOOD);
    assert_eq!(story().put(1, "a").put(1, "b").get(2, Some("a")).counts(), GOOD, "another node");
    assert_eq!(story().put(1, "a").kill(1).get(1, None).counts(), GOOD, "another process");
}

#[test]
fn a_value_that_reappears_is_stale() {
    let deleted = || story().put(0, "a").get(1, Some("a")).delete(0).get(1, None);
    assert_eq!(deleted().get(1, Some("a")).counts(), STALE);
    assert_eq!(deleted().put(0, "b").get(1, Some("b")).counts(), GOOD);
}

#[test]
fn a_missing_acknowledged_write_is_lost() {
    let two = || story().put(0, "a").put(0, "b");
    assert_eq!(two().end(0, Some("a")).counts(), LOST);
    assert_eq!(two().end(0, None).counts(), LOST);
    assert_eq!(two().end(0, None).end(1, None).counts(), LOST, "told once");
    assert_eq!(two().end(0, Some("b")).end(1, Some("a")).counts(), LOST, "on one node");
    assert_eq!(story().put(0, "a").put(1, "b").end(0, Some("a")).counts(), LOST, "another writer");
    let deleted = story().delete(0).put(0, "a").end(0, None);
    assert_eq!(deleted.counts(), LOST, "the deletion is older");
}

#[test]
fn unacknowledged_writes_may_win_or_lose() {
    let attempted = || story().put(0, "a").put(0, "b").unknown();
    assert_eq!(attempted().end(0, Some("a")).counts(), GOOD);
    assert_eq!(attempted().end(0, Some("b")).counts(), GOOD);
    let late = story().put(0, "a").unknown().put(0, "b");
    assert_eq!(late.end(0, Some("a")).counts(), GOOD, "it may be carried out at last");
    let refused = story().put(0, "a").put(0, "b").refused();
    assert_eq!(refused.end(0, Some("a")).counts(), GOOD);
}

#[test]
fn a_write_that_only_a_killed_process_had_may_be_lost() {
    let killed = || story().put(0, "a").put(0, "b").kill(0);
    assert_eq!(killed().end(1, Some("a")).counts(), WITHIN);
    assert_eq!(killed().end(1, None).counts(), WITHIN);
    assert_eq!(killed().end(1, Some("b")).counts(), GOOD);
    let of_another = story().put(0, "a").put(0, "b").kill(2);
    assert_eq!(of_another.end(1, Some("a")).counts(), LOST, "another was killed");
    let after = story().kill(0).put(0, "a").end(1, None);
    assert_eq!(after.counts(), LOST, "the process that wrote it lives");
}

#[test]
fn a_write_that_a_surviving_process_had_may_not_be_lost() {
    let seen = || story().put(0, "a").get(1, Some("a")).kill(0);
    assert_eq!(seen().end(1, None).counts(), LOST);
    assert_eq!(seen().kill(1).end(2, None).counts(), WITHIN, "both were killed");
    let confirmed = || story().add(0, Kind::PutConfirmed, Some("a")).kill(0);
    assert_eq!(confirmed().end(1, None).counts(), LOST);
    assert_eq!(confirmed().kill(1).end(2, None).counts(), WITHIN, "both were killed at once");
    assert_eq!(confirmed().later(SPREAD).kill(1).end(2, None).counts(), LOST, "long afterwards");
}

#[test]
fn a_deleted_key_that_is_present_is_resurrected() {
    let deleted = || story().put(0, "a").delete(0);
    assert_eq!(deleted().end(0, Some("a")).counts(), RESURRECTED);
    assert_eq!(deleted().end(0, None).end(1, Some("a")).counts(), RESURRECTED);
    assert_eq!(deleted().end(0, None).counts(), GOOD);
    assert_eq!(deleted().put(0, "b").unknown().end(0, Some("b")).counts(), GOOD);
    assert_eq!(deleted().put(0, "b").unknown().end(0, Some("a")).counts(), RESURRECTED);
}

#[test]
fn a_deletion_that_only_a_killed_process_had_may_be_lost() {
    let killed = || story().put(0, "a").get(1, Some("a")).delete(0);
    assert_eq!(killed().kill(0).end(1, Some("a")).counts(), WITHIN);
    assert_eq!(
        killed().get(1, None).kill(0).end(2, Some("a")).counts(),
        RESURRECTED,
        "seen elsewhere"
    );
    assert_eq!(killed().get(2, None).kill(0).end(1, Some("a")).counts(), WITHIN, "never had it");
}

#[test]
fn a_value_with_a_ttl_expires() {
    let put = || story().add(0, Kind::PutFor(500), Some("a"));
    assert_eq!(put().end(0, Some("a")).counts(), GOOD);
    assert_eq!(put().end(0, None).counts(), GOOD);
    assert_eq!(put().later(500_000 + END_SLACK).end(0, Some("a")).counts(), RESURRECTED);
}
