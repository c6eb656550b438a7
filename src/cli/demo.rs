//! Three sidecars on this machine, to try things out without root, DNS server or containers.

use crate::cli::client;
use crate::sys::signals::Signals;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The number of sidecars.
const NODES: usize = 3;

/// The first of the HTTP ports; where one is taken, any free port replaces it.
const FIRST_HTTP_PORT: u16 = 8081;

/// How often the sidecars are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long a sidecar that was killed stays down.
const BACK_AFTER: Duration = Duration::from_secs(3);

struct Sidecar {
    name: String,
    http: SocketAddr,
    peer: SocketAddr,
    child: Child,
    gone_since: Option<Instant>,
    back_since: Option<Instant>,
}

/// A sidecar's map, in short.
#[derive(Clone, PartialEq, Eq)]
struct State {
    digest: String,
    keys: String,
}

/// Runs the sidecars, and prints what happens to them, until a signal arrives.
pub fn run() -> io::Result<()> {
    let signals = Signals::new()?;
    let places = free_places()?;
    let all: Vec<String> = places.iter().map(|(_, peer)| peer.to_string()).collect();
    let mut sidecars = Vec::new();
    for (index, &(http, peer)) in places.iter().enumerate() {
        let name = format!("node {}", index + 1);
        let child = start(&name, http, peer, &all)?;
        sidecars.push(Sidecar { name, http, peer, child, gone_since: None, back_since: None });
    }
    let outcome = introduce(&sidecars).and_then(|()| watch(&mut sidecars, &all, &signals));
    for sidecar in &mut sidecars {
        // They may have exited already: a Ctrl-C reaches them too.
        let _ = sidecar.child.kill();
        let _ = sidecar.child.wait();
    }
    outcome?;
    say("All three are stopped; nothing is left behind.")
}

/// Prints a line. Unlike `println!` it does not panic, which would leave the sidecars behind.
fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

fn free_places() -> io::Result<Vec<(SocketAddr, SocketAddr)>> {
    // Held until all are found, so that no port is used twice.
    let mut held = Vec::new();
    let mut hold = |port| -> io::Result<SocketAddr> {
        let local = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = local(port).or_else(|_| local(0))?;
        let address = listener.local_addr()?;
        held.push(listener);
        Ok(address)
    };
    (0..NODES).map(|index| Ok((hold(FIRST_HTTP_PORT + index as u16)?, hold(0)?))).collect()
}

fn start(name: &str, http: SocketAddr, peer: SocketAddr, all: &[String]) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("serve")
        .env("CLIENT_BIND", http.ip().to_string())
        .env("CLIENT_PORT", http.port().to_string())
        .env("PEER_BIND", peer.ip().to_string())
        .env("PEER_PORT", peer.port().to_string())
        .env("SERVICE_DNS_NAME", all.join(","))
        .env("MY_POD_NAME", name)
        .env("CLUSTER", format!("demo-{}", std::process::id()))
        .env("DRAIN_TIMEOUT", "200ms")
        .env("LOG_LEVEL", "error")
        .stdin(Stdio::null())
        .spawn()
}

fn introduce(sidecars: &[Sidecar]) -> io::Result<()> {
    say("Three sidecars are running on this machine:\n")?;
    for Sidecar { name, http, child, .. } in sidecars {
        say(&format!("  {name}: http://{http}  (process {})", child.id()))?;
    }
    let [first, second, third] = sidecars else { return Ok(()) };
    say(&format!(
        "
Paste this into another terminal. It writes a key to node 1 and reads it from node 2, then kills
node 3 and reads the key from it once it has been restarted, {} s later:

  curl -X PUT -d hello 'http://{}/map?k=greeting'
  curl 'http://{}/map?k=greeting&wait=5s'
  sleep 1
  kill -9 {}
  curl -s --retry 10 --retry-delay 1 --retry-all-errors 'http://{}/map?k=greeting&wait=5s'

What happens is shown below. Ctrl-C stops the demo.\n",
        BACK_AFTER.as_secs(),
        first.http,
        second.http,
        third.child.id(),
        third.http,
    ))
}

/// Looks at all sidecars again and again, and prints what has changed.
fn watch(sidecars: &mut [Sidecar], all: &[String], signals: &Signals) -> io::Result<()> {
    let began = Instant::now();
    let mut agreed: Option<State> = None;
    // When all agreed last: whatever differs now was written later.
    let mut agreed_at = began;
    while signals.wait(LOOK_EVERY).is_none() {
        let look_at = Instant::now();
        let say = |text: &str| say(&format!("{:5} ms  {text}", began.elapsed().as_millis()));
        let mut states = Vec::new();
        for sidecar in sidecars.iter_mut() {
            sidecar.revive(all, say)?;
            states.extend(sidecar.look());
        }
        let Some(state) = states.first().filter(|first| states.iter().all(|state| state == *first))
        else {
            continue;
        };
        if states.len() < NODES {
            continue;
        }
        let keys = match state.keys.as_str() {
            "1" => "1 key".to_owned(),
            keys => format!("{keys} keys"),
        };
        for sidecar in sidecars.iter_mut() {
            if let Some(since) = sidecar.back_since.take() {
                let ms = since.elapsed().as_millis();
                say(&format!("{} is back with {keys}, {ms} ms after its start", sidecar.name))?;
            }
        }
        if agreed.as_ref() != Some(state) {
            match agreed {
                None => say("all three have found each other")?,
                Some(_) => {
                    let ms = agreed_at.elapsed().as_millis();
                    say(&format!("a write has reached all three, in {ms} ms or less: {keys}"))?;
                }
            }
            agreed = Some(state.clone());
        }
        agreed_at = look_at;
    }
    say("")
}

impl Sidecar {
    /// Its map in short, once it is ready.
    fn look(&self) -> Option<State> {
        let response = client::request(self.http, "GET", "/stats", &[]).ok()?;
        let text = String::from_utf8(response.body).ok()?;
        let fact = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(line.to_owned())
        };
        // Sidecars that have not found each other agree too, on an empty map.
        let is_ready = fact("ready")? == "1";
        Some(State { digest: fact("digest")?, keys: fact("keys")? }).filter(|_| is_ready)
    }

    /// Starts it again a while after it was killed.
    fn revive(&mut self, all: &[String], say: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
        match self.gone_since {
            None => {
                if let Some(status) = self.child.try_wait()? {
                    say(&format!(
                        "{} is gone ({status}); it comes back in {} s",
                        self.name,
                        BACK_AFTER.as_secs()
                    ))?;
                    self.gone_since = Some(Instant::now());
                }
            }
            Some(since) if since.elapsed() >= BACK_AFTER => {
                self.child = start(&self.name, self.http, self.peer, all)?;
                self.gone_since = None;
                self.back_since = Some(Instant::now());
            }
            Some(_) => {}
        }
        Ok(())
    }
}
