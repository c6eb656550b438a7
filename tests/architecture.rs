//! The rules that the source keeps to, checked on the source itself.
//!
//! Each checker gives what is wrong with a text, and is shown a small bad text first: one that can't
//! fail would prove nothing.

use std::collections::BTreeMap;
use std::path::Path;

/// A file is no longer than this.
const MAX_LINES: usize = 600;

/// The modules in reading order, and for each the others that it may name.
///
/// The core names no module of the shell; within the core, `version` and `gossip` name nothing.
const MODULES: [(&str, &[&str]); 32] = [
    ("version", &[]),
    ("digest", &["version"]),
    ("entry", &["version"]),
    ("changes", &[]),
    ("store", &["version", "digest", "entry", "changes"]),
    ("message", &["version", "digest", "entry", "gossip"]),
    ("exchange", &["version", "digest", "store", "message", "gossip"]),
    ("gossip", &[]),
    ("condition", &[]),
    ("json", &[]),
    ("listing", &["digest", "store"]),
    ("api", &["condition", "entry", "json", "listing", "store"]),
    ("request", &["api", "condition", "listing", "store"]),
    ("config", &["message"]),
    ("metrics", &["json", "message"]),
    ("logger", &[]),
    ("mailbox", &[]),
    ("roster", &["exchange", "json"]),
    (
        "node",
        &["api", "config", "exchange", "gossip", "logger", "mailbox", "metrics", "roster", "store"],
    ),
    ("peers", &["config", "exchange", "gossip", "logger", "message", "metrics", "node"]),
    ("crew", &[]),
    ("lanes", &["door"]),
    ("waits", &["node"]),
    ("handler", &["api", "node", "request", "store", "waits"]),
    ("door", &[]),
    ("body", &["api", "door"]),
    ("answer", &["api"]),
    (
        "http",
        &[
            "answer", "api", "body", "crew", "daemon", "door", "handler", "lanes", "logger",
            "metrics", "node", "request", "waits",
        ],
    ),
    ("signals", &[]),
    (
        "daemon",
        &[
            "config", "digest", "gossip", "http", "logger", "metrics", "node", "peers", "signals",
            "store",
        ],
    ),
    ("client", &["api", "request"]),
    ("demo", &["client", "signals"]),
];

/// How many of them are the core.
const CORE: usize = 13;

/// What the core must not name: whatever waits, tells the time, draws lots or is shared.
const NOT_IN_THE_CORE: [&str; 26] = [
    "std::net",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::os",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync",
    "Mutex",
    "RwLock",
    "Atomic",
    "OnceLock",
    "thread_local",
    "std::time",
    "Instant",
    "SystemTime",
    "RandomState",
    "DefaultHasher",
    "static mut",
    "stdin",
    "println!",
    "log::",
    "tiny_http",
];

/// The text without its comments, and without what its strings say if they are to be `blank`.
fn code(text: &str, blank: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut code = String::new();
    let mut index = 0;
    while index < chars.len() {
        match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < chars.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '"' => {
                code.push('"');
                index += 1;
                while index < chars.len() && at(index) != '"' {
                    let length = if at(index) == '\\' { 2 } else { 1 };
                    if !blank {
                        code.extend(&chars[index..(index + length).min(chars.len())]);
                    }
                    index += length;
                }
                code.push('"');
                index += 1;
            }
            // A quote or a slash as a character, but not a lifetime.
            '\'' if at(index + 1) == '\\' || at(index + 2) == '\'' => {
                let end = if at(index + 1) == '\\' { index + 3 } else { index + 2 };
                code.push_str("' '");
                index = end + 1;
            }
            other => {
                code.push(other);
                index += 1;
            }
        }
    }
    code
}

/// The text up to its tests, which come last.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

/// The modules of this crate that a text names.
fn named_modules(text: &str) -> Vec<String> {
    let code = code(without_tests(text), true);
    let mut named = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let paths = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default(),
            None => rest,
        };
        for path in paths.split(',').take(if rest.starts_with('{') { usize::MAX } else { 1 }) {
            let name = path.trim_start();
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            named.push(name[..end.unwrap_or(name.len())].to_owned());
        }
    }
    named.sort();
    named.dedup();
    named
}

/// What a module names though it may not.
fn check_dependencies(text: &str, allowed: &[&str]) -> Vec<String> {
    named_modules(text).into_iter().filter(|name| !allowed.contains(&name.as_str())).collect()
}

