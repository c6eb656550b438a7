//! Assertions that many tests share.

use crate::support::{Node, RESPONSE_LIMIT, Response, eventually, same};

pub const KIB: usize = 1024;
pub const MIB: usize = 1024 * 1024;

/// Asserts that a response is a refusal with this status, and with one line of text as its reason.
#[track_caller]
pub fn assert_refused(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    let text = response.text();
    assert!(text.ends_with('\n') && text.lines().count() == 1 && text.len() > 12, "{text:?}");
    assert_eq!(response.header("Content-Type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.header("Content-Length"), Some(text.len().to_string().as_str()));
}

/// Asserts that the node serves a PUT and a GET over new connections.
#[track_caller]
pub fn assert_serves(node: &Node) {
    node.write("still", "serving");
    assert_eq!(node.read("still"), "serving");
}

/// Asserts that the node serves, and that it converges with a newcomer.
#[track_caller]
pub fn assert_healthy(node: &Node) {
    assert_serves(node);
    let here = node.peer.to_string();
    let settings = [("SERVICE_DNS_NAME", here.as_str()), ("SYNC_INTERVAL", "50ms")];
    let newcomer = Node::alone(&settings);
    newcomer.wait_until_ready();
    node.write("from here", "news");
    newcomer.write("from the newcomer", "more news");
    eventually(RESPONSE_LIMIT, "both have the same map", || {
        same(newcomer.read("from here"), "news".to_owned())?;
        same(node.read("from the newcomer"), "more news".to_owned())?;
        same(newcomer.stats()["digest"].clone(), node.stats()["digest"].clone())
    });
}
