//! Network namespaces, one for each node, and their links.
//!
//! Each has two links. `ctl` is a cable to a bridge on this machine, over which the driver speaks
//! HTTP and the node asks for names; it is never disturbed. `data` is a tunnel (VXLAN) whose
//! packets come out at the [`crate::wire`], which passes them on as a bad network would.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::{Command, Stdio};

/// Where iproute2 finds what replaces a namespace's files in `/etc`.
const NETNS_ETC: &str = "/etc/netns";

/// Names of everything that the suite creates begin with this and the process id.
const PREFIX: &str = "gsf";

/// The name under which the nodes look each other up.
pub const SERVICE: &str = "peers.test";

/// The prefix length of the link with all data addresses, including unused ones.
const DATA_PREFIX_LENGTH: u8 = 16;

/// What a tunnel leaves of a packet of 1500 bytes.
const TUNNEL_MTU: u16 = 1450;

/// The programs that must be installed, and their Debian packages.
const TOOLS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("prlimit", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
    ("sh", "dash"),
];

/// Runs a program to its end; what it prints to stderr is the error.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    run_with_input(program, arguments, "")
}

fn run_with_input(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let failed = |why: String| format!("{program} {}: {why}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).map_err(|error| failed(error.to_string()))?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What this machine lacks to run the suite.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    for (tool, package) in TOOLS {
        let mut directories = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter();
        if !directories.any(|directory| std::path::Path::new(directory).join(tool).exists()) {
            missing.push(format!("{tool} is not installed (apt-get install {package})"));
        }
    }
    if !missing.is_empty() {
        return missing;
    }
    let name = format!("{PREFIX}-{}-probe", std::process::id());
    match run("ip", &["netns", "add", &name]) {
        Err(error) => missing.push(format!("no network namespaces; are you root? {error}")),
        Ok(_) => {
            let link = "link add data type vxlan id 1 remote 127.0.0.1 dstport 4789";
            let mut arguments = vec!["-n", name.as_str()];
            arguments.extend(link.split(' '));
            if let Err(error) = run("ip", &arguments) {
                missing.push(format!("this kernel has no VXLAN (CONFIG_VXLAN): {error}"));
            }
            let _ = run("ip", &["netns", "delete", &name]);
        }
    }
    missing
}

/// One namespace and its addresses.
#[derive(Clone)]
pub struct Namespace {
    /// The namespace's name.
    pub name: String,
    /// For HTTP and DNS.
    pub control: Ipv4Addr,
    /// For gossip.
    pub data: Ipv4Addr,
}

/// All the namespaces of this run; removed when dropped.
pub struct Network {
    subnet: u8,
    tunnel_port: u16,
    /// In the order of the nodes.
    pub namespaces: Vec<Namespace>,
}

impl Network {
    /// The bridge alone. The driver's services bind to its address before the namespaces are made.
    pub fn new() -> Result<Self, String> {
        let bridge = bridge(std::process::id());
        let taken = run("ip", &["-4", "-oneline", "address"])?;
        // 198.18.0.0/15 is reserved for benchmarks of networks (RFC 2544), so that no real host has
        // such an address.
        let first = (std::process::id() % 250) as u8;
        let subnet = (0..250)
            .map(|step| ((u16::from(first) + step) % 250) as u8)
            .find(|subnet| !taken.contains(&format!(" 198.18.{subnet}.")))
            .ok_or("all networks in 198.18.0.0/16 are in use")?;
        let network = Self { subnet, tunnel_port: 0, namespaces: Vec::new() };
        let address = network.driver();
        batch(
            None,
            &format!(
                "link add {bridge} type bridge\naddress add {address}/24 dev {bridge}\nlink set {bridge} up\n"
            ),
        )?;
        Ok(network)
    }

