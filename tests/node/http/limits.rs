//! Limits of values, keys, URLs and the store.

use crate::support::{KIB, MIB, Node, assert_refused, map_target};

#[test]
fn the_longest_value_is_accepted_and_one_byte_more_is_refused() {
    let node = Node::alone(&[]);
    let value: Vec<u8> = (0..MIB).map(|index| (index % 251) as u8).collect();
    assert_eq!(node.put("big", &value).status, 201);
    assert_eq!(node.get("big").as_ref(), Some(&value));
    let longer = [&value[..], b"x"].concat();
    assert_refused(&node.put("big", &longer), 413);
    assert_refused(&node.put("new", &longer), 413);
    // Lengths that tiny_http reads ahead, and lengths that it does not.
    let mut client = node.client();
    for length in [1, KIB - 1, KIB, KIB + 1, 16 * KIB, 32 * KIB, 64 * KIB + 1] {
        assert!(client.put("/map?k=v", &value[..length]).status < 300);
        assert_eq!(client.get("/map?k=v").body.len(), length + 3);
    }
    assert_eq!(node.get("big").as_ref(), Some(&value));
    assert_eq!(node.get("new"), None);
}

#[test]
fn a_connection_survives_a_value_that_is_too_long() {
    let node = Node::alone(&[("MAX_VALUE_BYTES", "10")]);
    let mut client = node.client();
    assert_eq!(client.put("/map?k=a", b"0123456789").status, 201);
    for length in [11, KIB, KIB + 1, 100 * KIB, 2 * MIB] {
        assert_refused(&client.put("/map?k=a", &vec![b'x'; length]), 413);
        assert_eq!(client.get("/map?k=a").body, b"a=0123456789\n", "after {length}");
    }
    let chunk = [&b"20000\r\n"[..], &vec![b'x'; 0x20000], b"\r\n0\r\n\r\n"].concat();
    client.send("PUT /map?k=a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").send(chunk);
    assert_refused(&client.response(), 413);
    assert_eq!(client.get("/map?k=a").body, b"a=0123456789\n");
}

#[test]
fn the_longest_key_is_written_and_one_byte_more_is_refused() {
    let node = Node::alone(&[]);
    let longest = "k".repeat(1024);
    assert_eq!(node.put(&longest, "1").status, 201);
    assert_eq!(node.read(&longest), "1");
    // 1024 bytes, which take three times as many in the URL.
    let accented = "é".repeat(512);
    assert_eq!(node.put(&accented, "2").status, 201);
    assert_eq!(node.read(&accented), "2");
    for too_long in ["k".repeat(1025), "é".repeat(512) + "k"] {
        assert_refused(&node.put(&too_long, "3"), 400);
        // A peer could have written it.
        assert_refused(&node.request("GET", &map_target(&[&too_long]), &[]), 404);
        assert_refused(&node.request("GET", &map_target(&["a", &too_long]), &[]), 404);
    }
    assert_eq!(node.count("keys"), 2);
}

#[test]
fn a_url_may_be_256_kib_long_and_with_several_keys_64_kib() {
    let node = Node::alone(&[]);
    node.write("k", "v");
    let padded = |start: &str, length: usize| start.to_owned() + &"=".repeat(length - start.len());
    let mut client = node.client();
    assert_eq!(client.get(&padded("/map?k=k&k", 1000)).status, 200);
    let at_limit = format!("/map?k=k{}", "&k=k".repeat((64 * KIB - 8) / 4));
    assert_eq!(at_limit.len(), 64 * KIB);
    assert_eq!(client.get(&at_limit).body.len(), 4 * (1 + (64 * KIB - 8) / 4));
    assert_refused(&client.get(&(at_limit + "&")), 414);
    assert_refused(&client.request("DELETE", &padded("/map?k=k&k", 64 * KIB + 1), &[], &[]), 414);
    // GET ignores unknown parameters.
    assert_eq!(client.get(&padded("/map?k=k&x", 256 * KIB)).body, b"k=v\n");
    assert_refused(&client.get(&padded("/map?k=k&x", 256 * KIB + 1)), 414);
    assert_eq!(client.get("/map?k=k").status, 200);
}

#[test]
fn a_full_store_refuses_writes_and_keeps_its_contents() {
    // Each entry counts for 96 bytes beside its key and value.
    let node = Node::alone(&[("MAX_STORE_BYTES", "1KiB")]);
    let mut client = node.client();
    assert_eq!(client.put("/map?k=a", &[b'1'; 415]).status, 201);
    assert_eq!(client.put("/map?k=b", &[b'2'; 415]).status, 201);
    let before = node.stats();
    assert_eq!(before["storeBytes"], "1024");
    for (target, length) in [("/map?k=c", 0), ("/map?k=c", 100), ("/map?k=a", 416), ("/map?k=", 1)]
    {
        assert_refused(&client.put(target, &vec![b'x'; length]), 507);
    }
    let after = node.stats();
    for name in ["keys", "storeBytes", "digest"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    assert_eq!(node.get("a"), Some(vec![b'1'; 415]));
    assert_eq!(node.get("c"), None);
    // Writes that need no more room are accepted.
    assert_eq!(client.put("/map?k=a", &[b'3'; 415]).status, 204);
    assert_eq!(client.put("/map?k=a", b"small").status, 204);
    assert_eq!(client.put("/map?k=c", &[b'4'; 100]).status, 201);
}
