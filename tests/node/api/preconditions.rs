//! Preconditions: `If-Match` and `If-None-Match`.

use super::etag;
use crate::support::{Node, assert_refused};

#[test]
fn preconditions_are_checked_against_the_current_version() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let mut request = |method: &str, header: (&str, &str), body: &[u8]| {
        client.request(method, "/map/lock", &[header], body)
    };
    assert_eq!(request("PUT", ("If-Match", "*"), b"v").status, 412);
    assert_eq!(request("DELETE", ("If-Match", "\"x\""), b"").status, 412);
    let first = request("PUT", ("If-None-Match", "*"), b"mine");
    assert_eq!(first.status, 201);
    assert_refused(&request("PUT", ("If-None-Match", "*"), b"yours"), 412);
    let second = request("PUT", ("If-Match", &etag(&first)), b"still mine");
    assert_eq!(second.status, 204);
    assert_refused(&request("PUT", ("If-Match", &etag(&first)), b"late"), 412);
    assert_refused(&request("PUT", ("If-Match", &format!("W/{}", etag(&second))), b"weak"), 412);
    assert_refused(&request("PUT", ("If-Match", "no quotes"), b"v"), 400);
    assert_refused(&request("DELETE", ("If-Match", &etag(&first)), b""), 412);
    assert_eq!(node.read("lock"), "still mine");
    let get = request("GET", ("If-None-Match", &etag(&second)), b"");
    assert_eq!((get.status, etag(&get), get.body.len()), (304, etag(&second), 0));
    assert_eq!(request("GET", ("If-None-Match", &etag(&first)), b"").status, 200);
    assert_refused(&request("GET", ("If-Match", &etag(&first)), b""), 412);
    assert_eq!(request("DELETE", ("If-Match", &etag(&second)), b"").status, 204);
    let two = node.client().request("GET", "/map?k=a&k=b", &[("If-None-Match", "*")], &[]);
    assert_refused(&two, 422);
}
