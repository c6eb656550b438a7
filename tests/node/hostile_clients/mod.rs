//! Hostile and clumsy HTTP clients: whatever they send, the process survives and others are served.

mod ambiguous_bodies;

mod huge_bodies;

mod slow_clients;

mod connections;

mod restarts;

mod injection;
