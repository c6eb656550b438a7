//! The HTTP server: tiny_http, and the guards that it needs.
//!
//! The only file that knows tiny_http. Requests with no body or a small one are answered by a fixed
//! pool of threads; larger uploads are read by a bounded number of threads of their own, so that a
//! slow one keeps nobody waiting.

use crate::api::{self, Plan, Response};
use crate::daemon::{CannotServe, Node, Place, keep_alive, wall_ms};
use crate::logger::Limiter;
use crate::metrics::Counter;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tiny_http::{Request, Server, StatusCode};

/// Threads that answer requests, for each address listened on.
pub const WORKERS: usize = 2;

/// Bodies of up to this length have been read by tiny_http before the request is seen.
const PREREAD_BYTES: usize = 1024;

/// Threads that read larger bodies, for each address listened on; uploads beyond them wait.
pub const MAX_UPLOADS_AT_A_TIME: usize = 16;

/// A body must be there within this time.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that is not wanted is read away up to this length; past it the connection is given up.
///
/// tiny_http reads away what is left of a body when the request is dropped, into a buffer of the
/// whole declared length. A request with more unread than this must never be dropped.
pub const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;

/// How much of a body is read at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// How long to wait before listening anew after `accept` has failed.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Descriptors that must be free before we listen anew: without them accepting fails again.
const DESCRIPTORS_TO_LISTEN: usize = 8;

/// Answers longer than this are written by threads of their own, so that a client which does not
/// read keeps no worker.
const LONG_ANSWER_BYTES: usize = 64 * 1024;

/// Threads that write long answers, for each address; the workers write those beyond them.
pub const MAX_LONG_ANSWERS_AT_A_TIME: usize = 16;

/// A connection on which nothing comes for this long is closed, be it idle or half-way through an
/// upload. It is more than a knock's time (see [`KNOCK_EVERY`]): `accept` has the same limit.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A client that takes nothing of its answer for this long does not get the rest.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often we knock at our own door while requests come.
///
/// In a burst of connections tiny_http counts on one idle thread for several of them; those that
/// lose lie there, accepted and unread, until some thread has nothing to do. A knock frees one: a
/// thread is started for it, and goes on with what lies there.
const KNOCK_EVERY: Duration = Duration::from_millis(100);

/// While none come, we knock only every so many times.
const KNOCKS_SKIPPED: u32 = 10;

/// We knock again at once while threads are started for it, up to so many times.
const MAX_KNOCKS_AT_ONCE: usize = 64;

/// How long to wait for the answer to a knock.
const KNOCK_PATIENCE: Duration = Duration::from_millis(250);

/// After so many knocks in a row without an answer the server is set up anew: tiny_http's
/// accepting thread may have panicked, which it says to nobody.
const MAX_KNOCKS_UNANSWERED: u32 = 4;

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves HTTP on a listener, in threads of its own.
pub fn start(node: &Arc<Node>, listener: TcpListener) -> Result<(), CannotServe> {
    set_timeouts(&listener)
        .map_err(|error| CannotServe(format!("cannot set a timeout for HTTP: {error}")))?;
    let front = Arc::new(Front {
        node: node.clone(),
        listener,
        uploads: Mutex::default(),
        long_answers: Arc::default(),
        has_requests: AtomicBool::new(false),
    });
    front.listen()?;
    keep_alive("http watch", move || front.watch())
}

/// Sets the timeouts, which connections inherit from their listener.
fn set_timeouts(listener: &TcpListener) -> io::Result<()> {
    // They are options of every socket, but the standard library has them for streams only.
    let socket = TcpStream::from(OwnedFd::from(listener.try_clone()?));
    socket.set_read_timeout(Some(READ_TIMEOUT))?;
    socket.set_write_timeout(Some(WRITE_TIMEOUT))
}

/// One address on which HTTP is served.
struct Front {
    node: Arc<Node>,
    listener: TcpListener,
    uploads: Mutex<Uploads>,
    /// Long answers that are being written.
    long_answers: Arc<AtomicUsize>,
    /// Whether there was a request since the last look.
    has_requests: AtomicBool,
}

/// Requests whose body is still to be read.
#[derive(Default)]
struct Uploads {
    waiting: VecDeque<Request>,
    readers: usize,
}

