//! The pure core: its laws, its limits, and whole simulated clusters under faults.

mod support;

mod store;

mod message;

mod exchange;

mod digest;

mod wire_budget;

mod scheduler;

mod simulator;

mod simulation;
