//! What a local write costs compared with the same write to a bare `HashMap`, in nanoseconds.
//!
//! `cargo run --release --example put_cost`: 10 000 keys of 12 bytes, values of 32 bytes,
//! overwritten round after round; both maps in turn in the same process, the median of many rounds.

use gossip_sidecar::{Limits, Put, Store};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

const KEYS: usize = 10_000;
const ROUNDS: usize = 201;

fn main() {
    let keys: Vec<String> = (0..KEYS).map(|index| format!("key-{index:08}")).collect();
    let limits = Limits { max_store_bytes: u64::MAX, tombstone_ttl_ms: 86_400_000 };
    let mut store = Store::new(1, 2, limits);
    let mut bare: HashMap<Box<str>, Box<[u8]>> = HashMap::new();
    let (mut store_ns, mut bare_ns) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let wall_ms = 1_700_000_000_000 + round as u64;
        let began = Instant::now();
        for key in &keys {
            bare.insert(black_box(key.as_str()).into(), vec![round as u8; 32].into());
        }
        bare_ns.push(began.elapsed().as_nanos() as f64 / KEYS as f64);
        let began = Instant::now();
        for key in &keys {
            let put = store.put(black_box(key), vec![round as u8; 32].into(), None, wall_ms);
            assert!(matches!(put, Put::Created(_) | Put::Replaced(_)));
        }
        store_ns.push(began.elapsed().as_nanos() as f64 / KEYS as f64);
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (store_ns, bare_ns) = (median(store_ns), median(bare_ns));
    println!("store    {store_ns:6.1} ns a put");
    println!("HashMap  {bare_ns:6.1} ns an insert");
    println!("more     {:6.1} ns", store_ns - bare_ns);
}
