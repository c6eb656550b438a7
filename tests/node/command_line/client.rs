//! The built-in client: `put`, `get` and `health`.

use super::{assert_fails, error, text};
use crate::support::{Cluster, Node, run, run_with_input};

#[test]
fn put_get_and_health_round_trip() {
    let node = Node::alone(&[]);
    let server = node.http.to_string();
    let ask = |arguments: &[&str], input: &[u8]| {
        run_with_input(&[&["--server", &server], arguments].concat(), &[], input)
    };
    let put = |arguments: &[&str], input: &[u8]| {
        let output = ask(&[&["put"], arguments].concat(), input);
        assert_eq!(
            (output.status.code(), text(&output)),
            (Some(0), String::new()),
            "{}",
            error(&output)
        );
    };
    put(&["key", "value"], b"");
    put(&["key", "new value"], b"");
    put(&["from stdin", "-"], b"with - \n");
    put(&["from stdin too"], b"with nothing\n");
    let binary: Vec<u8> = (0..=255).collect();
    put(&["binary"], &binary);
    put(&["ключ &=?%+", "ü"], b"");
    put(&["", "of the empty key"], b"");
    put(&["empty", ""], b"not read");
    put(&["--", "-key", "-value"], b"");
    put(&["big"], &binary.repeat(4096));
    let get = |keys: &[&str]| {
        let output = ask(&[&["get"], keys].concat(), b"");
        assert_eq!((output.status.code(), error(&output)), (Some(0), String::new()));
        output.stdout
    };
    assert_eq!(get(&["key"]), b"key=new value\n");
    assert_eq!(
        get(&["from stdin", "absent", "from stdin too"]),
        b"from stdin=with - \n\nfrom stdin too=with nothing\n\n"
    );
    assert_eq!(get(&["binary"]), [b"binary=", &binary[..], b"\n"].concat());
    assert_eq!(get(&["ключ &=?%+"]), "ключ &=?%+=ü\n".as_bytes());
    assert_eq!(get(&[""]), b"=of the empty key\n");
    assert_eq!(get(&["empty"]), b"empty=\n");
    assert_eq!(get(&["--", "-key"]), b"-key=-value\n");
    assert_eq!(get(&["big"]), [b"big=", &binary.repeat(4096)[..], b"\n"].concat());
    assert_eq!(node.get("big"), Some(binary.repeat(4096)));

    assert_fails(&ask(&["get", "absent"], b""), 1, &["404", "none of these keys"]);
    assert_fails(&ask(&["put", &"k".repeat(1025), "v"], b""), 1, &["400", "MAX_KEY_BYTES"]);
    assert_fails(&ask(&["put", "big"], &binary.repeat(4097)), 1, &["413", "MAX_VALUE_BYTES"]);
    assert_eq!(node.get("big"), Some(binary.repeat(4096)));
    let health = ask(&["health"], b"");
    assert_eq!((health.status.code(), text(&health)), (Some(0), "ok\n".into()));
    let ready = ask(&["health", "--ready"], b"");
    assert_eq!((ready.status.code(), text(&ready)), (Some(0), "ready\n".into()));
}

#[test]
fn health_fails_without_a_sidecar_and_with_ready_for_one_that_is_not() {
    assert_fails(&run(&["health", "--server", "127.0.0.1:1"], &[]), 1, &["127.0.0.1:1"]);
    let waiting = Cluster::addresses(2).start(0, &[("READY_TIMEOUT", "1h")]);
    let server = waiting.http.to_string();
    let health =
        |arguments: &[&str]| run(&[&["health", "--server", &server], arguments].concat(), &[]);
    assert_eq!(health(&[]).status.code(), Some(0));
    let unready = health(&["--ready"]);
    assert_eq!(unready.status.code(), Some(1));
    assert!(text(&unready).contains("no exchange with a ready peer"), "{}", text(&unready));
}

#[test]
fn a_server_that_does_not_speak_http_is_not_taken_for_a_sidecar() {
    let node = Node::alone(&[]);
    // The peer port answers, but not in HTTP.
    let output = run(&["health", "--server", &node.peer.to_string()], &[]);
    assert_fails(&output, 1, &["no response from the sidecar"]);
}
