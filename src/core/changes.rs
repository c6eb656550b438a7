//! The keys that have changed lately, for watchers.

use std::collections::VecDeque;

/// The most changed keys that are kept: enough for all changes between a query's read of the map and
/// its registration as a watcher.
pub const MAX_CHANGES: usize = 4096;

/// The most bytes of changed keys that are kept.
pub const MAX_CHANGED_BYTES: usize = 256 * 1024;

/// Counts changes, and keeps the keys of the latest ones while somebody watches.
///
/// A watcher takes the count, reads the map, and later asks for the changes since that count. So it
/// misses nothing that happens between the two steps.
#[derive(Default)]
pub struct Changes {
    /// The number of changes so far.
    count: u64,
    is_watched: bool,
    /// The keys of the latest changes, in the order of the changes.
    keys: VecDeque<Box<str>>,
    bytes: usize,
}

impl Changes {
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

    /// Keeps changed keys from now on; returns the number of changes so far.
    pub fn watch(&mut self) -> u64 {
        self.is_watched = true;
        self.count
    }

    /// Stops keeping changed keys: while nobody watches, writes pay nothing for it.
    pub fn unwatch(&mut self) {
        self.is_watched = false;
        self.keys = VecDeque::new();
        self.bytes = 0;
    }

    /// Whether changed keys are kept.
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// The number of changes so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The keys that changed after the first `count` changes; `None` if some of them are no longer
    /// kept.
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
