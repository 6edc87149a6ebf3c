//! The JSON Schemas: those in docs/schema are what the types say, and real files, old ones too, are valid under them.
//!
//! `BREAKEVEN_BLESS=1` writes docs/schema anew.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::fs;

use breakeven_report::schema::{File, render};
use serde_json::Value;
use support::{breakeven, shown};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn validator(file: File) -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(&render(file).unwrap()).unwrap()).unwrap()
}

fn errors(validator: &jsonschema::Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn docs_hold_the_schemas_that_the_types_say() {
    for file in File::ALL {
        let path = format!("{}/docs/schema/{}.json", env!("CARGO_MANIFEST_DIR"), file.name());
        let now = render(file).unwrap();
        if std::env::var_os("BREAKEVEN_BLESS").is_some() {
            fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema")).unwrap();
            fs::write(&path, &now).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == now,
            "{path} is not what the types say; BREAKEVEN_BLESS=1 cargo test --workspace --test schemas"
        );
    }
}

#[test]
fn the_examples_and_the_files_of_a_run_are_valid() {
    let product = validator(File::Product);
    for name in ["support-bot", "support-bot-workflow", "sales-copilot", "it-operations"] {
        let text = fs::read_to_string(format!("examples/{name}.toml")).unwrap();
        let value: Value = toml::from_str(&text).unwrap();
        assert_eq!(errors(&product, &value), Vec::<String>::new(), "{name}");
    }
    let measurement: Value =
        serde_json::from_str(&fs::read_to_string(format!("{FIXTURES}/measurement-1.json")).unwrap()).unwrap();
    assert_eq!(errors(&validator(File::Measurement), &measurement), Vec::<String>::new());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plan.json");
    let made = breakeven(&[
        "plan",
        "examples/support-bot.toml",
        "--measurement",
        &format!("{FIXTURES}/measurement-1.json"),
        "--as-of",
        "2026-11-23",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    let plan: Value = serde_json::from_str(&fs::read_to_string(out).unwrap()).unwrap();
    assert_eq!(errors(&validator(File::Plan), &plan), Vec::<String>::new());
}

#[test]
fn mistakes_are_not_valid() {
    let product = validator(File::Product);
    let text = fs::read_to_string("examples/support-bot.toml").unwrap();
    for (from, to) in [
        ("attainment = 0.90", "atainment = 0.90"),
        ("ttft = \"1500 ms\"", "ttft = \"1500 parsecs\""),
        ("line = \"observability\"", "line = \"observation\""),
    ] {
        assert!(text.contains(from), "{from}");
        let value: Value = toml::from_str(&text.replacen(from, to, 1)).unwrap();
        assert!(!product.is_valid(&value), "{to}");
    }
}

#[test]
fn a_plan_of_the_first_version_still_opens_and_another_format_says_what_to_do() {
    let old = format!("{FIXTURES}/plan-1.json");
    let value: Value = serde_json::from_str(&fs::read_to_string(&old).unwrap()).unwrap();
    assert_eq!(errors(&validator(File::Plan), &value), Vec::<String>::new());
    let folder = tempfile::tempdir().unwrap();
    let book = folder.path().join("old.xlsx");
    let report = breakeven(&["report", &old, "--xlsx", book.to_str().unwrap()]);
    assert_eq!(report.status.code(), Some(0), "{}", shown(&report));
    let other = folder.path().join("other.json");
    fs::write(&other, fs::read_to_string(&old).unwrap().replacen("breakeven.plan/1", "breakeven.plan/9", 1))
        .unwrap();
    let refused = breakeven(&["report", other.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        shown(&refused).contains("breakeven.plan/9") && shown(&refused).contains("plan again"),
        "{}",
        shown(&refused)
    );
    let measured = fs::read_to_string(format!("{FIXTURES}/measurement-1.json")).unwrap();
    fs::write(&other, measured.replacen("breakeven.measurement/1", "breakeven.measurement/9", 1)).unwrap();
    let refused = breakeven(&["plan", "examples/support-bot.toml", "--measurement", other.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    for part in ["breakeven.measurement/9", "breakeven.measurement/1", "measure again"] {
        assert!(shown(&refused).contains(part), "{}", shown(&refused));
    }
}

#[test]
fn the_command_prints_them() {
    for file in File::ALL {
        let output = breakeven(&["schema", file.name()]);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), render(file).unwrap());
    }
}
