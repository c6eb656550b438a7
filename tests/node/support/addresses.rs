//! Addresses and ports.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Loopback addresses that no other test uses, in this process or another.
pub fn fresh_ips(count: u32) -> Vec<Ipv4Addr> {
    static USED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(256).wrapping_add(USED.fetch_add(count, Relaxed));
    let address = |index: u32| {
        // The second byte from 1 to 254; the fourth may be anything in this network.
        let index = first.wrapping_add(index) % (254 << 16);
        Ipv4Addr::from(0x7f01_0000 + index)
    };
    (0..count).map(address).collect()
}

/// A port that is free on all these addresses.
pub fn free_port(addresses: &[IpAddr]) -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        // Below the ports that the system gives to clients.
        let port = std::process::id().wrapping_add(TRIED.fetch_add(1, Relaxed)) % 20_000;
        let port = 12_000 + port as u16;
        let is_free = |&ip: &IpAddr| TcpListener::bind((ip, port)).is_ok();
        if addresses.iter().all(is_free) {
            return port;
        }
    }
}
