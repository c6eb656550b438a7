//! What the targets share: measured memory, and the invariants of a store.

use gossip_sidecar::{
    Digest, ENTRY_OVERHEAD_BYTES, EXPIRY_OVERHEAD_BYTES, Entry, Item, Limits, SHARDS, Store,
    key_hash,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The time at which everything happens.
pub const WALL_MS: u64 = 1_700_000_000_000;

/// How long tombstones are kept.
pub const TOMBSTONE_TTL_MS: u64 = 24 * 3_600_000;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which counts the bytes in use.
struct Counting;

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let taken = TAKEN.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(taken, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The greatest number of bytes that were in use during `work`, beyond those before it.
pub fn peak_bytes<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = TAKEN.load(Relaxed);
    PEAK.store(before, Relaxed);
    let outcome = work();
    (PEAK.load(Relaxed) - before, outcome)
}

/// An empty store.
pub fn store(node: u32) -> Store {
    let limits = Limits { max_store_bytes: 1 << 30, tombstone_ttl_ms: TOMBSTONE_TTL_MS };
    Store::new(node, u64::from(node), limits)
}

/// A store's entries.
pub fn contents(store: &Store) -> BTreeMap<Box<str>, Entry> {
    (0..SHARDS)
        .flat_map(|shard| store.entries(shard, |_| true))
        .map(|(_, key, entry)| (key.into(), entry.clone()))
        .collect()
}

/// Asserts that everything that a store derives from its entries agrees with them.
pub fn assert_consistent(store: &Store) {
    let mut root = Digest::default();
    let (mut bytes, mut live, mut expiry_in_ms) = (0, 0, None);
    let now_ms = store.now_ms(WALL_MS);
    for (key, entry) in contents(store) {
        root.add(Item { hash: key_hash(&key), version: entry.version });
        bytes += key.len() as u64 + ENTRY_OVERHEAD_BYTES;
        bytes += entry.value().map_or(0, |value| value.len() as u64);
        live += usize::from(!entry.is_tombstone());
        let expiry_ms = match entry.expires_ms() {
            // A tombstone is kept through the whole of its last millisecond, a value is not.
            None if entry.is_tombstone() => Some(entry.version.ms() + TOMBSTONE_TTL_MS + 1),
            expires_ms => expires_ms.map(|expires_ms| expires_ms.max(1)),
        };
        if let Some(expiry_ms) = expiry_ms {
            bytes += key.len() as u64 + EXPIRY_OVERHEAD_BYTES;
            let left_ms = expiry_ms.saturating_sub(now_ms);
            expiry_in_ms = Some(expiry_in_ms.map_or(left_ms, |least: u64| least.min(left_ms)));
        }
    }
    assert_eq!(store.root(), root, "digest");
    assert_eq!(store.bytes(), bytes, "bytes");
    assert_eq!(store.live(), live, "live");
    assert_eq!(store.tombstones(), root.count - live, "tombstones");
    assert_eq!(store.next_expiry_in_ms(WALL_MS), expiry_in_ms, "due");
}
