//! The lab's history: kept, listed, tagged and compared, across runs of the binary.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::fs;

use support::{breakeven, shown};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/measurement-1.json");
/// The fixture's own run.
const RUN: &str = "run-1795446753833-0";

#[test]
fn runs_are_kept_listed_tagged_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("lab").join("history.sqlite");
    let history = |more: &[&str]| {
        let mut all = vec!["history"];
        all.extend(more);
        all.extend(["--database", database.to_str().unwrap()]);
        let output = breakeven(&all);
        (output.status.code(), shown(&output))
    };
    assert_eq!(history(&["list"]).0, Some(1), "nothing is kept");

    let plan = folder.path().join("plan.json");
    let made = breakeven(&[
        "plan",
        "examples/support-bot.toml",
        "--measurement",
        FIXTURE,
        "--as-of",
        "2026-11-23",
        "--out",
        plan.to_str().unwrap(),
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    let other = folder.path().join("other.json");
    fs::write(&other, fs::read_to_string(FIXTURE).unwrap().replace(RUN, "run-other")).unwrap();

    let (code, text) = history(&["add", FIXTURE, "--plan", plan.to_str().unwrap(), "--tag", "candidate"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = history(&["add", other.to_str().unwrap(), "--plan", plan.to_str().unwrap()]);
    assert_eq!(code, Some(2), "a plan of another run is refused");
    assert!(text.contains("the measurement is run run-other"), "{text}");
    assert_eq!(history(&["add", other.to_str().unwrap()]).0, Some(0));
    assert_eq!(history(&["add", other.to_str().unwrap()]).0, Some(0), "twice is once");

    let (_, text) = history(&["list"]);
    assert_eq!(text.matches("smollm2-135m-instruct").count(), 2, "{text}");
    let (_, text) = history(&["list", "--tag", "candidate"]);
    assert!(text.contains(RUN) && !text.contains("run-other"), "{text}");

    assert_eq!(history(&["tag", "run-o", "spare", "candidate"]).0, Some(0));
    assert_eq!(history(&["tag", "run-o", "--remove", "spare"]).0, Some(0));
    let (_, text) = history(&["list", "--tag", "candidate"]);
    assert!(text.contains("run-other") && !text.contains("spare"), "{text}");
    let (code, text) = history(&["tag", "run-", "x"]);
    assert!(code == Some(2) && text.contains("2 runs begin with `run-`"), "{text}");

    let (code, text) = history(&["compare", "--markdown"]);
    assert_eq!(code, Some(0), "{text}");
    for figure in [
        "| machine |",
        "| carries under the SLO, req/s | 1.87 (– to 2.18) | 1.87 (– to 2.18) |",
        "| USD per successful outcome | ",
        "| validity of the expected level | weak | weak |",
        "$0.001023",
    ] {
        assert!(text.contains(figure), "{figure}:\n{text}");
    }
    // Energy was not measured there, which is not zero; and what has no interval or no plan says so.
    assert!(text.contains("| joules per output token | not measured | not measured |"), "{text}");
    assert!(text.contains("| $2.82 (interval not known) | no plan is kept |"), "{text}");
    assert!(text.contains("| TTFT p95 at expected load | 781 ms (428 ms to unbounded), weak |"), "{text}");
    let (_, text) = history(&["compare", RUN]);
    assert!(!text.contains("run-other"), "{text}");
}

#[test]
fn a_damaged_or_newer_database_is_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("history.sqlite");
    fs::write(
        &database,
        "no database, but long enough to be read as the header of one, which it is not at all, is it",
    )
    .unwrap();
    let output = breakeven(&["history", "list", "--database", database.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(shown(&output).contains("cannot open the history"), "{}", shown(&output));
}
