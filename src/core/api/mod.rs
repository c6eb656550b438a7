//! What an HTTP request means: head and body in, response out.
//!
//! Knows neither sockets nor the HTTP server. A request is parsed without the store, then carried
//! out in one short call on it.

pub mod response;

pub mod preconditions;

pub mod accept;

pub mod json;

pub mod listing;

pub mod map;

pub mod operation;

pub mod parameters;

pub mod request;
