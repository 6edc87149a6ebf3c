//! The binary, end to end, without a benchmark: help, errors, planning from a stored measurement.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{fmt::Write as _, fs};

use support::{breakeven, shown};

/// A file of tests/fixtures.
fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn help_lists_the_commands() {
    insta::assert_snapshot!(shown(&breakeven(&["--help"])));
}

#[test]
fn every_command_shows_an_example() {
    for command in [
        "run",
        "bench",
        "plan",
        "levers",
        "report",
        "compare",
        "merge",
        "export",
        "init",
        "hardware",
        "fit",
        "prices",
        "serve",
        "simulate",
        "import",
        "kubernetes",
        "schema",
        "ui",
        "history",
    ] {
        let text = shown(&breakeven(&[command, "--help"]));
        assert!(text.contains(&format!("Example: breakeven {command}")), "{text}");
    }
}

#[test]
fn bad_input_is_one_message_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read_to_string("examples/support-bot.toml").unwrap();
    let mut all = String::new();
    for (name, from, to) in [
        ("unknown key", "attainment = 0.90", "atainment = 0.90"),
        ("probability of 1.2", "probability = 0.70", "probability = 1.2"),
        ("negative price", "usd_per_hour = 0.10", "usd_per_hour = -0.10"),
        ("missing unit", "ttft = \"1500 ms\"", "ttft = 1500"),
        ("unreadable model file", "name = \"smollm2-135m-instruct\"", "name = \"/nowhere/model.gguf\""),
    ] {
        let path = folder.path().join("bot.toml");
        assert!(good.contains(from), "{from}");
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let shown = shown(&breakeven(&["bench", path.to_str().unwrap(), "--out", "/nonexistent/m.json"]));
        let shown = shown.lines().filter(|l| !l.starts_with("Machine:")).collect::<Vec<_>>().join("\n");
        let shown = shown.replace(folder.path().to_str().unwrap(), "[FOLDER]");
        writeln!(all, "## {name}\n{shown}").unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_model_of_the_hub_that_is_not_here_is_named() {
    let text = shown(&breakeven(&["serve", "hf:nobody/no-such-model@v1", "--offline"]));
    assert!(
        text.contains("cannot get model `hf:nobody/no-such-model@v1`: offline, and the hub's cache"),
        "{text}"
    );
    let text =
        shown(&breakeven(&["bench", "engine", "--model", "hf:nobody", "--weights", "real", "--offline"]));
    assert!(text.contains("has no `nobody` at `main`"), "{text}");
}

#[test]
fn a_laptop_plans_and_reports_from_a_stored_measurement() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, page) = (folder.path().join("plan.json"), folder.path().join("report.html"));
    let (plan, page) = (plan.to_str().unwrap(), page.to_str().unwrap());
    let made = breakeven(&[
        "plan",
        "examples/support-bot.toml",
        "--measurement",
        &fixture("measurement-1.json"),
        "--out",
        plan,
        "--as-of",
        "2026-11-23",
    ]);
    insta::assert_snapshot!(shown(&made).replace(folder.path().to_str().unwrap(), "[FOLDER]"));
    let reported = breakeven(&["report", plan, "--html", page]);
    assert_eq!(reported.status.code(), Some(0), "{}", shown(&reported));
    let html = fs::read_to_string(page).unwrap();
    assert!(html.matches("<svg").count() >= 2, "charts");
}

#[test]
fn a_damaged_measurement_names_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture("measurement-1.json")).unwrap();
    let path = folder.path().join("cut.json");
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    let text =
        shown(&breakeven(&["plan", "examples/support-bot.toml", "--measurement", path.to_str().unwrap()]));
    assert!(text.contains("exit code: 2") && text.contains("cut.json`, line "), "{text}");
}

#[test]
fn criteria_that_the_engine_cannot_be_held_to_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let example = fs::read_to_string("examples/support-bot.toml").unwrap();
    let asking = example.replacen("[traffic]", "[segment.success]\ntool = \"book\"\n\n[traffic]", 1);
    let path = folder.path().join("asking.toml");
    fs::write(&path, asking).unwrap();
    let output = breakeven(&["bench", path.to_str().unwrap(), "--offline"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        shown(&output).contains("segment `failure-heavy`: success.stop_reasons and tool"),
        "{}",
        shown(&output)
    );
}

#[test]
fn init_writes_a_file_that_parses_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    for pattern in ["support-bot", "support-bot-workflow", "sales-copilot", "it-operations"] {
        let path = folder.path().join(format!("{pattern}.toml"));
        let path = path.to_str().unwrap();
        assert_eq!(breakeven(&["init", pattern, "--out", path]).status.code(), Some(0));
        assert!(breakeven_planner::Product::parse(&fs::read_to_string(path).unwrap(), path).is_ok());
        assert_eq!(breakeven(&["init", pattern, "--out", path]).status.code(), Some(2));
    }
}

#[test]
fn prices_carry_source_and_date() {
    let text = shown(&breakeven(&["prices", "list", "--find", "gpt-5-nano"]));
    assert!(text.contains("2026-11-23") && text.contains("https://"), "{text}");
}
