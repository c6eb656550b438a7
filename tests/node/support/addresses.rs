//! Addresses and ports that no other test uses.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Loopback addresses that no other test uses, in this process or another.
pub fn fresh_ips(count: u32) -> Vec<Ipv4Addr> {
    static USED: AtomicU32 = AtomicU32::new(0);
    // 1024 for each process; the tests take some hundreds.
    let first = std::process::id().wrapping_mul(1024).wrapping_add(USED.fetch_add(count, Relaxed));
    let address = |index: u32| {
        // The second byte is from 1 to 254; in this network the last one may be 0 or 255.
        let index = first.wrapping_add(index) % (254 << 16);
        Ipv4Addr::from(0x7f01_0000 + index)
    };
    (0..count).map(address).collect()
}

/// A port that is free on all these addresses.
pub fn free_port(addresses: &[IpAddr]) -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        // Below the system's ephemeral ports.
        let port = std::process::id().wrapping_add(TRIED.fetch_add(1, Relaxed)) % 20_000;
        let port = 12_000 + port as u16;
        let is_free = |&ip: &IpAddr| TcpListener::bind((ip, port)).is_ok();
        if addresses.iter().all(is_free) {
            return port;
        }
    }
}
