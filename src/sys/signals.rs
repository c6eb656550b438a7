//! The signals that ask the process to exit: SIGTERM and SIGINT.

use signal_hook::consts::{SIGINT, SIGTERM};
use std::cell::Cell;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Within this time the same signal again means nothing: `timeout` sends it to the process and to
/// its group, a terminal to all of a pipeline, and the shell or supervisor in it passes it on.
const REPEATED_FOR: Duration = Duration::from_secs(1);

/// A signal that has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal {
    /// `SIGTERM` or `SIGINT`.
    pub name: &'static str,
    /// Whether another came before: whoever sends two wants the process to exit at once.
    pub is_second: bool,
}

/// Receives signals.
pub struct Signals {
    /// A byte for each signal.
    pipe: UnixStream,
    /// Each signal's name, and whether it has arrived since it was last looked at.
    arrived: [(&'static str, Arc<AtomicBool>); 2],
    first: Cell<Option<(&'static str, Instant)>>,
}

impl Signals {
    /// Installs the handlers. A process with PID 1 has no default ones.
    pub fn new() -> io::Result<Self> {
        let (pipe, writer) = UnixStream::pair()?;
        let arrived = [("SIGTERM", Arc::default()), ("SIGINT", Arc::default())];
        for ((_, arrived), signal) in arrived.iter().zip([SIGTERM, SIGINT]) {
            // Before the byte, whose reader looks at it.
            signal_hook::flag::register(signal, Arc::clone(arrived))?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { pipe, arrived, first: Cell::new(None) })
    }

    /// The next signal, if it arrives within that time.
    pub fn wait(&self, limit: Duration) -> Option<Signal> {
        let until = Instant::now() + limit;
        loop {
            // A timeout of zero is an error.
            let left = until.saturating_duration_since(Instant::now());
            let left = Some(left.max(Duration::from_millis(1)));
            match self.pipe.set_read_timeout(left).and_then(|()| (&self.pipe).read(&mut [0])) {
                // Two signals of a kind may have left one flag, and the second byte finds none.
                Ok(_) => {
                    let mut arrived = self.arrived.iter().filter(|(_, it)| it.swap(false, SeqCst));
                    if let Some(signal) = arrived.next().and_then(|(name, _)| self.count(name)) {
                        return Some(signal);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// What a signal means after those before it; `None` if it repeats the first.
    fn count(&self, name: &'static str) -> Option<Signal> {
        match self.first.get() {
            None => {
                self.first.set(Some((name, Instant::now())));
                Some(Signal { name, is_second: false })
            }
            Some((first, at)) if first == name && at.elapsed() < REPEATED_FOR => None,
            Some(_) => Some(Signal { name, is_second: true }),
        }
    }
}
