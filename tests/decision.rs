//! How sure the answer is, end to end: the plan's tables in the report, `explain`, and `diff` as a gate.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{fs, path::Path};

use support::{breakeven, shown};

/// Plans the sales copilot, changed, from the stored measurement.
fn planned(folder: &Path, name: &str, change: impl Fn(String) -> String) -> String {
    let product = folder.join(format!("{name}.toml"));
    fs::write(&product, change(fs::read_to_string("examples/sales-copilot.toml").unwrap())).unwrap();
    let plan = folder.join(format!("{name}.json")).to_str().unwrap().to_owned();
    let measurement = format!("{}/tests/fixtures/measurement-1.json", env!("CARGO_MANIFEST_DIR"));
    let made = breakeven(&[
        "plan",
        product.to_str().unwrap(),
        "--measurement",
        &measurement,
        "--as-of",
        "2026-11-23",
        "--out",
        &plan,
    ]);
    assert!(matches!(made.status.code(), Some(0 | 1)), "{}", shown(&made));
    plan
}

#[test]
fn the_report_says_how_sure_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let plan = planned(folder.path(), "plan", |text| text);
    let page = folder.path().join("report.html");
    let text =
        shown(&breakeven(&["report", &plan, "--format", "markdown", "--html", page.to_str().unwrap()]));
    let html = fs::read_to_string(page).unwrap();
    for title in [
        "Odds and budget: 10000 draws, seed 1, mean of 24 months",
        "Cheapest option and its bill a month under every scenario and stress",
        "24 months ahead: traffic +2.0 % a month",
        "by team: ",
    ] {
        assert!(text.contains(title), "{title}: {text}");
        assert!(html.contains(title), "{title} in the page");
    }
    let glance = shown(&breakeven(&["report", &plan]));
    assert!(glance.contains("of 10000 draws"), "{glance}");
}

#[test]
fn every_number_can_say_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let plan = planned(folder.path(), "plan", |text| text);
    let total = shown(&breakeven(&["explain", &plan, "options.self_host.usd_per_month"]));
    for part in ["the sum of its lines", "measured in run ", "assumption at fleet.usd_per_hour"] {
        assert!(total.contains(part), "{part}: {total}");
    }
    let wrong = breakeven(&["explain", &plan, "options.selfhost.usd_per_month"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(shown(&wrong).contains("options.self_host.usd_per_month"), "{}", shown(&wrong));
}

#[test]
fn a_gate_stops_a_dearer_plan_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let before = planned(folder.path(), "before", |text| text);
    let same = breakeven(&["diff", &before, &before]);
    assert_eq!(same.status.code(), Some(0));
    assert!(shown(&same).contains("nothing differs"), "{}", shown(&same));
    let after = planned(folder.path(), "after", |text| {
        text.replacen("usd_per_month = 150", "usd_per_month = 40_150", 1)
    });
    let dearer = breakeven(&["diff", &before, &after]);
    let text = shown(&dearer);
    assert_eq!(dearer.status.code(), Some(1), "{text}");
    assert!(text.contains("over the threshold of 5.0 %") && text.contains("operational debt"), "{text}");
    assert!(text.contains("+$40,000"), "{text}");
    assert_eq!(breakeven(&["diff", &before, &after, "--threshold", "1000%"]).status.code(), Some(0));
    assert_eq!(breakeven(&["diff", &after, &before]).status.code(), Some(0), "cheaper is no fault");
}
