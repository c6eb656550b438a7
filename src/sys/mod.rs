//! What the operating system gives us: threads, signals, standard error.

pub mod logger;

pub mod mailbox;

pub mod signals;

pub mod threads;
