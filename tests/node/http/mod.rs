//! The HTTP contract, to the byte, against a real node.

mod map;

mod limits;

mod methods;

mod connections;

mod bodies;

mod pages;

use crate::support::Response;

/// The head without the date, which differs each time.
fn without_date(response: &Response) -> String {
    assert!(response.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{response:?}");
    response.head.lines().filter(|line| !line.starts_with("Date:")).collect::<Vec<_>>().join("|")
}
