//! `[[machine]]`: measurements beside the product file, from the command line to the report.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{breakeven, shown};

#[test]
fn machines_are_read_beside_the_product_file_and_the_cheapest_is_planned_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/measurement-1.json");
    let mut other: Value = serde_json::from_str(&fs::read_to_string(own).unwrap()).unwrap();
    other["run_id"] = json!("run-fast");
    // Twice as fast for a tenth of the price.
    other["search"]["capacity"]["rate"] = json!(other["search"]["capacity"]["rate"].as_f64().unwrap() * 2.0);
    other["search"]["capacity"]["low"] = Value::Null;
    other["search"]["capacity"]["high"] = Value::Null;
    let example = fs::read_to_string("examples/support-bot.toml").unwrap();
    let machine = "\n[[machine]]\nname = \"fast\"\nmeasurement = \"fast.json\"\nusd_per_hour = 0.01\n";
    fs::write(at("product.toml"), example + machine).unwrap();
    let (product, plan) = (at("product.toml"), at("plan.json"));
    let arguments = ["plan", &product, "--measurement", own, "--as-of", "2026-11-23", "--out", &plan];

    let missing = shown(&breakeven(&arguments));
    assert!(
        missing.contains("[[machine]] `fast`: expected a measurement made on it")
            && missing.contains("fast.json")
            && missing.contains("exit code: 2"),
        "{missing}"
    );

    fs::write(at("fast.json"), other.to_string()).unwrap();
    let text = shown(&breakeven(&arguments));
    assert!(text.contains("exit code: 0"), "{text}");
    let found: Value = serde_json::from_str(&fs::read_to_string(&plan).unwrap()).unwrap();
    assert_eq!(found["measured"]["run_id"], "run-fast");
    let named = |id: &str| {
        let options = found["options"].as_array().unwrap();
        options.iter().find(|option| option["id"] == id).unwrap()["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(named("self_host"), "self-host smollm2-135m-instruct on fast, on-demand");
    assert_eq!(named("self_host:fleet:on-demand"), "self-host smollm2-135m-instruct on AMD EPYC, on-demand");

    // Its bill explains itself, and every format takes the plan.
    let tree = shown(&breakeven(&["explain", &plan, "options.self_host:fleet:on-demand.usd_per_month"]));
    assert!(tree.contains("run-1795446753833-0") && tree.contains("exit code: 0"), "{tree}");
    let written =
        ["report", &plan, "--html", &at("r.html"), "--xlsx", &at("r.xlsx"), "--focus", &at("r.csv")];
    let report = shown(&breakeven(&written));
    assert!(report.contains("on fast, on-demand") && report.contains("exit code: 0"), "{report}");
    for file in ["r.html", "r.xlsx", "r.csv"] {
        assert!(fs::metadata(at(file)).unwrap().len() > 1_000, "{file}");
    }
    assert!(fs::read_to_string(at("r.csv")).unwrap().contains("self_host:fleet:on-demand"));
}
