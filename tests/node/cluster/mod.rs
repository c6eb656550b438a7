//! Clusters of real nodes: what they agree on, and what they survive.

mod convergence;

mod conflicts;

mod newcomers;

mod drain;

mod steady_state;

use crate::support::{Node, request_bytes};
use std::time::Duration;

/// A write reaches all nodes within this time; it takes milliseconds on an idle machine.
const CONVERGENCE_LIMIT: Duration = Duration::from_secs(3);

/// The limit for tests with many keys.
const BULK_LIMIT: Duration = Duration::from_secs(30);

/// Writes keys over several connections, each of which pipelines many requests.
fn fill(node: &Node, first: usize, count: usize, value_bytes: usize) {
    const CONNECTIONS: usize = 4;
    const AT_ONCE: usize = 64;
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            scope.spawn(move || {
                let mut client = node.client();
                let own: Vec<usize> =
                    (first..first + count).skip(connection).step_by(CONNECTIONS).collect();
                for part in own.chunks(AT_ONCE) {
                    let request = |index: &usize| {
                        let value = format!("{index:0>value_bytes$}");
                        request_bytes("PUT", &format!("/map?k=key{index}"), &[], value.as_bytes())
                    };
                    client.send(part.iter().flat_map(request).collect::<Vec<u8>>());
                    for _ in part {
                        assert_eq!(client.response().status, 201);
                    }
                }
            });
        }
    });
}
