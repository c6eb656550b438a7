//! What entries count against the quota, `MAX_STORE_BYTES`.

use crate::core::entry::Entry;

/// What an entry counts against the quota beyond its key and value, in bytes.
pub const ENTRY_OVERHEAD_BYTES: u64 = 96;

/// What a tombstone or an expiring entry needs besides: its key once more, in the expiry queue.
pub const EXPIRY_OVERHEAD_BYTES: u64 = 64;

/// What an entry counts.
pub fn cost(key: &str, entry: &Entry) -> u64 {
    let is_queued = entry.is_tombstone() || entry.expires_ms().is_some();
    price(key, entry.value().map_or(0, <[u8]>::len), is_queued)
}

/// What an entry with a value of this length counts; `is_queued` if it is in the expiry queue.
pub fn price(key: &str, value_bytes: usize, is_queued: bool) -> u64 {
    let queued = if is_queued { key.len() as u64 + EXPIRY_OVERHEAD_BYTES } else { 0 };
    (key.len() + value_bytes) as u64 + ENTRY_OVERHEAD_BYTES + queued
}