/// What a module of the core names though the core may not.
fn check_core(text: &str) -> Vec<String> {
    let code = code(without_tests(text), true);
    let mut wrong: Vec<String> = NOT_IN_THE_CORE
        .into_iter()
        .filter(|word| code.contains(word))
        .map(ToOwned::to_owned)
        .collect();
    // Lots are drawn from a generator that was handed in, never from the thread's own.
    for use_of in code.split("fastrand::").skip(1) {
        if !use_of.starts_with("Rng") || use_of.starts_with("Rng::") {
            wrong.push(format!("fastrand::{}", use_of.lines().next().unwrap_or_default()));
        }
    }
    wrong.extend(
        ["Rng::new", "Rng::default"].into_iter().filter(|word| code.contains(word)).map(Into::into),
    );
    wrong
}

/// What no code of ours may have, tests aside.
fn check_panics(text: &str) -> Vec<String> {
    let text = code(without_tests(text), false);
    let blank = code(without_tests(&text), true);
    let mut wrong: Vec<String> =
        [".unwrap()", "panic!(", "unreachable!(", "unsafe ", "dbg!(", "static mut"]
            .into_iter()
            .filter(|word| blank.contains(word))
            .map(ToOwned::to_owned)
            .collect();
    for rest in text.split(".expect(").skip(1) {
        let reason = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
        if reason.is_none_or(|reason| reason.split(' ').count() < 3) {
            wrong.push(format!(".expect({}", rest.lines().next().unwrap_or_default()));
        }
    }
    wrong
}

/// What is left to do, and what is too long.
fn check_tidiness(text: &str) -> Vec<String> {
    let words = ["TODO", "FIXME", "XXX", "HACK", "todo!(", "unimplemented!("];
    let mut wrong: Vec<String> =
        words.into_iter().filter(|word| text.contains(word)).map(ToOwned::to_owned).collect();
    if text.lines().count() > MAX_LINES {
        wrong.push(format!("{} lines", text.lines().count()));
    }
    if text.lines().any(|line| line.ends_with([' ', '\t'])) || !text.ends_with('\n') {
        wrong.push("white space at a line's end, or no end of the last line".into());
    }
    wrong
}

/// What is wrong with the manifest.
fn check_manifest(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut section = "";
    let mut before = "";
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" && line.contains('=') {
            let says_why =
                before.strip_prefix("# ").is_some_and(|comment| comment.split(' ').count() > 1);
            if !says_why {
                wrong.push(format!("nothing says why there is {line}"));
            }
        }
        let without_comment = line.split('#').next().unwrap_or_default();
        if without_comment.contains("panic") && without_comment.contains("abort") {
            wrong.push(format!("{section} {line}"));
        }
        before = line;
    }
    wrong
}

/// All files of `src`, by name.
fn sources() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("there is src") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        assert!(name.ends_with(".rs"), "{name}: src is flat");
        files.insert(name, std::fs::read_to_string(&path).expect("it is a text"));
    }
    files
}

fn source(name: &str) -> String {
    sources().remove(&format!("{name}.rs")).unwrap_or_else(|| panic!("there is no {name}.rs"))
}

