//! The connections to an endpoint that neither side has closed, as the kernel lists them.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

pub struct OpenConnections {
    clients: HashSet<String>,
    is_known: bool,
}

impl OpenConnections {
    /// The open connections to a port of this machine.
    pub fn of(port: u16) -> Self {
        const ESTABLISHED: &str = "01";
        let local_port = format!(":{port:04X}");
        let mut open = Self { clients: HashSet::new(), is_known: false };
        // A kernel without IPv6 has only one of them.
        for table in ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(std::fs::read_to_string) {
            open.is_known = true;
            for line in table.lines() {
                let mut words = line.split_whitespace().skip(1);
                if let (Some(local), Some(remote), Some(ESTABLISHED)) =
                    (words.next(), words.next(), words.next())
                {
                    if local.ends_with(&local_port) {
                        open.clients.insert(remote.to_owned());
                    }
                }
            }
        }
        open
    }

    /// Whether a client has closed its side.
    pub fn is_gone(&self, client: &SocketAddr) -> bool {
        self.is_known && !self.clients.contains(&in_table(client))
    }
}

/// A client's address, as the kernel writes it in `/proc/net/tcp`.
fn in_table(client: &SocketAddr) -> String {
    let ip = match client.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = ip.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
    let ip: String = words.map(|word| format!("{:08X}", u32::from_ne_bytes(word))).collect();
    format!("{ip}:{:04X}", client.port())
}
