//! A key's state: a value, a value that expires, or a tombstone.

use crate::core::version::Version;

/// The size of an expiry time behind its value.
const EXPIRY_BYTES: usize = 8;

/// A key's state, as it is stored and as it travels.
///
/// An expiry time is kept behind the value, in the same allocation, so that the many entries without
/// one pay nothing for it. There are as many entries as keys: each byte counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When and by whom it was written.
    pub version: Version,
    kind: Kind,
    bytes: Box<[u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tombstone,
    Lasting,
    Expiring,
}

/// An entry together with its key, as it travels between nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Any UTF-8 text, the empty one included.
    pub key: Box<str>,
    /// What the sending node holds for the key.
    pub entry: Entry,
}

impl Entry {
    /// A value that stays until it is overwritten or deleted.
    pub fn lasting(version: Version, value: impl Into<Box<[u8]>>) -> Self {
        Self { version, kind: Kind::Lasting, bytes: value.into() }
    }

    /// A value that expires at `expires_ms` (Unix milliseconds), if that is given.
    pub fn new(version: Version, value: impl Into<Box<[u8]>>, expires_ms: Option<u64>) -> Self {
        let Some(expires_ms) = expires_ms else { return Self::lasting(version, value) };
        let mut bytes = value.into().into_vec();
        bytes.reserve_exact(EXPIRY_BYTES);
        bytes.extend_from_slice(&expires_ms.to_be_bytes());
        Self { version, kind: Kind::Expiring, bytes: bytes.into_boxed_slice() }
    }

    /// A deletion. It is kept for a time, so that an older value cannot come back.
    pub fn tombstone(version: Version) -> Self {
        Self { version, kind: Kind::Tombstone, bytes: Box::default() }
    }

    /// The value, even if it has expired; `None` for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        match self.kind {
            Kind::Tombstone => None,
            Kind::Lasting => Some(&self.bytes),
            Kind::Expiring => self.bytes.split_last_chunk::<EXPIRY_BYTES>().map(|(value, _)| value),
        }
    }

    /// When the value expires, in Unix milliseconds, if it ever does.
    pub fn expires_ms(&self) -> Option<u64> {
        if self.kind != Kind::Expiring {
            return None;
        }
        let (_, expiry) = self.bytes.split_last_chunk::<EXPIRY_BYTES>()?;
        Some(u64::from_be_bytes(*expiry))
    }

    /// Whether the key has been deleted, or its value has expired.
    pub fn is_tombstone(&self) -> bool {
        self.kind == Kind::Tombstone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_no_part_of_the_value() {
        let version = Version::new(1, 2, 3);
        for value in [&b""[..], b"v", &[0xff; 100]] {
            let entry = Entry::new(version, value, Some(1 << 41));
            assert_eq!((entry.value(), entry.expires_ms()), (Some(value), Some(1 << 41)));
            let entry = Entry::new(version, value, None);
            assert_eq!((entry.value(), entry.expires_ms()), (Some(value), None));
        }
        let entry = Entry::tombstone(version);
        assert_eq!((entry.value(), entry.expires_ms()), (None, None));
    }

    #[test]
    fn an_entry_and_its_key_take_48_bytes_of_a_table() {
        assert_eq!(size_of::<(Box<str>, Entry)>(), 48);
    }
}
