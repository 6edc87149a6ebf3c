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
fn ctrl_c_leaves_a_partial_measurement_marked_incomplete() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("measurement.json");
    let child = Command::new(env!("CARGO_BIN_EXE_breakeven"))
        .args(["bench", "examples/support-bot.toml", "--weights", "real", "--rates", "1,1,1", "--out"])
        .arg(&out)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Attempts of the first level appear in the journal: the run is in the middle of it.
    let journal = folder.path().join("attempts.jsonl");
    let in_level =
        || fs::read_to_string(&journal).is_ok_and(|text| text.matches("\"phase\":\"baseline\"").count() >= 2);
    for _ in 0..1_200 {
        if in_level() {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    assert!(in_level(), "the first level never began");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
    let measurement = file::read(&out).unwrap();
    assert!(matches!(measurement.status, Status::Incomplete { .. }));
    assert_eq!(measurement.levels.len(), 1);
    let refused = breakeven(&["plan", "examples/support-bot.toml", "--measurement", out.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(shown(&refused).contains("--allow-invalid"));
}
