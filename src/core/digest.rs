//! The hash trie: hashes place the keys, prefixes name the buckets, digests sum up what they hold.
//!
//! A stable 64-bit hash places a key in a trie of fan-out 16. The digest of a bucket is the XOR of
//! the fingerprints of its entries, so that it is kept up to date in constant time.

use crate::core::version::{Version, parse_hex};
use siphasher::sip::SipHasher13;
use std::fmt;

/// The depth of the trie: the hex digits of a hash.
pub const MAX_DEPTH: u8 = 16;

/// The number of a bucket's children.
pub const FAN_OUT: usize = 16;

/// The stable hash that places `key` in the trie. Part of the protocol: all nodes must agree.
pub fn key_hash(key: &str) -> u64 {
    const HASHER: (u64, u64) = (0x676f_7373_6970_2d6b, 0x6579_2d68_6173_6831);
    SipHasher13::new_with_keys(HASHER.0, HASHER.1).hash(key.as_bytes())
}

/// An entry without its key and value: enough to tell whether it is older or fresher than one's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Item {
    /// See [`key_hash`].
    pub hash: u64,
    /// The version of the key's entry.
    pub version: Version,
}

impl Item {
    /// What the entry adds to the digests of its buckets. Part of the protocol.
    pub fn fingerprint(&self) -> u64 {
        self.keyed_fingerprint(0x676f_7373_6970_2d66, 0x696e_6765_7270_7231)
    }

    /// Another fingerprint, for one exchange alone. Part of the protocol.
    ///
    /// Whoever chooses keys and versions can choose some whose fingerprints cancel each other out,
    /// but not for a salt that is not drawn yet.
    pub fn salted_fingerprint(&self, salt: u64) -> u64 {
        self.keyed_fingerprint(salt, 0x7361_6c74_6564_2d31)
    }

    fn keyed_fingerprint(&self, key0: u64, key1: u64) -> u64 {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.hash.to_be_bytes());
        bytes[8..].copy_from_slice(&self.version.to_bytes());
        SipHasher13::new_with_keys(key0, key1).hash(&bytes)
    }
}

/// The XOR of the fingerprints of a bucket's entries, and their number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    /// XOR of [`Item::fingerprint`].
    pub xor: u64,
    /// Entries in the bucket, tombstones included.
    pub count: usize,
}

impl Digest {
    /// Adds an item that is not in the bucket.
    pub fn add(&mut self, item: Item) {
        self.xor ^= item.fingerprint();
        self.count += 1;
    }

    /// Removes an item that is in the bucket.
    pub fn remove(&mut self, item: Item) {
        self.xor ^= item.fingerprint();
        self.count -= 1;
    }

    /// Adds all items of another bucket.
    pub fn join(&mut self, other: Digest) {
        self.xor ^= other.xor;
        self.count += other.count;
    }

    /// The digest as it is sent: `None` for an empty bucket, else 32 bits of XOR and count under the
    /// exchange's salt.
    ///
    /// Multiply-shift hashing (Dietzfelbinger et al., 1997): two digests that differ are truncated to the
    /// same 32 bits with probability 2⁻³¹, independently for each salt, so that a difference which
    /// one exchange misses is found by the next.
    pub fn salted(self, salt: u64) -> Option<u32> {
        let count = (self.count as u64).wrapping_mul(salt.rotate_left(32) | 1);
        let sum = self.xor.wrapping_mul(salt | 1).wrapping_add(count);
        (self.count > 0).then_some((sum >> 32) as u32)
    }
}

/// A bucket of the trie: all keys whose hash starts with these hex digits.
///
/// Its text form is its digits; that of the root is `-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// The digits, left-aligned; the remaining bits are zero.
    bits: u64,
    /// The number of digits, at most [`MAX_DEPTH`].
    depth: u8,
}

impl Prefix {
    /// The bucket of all keys.
    pub const ROOT: Prefix = Prefix { bits: 0, depth: 0 };

    /// The bucket at `depth` that holds `hash`.
    pub fn of(hash: u64, depth: u8) -> Self {
        assert!(depth <= MAX_DEPTH, "the trie is {MAX_DEPTH} deep, not {depth}");
        let bits = if depth == 0 { 0 } else { hash >> (64 - 4 * depth) << (64 - 4 * depth) };
        Self { bits, depth }
    }

    /// The deepest bucket that holds `hash`, and nothing else but collisions.
    pub fn leaf(hash: u64) -> Self {
        Self { bits: hash, depth: MAX_DEPTH }
    }

    /// The number of digits.
    pub fn depth(self) -> u8 {
        self.depth
    }

    /// The child for the next digit `index`, or `None` below the deepest level.
    pub fn child(self, index: usize) -> Option<Self> {
        let shift = 60u32.checked_sub(4 * u32::from(self.depth))?;
        Some(Self { bits: self.bits | (index as u64) << shift, depth: self.depth + 1 })
    }

