//! The self-probe: connections to our own endpoint that find out whether tiny_http still responds, and
//! wake it.

use crate::config::local;
use crate::http::endpoint::Endpoint;
use crate::sys::lock::lock;
use crate::sys::logger::{Limiter, PANICS};
use std::cell::LazyCell;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often an endpoint is probed while there are requests.
///
/// When several connections come at once, tiny_http may count on one idle thread for all of them; the
/// others stay accepted and unread until some thread has nothing to do. A probe makes tiny_http start
/// a thread, which then serves a connection that was left behind.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// While there are no requests, this many probes are skipped between two.
const PROBES_SKIPPED: u32 = 10;

/// After this many probes in a row without a response the server is replaced: the thread with which
/// tiny_http accepts may have panicked, and nothing reports that.
const MAX_UNANSWERED: u32 = 4;

/// The most probes in a row, while each of them makes tiny_http start a thread.
const MAX_PROBES_AT_ONCE: usize = 64;

/// How long to wait for the response to a probe.
const PROBE_TIMEOUT: Duration = Duration::from_millis(250);

/// Probes an endpoint for as long as the process lives.
pub fn keep_probing(endpoint: &Endpoint) {
    static LOG: Limiter = Limiter::new();
    let (mut unanswered, mut skipped, mut panics) = (0, 0, 0);
    loop {
        std::thread::sleep(PROBE_EVERY);
        let panics_before = std::mem::replace(&mut panics, PANICS.load(Relaxed));
        let had_requests = endpoint.has_requests.swap(false, Relaxed);
        let is_quiet = !had_requests && panics == panics_before && unanswered == 0;
        skipped = if is_quiet && skipped < PROBES_SKIPPED { skipped + 1 } else { 0 };
        if skipped > 0 {
            continue;
        }
        let open = LazyCell::new(|| endpoint.open_connections());
        lock(&endpoint.abandoned).retain(|(client, _)| !open.is_gone(client));
        let is_answered = probe(endpoint.address, panics > panics_before);
        unanswered = if is_answered { 0 } else { unanswered + 1 };
        if unanswered >= MAX_UNANSWERED {
            unanswered = 0;
            endpoint.must_replace_server.store(true, Relaxed);
            if let Some(suppressed) = LOG.pass() {
                log::warn!("the HTTP self-probe got no response; replacing the server{suppressed}");
            }
        }
    }
}

/// Probes until a probe makes tiny_http start no new thread; returns whether the last one was
/// answered.
///
/// A thread of tiny_http may panic over a broken connection that was left behind. After panics, each
/// probe frees no more than one connection, so all probes are sent.
fn probe(address: SocketAddr, were_panics: bool) -> bool {
    for _ in 0..MAX_PROBES_AT_ONCE {
        let threads_before = threads();
        if probe_once(address).is_err() {
            return false;
        }
        // An idle thread has answered, so nothing was left behind.
        if !were_panics && threads() <= threads_before {
            break;
        }
    }
    true
}

/// Sends what is not a request, so that tiny_http answers it without a worker.
fn probe_once(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&local(address), PROBE_TIMEOUT)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    stream.write_all(b"\r\n")?;
    // Closing with the response unread resets the connection, so that none is left in TIME_WAIT.
    stream.peek(&mut [0]).map(drop)
}

/// The number of threads in this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
