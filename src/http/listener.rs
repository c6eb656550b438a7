//! The listening socket of the HTTP server, and what the system tells of it.

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A connection on which nothing comes for this long is closed, be it idle or half-way through an
/// upload. It is more than a request may wait for a change, and more than the time between two
/// knocks: `accept` has the same limit.
pub const READ_TIMEOUT: Duration = Duration::from_secs(75);

/// A client that takes nothing of its answer for this long does not get the rest.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// We knock again at once while threads are started for it, up to so many times.
const MAX_KNOCKS_AT_ONCE: usize = 64;

/// How long to wait for the answer to a knock.
const KNOCK_PATIENCE: Duration = Duration::from_millis(250);

/// Descriptors that must be free before we listen anew: without them accepting fails again.
const DESCRIPTORS_TO_LISTEN: usize = 8;

/// One address on which HTTP is served.
pub struct Door(TcpListener);

impl Door {
    /// Sets the timeouts, which connections inherit from their listener.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        // They are options of every socket, but the standard library has them for streams only.
        let socket = TcpStream::from(OwnedFd::from(listener.try_clone()?));
        socket.set_read_timeout(Some(READ_TIMEOUT))?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(Self(listener))
    }

    /// A copy, which the server may lose.
    pub fn listener(&self) -> io::Result<TcpListener> {
        self.0.try_clone()
    }

    /// Whether enough descriptors are free for accepting to go well.
    pub fn has_spare_descriptors(&self) -> bool {
        let spare: io::Result<Vec<TcpListener>> =
            (0..DESCRIPTORS_TO_LISTEN).map(|_| self.listener()).collect();
        spare.is_ok()
    }

    /// Knocks until no new thread is started for it; says whether the last knock was answered.
    ///
    /// A thread that finds a broken connection lying there may panic over it, and leave the rest
    /// lying: where there were panics each knock clears but one away, and so we knock on.
    pub fn knock(&self, were_panics: bool) -> bool {
        for _ in 0..MAX_KNOCKS_AT_ONCE {
            let threads_before = threads();
            if self.knock_once().is_err() {
                return false;
            }
            // An idle thread that answers shows that nothing lies there any more.
            if !were_panics && threads() <= threads_before {
                break;
            }
        }
        true
    }

    /// Sends what is no request, so that the server answers it by itself.
    fn knock_once(&self) -> io::Result<()> {
        let mut door = self.0.local_addr()?;
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

    /// The connections that no side has closed, as far as the system says.
    pub fn connections(&self) -> Connections {
        const ESTABLISHED: &str = "01";
        let port = self.0.local_addr().map_or(0, |own| own.port());
        let local_port = format!(":{port:04X}");
        let (mut open, mut is_known) = (HashSet::new(), false);
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            // A kernel without IPv6 has but one of them.
            let table = std::fs::read_to_string(table);
            is_known |= table.is_ok();
            for line in table.unwrap_or_default().lines() {
                let mut words = line.split_whitespace().skip(1);
                if let (Some(local), Some(remote), Some(ESTABLISHED)) =
                    (words.next(), words.next(), words.next())
                {
                    if local.ends_with(&local_port) {
                        open.insert(remote.to_owned());
                    }
                }
            }
        }
        Connections { open, is_known }
    }
}

/// Connections that are open on both sides, by their clients' addresses.
pub struct Connections {
    open: HashSet<String>,
    is_known: bool,
}

impl Connections {
    /// Whether a client has closed its side.
    pub fn lack(&self, client: Option<&SocketAddr>) -> bool {
        client.is_some_and(|client| self.is_known && !self.open.contains(&in_proc(client)))
    }
}

/// How many threads this process has, as far as the system says.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// A client's address as the kernel writes it in its tables.
fn in_proc(client: &SocketAddr) -> String {
    let mut text = String::new();
    let mut write = |word: [u8; 4]| text.push_str(&format!("{:08X}", u32::from_ne_bytes(word)));
    match client.ip() {
        IpAddr::V4(ip) => write(ip.octets()),
        IpAddr::V6(ip) => {
            ip.octets().chunks_exact(4).for_each(|word| write([word[0], word[1], word[2], word[3]]))
        }
    }
    text + &format!(":{:04X}", client.port())
}
