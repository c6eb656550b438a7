//! A page of keys, in order.

use crate::core::digest::{Digest, Item, key_hash};
use crate::core::store::Store;
use std::collections::BinaryHeap;

/// The keys on a page by default.
pub const DEFAULT_PAGE_KEYS: usize = 1_000;

/// The most keys on a page.
pub const MAX_PAGE_KEYS: usize = 10_000;

/// The keys on a page have at most this many bytes together, unless there is only one.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// Which keys to list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// The keys start with this …
    pub prefix: String,
    /// … and come after this one.
    pub after: Option<String>,
    /// The most keys to list.
    pub limit: usize,
}

/// A page being collected, shard by shard.
///
/// The store can be unlocked between any two shards, so that a list of a million keys does not stop
/// all others. A key that is present all the while is found; one that is written or deleted in the
/// meantime may or may not be.
pub struct Page {
    listing: Listing,
    /// The first keys so far. The heap's top is the last one of them.
    keys: BinaryHeap<Box<str>>,
    bytes: usize,
    /// The first key that was left out.
    beyond: Option<Box<str>>,
    /// The digest of all keys with the prefix, on whatever page.
    digest: Digest,
}

impl Listing {
    pub fn page(self) -> Page {
        let (keys, digest) = (BinaryHeap::new(), Digest::default());
        Page { listing: self, keys, bytes: 0, beyond: None, digest }
    }
}

impl Page {
    /// Collects from one shard.
    pub fn visit(&mut self, store: &Store, shard: usize, wall_ms: u64) {
        for (key, entry) in store.values(shard, wall_ms) {
            if !key.starts_with(&*self.listing.prefix) {
                continue;
            }
            self.digest.add(Item { hash: key_hash(key), version: entry.version });
            let is_before = self.listing.after.as_ref().is_some_and(|after| key <= &**after);
            let is_beyond = self.beyond.as_ref().is_some_and(|beyond| key >= &**beyond);
            if is_before || is_beyond {
                continue;
            }
            self.bytes += key.len();
            self.keys.push(key.into());
            while self.keys.len() > self.listing.limit
                || (self.bytes > MAX_PAGE_BYTES && self.keys.len() > 1)
            {
                self.beyond = self.keys.pop();
                self.bytes -= self.beyond.as_ref().map_or(0, |key| key.len());
            }
        }
    }

    /// Changes with every change of a key that has the prefix, on whatever page.
    pub fn etag(&self) -> String {
        format!("{:016x}-{:x}", self.digest.xor, self.digest.count)
    }

    /// The keys in order, and whether more follow.
    pub fn finish(self) -> (Vec<Box<str>>, bool) {
        (self.keys.into_sorted_vec(), self.beyond.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::shards::SHARDS;
    use crate::core::store::Limits;

    const WALL_MS: u64 = 1_700_000_000_000;

    fn store(keys: &[&str]) -> Store {
        let limits = Limits { max_store_bytes: u64::MAX / 2, tombstone_ttl_ms: 1_000_000 };
        let mut store = Store::new(1, 1, limits);
        for key in keys {
            let _ = store.put(key, Box::default(), None, WALL_MS);
        }
        store
    }

    fn list(store: &Store, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        let after = after.map(str::to_owned);
        let mut page = Listing { prefix: prefix.into(), after, limit }.page();
        (0..SHARDS).for_each(|shard| page.visit(store, shard, WALL_MS));
        page
    }

    #[test]
    fn pages_follow_each_other_and_leave_nothing_out() {
        let names: Vec<String> = (0..100).map(|number| format!("a/{number:02}")).collect();
        let mut keys: Vec<&str> = names.iter().map(String::as_str).collect();
        keys.extend(["", "a", "b", "é"]);
        let store = store(&keys);
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let (keys, has_more) = list(&store, "a/", after.as_deref(), 7).finish();
            assert!(keys.len() == 7 || !has_more);
            after = keys.last().map(|key| key.to_string());
            found.extend(keys);
            if !has_more {
                break;
            }
        }
        assert_eq!(found, names.iter().map(|key| (**key).into()).collect::<Vec<Box<str>>>());
        let (all, has_more) = list(&store, "", None, 1000).finish();
        assert_eq!((all.len(), has_more), (104, false));
        assert_eq!((&*all[0], &*all[103]), ("", "é"));
        let (last, has_more) = list(&store, "", Some("b"), 1).finish();
        assert_eq!((last, has_more), (vec!["é".into()], false));
    }

    #[test]
    fn a_page_is_bounded_in_bytes_too() {
        let names = ["a", "b", "c"].map(|name| name.repeat(MAX_PAGE_BYTES / 2));
        let store = store(&names.each_ref().map(String::as_str));
        let (keys, has_more) = list(&store, "", None, 10).finish();
        assert_eq!(keys, names[..2].iter().map(|key| (**key).into()).collect::<Vec<Box<str>>>());
        assert!(has_more);
    }

    #[test]
    fn the_tag_changes_with_every_key_of_the_prefix_and_with_no_other() {
        let mut store = store(&["a/1", "a/2", "b"]);
        let tag = |store: &Store| list(store, "a/", None, 1).etag();
        let first = tag(&store);
        let _ = store.put("b", Box::default(), None, WALL_MS);
        assert_eq!(tag(&store), first);
        let _ = store.put("a/2", Box::default(), None, WALL_MS);
        let second = tag(&store);
        assert_ne!(second, first);
        assert!(store.delete("a/1", WALL_MS).is_some());
        assert_ne!(tag(&store), second);
    }
}
