//! The rules that the source keeps to, checked on the source itself.
//!
//! Each checker returns what is wrong with a text. It is tried on a small bad text first, since a
//! check that cannot fail proves nothing.

use std::collections::BTreeMap;
use std::path::Path;

/// The longest file.
const MAX_LINES: usize = 600;

/// The folders of `src` in reading order, and for each of them the others that its files may import.
///
/// The rest of `core` must not import `core/api`. Files beside the folders have rows of their own.
const FOLDERS: [(&str, &[&str]); 10] = [
    ("core", &[]),
    ("core/api", &["core"]),
    ("sys", &[]),
    ("config", &["core"]),
    ("node", &["core", "core/api", "sys", "config"]),
    ("peer", &["core", "sys", "config", "node"]),
    ("http", &["core", "core/api", "sys", "config", "node"]),
    ("daemon", &["core", "sys", "config", "node", "peer", "http"]),
    ("cli", &["core/api", "sys", "config", "daemon"]),
    ("lib", &["core", "core/api", "sys", "config", "node", "peer", "http", "daemon", "cli"]),
];

/// The text without its comments and, if `blank`, without the contents of its strings.
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
            // A character such as a quote, but not a lifetime.
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

/// The text up to its tests, which are at its end.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

/// The folders of this crate that a text imports.
fn named_folders(text: &str) -> Vec<String> {
    let code = code(without_tests(text), true);
    let mut named: Vec<String> = code
        .split("crate::")
        .skip(1)
        .map(|path| {
            let name = |path: &str| {
                let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                path[..end.unwrap_or(path.len())].to_owned()
            };
            let folder = name(path);
            let is_api = path.strip_prefix("core::").is_some_and(|rest| name(rest) == "api");
            if is_api { "core/api".to_owned() } else { folder }
        })
        .collect();
    named.sort();
    named.dedup();
    named
}

/// The folder that a file of `src` belongs to.
fn folder_of(file: &str) -> &str {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    FOLDERS
        .iter()
        .map(|(folder, _)| *folder)
        .filter(|folder| {
            stem == *folder || stem.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        })
        .max_by_key(|folder| folder.len())
        .unwrap_or_else(|| panic!("src/{file} is in no folder of the table"))
}

/// The folders that a file imports although it may not.
fn check_imports(file: &str, text: &str) -> Vec<String> {
    let own = folder_of(file);
    let (_, allowed) =
        FOLDERS.iter().find(|(folder, _)| *folder == own).expect("it is in the table");
    let is_allowed = |name: &String| name == own || allowed.contains(&name.as_str());
    named_folders(text).into_iter().filter(|name| !is_allowed(name)).collect()
}

/// What no code may contain, except for tests.
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

/// Work left to do, and lines or files that are untidy.
fn check_tidiness(text: &str) -> Vec<String> {
    let words = ["TODO", "FIXME", "XXX", "HACK", "todo!(", "unimplemented!("];
    let mut wrong: Vec<String> =
        words.into_iter().filter(|word| text.contains(word)).map(ToOwned::to_owned).collect();
    if text.lines().count() > MAX_LINES {
        wrong.push(format!("{} lines", text.lines().count()));
    }
    if text.lines().any(|line| line.ends_with([' ', '\t'])) || !text.ends_with('\n') {
        wrong.push(
            "white space at the end of a line, or no line feed at the end of the file".into(),
        );
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
            let is_justified =
                before.strip_prefix("# ").is_some_and(|comment| comment.split(' ').count() > 1);
            if !is_justified {
                wrong.push(format!("no comment justifies {line}"));
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

/// The files of `src` by their paths in it.
fn sources() -> BTreeMap<String, String> {
    fn add(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).expect("there is src") {
            let path = entry.expect("it can be read").path();
            let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
            if path.is_dir() {
                add(&path, &format!("{prefix}{name}/"), files);
            } else {
                let text = std::fs::read_to_string(&path).expect("it is a text");
                files.insert(format!("{prefix}{name}"), text);
            }
        }
    }
    let mut files = BTreeMap::new();
    add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    files
}

#[test]
fn code_is_told_apart_from_comments_and_strings() {
    let text = "a // b\n/// c \"d\"\nf(\"g // h \\\" i\", '\"', 'j', &'k l) // m";
    assert_eq!(code(text, true), "a \n\nf(\"\", ' ', ' ', &'k l) ");
    assert_eq!(code(text, false), "a \n\nf(\"g // h \\\" i\", ' ', ' ', &'k l) ");
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {\nb"), "a");
}

#[test]
fn folders_import_only_folders_before_them() {
    let bad = "use crate::core::message::Message;\nuse crate::core::api::{map};\nfn f() { crate::http::start() }\n// crate::cli\n#[cfg(test)]\nmod tests {\n    use crate::daemon;";
    assert_eq!(named_folders(bad), ["core", "core/api", "http"]);
    assert_eq!(check_imports("core/store.rs", bad), ["core/api", "http"]);
    assert_eq!(check_imports("core/api/json.rs", bad), ["http"]);
    assert_eq!(check_imports("http/server.rs", bad), [""; 0]);
    for (name, text) in sources().iter().filter(|(name, _)| *name != "main.rs") {
        assert_eq!(check_imports(name, text), [""; 0], "src/{name}");
    }
    // A row allows only rows before it, so that there is no cycle.
    for (row, (folder, allowed)) in FOLDERS.iter().enumerate() {
        let is_before = |name: &&str| FOLDERS[..row].iter().any(|(before, _)| before == name);
        assert!(allowed.iter().all(is_before), "{folder} may import a later folder");
    }
}

#[test]
fn only_the_http_folder_knows_tiny_http() {
    let knows = |text: &str| code(text, true).contains("tiny_http");
    assert!(knows("use tiny_http::Server;") && !knows("// tiny_http\n"));
    for (name, text) in sources() {
        assert!(!knows(&text) || name.starts_with("http/"), "src/{name}");
    }
}

#[test]
fn unsafe_code_is_forbidden() {
    let forbids = |text: &str| code(text, true).contains("\n#![forbid(unsafe_code)]\n");
    assert!(!forbids("\n// #![forbid(unsafe_code)]\n") && !forbids("\n#![deny(unsafe_code)]\n"));
    for name in ["lib", "main"] {
        assert!(forbids(&sources()[&format!("{name}.rs")]), "{name}.rs");
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
fn every_dependency_is_justified_and_no_profile_aborts_on_panic() {
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
