//! The other sidecars: finding them through DNS, and exchanges with them over TCP.

pub mod dns;

pub mod session;

pub mod gossip;
