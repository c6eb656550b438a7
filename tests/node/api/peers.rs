//! `GET /peers`.

use crate::support::{Cluster, Node, RESPONSE_LIMIT, eventually};

#[test]
fn peers_lists_each_peer_with_its_state() {
    let mut cluster = Cluster::start(3, &[("SYNC_INTERVAL", "50ms")]);
    cluster.nodes[0].write("a", "1");
    cluster.wait_for(RESPONSE_LIMIT, "a", "1");
    let peers = |node: &Node| node.client().get("/peers").text();
    eventually(RESPONSE_LIMIT, "all peers agree", || {
        let text = peers(&cluster.nodes[0]);
        let all = text.lines().count() == 2
            && text
                .lines()
                .all(|line| line.contains(" state=agree ") && line.ends_with(" failures=0"));
        if all { Ok(()) } else { Err(text) }
    });
    eventually(RESPONSE_LIMIT, "the clocks are known", || {
        let text = peers(&cluster.nodes[0]);
        if text.contains("clockOffsetMs=unknown") { Err(text) } else { Ok(()) }
    });
    cluster.nodes[2].kill();
    eventually(RESPONSE_LIMIT, "one peer fails", || {
        let text = peers(&cluster.nodes[0]);
        let failing = text.lines().filter(|line| !line.ends_with(" failures=0")).count();
        if failing == 1 { Ok(()) } else { Err(text) }
    });
}