/// What is still to be read of a request's body, as tiny_http sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unread {
    /// There is no body, or it is here already.
    Nothing,
    /// So many bytes are announced.
    Length(usize),
    /// Its length shows at its end.
    Chunked,
}

impl Front {
    /// Sets tiny_http up on a copy of the listener, which outlives it.
    fn listen(self: &Arc<Self>) -> Result<(), CannotServe> {
        let server = self
            .listener
            .try_clone()
            .map_err(Into::into)
            .and_then(|listener| Server::from_listener(listener, None))
            .map_err(|error| CannotServe(format!("cannot serve HTTP: {error}")))?;
        let server = Arc::new(server);
        for _ in 0..WORKERS {
            let (front, server) = (self.clone(), server.clone());
            keep_alive("http", move || front.work(&server))?;
        }
        Ok(())
    }

    fn work(self: &Arc<Self>, server: &Server) {
        static LOG: Limiter = Limiter::new();
        loop {
            match server.recv() {
                Ok(request) => {
                    self.has_requests.store(true, Relaxed);
                    self.answer(request);
                }
                // Any failure of `accept` ends tiny_http's accepting thread for good, and is said
                // here once. The connections that it has are still served by this loop.
                Err(error) => {
                    if let Some(silent) = LOG.pass() {
                        log::warn!("accepting HTTP connections: {error}; listening anew{silent}");
                    }
                    loop {
                        std::thread::sleep(LISTEN_AGAIN_AFTER);
                        if self.listen_anew() {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Whether tiny_http could be set up once more.
    fn listen_anew(self: &Arc<Self>) -> bool {
        let spare: io::Result<Vec<TcpListener>> =
            (0..DESCRIPTORS_TO_LISTEN).map(|_| self.listener.try_clone()).collect();
        let is_listening = spare.map(drop).is_ok() && self.listen().is_ok();
        if is_listening {
            self.node.metrics.count(Counter::HttpRestarts);
        }
        is_listening
    }

    /// Keeps tiny_http going: see [`KNOCK_EVERY`] and [`MAX_KNOCKS_UNANSWERED`].
    fn watch(self: &Arc<Self>) {
        static LOG: Limiter = Limiter::new();
        let (mut unanswered, mut skipped) = (0, 0);
        loop {
            std::thread::sleep(KNOCK_EVERY);
            let is_quiet = !self.has_requests.swap(false, Relaxed) && unanswered == 0;
            skipped = if is_quiet && skipped < KNOCKS_SKIPPED { skipped + 1 } else { 0 };
            if skipped > 0 {
                continue;
            }
            let mut is_answered = true;
            for _ in 0..MAX_KNOCKS_AT_ONCE {
                let threads_before = threads();
                is_answered = self.knock().is_ok();
                // An idle thread that answers shows that nothing lies there any more.
                if !is_answered || threads() <= threads_before {
                    break;
                }
            }
            unanswered = if is_answered { 0 } else { unanswered + 1 };
            if unanswered >= MAX_KNOCKS_UNANSWERED && self.listen_anew() {
                unanswered = 0;
                if let Some(silent) = LOG.pass() {
                    log::warn!("HTTP does not answer ourselves; listening anew{silent}");
                }
            }
        }
    }

    /// Sends what is no request, so that tiny_http answers it by itself.
    fn knock(&self) -> io::Result<()> {
        let mut door = self.listener.local_addr()?;
        if door.ip().is_unspecified() {
            door.set_ip(match door {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let mut stream = TcpStream::connect_timeout(&door, KNOCK_PATIENCE)?;
        stream.set_read_timeout(Some(KNOCK_PATIENCE))?;
        stream.write_all(b"\r\n")?;
        // To close with the answer unread resets the connection, and leaves nothing of it behind.
        stream.peek(&mut [0]).map(drop)
    }

    fn answer(self: &Arc<Self>, mut request: Request) {
        match Unread::of(&request) {
            Unread::Nothing => {
                let response = self.carry_out(&mut request, Unread::Nothing);
                self.respond(request, response);
            }
            _ => self.queue_upload(request),
        }
    }

    /// Leaves the request to a thread that reads uploads; starts one if there are not enough.
    fn queue_upload(self: &Arc<Self>, request: Request) {
        let mut uploads = self.uploads();
        uploads.waiting.push_back(request);
        if uploads.readers == MAX_UPLOADS_AT_A_TIME {
            return;
        }
        uploads.readers += 1;
        drop(uploads);
        let front = self.clone();
        let read = move || front.answer_uploads();
        if std::thread::Builder::new().name("upload".into()).spawn(read).is_err() {
            // Out of threads: do it here. Slow for the others, but nothing is lost.
            self.answer_uploads();
        }
    }

    fn answer_uploads(self: &Arc<Self>) {
        while let Some(request) = self.next_upload() {
            // A panic was logged; the reader's place must be given back all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| self.answer_upload(request)));
        }
    }

    fn uploads(&self) -> std::sync::MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next upload; with none the reader's place is given back.
    fn next_upload(&self) -> Option<Request> {
        let mut uploads = self.uploads();
        let next = uploads.waiting.pop_front();
        uploads.readers -= usize::from(next.is_none());
        next
    }

    fn answer_upload(self: &Arc<Self>, mut request: Request) {
        let unread = Unread::of(&request);
        let response = self.carry_out(&mut request, unread);
        let waits_for_word = header(&request, "Expect").next().is_some();
        match unread {
            // Whatever the answer: nothing may have been read yet.
            Unread::Length(length) if length > MAX_DISCARDED_BYTES => {
                self.abandon(request, &response);
            }
            _ if response.status < 400 => self.respond(request, response),
            // The client sends nothing before it has our word: that comes first, and then tiny_http
            // reads away whatever it sends all the same.
            Unread::Length(_) if waits_for_word => {
                self.count(&response);
                let _ = request.respond(plain(&response));
            }
            // Nobody knows where it ends.
            Unread::Chunked if ambiguity(&request).is_some() => self.respond(request, response),
            _ if unread.discard(&mut request) => self.respond(request, response),
            _ => self.abandon(request, &response),
        }
    }

    /// Does what the request asks for.
    fn carry_out(&self, request: &mut Request, unread: Unread) -> Response {
        let node = &self.node;
        if let Some(reason) = ambiguity(request) {
            return Response::problem(400, reason);
        }
        let method = request.method().as_str();
        let plan = match api::plan(method, request.url(), node.config.max_key_bytes) {
            Ok(plan) => plan,
            Err(problem) => return problem,
        };
        match plan {
            Plan::Get(keys) => api::get(&node.store(), &keys),
            Plan::Put(key) => match self.read_body(request, unread) {
                Ok(value) => {
                    let response = api::put(&mut node.store(), &key, value, wall_ms());
                    if response.status < 400 {
                        node.wrote();
                    }
                    response
                }
                Err(problem) => problem,
            },
            Plan::Stats => Response::ok(api::PLAIN_TEXT, node.stats().into_bytes()),
            Plan::Metrics => Response::ok(PROMETHEUS_TEXT, node.prometheus().into_bytes()),
            Plan::Healthz => Response::ok(api::PLAIN_TEXT, b"ok\n".to_vec()),
            Plan::Readyz => match node.unready() {
                None => Response::ok(api::PLAIN_TEXT, b"ready\n".to_vec()),
                Some(reason) => Response::problem(503, reason),
            },
        }
    }

    /// The whole body, or why it cannot be stored.
    fn read_body(&self, request: &mut Request, unread: Unread) -> Result<Box<[u8]>, Response> {
        let max = self.node.config.max_value_bytes;
        let too_large = || {
            let reason = format!("the value has more than {max} bytes (MAX_VALUE_BYTES)");
            Response::problem(413, reason)
        };
        let announced = match unread {
            Unread::Chunked => None,
            Unread::Nothing | Unread::Length(_) => Some(request.body_length().unwrap_or(0)),
        };
        if announced.is_some_and(|length| length > max) {
            return Err(too_large());
        }
        let deadline = Instant::now() + UPLOAD_TIMEOUT;
        let mut body = Vec::with_capacity(announced.unwrap_or(0));
        let mut reader =
            request.as_reader().take(announced.map_or(u64::MAX, |length| length as u64));
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) if body.len() + read > max => return Err(too_large()),
                Ok(read) => body.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let limit = READ_TIMEOUT.as_secs();
                    let reason = format!("nothing of the body has come for {limit} s");
                    return Err(Response::problem(408, reason));
                }
                Err(error) => {
                    let reason = format!("the body is broken: {error}");
                    return Err(Response::problem(400, reason));
                }
            }
            if Instant::now() > deadline {
                let limit = UPLOAD_TIMEOUT.as_secs();
                let reason = format!("the body took longer than {limit} s");
                return Err(Response::problem(408, reason));
            }
        }
        let is_whole = match announced {
            Some(length) => body.len() == length,
            None => !self.has_hung_up(request),
        };
        if !is_whole {
            return Err(Response::problem(400, "the body ended before its end was announced"));
        }
        Ok(body.into_boxed_slice())
    }

    /// Whether the client has closed its side of the connection, as far as the system says.
    ///
    /// A chunked body that is cut off looks complete through tiny_http. But then the end that was
    /// read was that of the connection, and the kernel knows it. A client that closes its side
    /// right after a complete chunked body is refused along with those; none is known to do so.
    fn has_hung_up(&self, request: &Request) -> bool {
        const ESTABLISHED: &str = "01";
        let Some(client) = request.remote_addr() else { return false };
        let Ok(own) = self.listener.local_addr() else { return false };
        let (table, remote) = proc_net_tcp(client);
        let Ok(table) = std::fs::read_to_string(table) else { return false };
        let local_port = format!(":{:04X}", own.port());
        let state = table.lines().find_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, peer, state) = (words.next()?, words.next()?, words.next()?);
            (local.ends_with(&local_port) && peer == remote).then_some(state)
        });
        state != Some(ESTABLISHED)
    }

    fn respond(self: &Arc<Self>, request: Request, response: Response) {
        self.count(&response);
        let is_head = *request.method() == tiny_http::Method::Head;
        let closes =
            header(&request, "Connection").any(|value| value.eq_ignore_ascii_case("close"));
        let bytes = encode(&response, is_head, closes);
        let mut writer = request.into_writer();
        // A client that is gone needs no answer.
        let mut write = move || drop(writer.write_all(&bytes).and_then(|()| writer.flush()));
        let is_long = response.body.len() > LONG_ANSWER_BYTES && !is_head;
        let place = || Place::take(&self.long_answers, MAX_LONG_ANSWERS_AT_A_TIME);
        match is_long.then(place).flatten() {
            None => write(),
            Some(place) => {
                let write = move || {
                    let _place = place;
                    write();
                };
                // Out of threads, the client is left without an answer.
                let _ = std::thread::Builder::new().name("long answer".into()).spawn(write);
            }
        }
    }

    /// Answers, and gives the connection up with the body unread.
    ///
    /// Its reader must not be dropped (see [`MAX_DISCARDED_BYTES`]); one thread of tiny_http and
    /// the connection stay behind for each.
    fn abandon(&self, request: Request, response: &Response) {
        self.count(response);
        self.node.metrics.count(Counter::HttpAbandoned);
        let is_head = *request.method() == tiny_http::Method::Head;
        // To upgrade is the one way to keep the reader, but tiny_http leaves out the length of what
        // it sends with that. So it sends an interim answer, and ours follows.
        let mut stream = request.upgrade("close", tiny_http::Response::empty(100));
        let bytes = encode(response, is_head, true);
        let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
        std::mem::forget(stream);
    }

    fn count(&self, response: &Response) {
        let is_good = response.status < 400;
        self.node.metrics.count(if is_good { Counter::GoodHttp } else { Counter::BadHttp });
    }
}

/// How many threads this process has, as far as the system says.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

fn header<'a>(request: &'a Request, name: &'static str) -> impl Iterator<Item = &'a str> {
    request
        .headers()
        .iter()
        .filter(move |header| header.field.equiv(name))
        .map(|header| header.value.as_str())
}

impl Unread {
    fn of(request: &Request) -> Self {
        let mut connection = header(request, "Connection");
        // tiny_http has not touched the body of a request that offers another protocol.
        let is_untouched = connection.any(|value| value.to_ascii_lowercase().contains("upgrade"))
            || header(request, "Expect").next().is_some();
        match request.body_length() {
            Some(0) => Self::Nothing,
            Some(length) if length <= PREREAD_BYTES && !is_untouched => Self::Nothing,
            Some(length) => Self::Length(length),
            None if header(request, "Transfer-Encoding").next().is_some() => Self::Chunked,
            None => Self::Nothing,
        }
    }

    /// Reads the body away in small pieces; says whether it came to its end.
    fn discard(self, request: &mut Request) -> bool {
        let announced = if let Self::Length(length) = self { length as u64 } else { u64::MAX };
        let mut body = request.as_reader().take(announced);
        let deadline = Instant::now() + UPLOAD_TIMEOUT;
        let mut buffer = [0; BUFFER_BYTES];
        let mut discarded = 0;
        while discarded <= MAX_DISCARDED_BYTES && Instant::now() < deadline {
            match body.read(&mut buffer) {
                Ok(0) | Err(_) => return true,
                Ok(read) => discarded += read,
            }
        }
        false
    }
}

/// Why it is not clear what the body is, if it is not.
///
/// tiny_http takes a length that it cannot parse for none, the first of several, and any transfer
/// encoding for chunked (CVE-2026-66752).
fn ambiguity(request: &Request) -> Option<&'static str> {
    let mut lengths = header(request, "Content-Length");
    let mut encodings = header(request, "Transfer-Encoding");
    match (lengths.next(), encodings.next()) {
        _ if lengths.next().is_some() || encodings.next().is_some() => {
            Some("more than one Content-Length or Transfer-Encoding: send one of them, once")
        }
        (Some(_), Some(_)) => Some("both Content-Length and Transfer-Encoding: send one of them"),
        (Some(length), None) => {
            let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            let is_known = is_number && request.body_length().is_some();
            (!is_known).then_some("Content-Length is not a number of bytes")
        }
        (None, Some(encoding)) if !encoding.eq_ignore_ascii_case("chunked") => {
            Some("an unknown Transfer-Encoding: chunked is the only one that is taken")
        }
        _ => None,
    }
}

/// The answer as tiny_http writes it: it has ways of ending a request that are not open to others.
fn plain(response: &Response) -> tiny_http::Response<io::Cursor<Vec<u8>>> {
    let content_type = tiny_http::Header::from_bytes(&b"Content-Type"[..], api::PLAIN_TEXT)
        .expect("a constant that is a valid header");
    tiny_http::Response::from_data(response.body.clone())
        .with_status_code(StatusCode(response.status))
        .with_header(content_type)
}

/// Where the kernel lists a client's connection, and how it writes the client's address there.
fn proc_net_tcp(client: &SocketAddr) -> (&'static str, String) {
    match client {
        SocketAddr::V4(address) => {
            let ip = u32::from_ne_bytes(address.ip().octets());
            ("/proc/net/tcp", format!("{ip:08X}:{:04X}", address.port()))
        }
        SocketAddr::V6(address) => {
            let mut text = String::new();
            for word in address.ip().octets().chunks_exact(4) {
                let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
                text.push_str(&format!("{word:08X}"));
            }
            ("/proc/net/tcp6", format!("{text}:{:04X}", address.port()))
        }
    }
}

/// The answer as it goes over the wire. Nothing from the request is in its head.
fn encode(response: &Response, is_head: bool, closes: bool) -> Vec<u8> {
    let reason = StatusCode(response.status).default_reason_phrase();
    let mut bytes = Vec::with_capacity(256 + response.body.len());
    let date = httpdate::fmt_http_date(SystemTime::now());
    let length = response.body.len();
    let mut head = || -> io::Result<()> {
        write!(bytes, "HTTP/1.1 {} {reason}\r\nDate: {date}\r\n", response.status)?;
        if let Some(content_type) = response.content_type {
            write!(bytes, "Content-Type: {content_type}\r\n")?;
        }
        if let Some(allow) = response.allow {
            write!(bytes, "Allow: {allow}\r\n")?;
        }
        if closes {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        write!(bytes, "Content-Length: {length}\r\n\r\n")
    };
    head().expect("writing to memory cannot fail");
    if !is_head {
        bytes.extend_from_slice(&response.body);
    }
    bytes
}
