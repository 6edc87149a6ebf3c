//! The arrows of docs/ARCHITECTURE.md, held against the manifests: who may import whom, and who must never see what.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::{collections::BTreeSet, fs, process::Command};

const ALLOWED: [(&str, &[&str]); 9] = [
    ("kernels", &[]),
    ("hardware", &[]),
    ("models", &["kernels"]),
    ("measurement", &["hardware", "models"]),
    ("bench", &["measurement", "hardware", "models"]),
    ("usage", &["measurement", "hardware"]),
    ("planner", &["measurement", "hardware", "models", "usage"]),
    ("report", &["planner", "hardware", "measurement", "models", "usage"]),
    ("serve", &["models"]),
];

fn imports(name: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(format!("{}/{name}/Cargo.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let dependencies =
        manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    dependencies.keys().filter_map(|key| key.strip_prefix("breakeven-").map(str::to_owned)).collect()
}

#[test]
fn crates_import_only_what_the_architecture_allows() {
    for (name, allowed) in ALLOWED {
        for import in imports(name) {
            assert!(
                allowed.contains(&import.as_str()),
                "{name} imports {import}, which docs/ARCHITECTURE.md does not allow"
            );
        }
    }
}

#[test]
fn the_planner_sees_neither_candle_nor_tokio() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "breakeven-planner",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--locked",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.lines().any(|line| line.starts_with("breakeven-hardware")), "{tree}");
    for forbidden in ["candle", "tokio"] {
        assert!(
            !tree.lines().any(|line| line.starts_with(forbidden)),
            "the planner depends on {forbidden}:\n{tree}"
        );
    }
}

#[test]
fn no_file_holds_two_rooms() {
    let listed =
        Command::new("git").args(["ls-files", "*.rs"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    // A source archive has no git; the rule is for the repository.
    let Ok(listed) = listed else { return };
    for file in String::from_utf8(listed.stdout).unwrap().lines() {
        let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        let Ok(text) = fs::read_to_string(path) else { continue };
        assert!(text.lines().count() <= 600, "{file} has {} lines: two rooms in one?", text.lines().count());
    }
}
