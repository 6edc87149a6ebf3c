//! The main job on the real weights, short: measure, plan, report; and Ctrl-C in the middle of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use breakeven_measurement::{LevelName, file, run::Status};
use support::{breakeven, shown};

#[test]
fn the_main_job_writes_its_three_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let run = breakeven(&[
        "run",
        "examples/support-bot.toml",
        "--quick",
        "--weights",
        "real",
        "--rates",
        "0.5,1,2",
        "--allow-invalid",
        "--out",
        out,
    ]);
    let code = run.status.code();
    let text = shown(&run);
    assert_eq!(code, Some(0), "{text}");
    let measurement = file::read(&folder.path().join("measurement.json")).unwrap();
    assert_eq!(measurement.status, Status::Complete);
    assert_eq!(measurement.levels.len(), 3);
    let of_all: u64 =
        LevelName::ALL.iter().map(|l| measurement.level(*l).unwrap().overall.output_tokens.0).sum();
    assert!(of_all > 0, "no tokens in any level");
    for level in &measurement.levels {
        assert_eq!(level.overall.scheduled, level.overall.completed + level.overall.failed());
    }
    assert!(fs::read_to_string(folder.path().join("report.html")).unwrap().contains("<svg"));
    assert!(fs::read_to_string(folder.path().join("plan.json")).unwrap().contains("breakeven.plan/1"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_kill_lose_nothing_and_resume_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("measurement.json");
    let journal = folder.path().join("attempts.jsonl");
    let arguments = |more: &[&'static str]| {
        let all = [
            "bench",
            "examples/support-bot.toml",
            "--weights",
            "real",
            "--quick",
            "--rates",
            "1,1,1",
            "--out",
        ];
        let mut all: Vec<String> = all.map(str::to_owned).to_vec();
        all.push(out.to_str().unwrap().to_owned());
        all.extend(more.iter().map(|argument| (*argument).to_owned()));
        all
    };
    // Starts a run and ends it by a signal once `phase` has attempts in the journal.
    let ended_in = |phase: &str, more: usize, signal: &str, arguments: Vec<String>| {
        let child = Command::new(env!("CARGO_BIN_EXE_breakeven"))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let attempts = || {
            let text = fs::read_to_string(&journal).unwrap_or_default();
            text.matches(&format!("\"phase\":\"{phase}\"")).count()
        };
        for _ in 0..3_600 {
            if attempts() >= more {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        assert!(attempts() >= more, "{phase} never began");
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let ended = child.wait_with_output().unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };

    let (code, said) = ended_in("expected", 1, "-INT", arguments(&[]));
    assert_eq!(code, Some(130), "{said}");
    let measurement = file::read(&out).unwrap();
    assert!(matches!(measurement.status, Status::Incomplete { .. }));
    assert_eq!(measurement.levels.len(), 2, "baseline, and what there was of expected");
    let refused = breakeven(&["plan", "examples/support-bot.toml", "--measurement", out.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(shown(&refused).contains("--allow-invalid"));

    let other: Vec<String> = arguments(&["--resume", "--seed", "5"]);
    let other = breakeven(&other.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(other.status.code(), Some(2));
    assert!(shown(&other).contains("plan.seed was 0, now 5"), "{}", shown(&other));

    let before = fs::read_to_string(&journal).unwrap().matches("\"phase\":\"expected\"").count();
    let (code, said) = ended_in("expected", before + 1, "-KILL", arguments(&["--resume"]));
    assert_eq!(code, None, "{said}");
    assert!(said.contains("kept baseline"), "{said}");
    let (_, entries) = breakeven_bench::journal::Entries::open(&journal).unwrap();
    assert!(entries.map(Result::unwrap).count() > before, "every record is readable");

    let last: Vec<String> = arguments(&["--resume"]);
    let last = breakeven(&last.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(last.status.code(), Some(0), "{}", shown(&last));
    let whole = file::read(&out).unwrap();
    assert_eq!((whole.status, whole.levels.len()), (Status::Complete, 3));
    assert_eq!(whole.run_id, measurement.run_id);
    assert_eq!(whole.levels[0].overall, measurement.levels[0].overall);
}
