//! `/map/KEY`: one raw value.

use super::etag;
use crate::support::{Node, assert_refused};

#[test]
fn the_body_of_a_raw_value_is_the_value_alone() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let value: Vec<u8> = (0..=255).collect();
    let put = client.put("/map/a%2Fb%20%C3%A9+", &value);
    assert_eq!(put.status, 201);
    let get = client.get("/map/a/b%20%C3%A9+");
    assert_eq!((get.status, &get.body), (200, &value));
    assert_eq!(etag(&get), etag(&put));
    assert_eq!(get.header("Content-Type"), Some("application/octet-stream"));
    assert!(get.header("Last-Modified").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(
        etag(&client.get("/map?k=a/b%20%C3%A9%2B")),
        etag(&put),
        "the same key in the query"
    );
    let head = client.request("HEAD", "/map/a%2Fb%20%C3%A9+", &[], &[]);
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("256")));
    let again = client.put("/map/a%2Fb%20%C3%A9+", b"");
    assert_eq!(again.status, 204);
    assert!(etag(&again) > etag(&put), "later versions sort behind earlier ones");
    assert_eq!(client.get("/map/a%2Fb%20%C3%A9+").body, b"");
    assert_refused(&client.get("/map/absent"), 404);
    assert_refused(&client.get("/map/%zz"), 400);
    assert_refused(&client.get("/map/%FF"), 400);
    assert_refused(&client.get("/map/a?k=a"), 422);
    assert_refused(&client.request("POST", "/map/a", &[], b"a=1"), 405);
    let unwanted = client.request("GET", "/map/a/b%20%C3%A9+", &[("Accept", "text/html")], &[]);
    assert_refused(&unwanted, 406);
}

#[test]
fn compressed_and_partial_bodies_are_refused() {
    let node = Node::alone(&[]);
    let mut client = node.client();
    let mut put =
        |name: &str, value: &str| client.request("PUT", "/map/a", &[(name, value)], b"v").status;
    assert_eq!(put("Content-Encoding", "gzip"), 415);
    assert_eq!(put("Content-Range", "bytes 0-0/1"), 400);
    assert_eq!(put("Content-Encoding", "identity"), 201);
    assert_eq!(put("Content-Type", "image/png"), 204);
}