    /// The driver's address on the control network.
    pub fn driver(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.subnet, 1)
    }

    /// A data address; nodes have those from 10 on.
    pub fn data_address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 19, self.subnet, host)
    }

    /// Unused addresses of the data network.
    pub fn dead_addresses(&self, count: usize) -> Vec<Ipv4Addr> {
        let other = self.subnet.wrapping_add(1);
        let at = |index: usize| {
            Ipv4Addr::new(198, 19, other.wrapping_add((index / 250) as u8), 1 + (index % 250) as u8)
        };
        (0..count).map(at).collect()
    }

    /// Creates a namespace for each node. Their tunnels end at this port of the driver.
    pub fn make(&mut self, nodes: usize, tunnel_port: u16) -> Result<(), String> {
        self.tunnel_port = tunnel_port;
        let pid = std::process::id();
        let bridge = bridge(pid);
        for index in 0..nodes {
            let name = format!("{PREFIX}-{pid}-{index}");
            let cable = format!("{PREFIX}{pid}v{index}");
            let control = Ipv4Addr::new(198, 18, self.subnet, 10 + index as u8);
            let data = self.data_address(10 + index as u8);
            let etc = format!("{NETNS_ETC}/{name}");
            // One attempt a second: the system's default of five would hide what is tested here.
            let resolver = format!("nameserver {}\noptions timeout:1 attempts:2\n", self.driver());
            std::fs::create_dir_all(&etc)
                .and_then(|()| std::fs::write(format!("{etc}/resolv.conf"), resolver))
                .map_err(|error| format!("{etc}/resolv.conf: {error}"))?;
            self.namespaces.push(Namespace { name: name.clone(), control, data });
            batch(
                None,
                &format!(
                    "netns add {name}\nlink add {cable} type veth peer name ctl netns {name}\nlink set {cable} master {bridge} up\n"
                ),
            )?;
            let (driver, [.., c, d]) = (self.driver(), data.octets());
            // The wire finds a packet's receiver by its IP address, so that no ARP is needed.
            batch(
                Some(&name),
                &format!(
                    "link set lo up
address add {control}/24 dev ctl
link set ctl up
link add data address 02:00:00:00:{c:02x}:{d:02x} mtu {TUNNEL_MTU} type vxlan id 1 local {control} remote {driver} dstport {tunnel_port} nolearning
link set data arp off up
address add {data}/{DATA_PREFIX_LENGTH} dev data
"
                ),
            )?;
            // Otherwise packets leave without a checksum and larger than the link's MTU, which a
            // real network card would fix and the wire does not.
            let arguments = ["netns", "exec", &name, "ethtool", "-K", "data", "tx", "off"];
            run("ip", &arguments)?;
        }
        Ok(())
    }

    /// Gives a node another data address, like a pod that is recreated.
    pub fn readdress(&mut self, index: usize, data: Ipv4Addr) -> Result<(), String> {
        let namespace = &mut self.namespaces[index];
        let old = std::mem::replace(&mut namespace.data, data);
        let length = DATA_PREFIX_LENGTH;
        batch(
            Some(&namespace.name),
            &format!("address del {old}/{length} dev data\naddress add {data}/{length} dev data\n"),
        )
    }

    /// The end of a node's tunnel in its namespace, and the MAC address behind it.
    pub fn tunnel(&self, index: usize) -> (SocketAddr, [u8; 6]) {
        let namespace = &self.namespaces[index];
        // The MAC address does not change with the IP address.
        let [.., c, d] = self.data_address(10 + index as u8).octets();
        (SocketAddrV4::new(namespace.control, self.tunnel_port).into(), [2, 0, 0, 0, c, d])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        clean(std::process::id());
    }
}

fn bridge(pid: u32) -> String {
    format!("{PREFIX}{pid}")
}

fn batch(namespace: Option<&str>, commands: &str) -> Result<(), String> {
    let mut arguments = Vec::new();
    arguments.extend(namespace.into_iter().flat_map(|name| ["-n", name]));
    arguments.extend(["-batch", "-"]);
    run_with_input("ip", &arguments, commands).map(drop)
}

/// Removes whatever the run with this process id has created.
fn clean(pid: u32) {
    let prefix = format!("{PREFIX}-{pid}-");
    for name in namespaces().iter().filter(|name| name.starts_with(&prefix)) {
        for process in run("ip", &["netns", "pids", name]).unwrap_or_default().split_whitespace() {
            let _ = run("sh", &["-c", &format!("kill -KILL {process}")]);
        }
        let _ = run("ip", &["netns", "delete", name]);
        let _ = std::fs::remove_dir_all(format!("{NETNS_ETC}/{name}"));
    }
    // Succeeds only if it is empty.
    let _ = std::fs::remove_dir(NETNS_ETC);
    // The kernel removes a namespace's end of a cable some time after the namespace.
    let bridge = bridge(pid);
    let links = run("ip", &["-oneline", "link"]).unwrap_or_default();
    let names = links.lines().filter_map(|line| line.split([' ', ':', '@']).nth(2));
    for name in names.filter(|name| name.strip_prefix(&*bridge).is_some_and(is_cable)) {
        let _ = run("ip", &["link", "delete", name]);
    }
    let _ = run("ip", &["link", "delete", &bridge]);
}

fn is_cable(rest: &str) -> bool {
    rest.strip_prefix('v').is_some_and(|index| index.parse::<usize>().is_ok())
}

fn namespaces() -> Vec<String> {
    let list = run("ip", &["netns", "list"]).unwrap_or_default();
    list.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

/// Removes what killed runs have left behind, and returns their process ids.
pub fn clean_leftovers() -> Vec<u32> {
    let from_namespace = |name: &String| {
        name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse().ok()
    };
    let links = run("ip", &["-oneline", "link"]).unwrap_or_default();
    let from_link = |line: &str| line.split(": ").nth(1)?.strip_prefix(PREFIX)?.parse::<u32>().ok();
    let mut pids: Vec<u32> = namespaces().iter().filter_map(from_namespace).collect();
    pids.extend(links.lines().filter_map(from_link));
    pids.sort_unstable();
    pids.dedup();
    let comm = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    let own = comm("self");
    // The id may belong to another program by now.
    let is_running = |pid: &u32| own.is_some() && comm(&pid.to_string()) == own;
    pids.retain(|pid| !is_running(pid));
    pids.iter().for_each(|&pid| clean(pid));
    pids
}
