//! The HTTP server: tiny_http, and the guards that it needs.
//!
//! The only file that knows tiny_http. Requests with no body or a small one are answered by a fixed
//! pool of threads; larger uploads are read by a bounded number of threads of their own, so that a
//! slow one keeps nobody waiting.

use crate::core::api::request::{self, Head};
use crate::core::api::response::Response;
use crate::http::body::{self, MAX_DISCARDED_BYTES, TOO_SLOW, UPLOAD_TIMEOUT};
use crate::http::crew::Crew;
use crate::http::handler::{self, Outcome, Replicated};
use crate::http::listener::{Door, READ_TIMEOUT};
use crate::http::pipelining::Lanes;
use crate::http::response;
use crate::node::metrics::Counter;
use crate::node::state::Node;
use crate::node::watchers::{Interest, Wait, Waits};
use crate::sys::lock::lock;
use crate::sys::logger::{Limiter, PANICS};
use crate::sys::semaphore::Semaphore;
use crate::sys::threads::supervise;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tiny_http::{Method, ReadWrite, Request, Server, StatusCode};

/// Threads that answer requests, for each address listened on.
pub const WORKERS: usize = 2;

/// Bodies of up to this length have been read by tiny_http before the request is seen.
const PREREAD_BYTES: usize = 1024;

/// Threads that read larger bodies, for each address listened on; uploads beyond them wait.
pub const MAX_UPLOADS_AT_A_TIME: usize = 16;

/// How long a worker waits for a request before it looks whether tiny_http was set up anew.
const TAKE_TURNS_EVERY: Duration = Duration::from_millis(500);

/// How long to wait before listening anew after `accept` has failed.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Answers longer than this are written by threads of their own, so that a client which does not
/// read keeps no worker.
const LONG_ANSWER_BYTES: usize = 64 * 1024;

/// Threads that write long answers, for each address; the workers write those beyond them.
pub const MAX_LONG_ANSWERS_AT_A_TIME: usize = 16;

/// Threads that answer requests which have waited for a change.
const MAX_WAKERS: usize = 4;

/// How often we knock at our own door while requests come.
///
/// In a burst of connections tiny_http counts on one idle thread for several of them; those that
/// lose lie there, accepted and unread, until some thread has nothing to do. A knock frees one: a
/// thread is started for it, and goes on with what lies there.
const KNOCK_EVERY: Duration = Duration::from_millis(100);

/// While none come, we knock only every so many times.
const KNOCKS_SKIPPED: u32 = 10;

/// After so many knocks in a row without an answer the server is set up anew: tiny_http's
/// accepting thread may have panicked, which it says to nobody.
const MAX_KNOCKS_UNANSWERED: u32 = 4;

/// Serves HTTP on the listeners, in threads of its own.
pub fn start(node: &Arc<Node>, listeners: Vec<TcpListener>) -> io::Result<()> {
    let waits = Arc::new(Waits::new(node.clone()));
    for listener in listeners {
        let door = Door::new(listener).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot set a timeout for HTTP: {error}"))
        })?;
        let server = set_up(&door)?;
        let front = Arc::new(Front {
            node: node.clone(),
            door,
            listening: Mutex::new(server),
            former: Mutex::default(),
            lanes: Lanes::default(),
            uploads: Crew::new("upload", MAX_UPLOADS_AT_A_TIME),
            wakers: Crew::new("waker", MAX_WAKERS),
            given_up: Mutex::default(),
            long_answers: Semaphore::new(MAX_LONG_ANSWERS_AT_A_TIME),
            waits: waits.clone(),
            has_requests: AtomicBool::new(false),
        });
        for _ in 0..WORKERS {
            let front = front.clone();
            supervise("http", move || front.work())?;
        }
        supervise("http watch", move || front.watch())?;
    }
    supervise("waits", move || {
        waits.watch(|waiting: Waiting| {
            let wakers = waiting.front.wakers.clone();
            wakers.hand(move || waiting.go_on());
        });
    })
}

/// Sets tiny_http up on a copy of the listener, which outlives it.
fn set_up(door: &Door) -> io::Result<Arc<Listening>> {
    let server = Server::from_listener(door.listener()?, None)
        .map_err(|error| io::Error::other(format!("cannot serve HTTP: {error}")))?;
    Ok(Arc::new(Listening { server, turn: Mutex::default() }))
}

/// tiny_http, set up once.
struct Listening {
    server: Server,
    /// Held while taking a request, so that a connection's requests enter its lane in order.
    turn: Mutex<()>,
}

