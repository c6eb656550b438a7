//! Settings: from the environment, or from a flag of the same name, which wins.

use crate::core::message::{self, is_cluster_name};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// One setting, for `--help` and the README.
pub struct Setting {
    /// The environment variable; in kebab-case, the flag.
    pub name: &'static str,
    /// The default, as a user would write it; empty if there is none.
    pub default: &'static str,
    /// One line for `--help`.
    pub help: &'static str,
}

const fn setting(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, default, help }
}

/// All settings.
pub const SETTINGS: [Setting; 16] = [
    setting("CLIENT_PORT", "80", "port of the HTTP interface for the application"),
    setting(
        "CLIENT_BIND",
        "127.0.0.1,::1",
        "comma-separated addresses of the HTTP interface; any but loopback exposes the map",
    ),
    setting(
        "PEER_PORT",
        "46747",
        "port on which the sidecars talk to each other; must be the same on all of them",
    ),
    setting("PEER_BIND", "::,0.0.0.0", "comma-separated addresses on which peers connect"),
    setting(
        "SERVICE_DNS_NAME",
        "gossip-sidecar",
        "the headless Service: comma-separated DNS names, IP addresses or HOST:PORT",
    ),
    setting("MY_POD_IP", "", "the address at which peers reach this pod"),
    setting("MY_POD_NAME", "", "this pod's name, shown in /stats"),
    setting(
        "CLUSTER",
        "default",
        "the cluster's name; only sidecars with the same one talk to each other",
    ),
    setting(
        "SYNC_INTERVAL",
        "1s",
        "mean time between the exchanges that a sidecar opens, such as 250ms, 1s or 5m",
    ),
    setting("MAX_KEY_BYTES", "1KiB", "longest key that clients can write, at most 64KiB"),
    setting(
        "MAX_VALUE_BYTES",
        "1MiB",
        "longest value or form that clients can write, at most 16MiB",
    ),
    setting("MAX_STORE_BYTES", "64MiB", "a client's write that would make the map larger gets 507"),
    setting(
        "TOMBSTONE_TTL",
        "24h",
        "how long deletions are remembered; a node isolated for half of it drops deleted keys",
    ),
    setting("READY_TIMEOUT", "10s", "/readyz is 200 after this time even without a peer"),
    setting(
        "DRAIN_TIMEOUT",
        "5s",
        "longest time for which the last writes are pushed to peers after SIGTERM",
    ),
    setting("LOG_LEVEL", "info", "off, error, warn, info, debug or trace"),
];

/// A host to look up peers at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// A DNS name or an IP address.
    pub name: String,
    /// Its peer port.
    pub port: u16,
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses of the HTTP interface.
    pub client: Vec<SocketAddr>,
    /// The addresses on which peers connect.
    pub peer: Vec<SocketAddr>,
    /// The hosts at which peers are looked up.
    pub service: Vec<Host>,
    /// The address at which peers reach this pod.
    pub pod_ip: Option<IpAddr>,
    /// Shown to people.
    pub pod_name: Option<String>,
    /// See [`message::Hello::cluster`].
    pub cluster: Box<str>,
    /// The mean time between two rounds.
    pub sync_interval: Duration,
    /// The longest key that clients can write.
    pub max_key_bytes: usize,
    /// The longest value that clients can write.
    pub max_value_bytes: usize,
    /// See [`crate::core::store::Limits`].
    pub max_store_bytes: u64,
    /// See [`crate::core::store::Limits`].
    pub tombstone_ttl: Duration,
    pub ready_timeout: Duration,
    pub drain_timeout: Duration,
    pub log_level: log::LevelFilter,
}

/// A setting whose value is invalid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadSetting {
    name: &'static str,
    value: String,
    right: String,
}

impl std::error::Error for BadSetting {}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?} is invalid: expected {}", self.name, self.value, self.right)
    }
}

