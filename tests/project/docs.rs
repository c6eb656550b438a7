//! The documents say what the program does.

use gossip_sidecar::SETTINGS;

const README: &str = include_str!("../../README.md");
const CARGO: &str = include_str!("../../Cargo.toml");

#[test]
fn the_readme_lists_the_actual_settings() {
    let rows: Vec<&str> = README
        .lines()
        .skip_while(|line| *line != "| variable | meaning | default |")
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let wanted: Vec<String> = SETTINGS
        .iter()
        .map(|setting| {
            let default = match setting.default {
                "" => "none".to_owned(),
                default => format!("`{default}`"),
            };
            format!("| `{}` | {} | {default} |", setting.name, setting.help)
        })
        .collect();
    assert_eq!(rows, wanted);
}

#[test]
fn the_readme_justifies_each_dependency() {
    let (_, section) = CARGO.split_once("[dependencies]\n").expect("there are dependencies");
    let (section, _) = section.split_once("\n[").expect("more sections follow");
    let names: Vec<&str> = section
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(README.contains(&format!("\n- `{name}`: ")), "{name} is not justified");
    }
}

#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let manifest = include_str!("../../k8s-deploy.yaml");
    assert!(manifest.contains(&format!("image: gossip-sidecar:{version}\n")));
    assert!(include_str!("../../CHANGELOG.md").contains(&format!("\n## [{version}]")));
    assert!(README.contains(&format!("-t gossip-sidecar:{version} ")));
    assert!(include_str!("../../docs/openapi.yaml").contains(&format!("\n  version: {version}\n")));
}