/// One address on which HTTP is served.
struct Front {
    node: Arc<Node>,
    door: Door,
    listening: Mutex<Arc<Listening>>,
    /// Those that accept nothing any more, and when one of their connections last had a request.
    former: Mutex<Vec<(Arc<Listening>, Instant)>>,
    lanes: Lanes<Request>,
    /// Reads bodies.
    uploads: Arc<Crew>,
    /// Answers requests that have waited, and those of former servers.
    wakers: Arc<Crew>,
    /// Connections with an unread body that may be dropped once the client is gone.
    given_up: Mutex<Vec<GivenUp>>,
    /// Long answers that are being written.
    long_answers: Semaphore,
    /// Shared by all fronts.
    waits: Arc<Waits<Waiting>>,
    /// Whether there was a request since the last look.
    has_requests: AtomicBool,
}

/// Its client, and what must not be dropped before that is gone.
type GivenUp = (Option<SocketAddr>, Box<dyn ReadWrite + Send>);

/// A request that waits for a change.
struct Waiting {
    front: Arc<Front>,
    request: Request,
    until: Instant,
    /// The answer to a write that waits for others to have it.
    written: Option<(Replicated, Response)>,
}

impl Waiting {
    /// Answers it if what it waited for has happened, or if its time is up.
    fn go_on(self) {
        let Self { front, request, until, written } = self;
        front.clone().serve(request, |request| match written {
            None => front.look_up(request, Some(until)),
            Some((replicated, response)) => front.confirm(request, replicated, response, until),
        });
    }
}

/// What became of a request.
enum Fate {
    /// It has its answer, or never will have one.
    Answered,
    /// Some other thread goes on with it.
    Elsewhere,
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
    fn work(self: &Arc<Self>) {
        loop {
            let listening = lock(&self.listening).clone();
            let turn = lock(&listening.turn);
            if !self.is_current(&listening) {
                continue;
            }
            let taken = listening.server.recv_timeout(TAKE_TURNS_EVERY);
            let taken = taken.map(|request| request.and_then(|request| self.enter(request)));
            if let Err(error) = &taken {
                self.listen_again(&listening, error);
            }
            drop(turn);
            if let Ok(Some(request)) = taken {
                self.serve(request, |request| self.answer(request));
            }
        }
    }

    fn is_current(&self, listening: &Arc<Listening>) -> bool {
        Arc::ptr_eq(listening, &lock(&self.listening))
    }

    /// Gives the request back if it is the first one of its connection.
    fn enter(&self, request: Request) -> Option<Request> {
        self.has_requests.store(true, Relaxed);
        match request.remote_addr() {
            Some(&client) => self.lanes.enter(client, request),
            None => Some(request),
        }
    }

    /// Any failure of `accept` ends tiny_http's accepting thread for good, and is said once.
    fn listen_again(&self, listening: &Arc<Listening>, error: &io::Error) {
        static LOG: Limiter = Limiter::new();
        while self.is_current(listening) {
            if let Some(silent) = LOG.pass() {
                log::warn!("accepting HTTP connections: {error}; listening anew{silent}");
            }
            std::thread::sleep(LISTEN_AGAIN_AFTER);
            self.listen_anew();
        }
    }

    /// Whether tiny_http could be set up once more.
    fn listen_anew(&self) -> bool {
        let anew = self.door.has_spare_descriptors().then(|| set_up(&self.door).ok());
        let Some(Some(anew)) = anew else { return false };
        let former = std::mem::replace(&mut *lock(&self.listening), anew);
        lock(&self.former).push((former, Instant::now()));
        self.node.metrics.count(Counter::HttpRestarts);
        true
    }

    /// Takes the requests that came to former servers, until none of their connections can be left.
    fn take_from_former(self: &Arc<Self>) {
        let mut taken = Vec::new();
        lock(&self.former).retain_mut(|(former, last)| {
            // A worker may still be at it.
            if let Ok(_turn) = former.turn.try_lock() {
                while let Ok(Some(request)) = former.server.try_recv() {
                    *last = Instant::now();
                    taken.extend(self.enter(request));
                }
            }
            last.elapsed() < READ_TIMEOUT + UPLOAD_TIMEOUT
        });
        for request in taken {
            let front = self.clone();
            self.wakers.hand(move || front.serve(request, |request| front.answer(request)));
        }
    }

