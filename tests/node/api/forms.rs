//! Many values in one request, as a form.

use crate::support::{Client, Node, RESPONSE_LIMIT, assert_refused, eventually, same};

#[test]
fn a_form_is_written_completely_or_not_at_all() {
    let node = Node::alone(&[("MAX_STORE_BYTES", "1000"), ("MAX_KEY_BYTES", "10")]);
    let mut client = node.client();
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let post = |client: &mut Client, target: &str, body: &[u8]| {
        client.request("POST", target, &form, body)
    };
    let posted = post(&mut client, "/map", b"a=1&b=2+2&c=%00%ff&d=&&=empty");
    assert_eq!((posted.status, posted.header("Content-Length")), (204, Some("0")));
    assert_eq!(client.get("/map?k=a&k=b&k=c&k=d&k=").body, b"a=1\nb=2 2\nc=\0\xff\nd=\n=empty\n");
    let digest = node.stats()["digest"].clone();
    let too_much = format!("a=9&f=2&g={}", "x".repeat(400));
    assert_refused(&post(&mut client, "/map", too_much.as_bytes()), 507);
    for (body, status) in [
        ("x=1&0123456789a=2", 400),
        ("x=1&y=%zz", 400),
        ("x=1&%ff=2", 400),
        ("x=1&y=2&x=3", 422),
        ("", 422),
        ("&&", 422),
        // What `curl -d hello` sends.
        ("hello", 422),
        ("x=1&y&z=2", 422),
        ("%3D", 422),
    ] {
        assert_refused(&post(&mut client, "/map", body.as_bytes()), status);
    }
    let not_a_form = post(&mut client, "/map", b"hello").text();
    assert!(not_a_form.contains("PUT one value to /map/KEY"), "{not_a_form}");
    assert_refused(&post(&mut client, "/map?k=a", b"x=1"), 422);
    assert_refused(&client.request("POST", "/map", &[("Content-Type", "text/plain")], b"x=1"), 415);
    assert_eq!(node.stats()["digest"], digest, "nothing has changed");
    assert_eq!(post(&mut client, "/map?ttl=20ms", b"a=short").status, 204);
    eventually(RESPONSE_LIMIT, "it has expired", || same(node.get("a"), None));
}
