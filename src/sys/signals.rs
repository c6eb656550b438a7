//! The signals that ask the process to exit: SIGTERM and SIGINT.

use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Receives signals.
pub struct Signals {
    /// A byte for each signal.
    pipe: UnixStream,
    latest: Arc<AtomicUsize>,
}

impl Signals {
    /// Installs the handlers. A process with PID 1 has no default ones.
    pub fn new() -> io::Result<Self> {
        let (pipe, writer) = UnixStream::pair()?;
        let latest = Arc::new(AtomicUsize::new(0));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_usize(signal, latest.clone(), signal as usize)?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { pipe, latest })
    }

    /// The name of the next signal, if it arrives within that time.
    pub fn wait(&self, limit: Duration) -> Option<&'static str> {
        // A timeout of zero is an error.
        let limit = Some(limit.max(Duration::from_millis(1)));
        loop {
            let outcome =
                self.pipe.set_read_timeout(limit).and_then(|()| (&self.pipe).read(&mut [0]));
            return match outcome {
                Ok(_) if self.latest.load(SeqCst) == SIGINT as usize => Some("SIGINT"),
                Ok(_) => Some("SIGTERM"),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => None,
            };
        }
    }
}
