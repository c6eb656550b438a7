//! Requests to our own endpoint, which find out whether tiny_http still answers, and wake it.

use crate::http::endpoint::Endpoint;
use crate::sys::lock::lock;
use crate::sys::logger::{Limiter, PANICS};
use std::cell::LazyCell;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often an endpoint is probed while requests come.
///
/// In a burst of connections tiny_http counts on one idle thread for several of them; those that
/// lose stay accepted and unread until some thread has nothing to do. A probe frees one: a thread
/// is started for it, and goes on with the connections left behind.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// While none come, only one probe in so many is sent.
const PROBES_SKIPPED: u32 = 10;

/// After so many probes in a row without an answer the server is replaced: tiny_http's accepting
/// thread may have panicked, which it reports to nobody.
const MAX_UNANSWERED: u32 = 4;

/// The next probe follows at once while threads are started for it, up to so many times.
const MAX_PROBES_AT_ONCE: usize = 64;

/// How long to wait for the answer.
const PROBE_TIMEOUT: Duration = Duration::from_millis(250);

/// Probes an endpoint for as long as the process lives.
pub fn keep_probing(endpoint: &Endpoint) {
    static LOG: Limiter = Limiter::new();
    let (mut unanswered, mut skipped, mut panics) = (0, 0, 0);
    loop {
        std::thread::sleep(PROBE_EVERY);
        let panics_before = std::mem::replace(&mut panics, PANICS.load(Relaxed));
        let is_asked = endpoint.has_requests.swap(false, Relaxed);
        let is_quiet = !is_asked && panics == panics_before && unanswered == 0;
        skipped = if is_quiet && skipped < PROBES_SKIPPED { skipped + 1 } else { 0 };
        if skipped > 0 {
            continue;
        }
        let open = LazyCell::new(|| endpoint.open_connections());
        lock(&endpoint.abandoned).retain(|(client, _)| !open.lack(client));
        let is_answered = probe(endpoint.address, panics > panics_before);
        unanswered = if is_answered { 0 } else { unanswered + 1 };
        if unanswered >= MAX_UNANSWERED {
            unanswered = 0;
            endpoint.must_replace_server.store(true, Relaxed);
            if let Some(silent) = LOG.pass() {
                log::warn!("HTTP does not answer the self-probe; replacing the server{silent}");
            }
        }
    }
}

/// Probes until no new thread is started for it; says whether the last probe was answered.
///
/// A thread of tiny_http that finds a broken connection left behind may panic over it, and leave
/// the rest: where there were panics each probe clears but one, so it takes all of them.
fn probe(address: SocketAddr, were_panics: bool) -> bool {
    for _ in 0..MAX_PROBES_AT_ONCE {
        let threads_before = threads();
        if probe_once(address).is_err() {
            return false;
        }
        // An idle thread that answers shows that nothing was left behind.
        if !were_panics && threads() <= threads_before {
            break;
        }
    }
    true
}

/// Sends what is not a request, so that tiny_http answers it without a worker.
fn probe_once(mut address: SocketAddr) -> io::Result<()> {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    stream.write_all(b"\r\n")?;
    // To close with the answer unread resets the connection, and leaves nothing of it behind.
    stream.peek(&mut [0]).map(drop)
}

/// How many threads this process has, as far as the system says.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
