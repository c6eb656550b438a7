//! The real binary, in processes that communicate over loopback.

mod support;

mod http;

mod api;

mod hostile_clients;

mod cluster;

mod wire;

mod peer_port;

mod command_line;