    /// The least hash in the bucket.
    pub fn first(self) -> u64 {
        self.bits
    }

    /// The greatest hash in the bucket.
    pub fn last(self) -> u64 {
        if self.depth == 0 {
            u64::MAX
        } else {
            self.bits | (u64::MAX >> 4 >> (4 * (self.depth - 1)))
        }
    }

    /// Whether the bucket holds `hash`.
    pub fn contains(self, hash: u64) -> bool {
        (self.first()..=self.last()).contains(&hash)
    }

    /// The digit of `hash` that chooses among this bucket's children.
    pub fn digit(self, hash: u64) -> usize {
        debug_assert!(self.depth < MAX_DEPTH && self.contains(hash));
        (hash >> (60 - 4 * self.depth)) as usize & (FAN_OUT - 1)
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "-" {
            return Some(Self::ROOT);
        }
        Self::ROOT.extend(text)
    }

    /// Appends the digits in `text`, of which there is at least one.
    pub fn extend(self, text: &str) -> Option<Self> {
        let depth = usize::from(self.depth) + text.len();
        if text.is_empty() || depth > usize::from(MAX_DEPTH) {
            return None;
        }
        let digits = parse_hex(text, text.len())?;
        Some(Self { bits: self.bits | digits << (64 - 4 * depth), depth: depth as u8 })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.depth {
            0 => f.write_str("-"),
            depth => {
                write!(f, "{:0width$x}", self.bits >> (64 - 4 * depth), width = usize::from(depth))
            }
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hashes_are_part_of_the_protocol() {
        // These constants may change only together with the protocol's version.
        assert_eq!(format!("{:016x}", key_hash("")), "07f5ef470c8c5fb6");
        assert_eq!(format!("{:016x}", key_hash("hello")), "75553c49ac5307fc");
        let item = Item { hash: key_hash("hello"), version: Version::new(1_700_000_000_000, 1, 2) };
        assert_eq!(format!("{:016x}", item.fingerprint()), "98860c203308727e");
        let salted = item.salted_fingerprint(0xdb00_08b6_ddf1_81f6);
        assert_eq!(format!("{salted:016x}"), "c54bb416d69bfeb0");
        let digest = Digest { xor: salted, count: 3 }.salted(0xdb00_08b6_ddf1_81f6);
        assert_eq!(format!("{:08x}", digest.unwrap()), "5f400eea");
    }

    proptest! {
        #![proptest_config(crate::fixed_seed(512))]

        #[test]
        fn prefixes_round_trip_and_nest(hash: u64, depth in 0..=MAX_DEPTH) {
            let prefix = Prefix::of(hash, depth);
            prop_assert!(prefix.contains(hash));
            prop_assert_eq!(Prefix::parse(&prefix.to_string()), Some(prefix));
            if depth < MAX_DEPTH {
                let child = prefix.child(prefix.digit(hash)).unwrap();
                prop_assert_eq!(child, Prefix::of(hash, depth + 1));
                prop_assert!(prefix.first() <= child.first() && child.last() <= prefix.last());
            } else {
                prop_assert_eq!(prefix.child(0), None);
                prop_assert_eq!((prefix.first(), prefix.last()), (hash, hash));
            }
        }

        #[test]
        fn a_digest_forgets_the_order(items in prop::collection::vec((any::<u64>(), 0u64..1000), 0..20)) {
            let items: Vec<Item> = items
                .iter()
                .map(|&(hash, ms)| Item { hash, version: Version::new(ms, 0, 1) })
                .collect();
            let mut forth = Digest::default();
            items.iter().for_each(|&item| forth.add(item));
            let mut back = Digest::default();
            items.iter().rev().for_each(|&item| back.add(item));
            prop_assert_eq!(forth, back);
            items.iter().for_each(|&item| back.remove(item));
            prop_assert_eq!(back, Digest::default());
        }
    }

    #[test]
    fn a_prefix_too_long_or_not_canonical_is_refused() {
        for bad in ["", "--", "A", "g", "0123456789abcdef0"] {
            assert_eq!(Prefix::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn salts_make_truncations_independent() {
        // Two digests that collide under one salt must not collide under all.
        let (a, b) = (Digest { xor: 1 << 40, count: 1 }, Digest { xor: (1 << 40) + 1, count: 1 });
        let collisions = (0..1000u64)
            .map(|trial| trial.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .filter(|&salt| a.salted(salt) == b.salted(salt))
            .count();
        assert!(collisions < 3, "{collisions} of 1000 salts");
        assert_eq!(Digest::default().salted(5), None, "empty is not zero");
        let fewer = Digest { xor: 7, count: 1 };
        let more = Digest { xor: 7, count: 66 };
        assert_ne!(fewer.salted(0x0123_4567_89ab_cdef), more.salted(0x0123_4567_89ab_cdef));
    }
}
