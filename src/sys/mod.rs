//! What the operating system gives us: threads, locks, signals, standard error.

pub mod lock;

pub mod semaphore;

pub mod threads;

pub mod logger;

pub mod signals;
