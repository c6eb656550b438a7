//! The signals to leave, SIGTERM and SIGINT.

use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Signals as they come.
pub struct Signals {
    /// A byte for each.
    pipe: UnixStream,
    latest: Arc<AtomicUsize>,
}

impl Signals {
    /// Takes over the handling of both; as process 1 nobody else does.
    pub fn new() -> io::Result<Self> {
        let (pipe, writer) = UnixStream::pair()?;
        let latest = Arc::new(AtomicUsize::new(0));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_usize(signal, latest.clone(), signal as usize)?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { pipe, latest })
    }

    /// The name of the next one, if it comes within that time.
    pub fn wait(&self, limit: Duration) -> Option<&'static str> {
        // Zero would be refused.
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
