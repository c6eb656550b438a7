//! Finding out where two stores differ: recent updates, rows of digests, lists of items.

use super::shard_items::in_bucket;
use super::{Exchange, FULL_TURN_BYTES, MAX_LISTED_ENTRIES, ToSend};
use crate::core::digest::{FAN_OUT, Item, MAX_DEPTH, Prefix};
use crate::core::message::{MAX_LINE_ITEMS, Message};
use crate::core::shards::{shard_of, within_shards};
use crate::core::store::Store;

impl Exchange {
    /// Compares one recent update, and notes what it explains of the difference between the roots.
    pub(super) fn compare_update(&mut self, store: &Store, theirs: Item) {
        let ours: Vec<Item> = store
            .entries(shard_of(theirs.hash), |hash| hash == theirs.hash)
            .into_iter()
            .map(|(hash, _, entry)| Item { hash, version: entry.version })
            .collect();
        if ours != [theirs] {
            let (xor, count) = &mut self.explained;
            *xor ^= ours.iter().fold(theirs.fingerprint(), |xor, item| xor ^ item.fingerprint());
            *count = count.wrapping_add(1).wrapping_sub(ours.len() as u64);
            self.compare(&ours, &[theirs]);
        }
    }

    /// Goes on with those of a bucket's children whose digests differ.
    pub(super) fn compare_row(
        &mut self,
        store: &Store,
        bucket: Prefix,
        children: &[Option<u32>; FAN_OUT],
    ) {
        for (index, &theirs) in children.iter().enumerate() {
            let Some(child) = bucket.child(index) else { return };
            if self.shard_items.digest(store, child).salted(self.salt) == theirs {
                continue;
            }
            match theirs {
                Some(_) => self.ask(store, child),
                None => self.send_bucket(store, child),
            }
        }
    }

    /// Compares all that the peer holds in a bucket.
    pub(super) fn compare_list(&mut self, store: &Store, bucket: Prefix, items: &[Item]) {
        if bucket == Prefix::ROOT {
            // The list says everything that the root digest could.
            self.peer_root = None;
        }
        for part in within_shards(bucket) {
            let theirs = in_bucket(items, part);
            if theirs.is_empty() {
                self.send_bucket(store, part);
            } else {
                let ours = self.shard_items.items(store, part).to_vec();
                self.compare(&ours, theirs);
            }
        }
    }

    /// Compares what both sides hold in a bucket, each in ascending order: of each key the fresher
    /// entry is sent or asked for.
    ///
    /// Keys are told apart by their hashes. Items of one hash are matched as sets, so that two keys
    /// that share a hash are settled like any others.
    fn compare(&mut self, ours: &[Item], theirs: &[Item]) {
        let mut hashes: Vec<u64> = ours.iter().chain(theirs).map(|item| item.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        for hash in hashes {
            let bucket = Prefix::leaf(hash);
            let (ours, theirs) = (in_bucket(ours, bucket), in_bucket(theirs, bucket));
            let our_best = ours.iter().rfind(|item| !theirs.contains(item));
            let their_best = theirs.iter().rfind(|item| !ours.contains(item));
            if their_best > our_best {
                let is_purged =
                    |item: &Item| ours.is_empty() && self.isolation.peer_purges(item.version);
                if their_best.is_some_and(is_purged) {
                    self.purged.push(hash);
                } else {
                    self.wanted.push(hash);
                }
            } else if our_best.is_some() {
                self.to_send.push(ToSend { bucket, peer_lacks_key: theirs.is_empty() });
            }
        }
    }

    /// Says what we have in a bucket that differs, so that the peer can say what it needs.
    pub(super) fn ask(&mut self, store: &Store, bucket: Prefix) {
        if self.out.len() >= FULL_TURN_BYTES {
            return self.leave_out();
        }
        self.asks = true;
        let count = self.shard_items.digest(store, bucket).count;
        if count <= MAX_LISTED_ENTRIES || bucket.depth() == MAX_DEPTH {
            let mut items = Vec::new();
            for part in within_shards(bucket) {
                if store.digest(part).count > 0 {
                    items.extend_from_slice(self.shard_items.items(store, part));
                }
            }
            items.truncate(MAX_LINE_ITEMS);
            self.say(Message::List(bucket, items));
        } else {
            let child = |index| bucket.child(index).expect("only leaves have no children");
            let children = std::array::from_fn(|index| {
                self.shard_items.digest(store, child(index)).salted(self.salt)
            });
            self.say(Message::Row(bucket, children));
        }
    }

    /// Will send all that we have in a bucket where the peer has nothing.
    fn send_bucket(&mut self, store: &Store, bucket: Prefix) {
        for part in within_shards(bucket) {
            if self.shard_items.digest(store, part).count > 0 {
                self.to_send.push(ToSend { bucket: part, peer_lacks_key: true });
            }
        }
    }
}
