//! Conditions that are polled under a deadline.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a condition is checked.
pub const POLL_EVERY: Duration = Duration::from_millis(5);

/// The limit for any response of a node; generous, since the machine may be busy.
pub const RESPONSE_LIMIT: Duration = Duration::from_secs(10);

/// Repeats `look` until it returns `Ok`; panics with its last state after `limit`.
pub fn eventually<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(state) if began.elapsed() > limit => {
                panic!("not within {limit:?}: {what}; at the end: {state}")
            }
            Err(_) => std::thread::sleep(POLL_EVERY),
        }
    }
}

/// `Ok` if both are equal, for [`eventually`].
pub fn same<T: PartialEq + Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?} instead of {wanted:?}")) }
}

/// Waits for the next millisecond of the wall clock, so that what is written then is the later
/// write.
pub fn next_millisecond() {
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let start_ms = now_ms();
    while now_ms() < start_ms + 2 {
        std::thread::yield_now();
    }
}
