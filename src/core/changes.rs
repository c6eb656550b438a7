//! The keys that changed last, for those who wait for a change.

use std::collections::VecDeque;

/// How many changes are remembered: more than come while a request is looked at.
pub const MAX_CHANGES: usize = 4096;

/// How many bytes of keys are remembered.
pub const MAX_CHANGED_BYTES: usize = 256 * 1024;

/// Counts changes, and remembers the keys of the last ones while somebody waits.
///
/// Who waits takes the count, looks at the map, and asks later what has changed since: whatever
/// happens between the two steps is not missed.
#[derive(Default)]
pub struct Changes {
    /// Changes so far.
    count: u64,
    is_watched: bool,
    /// The keys of the last ones, the latest last.
    keys: VecDeque<Box<str>>,
    bytes: usize,
}

impl Changes {
    /// Takes note of a change.
    pub fn note(&mut self, key: &str) {
        self.count += 1;
        if self.is_watched {
            self.bytes += key.len();
            self.keys.push_back(key.into());
            while self.keys.len() > MAX_CHANGES || self.bytes > MAX_CHANGED_BYTES {
                self.bytes -= self.keys.pop_front().map_or(0, |key| key.len());
            }
        }
    }

    /// Remembers keys from now on, and says how many changes there were so far.
    pub fn watch(&mut self) -> u64 {
        self.is_watched = true;
        self.count
    }

    /// Remembers none any more: where nobody waits, writes are to cost nothing for it.
    pub fn unwatch(&mut self) {
        self.is_watched = false;
        self.keys = VecDeque::new();
        self.bytes = 0;
    }

    /// Whether keys are remembered.
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// How many changes there were so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The keys that changed after there had been `count` changes, or `None` if that is too long
    /// ago to tell.
    pub fn since(&self, count: u64) -> Option<impl Iterator<Item = &str>> {
        let number = usize::try_from(self.count.checked_sub(count)?).ok()?;
        let known = self.keys.len().checked_sub(number)?;
        Some(self.keys.range(known..).map(|key| &**key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(changes: &Changes, count: u64) -> Option<Vec<&str>> {
        changes.since(count).map(Iterator::collect)
    }

    #[test]
    fn what_changed_since_is_told_while_it_is_watched() {
        let mut changes = Changes::default();
        changes.note("before");
        assert_eq!(since(&changes, 1), Some(vec![]));
        assert_eq!(since(&changes, 0), None, "nobody watched");
        assert_eq!(changes.watch(), 1);
        changes.note("a");
        changes.note("b");
        assert_eq!(since(&changes, 1), Some(vec!["a", "b"]));
        assert_eq!(since(&changes, 2), Some(vec!["b"]));
        assert_eq!(since(&changes, 3), Some(vec![]));
        assert_eq!(since(&changes, 4), None, "that is yet to come");
        changes.unwatch();
        changes.note("c");
        assert_eq!(since(&changes, 3), None);
        assert_eq!(changes.count(), 4);
    }

    #[test]
    fn too_many_changes_are_said_to_be_too_many() {
        let mut changes = Changes::default();
        let _ = changes.watch();
        for number in 0..=MAX_CHANGES {
            changes.note(&number.to_string());
        }
        assert_eq!(since(&changes, 0), None);
        let mut long = Changes::default();
        let _ = long.watch();
        (0..5).for_each(|_| long.note(&"k".repeat(MAX_CHANGED_BYTES / 4)));
        assert_eq!(since(&long, 1).map(|keys| keys.len()), Some(4), "in bytes too");
        assert_eq!(since(&long, 0), None);
        assert_eq!(since(&changes, 1).map(|keys| (keys.len(), keys[0])), Some((MAX_CHANGES, "1")));
    }
}
