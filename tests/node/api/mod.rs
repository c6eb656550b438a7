//! The API beyond k8s-gossipcar's contract, on one node and over gossip.

mod values;

mod deletion;

mod expiry;

mod forms;

mod listing;

mod json;

mod preconditions;

mod blocking_queries;

mod replicas;

mod peers;

use crate::support::Response;

fn etag(response: &Response) -> String {
    response.header("ETag").unwrap_or_else(|| panic!("no ETag: {response:?}")).to_owned()
}
