//! The other sidecars: finding them through DNS, and exchanges with them over TCP.

pub mod dns;

mod connection;

mod session;

mod initiator;

pub mod responder;

pub mod gossip;