#[test]
fn comments_and_strings_are_told_from_code() {
    let text = "a // b\n/// c \"d\"\nf(\"g // h \\\" i\", '\"', 'j', &'k l) // m";
    assert_eq!(code(text, true), "a \n\nf(\"\", ' ', ' ', &'k l) ");
    assert_eq!(code(text, false), "a \n\nf(\"g // h \\\" i\", ' ', ' ', &'k l) ");
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {\nb"), "a");
}

#[test]
fn the_modules_stand_in_reading_order() {
    let text = code(&source("lib"), true);
    let declared: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(declared, MODULES.map(|(name, _)| name));
    let files: Vec<String> =
        sources().into_keys().filter(|name| name != "lib.rs" && name != "main.rs").collect();
    let mut listed: Vec<String> = MODULES.iter().map(|(name, _)| format!("{name}.rs")).collect();
    listed.sort();
    assert_eq!(files, listed);
}

#[test]
fn modules_name_only_those_that_they_may() {
    let bad = "use crate::message::Message;\nuse crate::{digest, store::Store};\nfn f() { crate::http::start() }\n// crate::api\n";
    assert_eq!(named_modules(bad), ["digest", "http", "message", "store"]);
    assert_eq!(check_dependencies(bad, &["digest", "store"]), ["http", "message"]);
    for (name, allowed) in MODULES {
        assert_eq!(check_dependencies(&source(name), allowed), [""; 0], "{name}.rs");
    }
    // None of the core may name a module of the shell, whatever the table says.
    for (name, allowed) in &MODULES[..CORE] {
        let shell = MODULES[CORE..].iter().find(|(module, _)| allowed.contains(module));
        assert!(shell.is_none(), "{name} is allowed {shell:?}");
    }
}

#[test]
fn the_core_waits_for_nothing_and_draws_no_lots() {
    for (bad, wrong) in [
        ("use std::net::TcpStream;", 2),
        ("let now = std::time::Instant::now();", 2),
        ("std::thread::sleep(pause);", 1),
        ("use std::sync::Mutex;", 2),
        ("static mut COUNT: u32 = 0;", 1),
        ("let peer = fastrand::usize(..peers);", 1),
        ("let mut rng = fastrand::Rng::new();", 2),
        ("use fastrand::Rng;\nlet mut rng = Rng::new();", 1),
        ("let port = std::env::var(name);", 1),
        ("std::process::exit(1);", 1),
        ("log::info!(\"here\");", 1),
    ] {
        assert_eq!(check_core(bad).len(), wrong, "{bad}: {:?}", check_core(bad));
    }
    assert_eq!(
        check_core("use fastrand::Rng;\n// std::net\nfn f(rng: &mut fastrand::Rng) {}"),
        [""; 0]
    );
    for (name, _) in &MODULES[..CORE] {
        assert_eq!(check_core(&source(name)), [""; 0], "{name}.rs");
    }
}

#[test]
fn one_file_knows_tiny_http() {
    let knows = |text: &str| code(text, true).contains("tiny_http");
    assert!(knows("use tiny_http::Server;") && !knows("// tiny_http\n"));
    let files: Vec<String> =
        sources().into_iter().filter(|(_, text)| knows(text)).map(|(name, _)| name).collect();
    assert_eq!(files, ["http.rs"]);
}

#[test]
fn unsafe_code_is_forbidden() {
    let forbids = |text: &str| code(text, true).contains("\n#![forbid(unsafe_code)]\n");
    assert!(!forbids("\n// #![forbid(unsafe_code)]\n") && !forbids("\n#![deny(unsafe_code)]\n"));
    for name in ["lib", "main"] {
        assert!(forbids(&source(name)), "{name}.rs");
    }
}

#[test]
fn every_panic_says_why_it_cannot_happen() {
    for bad in [
        "let a = b.unwrap();",
        "let a = b.expect(\"works\");",
        "let a = b.expect(\"\");",
        "let a = b\n    .expect(reason);",
        "panic!(\"no\")",
        "unsafe { f() }",
        "dbg!(a);",
    ] {
        assert_eq!(check_panics(bad).len(), 1, "{bad}");
    }
    let good =
        "a.expect(\n    \"only leaves have no children\");\n// b.unwrap()\nc.unwrap_or(1);\n";
    assert_eq!(check_panics(good), [""; 0]);
    assert_eq!(check_panics("a\n#[cfg(test)]\nmod tests {\n    b.unwrap();"), [""; 0]);
    for (name, text) in sources() {
        assert_eq!(check_panics(&text), [""; 0], "{name}");
    }
}

#[test]
fn files_are_short_and_nothing_is_left_to_do() {
    for bad in ["// TODO: more\n", "// FIXME\n", "todo!()\n", "a \n", "a", &"a\n".repeat(601)] {
        assert_eq!(check_tidiness(bad).len(), 1, "{:?}", &bad[..bad.len().min(20)]);
    }
    assert_eq!(check_tidiness(&"a\n".repeat(600)), [""; 0]);
    for (name, text) in sources() {
        assert_eq!(check_tidiness(&text), [""; 0], "{name}");
    }
}

#[test]
fn every_dependency_says_why_and_a_panic_never_aborts() {
    let good = "[dependencies]\n# Makes a thing that we need.\na = \"1\"\n[profile.release]\n# never \"abort\"\npanic = \"unwind\"\n";
    assert_eq!(check_manifest(good), [""; 0]);
    for bad in [
        "[dependencies]\na = \"1\"\n",
        "[dependencies]\n# Makes a thing that we need.\na = \"1\"\nb = \"1\"\n",
        "[dependencies]\n#\na = { version = \"1\" }\n",
        "[profile.release]\npanic = \"abort\"\n",
        "[profile.dev]\npanic = 'abort' # quick\n",
    ] {
        assert_eq!(check_manifest(bad).len(), 1, "{bad}");
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).expect("there is a manifest");
    assert_eq!(check_manifest(&manifest), [""; 0]);
    assert!(manifest.contains("[profile.release]"));
}
