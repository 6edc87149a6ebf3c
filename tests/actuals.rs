//! `breakeven actuals` on files: what it prints, and its exit codes.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{fs, path::Path};

use serde_json::Value;
use support::{breakeven, shown};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// The plan of the support bot from the stored measurement.
fn plan(folder: &Path) -> String {
    let out = folder.join("plan.json").to_str().unwrap().to_owned();
    let measurement = format!("{FIXTURES}/measurement-1.json");
    let made = breakeven(&[
        "plan",
        "examples/support-bot.toml",
        "--measurement",
        &measurement,
        "--as-of",
        "2026-11-23",
        "--out",
        &out,
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    out
}

/// Four weeks of November and a day, forty calls a day: on the last four days prompts are four times as long, every fourth call falls back
/// to a dearer model, and a new route takes a fifth of the calls.
fn usage(folder: &Path) -> String {
    let mut text = "time,duration_ms,request_id,model,requested_model,stage,route,input_tokens,output_tokens,cost_usd,status,error_type\n".to_owned();
    for call in 0..28_u32 * 40 {
        let (day, of_day) = (call / 40 + 1, call % 40);
        let late = day > 24;
        let fell_back = late && of_day.is_multiple_of(4);
        let model = if fell_back { "claude-haiku-4-5" } else { "gpt-6-luna" };
        let route = if late && of_day.is_multiple_of(5) { "/summarise" } else { "/ask" };
        let input = (150 + of_day + day % 3) * if late { 4 } else { 1 };
        let failed = of_day == 7;
        let (status, cause, output) =
            if failed { ("failure", "timeout", 0) } else { ("success", "", 45 + of_day % 7) };
        let cost = f64::from(input) * if fell_back { 1e-6 } else { 2e-7 } + f64::from(output) * 1e-6;
        // The eighth call of a day fails, and the ninth is its retry.
        let request = if of_day == 8 { call - 1 } else { call };
        let time = format!("2026-11-{day:02}T{:02}:{:02}:00Z", of_day * 36 / 60, of_day * 36 % 60);
        let time = if of_day == 8 { format!("2026-11-{day:02}T04:13:00Z") } else { time };
        let line = format!(
            "{time},{},r{request},{model},gpt-6-luna,answer,{route},{input},{output},{cost:.9},{status},{cause}\n",
            800 + of_day * 10
        );
        text += &line;
    }
    let path = folder.join("usage.csv");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn without_folder(text: &str, folder: &Path) -> String {
    text.replace(folder.to_str().unwrap(), "FOLDER")
}

#[test]
fn production_stands_beside_the_plan_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, usage) = (plan(folder.path()), usage(folder.path()));
    let found = breakeven(&["actuals", &usage, "--plan", &plan]);
    assert_eq!(found.status.code(), Some(0), "{}", shown(&found));
    insta::assert_snapshot!(without_folder(&shown(&found), folder.path()));
    let gate = breakeven(&["actuals", &usage, "--plan", &plan, "--fail-on-flags", "--format", "markdown"]);
    assert_eq!(gate.status.code(), Some(1), "{}", shown(&gate));
    insta::assert_snapshot!(without_folder(&shown(&gate), folder.path()));

    let json = breakeven(&["actuals", &usage, "--plan", &plan, "--json"]);
    assert_eq!(json.status.code(), Some(0), "{}", shown(&json));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let planned: Value = serde_json::from_str(&fs::read_to_string(&plan).unwrap()).unwrap();
    let line = |measure: &str| {
        json["comparison"].as_array().unwrap().iter().find(|line| line["measure"] == measure).unwrap().clone()
    };
    // The plan's side is the plan's own figure; production's is the file's, counted by hand above.
    let requests = line("requests_per_month");
    assert_eq!(requests["planned"]["value"], planned["traffic"]["requests_per_month"]);
    assert!((requests["actual"]["value"].as_f64().unwrap() - 39.0 * 730.5 / 24.0).abs() < 1e-6, "{requests}");
    assert!((line("retries_per_request")["actual"]["value"].as_f64().unwrap() - 1.0 / 39.0).abs() < 1e-12);
    assert!((line("failed_share")["actual"]["value"].as_f64().unwrap() - 0.025).abs() < 1e-12);
    let kinds: Vec<&str> =
        json["flags"].as_array().unwrap().iter().map(|flag| flag["kind"].as_str().unwrap()).collect();
    for kind in ["input_token_spike", "fallback_surge", "new_costly_route", "unplanned_model", "off_plan"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let spike =
        json["flags"].as_array().unwrap().iter().find(|flag| flag["kind"] == "input_token_spike").unwrap();
    assert_eq!((spike["from"].as_str(), spike["to"].as_str()), (Some("2026-11-25"), Some("2026-11-28")));
}

#[test]
fn spend_logs_and_spans_are_read_and_a_quiet_file_passes_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path());
    for name in ["usage-litellm.jsonl", "usage-otlp.jsonl", "usage-spans.jsonl"] {
        let file = format!("{FIXTURES}/{name}");
        let found = breakeven(&["actuals", &file, "--fail-on-flags"]);
        assert_eq!(found.status.code(), Some(0), "{}", shown(&found));
        insta::assert_snapshot!(name, shown(&found).replace(FIXTURES, "FIXTURES"));
        let priced = breakeven(&["actuals", &file, "--plan", &plan, "--json"]);
        assert_eq!(priced.status.code(), Some(0), "{}", shown(&priced));
    }
    let typed = breakeven(&[
        "actuals",
        &format!("{FIXTURES}/usage-litellm.jsonl"),
        "--product",
        "examples/support-bot.toml",
    ]);
    assert!(
        shown(&typed).contains("compared with the product file examples/support-bot.toml"),
        "{}",
        shown(&typed)
    );
}

#[test]
fn bad_input_is_one_message_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, usage) = (plan(folder.path()), usage(folder.path()));
    let gzip = folder.path().join("usage.jsonl.gz");
    fs::write(&gzip, b"\x1f\x8b\x08\x00").unwrap();
    let bad = folder.path().join("bad.csv");
    fs::write(&bad, "time,model,input_tokens\n2026-11-01,m,-1\n").unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["nowhere.csv"], "cannot read `nowhere.csv`"),
        (&[gzip.to_str().unwrap()], "gzip; expected the file unpacked"),
        (&[bad.to_str().unwrap()], "bad.csv:2: `input_tokens` is `-1`, expected a whole number of tokens"),
        (&[&usage, "--plan", &usage], "is not a plan of this version"),
        (&[&usage, "--plan", &plan, "--option", "api:none/such"], "the plan has no option `api:none/such`"),
        (&[&usage, "--column", "colour=x"], "expected FIELD=NAME with a field of time"),
    ];
    for (arguments, says) in cases {
        let mut all = vec!["actuals"];
        all.extend(arguments);
        let said = shown(&breakeven(&all));
        assert!(said.contains("exit code: 2") && said.contains(says), "{said}");
    }
}
