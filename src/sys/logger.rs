//! The log: logfmt on standard error, at a bounded rate.

use crate::sys::lock::lock;
use log::{LevelFilter, Log, Metadata, Record};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

/// The panics of this process so far; each one is our bug.
pub static PANICS: AtomicU64 = AtomicU64::new(0);

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let now = humantime::format_rfc3339_millis(SystemTime::now());
            let level = record.level().as_str().to_ascii_lowercase();
            let text = record.args().to_string();
            // One write a line, so that the lines of several threads do not mix. Debug formatting
            // adds quotes, and escapes line feeds.
            let line = format!("ts={now} level={level} msg={text:?}\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Starts logging. Panics are counted and logged, at a bounded rate, wherever they happen.
pub fn start(level: LevelFilter) {
    log::set_max_level(level);
    if log::set_logger(&Logger).is_err() {
        return;
    }
    static PANIC_LOG: Limiter = Limiter::new();
    std::panic::set_hook(Box::new(|info| {
        PANICS.fetch_add(1, Relaxed);
        if let Some(suppressed) = PANIC_LOG.pass() {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("unnamed");
            log::error!("bug: thread {name} panicked: {info}{suppressed}");
        }
    }));
}

/// Lets a few lines of one kind through each minute, and counts the others.
pub struct Limiter(Mutex<Window>);

struct Window {
    began: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

/// The most lines of one kind in a minute.
pub const MAX_LINES_A_MINUTE: u32 = 5;

impl Limiter {
    pub const fn new() -> Self {
        Self(Mutex::new(Window { began: None, lines: 0, suppressed: 0 }))
    }

    /// Whether a line may be logged now; if so, what to append about those that were suppressed.
    pub fn pass(&self) -> Option<String> {
        let mut window = lock(&self.0);
        if window.began.is_none_or(|began| began.elapsed() >= Duration::from_secs(60)) {
            let suppressed = window.suppressed;
            *window = Window { began: Some(Instant::now()), lines: 1, suppressed: 0 };
            return Some(match suppressed {
                0 => String::new(),
                _ => format!(" (and {suppressed} more like this before)"),
            });
        }
        window.lines += 1;
        if window.lines > MAX_LINES_A_MINUTE {
            window.suppressed += 1;
            return None;
        }
        Some(String::new())
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}