fn default_of(name: &str) -> &'static str {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    setting.expect("every setting is in the table").default
}

/// A setting's flag: `CLIENT_PORT` is `--client-port`.
pub fn flag(setting: &Setting) -> String {
    setting.name.to_ascii_lowercase().replace('_', "-")
}

impl Config {
    /// Parses all settings. `lookup` returns a setting's text by its name; an empty text counts as
    /// unset.
    pub fn new(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadSetting> {
        let text = |name: &'static str| Text {
            name,
            value: lookup(name)
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| default_of(name).to_owned()),
        };
        let client_port = text("CLIENT_PORT").port()?;
        let peer_port = text("PEER_PORT").port()?;
        let with_port = |port| move |ip| SocketAddr::new(ip, port);
        Ok(Self {
            client: text("CLIENT_BIND").ips()?.into_iter().map(with_port(client_port)).collect(),
            peer: text("PEER_BIND").ips()?.into_iter().map(with_port(peer_port)).collect(),
            service: text("SERVICE_DNS_NAME").hosts(peer_port)?,
            pod_ip: text("MY_POD_IP").optional_ip()?,
            pod_name: Some(text("MY_POD_NAME").value).filter(|name| !name.is_empty()),
            cluster: text("CLUSTER").cluster()?,
            sync_interval: text("SYNC_INTERVAL")
                .duration(Duration::from_millis(10)..=Duration::from_secs(3600))?,
            max_key_bytes: text("MAX_KEY_BYTES").size(message::MAX_KEY_BYTES as u64)? as usize,
            max_value_bytes: text("MAX_VALUE_BYTES").size(message::MAX_VALUE_BYTES as u64)?
                as usize,
            max_store_bytes: text("MAX_STORE_BYTES").size(1 << 40)?,
            tombstone_ttl: text("TOMBSTONE_TTL")
                .duration(Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3600))?,
            ready_timeout: text("READY_TIMEOUT")
                .duration(Duration::ZERO..=Duration::from_secs(3600))?,
            drain_timeout: text("DRAIN_TIMEOUT")
                .duration(Duration::ZERO..=Duration::from_secs(3600))?,
            log_level: text("LOG_LEVEL").level()?,
        })
    }

    /// Refuses a port for both clients and peers on addresses that overlap: the second listener
    /// would find it in use by this very process.
    pub fn check_ports(&self) -> Result<(), String> {
        for client in &self.client {
            if let Some(peer) = self.peer.iter().find(|peer| overlap(client, peer)) {
                let port = client.port();
                return Err(format!(
                    "CLIENT_PORT and PEER_PORT are both {port}, on addresses that overlap ({client} and {peer}): \
                     choose two ports, such as CLIENT_PORT={} and PEER_PORT={}",
                    default_of("CLIENT_PORT"),
                    default_of("PEER_PORT")
                ));
            }
        }
        Ok(())
    }

    /// Our own addresses among the peers, as far as they are known; the advertise address first.
    pub fn own_addresses(&self) -> Vec<SocketAddr> {
        let port = self.peer[0].port();
        let pod = self.pod_ip.map(|ip| SocketAddr::new(ip, port));
        let bound = self.peer.iter().copied().filter(|address| !address.ip().is_unspecified());
        pod.into_iter().chain(bound).collect()
    }

    /// The address at which a client on this machine reaches the HTTP interface.
    pub fn local_client(&self) -> SocketAddr {
        local(self.client[0])
    }
}

/// The address at which this machine itself reaches a listener.
pub fn local(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listener.port())
}

/// Whether only one of two addresses can be listened on.
fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let ips = [one.ip().to_canonical(), other.ip().to_canonical()];
    one.port() == other.port()
        && match ips {
            [one, other] if one.is_ipv4() == other.is_ipv4() => {
                one == other || one.is_unspecified() || other.is_unspecified()
            }
            // An unspecified IPv6 socket takes IPv4 connections too.
            _ => ips.iter().any(|ip| ip.is_ipv6() && ip.is_unspecified()),
        }
}