    /// Keeps tiny_http going: see [`KNOCK_EVERY`] and [`MAX_KNOCKS_UNANSWERED`].
    fn watch(self: &Arc<Self>) {
        static LOG: Limiter = Limiter::new();
        let (mut unanswered, mut skipped, mut panics) = (0, 0, 0);
        loop {
            std::thread::sleep(KNOCK_EVERY);
            self.take_from_former();
            let panics_before = std::mem::replace(&mut panics, PANICS.load(Relaxed));
            let is_asked = self.has_requests.swap(false, Relaxed);
            let is_quiet = !is_asked && panics == panics_before && unanswered == 0;
            skipped = if is_quiet && skipped < KNOCKS_SKIPPED { skipped + 1 } else { 0 };
            if skipped > 0 {
                continue;
            }
            let mut given_up = lock(&self.given_up);
            if !given_up.is_empty() {
                let open = self.door.connections();
                given_up.retain(|(client, _)| !open.lack(client.as_ref()));
            }
            drop(given_up);
            unanswered = if self.door.knock(panics > panics_before) { 0 } else { unanswered + 1 };
            if unanswered >= MAX_KNOCKS_UNANSWERED && self.listen_anew() {
                unanswered = 0;
                if let Some(silent) = LOG.pass() {
                    log::warn!("HTTP does not answer ourselves; listening anew{silent}");
                }
            }
        }
    }

    /// Goes on with a request of a connection, and then with those that came behind it.
    fn serve(self: &Arc<Self>, request: Request, step: impl FnOnce(Request) -> Fate) {
        let client = request.remote_addr().copied();
        // A panic was logged; the connection must not wait for ever.
        let go_on = || catch_unwind(AssertUnwindSafe(|| step(request)));
        let mut fate = go_on().unwrap_or(Fate::Answered);
        while let (Fate::Answered, Some(client)) = (&fate, client) {
            let Some(next) = self.lanes.leave(client) else { return };
            let go_on = || catch_unwind(AssertUnwindSafe(|| self.answer(next)));
            fate = go_on().unwrap_or(Fate::Answered);
        }
    }

    fn answer(self: &Arc<Self>, request: Request) -> Fate {
        match Unread::of(&request) {
            Unread::Nothing => self.look_up(request, None),
            _ => {
                let front = self.clone();
                self.uploads.hand(move || {
                    front.serve(request, |request| front.answer_upload(request));
                });
                Fate::Elsewhere
            }
        }
    }

    /// Answers a request whose body is here, or has it wait.
    fn look_up(self: &Arc<Self>, mut request: Request, until: Option<Instant>) -> Fate {
        match self.carry_out(&mut request, Unread::Nothing, until) {
            Outcome::Answer(response) => self.respond(request, response),
            Outcome::Wait(interest, seen, until) => self.wait(request, interest, seen, until, None),
            Outcome::Confirm(response, replicated, until) => {
                self.confirm(request, replicated, response, until)
            }
        }
    }

    /// Answers a write that enough others have, or has it wait for them.
    fn confirm(
        self: &Arc<Self>,
        request: Request,
        replicated: Replicated,
        response: Response,
        until: Instant,
    ) -> Fate {
        let Replicated { wanted, writes } = replicated;
        let have = self.node.roster().confirmations(writes);
        if have >= wanted {
            self.respond(request, response)
        } else if until <= Instant::now() {
            self.respond(request, handler::unconfirmed(have, wanted, response))
        } else {
            let interest = Interest::Replicas { wanted, writes };
            self.wait(request, interest, 0, until, Some((replicated, response)))
        }
    }

    fn wait(
        self: &Arc<Self>,
        request: Request,
        interest: Interest,
        seen: u64,
        until: Instant,
        written: Option<(Replicated, Response)>,
    ) -> Fate {
        let request = Waiting { front: self.clone(), request, until, written };
        let look = || {
            let open = self.door.connections();
            move |waiting: &Waiting| open.lack(waiting.request.remote_addr())
        };
        let (added, gone) = self.waits.add(Wait { request, interest, seen, until }, look);
        for Waiting { front, request, .. } in gone {
            front.serve(request, |_| Fate::Answered);
        }
        match added {
            Ok(()) => Fate::Elsewhere,
            // There are too many already. A write is done all the same.
            Err(Waiting {
                request,
                written: Some((Replicated { wanted, writes }, response)),
                ..
            }) => {
                let have = self.node.roster().confirmations(writes);
                self.respond(request, handler::unconfirmed(have, wanted, response))
            }
            Err(Waiting { request, .. }) => {
                let reason = "too many requests wait: try again later";
                self.respond(request, Response::problem(503, reason))
            }
        }
    }

