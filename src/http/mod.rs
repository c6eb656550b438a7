//! The HTTP server: tiny_http, and the guards that it needs.

mod crew;

mod pipelining;

mod handler;

mod listener;

mod body;

mod response;

pub mod server;
