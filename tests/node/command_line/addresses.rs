//! IPv4, IPv6, and both.

use super::COMMAND_LIMIT;
use crate::support::{Client, Cluster, Node, eventually, free_port, fresh_ips, run, same};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};

#[test]
fn two_nodes_converge_over_ipv6() {
    let ip = IpAddr::from(Ipv6Addr::LOCALHOST);
    if let Err(error) = TcpListener::bind((ip, 0)) {
        println!("skipped: no IPv6 on this machine: {error}");
        return;
    }
    let ports: Vec<u16> = (0..4).map(|_| free_port(&[ip])).collect();
    let nodes = [(ports[0], ports[1]), (ports[2], ports[3])];
    let list = format!("[::1]:{},[::1]:{}", ports[1], ports[3]);
    let start = |&(http, peer): &(u16, u16)| {
        Node::start(
            SocketAddr::new(ip, http),
            SocketAddr::new(ip, peer),
            &[("SERVICE_DNS_NAME", &list)],
        )
    };
    let cluster = Cluster { nodes: nodes.iter().map(start).collect() };
    cluster.nodes.iter().for_each(Node::wait_until_ready);
    cluster.nodes[0].write("key", "value");
    cluster.wait_for(COMMAND_LIMIT, "key", "value");
    // For a chunked upload the node asks the system whether the client is still connected.
    let mut client = cluster.nodes[1].client();
    client.send(
        "PUT /map?k=chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(client.response().status, 201);
    cluster.wait_for(COMMAND_LIMIT, "chunked", "abc");
    let output = run(&["get", "key", "--server", &format!("[::1]:{}", ports[0])], &[]);
    assert_eq!(output.stdout, b"key=value\n");
}

#[test]
fn an_ipv4_client_of_a_dual_stack_socket_is_served_like_any_other() {
    let v4 = IpAddr::from(fresh_ips(1)[0]);
    let all = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    if TcpListener::bind((all, 0)).is_err() {
        println!("skipped: no IPv6 on this machine");
        return;
    }
    let (http, peer) = (free_port(&[v4, all]), free_port(&[v4]));
    let own = v4.to_string();
    let settings = [("CLIENT_BIND", "::"), ("SERVICE_DNS_NAME", own.as_str())];
    let node = Node::start((v4, http).into(), (v4, peer).into(), &settings);
    for ip in [v4, Ipv6Addr::LOCALHOST.into()] {
        let mut client = Client::connect((ip, http).into());
        // The system lists this client's connection in the table of the other family.
        let head = "PUT /map?k=chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}3\r\nabc\r\n0\r\n\r\n"));
        assert!(client.response().status < 300);
        client.send(format!("{head}3\r\nx")).stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.response().status, 400);
        assert_eq!(node.read("chunked"), "abc");
    }
}

#[test]
fn one_port_serves_both_address_families() {
    let v4 = IpAddr::from(fresh_ips(1)[0]);
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    if TcpListener::bind((v6, 0)).is_err() {
        println!("skipped: no IPv6 on this machine");
        return;
    }
    let (http, peer) = (free_port(&[v4, v6]), free_port(&[v4, v6]));
    let own = format!("{v4},{v6}");
    let all =
        [("CLIENT_BIND", own.as_str()), ("PEER_BIND", "::,0.0.0.0"), ("SERVICE_DNS_NAME", &own)];
    let node = Node::start((v4, http).into(), (v4, peer).into(), &all);
    for ip in [v4, v6] {
        let response = Client::connect((ip, http).into()).get("/healthz");
        assert_eq!(response.body, b"ok\n");
    }
    // It discovers that both addresses are its own.
    eventually(COMMAND_LIMIT, "ready, and alone", || {
        same((node.is_ready(), node.stats()["peers"].clone()), (true, "0".to_owned()))
    });
}