    fn answer_upload(self: &Arc<Self>, mut request: Request) -> Fate {
        let unread = Unread::of(&request);
        let response = match self.carry_out(&mut request, unread, None) {
            Outcome::Answer(response) => response,
            Outcome::Wait(..) => Response::problem(400, "a request that waits has no body"),
            // The body is read.
            Outcome::Confirm(response, replicated, until) => {
                return self.confirm(request, replicated, response, until);
            }
        };
        let waits_for_word = header(&request, "Expect").next().is_some();
        let client = request.remote_addr().copied();
        let takes_body = matches!(request.method(), Method::Put | Method::Post);
        let is_read = takes_body && response.status < 400;
        match unread {
            // Whatever the answer: nothing may have been read yet.
            Unread::Length(length) if length > MAX_DISCARDED_BYTES => {
                self.abandon(request, &response, false)
            }
            // The client sends nothing before it has our word: that comes first, and then tiny_http
            // reads away whatever it sends all the same.
            Unread::Length(_) if response.status >= 400 && waits_for_word => {
                self.count(&response);
                let _ = request.respond(plain(&response));
                Fate::Answered
            }
            _ if is_read => self.respond(request, response),
            // tiny_http reads away what is left of it, for as long as that takes. So we do it; but
            // what took too long already is not waited for again.
            Unread::Length(length) => {
                let is_slow = response.status == TOO_SLOW;
                if !is_slow && body::discard(&mut request.as_reader().take(length as u64)) {
                    self.respond(request, response)
                } else {
                    self.abandon(request, &response, true)
                }
            }
            // tiny_http reads nothing away of it, and takes what is left for the next request.
            Unread::Chunked | Unread::Nothing => {
                let open = client.filter(|&client| !self.lanes.is_closed(client));
                if let Some(client) = open.filter(|_| !body::discard(request.as_reader())) {
                    self.lanes.close(client);
                }
                self.respond(request, response)
            }
        }
    }

    /// Does what the request asks for; one that has waited already does so `until` then.
    fn carry_out(&self, request: &mut Request, unread: Unread, until: Option<Instant>) -> Outcome {
        let client = request.remote_addr().copied();
        if client.is_some_and(|client| self.lanes.is_closed(client)) {
            let reason = "the request before this one was not clear: nobody knows where it ended";
            return Outcome::Answer(Response::problem(400, reason));
        }
        if let Some(reason) = ambiguity(request) {
            client.into_iter().for_each(|client| self.lanes.close(client));
            return Outcome::Answer(Response::problem(400, reason));
        }
        let plan = {
            let request = &*request;
            let head = Head {
                method: request.method().as_str(),
                target: request.url(),
                header: &|name| {
                    let values: Vec<&str> = header(request, name).collect();
                    (!values.is_empty()).then(|| values.join(","))
                },
            };
            request::plan(&head, self.node.config.max_key_bytes)
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(problem) => return Outcome::Answer(problem),
        };
        let has_body = unread != Unread::Nothing || request.body_length().unwrap_or(0) > 0;
        let read_body = || self.read_body(request, unread);
        handler::carry_out(&self.node, plan, has_body, read_body, until)
    }

    /// The whole body, or why it cannot be stored.
    fn read_body(&self, request: &mut Request, unread: Unread) -> Result<Box<[u8]>, Response> {
        let announced = match unread {
            Unread::Chunked => None,
            Unread::Nothing | Unread::Length(_) => Some(request.body_length().unwrap_or(0)),
        };
        let max = self.node.config.max_value_bytes;
        // Before the body is asked for, which a client with `Expect` waits for.
        if announced.is_some_and(|length| length > max) {
            return Err(body::too_large(max));
        }
        let body = body::read_whole(request.as_reader(), announced, max);
        let client = request.remote_addr().copied();
        let body = match body {
            // A chunked body that is cut off looks complete through tiny_http. But then the end
            // that was read was that of the connection, and the kernel knows it. A client that
            // closes its side right after a complete one is refused along with those; none is
            // known to do so.
            Ok(_) if announced.is_none() && self.door.connections().lack(client.as_ref()) => {
                Err(body::ended_early())
            }
            body => body,
        };
        let is_broken = |problem: &Response| matches!(problem.status, 400 | TOO_SLOW);
        if announced.is_none() && body.as_ref().is_err_and(is_broken) {
            client.into_iter().for_each(|client| self.lanes.close(client));
        }
        body.map(Vec::into_boxed_slice)
    }

