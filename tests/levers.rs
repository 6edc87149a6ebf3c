//! `breakeven levers` on the example and a stored measurement: what it prints, and its exit codes.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::fs;

use serde_json::Value;
use support::{breakeven, shown};

const MEASUREMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/measurement-1.json");
const EXAMPLE: &str = "examples/support-bot-workflow.toml";

fn levers(product: &str, more: &[&str]) -> std::process::Output {
    let given = ["levers", product, "--measurement", MEASUREMENT, "--as-of", "2026-11-23"];
    breakeven(&[&given, more].concat())
}

#[test]
fn the_example_is_ranked() {
    insta::assert_snapshot!(shown(&levers(EXAMPLE, &[])));
}

#[test]
fn one_option_in_markdown() {
    insta::assert_snapshot!(shown(&levers(EXAMPLE, &["--format", "markdown", "--option", "self_host"])));
}

#[test]
fn json_has_every_option_and_the_tables_say_the_same() {
    let output = levers(EXAMPLE, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let options = all["options"].as_array().unwrap();
    assert_eq!(options.len(), 4);
    for option in options {
        let count = |key: &str| option[key].as_array().unwrap().len();
        assert_eq!(count("single") + count("fewer_successes") + count("not_comparable"), 8, "{option}");
    }
    // Two caches are alternatives: 2^8 settings less those with both.
    assert_eq!(all["search"]["tried"], 192);
    assert_eq!(all["search"]["refused"].as_array().unwrap().len(), 0);
}

#[test]
fn what_is_wrong_is_said() {
    let none = levers("examples/support-bot.toml", &[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(shown(&none).contains("has no [[lever]]"), "{}", shown(&none));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.toml");
    let plain = fs::read_to_string("examples/support-bot.toml").unwrap();
    let lever =
        "\n[[lever]]\nname = \"less to keep up\"\nset = { \"cost[operational_debt].usd_per_month\" = 50 }\n";
    fs::write(&path, plain + lever).unwrap();
    let known = levers(path.to_str().unwrap(), &["--option", "self_host"]);
    assert!(shown(&known).contains("$100.00"), "{}", shown(&known));
    let option = levers(path.to_str().unwrap(), &["--option", "self-host"]);
    assert_eq!(option.status.code(), Some(2));
    assert!(shown(&option).contains("expected one of api:novita"), "{}", shown(&option));
    let text = fs::read_to_string(EXAMPLE).unwrap();
    fs::write(&path, text.replacen("stage[answer].retries.most", "stage[anwser].retries.most", 1)).unwrap();
    let wrong = shown(&levers(path.to_str().unwrap(), &[]));
    assert!(wrong.contains("lever `one retry`") && wrong.contains("found `anwser`"), "{wrong}");
    assert!(wrong.contains(&format!("line {}", 1 + line_of(&text, "stage[answer].retries.most"))), "{wrong}");
}

fn line_of(text: &str, part: &str) -> usize {
    text.lines().position(|line| line.contains(part)).unwrap()
}
