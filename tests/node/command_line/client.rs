//! The built-in client: `put`, `get` and `health`.

use super::{assert_fails, error, text};
use crate::support::{Cluster, Node, binary, run, run_with_input};
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

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
fn an_empty_standard_input_is_a_value_only_with_empty() {
    let node = Node::alone(&[]);
    let server = node.http.to_string();
    let put = |arguments: &[&str], input: &[u8]| {
        run_with_input(&[&["put", "--server", &server], arguments].concat(), &[], input)
    };
    for arguments in [&["flag"][..], &["flag", "-"]] {
        assert_fails(&put(arguments, b""), 2, &["standard input is empty", "--empty"]);
    }
    assert_eq!(node.get("flag"), None);
    for arguments in [&["a", "--empty"][..], &["--empty", "b", "-"], &["c", ""]] {
        assert_eq!(put(arguments, b"").status.code(), Some(0));
    }
    assert_eq!(node.request("GET", "/map?k=a&k=b&k=c", &[]).body, b"a=\nb=\nc=\n");
    // It allows an empty value, and requires none.
    assert_eq!(put(&["a", "--empty"], b"not empty").status.code(), Some(0));
    assert_eq!(node.read("a"), "not empty");
}

#[test]
fn output_that_cannot_be_written_is_an_error_unless_its_reader_has_gone() {
    let node = Node::alone(&[]);
    node.write("key", "value");
    // Longer than any buffer on the way.
    node.write("long", vec![b'x'; 512 * 1024]);
    let server = node.http.to_string();
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let run_into = |arguments: &[&str], out: Stdio| {
        let mut command = binary();
        command.args(arguments).stdout(out).stderr(Stdio::piped());
        command.spawn().expect("the binary was built").wait_with_output().expect("it is our child")
    };
    for command in [
        &["get", "key"][..],
        &["get", "long"],
        &["ls"],
        &["stats"],
        &["peers"],
        &["health"],
        &["watch", "key"],
    ] {
        let arguments = [command, &["--server", &server]].concat();
        // No peers, no output.
        if command != ["peers"] {
            let output = run_into(&arguments, full().into());
            assert_fails(&output, 1, &["cannot write to standard output", "No space left"]);
        }
        let (reader, writer) = UnixStream::pair().expect("descriptors are left");
        drop(reader);
        let output = run_into(&arguments, OwnedFd::from(writer).into());
        assert_eq!((output.status.code(), error(&output)), (Some(0), String::new()), "{command:?}");
    }
    for argument in ["--help", "--version"] {
        assert_fails(
            &run_into(&[argument], full().into()),
            1,
            &["cannot write to standard output"],
        );
    }
    // With no room for the message either, the exit code remains.
    let status = binary().arg("--help").stdout(full()).stderr(full()).status();
    assert_eq!(status.expect("the binary was built").code(), Some(1));
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