    fn respond(self: &Arc<Self>, request: Request, response: Response) -> Fate {
        self.count(&response);
        let client = request.remote_addr().copied();
        let is_head = *request.method() == Method::Head;
        // On a closed lane nothing more is carried out: the client had better open a new one.
        let closes = client.is_some_and(|client| self.lanes.is_closed(client))
            || header(&request, "Connection").any(|value| value.eq_ignore_ascii_case("close"));
        let bytes = response::encode(&response, reason(&response), is_head, closes);
        let mut writer = request.into_writer();
        // A client that is gone needs no answer.
        let mut write = move || drop(writer.write_all(&bytes).and_then(|()| writer.flush()));
        let is_long = response.body.len() > LONG_ANSWER_BYTES && !is_head;
        let place = || self.long_answers.try_acquire();
        let Some(place) = is_long.then(place).flatten() else {
            write();
            return Fate::Answered;
        };
        let front = self.clone();
        let write = move || {
            let _place = place;
            write();
            let next = client.and_then(|client| front.lanes.leave(client));
            next.into_iter().for_each(|next| front.serve(next, |next| front.answer(next)));
        };
        // Out of threads, the client is left without an answer.
        match std::thread::Builder::new().name("long answer".into()).spawn(write) {
            Ok(_) => Fate::Elsewhere,
            Err(_) => Fate::Answered,
        }
    }

    /// Answers, and gives the connection up with the body unread.
    ///
    /// tiny_http reads away what is left of a body when its reader is dropped, into a buffer of the
    /// whole announced length. So the reader is kept, until the client is gone if it `may_end` then
    /// and for ever otherwise; one thread of tiny_http and the connection stay behind with it.
    fn abandon(&self, request: Request, response: &Response, may_end: bool) -> Fate {
        self.count(response);
        self.node.metrics.count(Counter::HttpAbandoned);
        let client = request.remote_addr().copied();
        let is_head = *request.method() == Method::Head;
        // To upgrade is the one way to keep the reader, but tiny_http leaves out the length of what
        // it sends with that. So it sends an interim answer, and ours follows.
        let mut stream = request.upgrade("close", tiny_http::Response::empty(100));
        let bytes = response::encode(response, reason(response), is_head, true);
        let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
        if may_end {
            lock(&self.given_up).push((client, stream));
        } else {
            self.node.lost_connections.fetch_add(1, Relaxed);
            std::mem::forget(stream);
        }
        Fate::Answered
    }

    fn count(&self, response: &Response) {
        let is_good = response.status < 400;
        self.node.metrics.count(if is_good { Counter::GoodHttp } else { Counter::BadHttp });
    }
}

fn reason(response: &Response) -> &'static str {
    StatusCode(response.status).default_reason_phrase()
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
        // tiny_http has not touched these bodies.
        let is_untouched = asks_for_upgrade(request) || header(request, "Expect").next().is_some();
        match request.body_length() {
            Some(0) => Self::Nothing,
            Some(length) if length <= PREREAD_BYTES && !is_untouched => Self::Nothing,
            Some(length) => Self::Length(length),
            None if header(request, "Transfer-Encoding").next().is_some() => Self::Chunked,
            None => Self::Nothing,
        }
    }
}

/// Whether the client offers another protocol; tiny_http hands out what follows as it is then.
fn asks_for_upgrade(request: &Request) -> bool {
    header(request, "Connection").any(|value| value.to_ascii_lowercase().contains("upgrade"))
}

/// Why it is not clear what the body is, if it is not.
fn ambiguity(request: &Request) -> Option<&'static str> {
    let lengths: Vec<&str> = header(request, "Content-Length").collect();
    let encodings: Vec<&str> = header(request, "Transfer-Encoding").collect();
    body::ambiguity(&lengths, &encodings, asks_for_upgrade(request))
}

/// The answer as tiny_http writes it: it has ways of ending a request that are not open to others.
fn plain(response: &Response) -> tiny_http::Response<io::Cursor<Vec<u8>>> {
    let mut plain = tiny_http::Response::from_data(response.body.clone())
        .with_status_code(StatusCode(response.status));
    let headers = [("Content-Type", response.content_type), ("Allow", response.allow)];
    for (name, value) in headers {
        let header = value.map(|value| tiny_http::Header::from_bytes(name, value));
        header.into_iter().flatten().for_each(|header| plain.add_header(header));
    }
    plain
}
