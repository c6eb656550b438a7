//! Supervised threads: they go on after a panic.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::Builder;
use std::time::Duration;

/// How long a thread that has panicked waits before it starts again.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Runs `body` in a thread of its own, and again whenever it panics.
pub fn supervise(name: &'static str, body: impl Fn() + Send + 'static) -> io::Result<()> {
    supervise_in(Builder::new(), name, Box::new(body))
}

/// Like [`supervise`], with a thread builder of its own.
pub fn supervise_in(
    builder: Builder,
    name: &'static str,
    body: Box<dyn Fn() + Send>,
) -> io::Result<()> {
    let run = move || {
        while catch_unwind(AssertUnwindSafe(&body)).is_err() {
            std::thread::sleep(RESTART_PAUSE);
        }
    };
    builder.name(name.into()).spawn(run).map(drop).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot start the {name} thread: {error}"))
    })
}
