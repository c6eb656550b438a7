//! Responses as JSON.

use crate::support::Node;

#[test]
fn json_is_returned_to_clients_that_prefer_it() {
    let node = Node::alone(&[]);
    node.write("a\"", "x\ny");
    node.write("b", [0xff, 0]);
    let mut client = node.client();
    let mut json = |target: &str| {
        let response = client.request("GET", target, &[("Accept", "application/json")], &[]);
        assert_eq!(response.header("Content-Type"), Some("application/json"), "{response:?}");
        response.text()
    };
    assert_eq!(
        json("/map?k=b&k=a%22&k=b&k=absent"),
        "{\"a\\\"\":\"x\\ny\",\"b\":{\"base64\":\"/wA=\"}}\n"
    );
    assert_eq!(json("/keys"), "{\"keys\":[\"a\\\"\",\"b\"],\"more\":false}\n");
    assert_eq!(json("/peers"), "{\"peers\":[]}\n");
    assert!(json("/stats").contains("\"keys\":2,"));
    assert!(json("/stats").contains("\"cluster\":\"default\""));
    let mut accept = |target: &str, accept: &str| {
        let response = client.request("GET", target, &[("Accept", accept)], &[]);
        (response.status, response.header("Content-Type").unwrap_or_default().to_owned())
    };
    let octets = (200, "application/octet-stream".to_owned());
    assert_eq!(accept("/map?k=b", "*/*"), octets);
    assert_eq!(accept("/map?k=b", "text/html, */*;q=0.1"), octets);
    // k8s-gossipcar ignores the header.
    assert_eq!(accept("/map?k=b", "text/html"), octets);
    assert_eq!(accept("/keys", "text/html").0, 406);
    assert_eq!(accept("/peers", "text/html").0, 406);
}