/// The text of a setting, to be parsed.
struct Text {
    name: &'static str,
    value: String,
}

impl Text {
    fn bad<T>(self, right: impl Into<String>) -> Result<T, BadSetting> {
        Err(BadSetting { name: self.name, value: self.value, right: right.into() })
    }

    fn port(self) -> Result<u16, BadSetting> {
        match self.value.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => self.bad("a port from 1 to 65535, such as 8080"),
        }
    }

    fn ips(self) -> Result<Vec<IpAddr>, BadSetting> {
        match self.value.split(',').map(|ip| ip.trim().parse()).collect() {
            Ok(ips) => Ok(ips),
            Err(_) => self.bad("comma-separated IP addresses, such as 127.0.0.1,::1"),
        }
    }

    fn optional_ip(self) -> Result<Option<IpAddr>, BadSetting> {
        match self.value.parse() {
            Ok(ip) => Ok(Some(ip)),
            Err(_) if self.value.is_empty() => Ok(None),
            Err(_) => self.bad("an IP address, such as 10.0.0.7"),
        }
    }

    fn hosts(self, default_port: u16) -> Result<Vec<Host>, BadSetting> {
        let host = |text: &str| {
            if let Ok(address) = text.parse::<SocketAddr>() {
                return Some(Host { name: address.ip().to_string(), port: address.port() });
            }
            if let Ok(ip) = text.parse::<IpAddr>() {
                return Some(Host { name: ip.to_string(), port: default_port });
            }
            let (name, port) = match text.split_once(':') {
                Some((name, port)) => (name, port.parse().ok().filter(|&port| port > 0)?),
                None => (text, default_port),
            };
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            let is_name = (1..=254).contains(&name.len()) && name.bytes().all(allowed);
            is_name.then(|| Host { name: name.to_owned(), port })
        };
        match self.value.split(',').map(|text| host(text.trim())).collect() {
            Some(hosts) => Ok(hosts),
            None => self.bad("comma-separated DNS names, IP addresses or HOST:PORT, such as gossip-sidecar or 10.0.0.7:46747,[fd00::7]:46747"),
        }
    }

    fn cluster(self) -> Result<Box<str>, BadSetting> {
        if is_cluster_name(&self.value) {
            return Ok(self.value.into());
        }
        let max = message::MAX_CLUSTER_BYTES;
        self.bad(format!("1 to {max} letters, digits, '.', '_' or '-', such as shop-eu.1"))
    }

    fn duration(self, range: std::ops::RangeInclusive<Duration>) -> Result<Duration, BadSetting> {
        match humantime::parse_duration(&self.value) {
            Ok(duration) if range.contains(&duration) => Ok(duration),
            _ => {
                let (least, most) = range.into_inner();
                let shown = humantime::format_duration;
                let right = default_of(self.name);
                let (least, most) = (shown(least), shown(most));
                self.bad(format!("a duration from {least} to {most}, such as {right}"))
            }
        }
    }

    fn size(self, max: u64) -> Result<u64, BadSetting> {
        const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0)];
        let bytes = UNITS.iter().find_map(|&(unit, shift)| {
            let digits = self.value.strip_suffix(unit)?;
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number: u64 = is_number.then(|| digits.parse().ok())??;
            number.checked_mul(1 << shift)
        });
        match bytes {
            Some(bytes) if (1..=max).contains(&bytes) => Ok(bytes),
            _ => {
                let right = default_of(self.name);
                self.bad(format!(
                    "a size from 1 to {max} bytes (or KiB, MiB, GiB), such as {right}"
                ))
            }
        }
    }

    fn level(self) -> Result<log::LevelFilter, BadSetting> {
        match self.value.parse() {
            Ok(level) => Ok(level),
            Err(_) => self.bad("off, error, warn, info, debug or trace"),
        }
    }
}
