//! The HTTP server: tiny_http, and the guards that it needs.
//!
//! A worker takes a request and serves it from start to end. Before it blocks, over an upload, a
//! blocking query or a long response, it makes sure that another worker takes the next request.

pub mod endpoint;

mod worker;

mod transaction;

mod handler;

mod body;

mod response;

mod pipelining;

mod servers;

mod self_probe;

mod open_connections;
