//! `compare` and `merge` on files, and their exit codes.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{fs, path::PathBuf};

use breakeven_measurement::{
    Measurement, Shard, file,
    run::{Status, Target},
};
use support::{breakeven, shown};

fn stored() -> Measurement {
    let path = PathBuf::from(format!("{}/tests/fixtures/measurement-1.json", env!("CARGO_MANIFEST_DIR")));
    file::read(&path).unwrap()
}

#[test]
fn compare_answers_with_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (a, b) = (path("a.json"), path("b.json"));
    let mut measurement = stored();
    file::write(&measurement, a.as_ref()).unwrap();
    let same = breakeven(&["compare", &a, &a, "--allow-invalid"]);
    assert_eq!(same.status.code(), Some(0), "{}", shown(&same));
    assert!(shown(&same).contains("no difference shown"));

    // Every request of B failed: worse at any sample size.
    for level in &mut measurement.levels {
        let load = &mut level.overall;
        (load.completed, load.within_slo) = (0, 0);
    }
    file::write(&measurement, b.as_ref()).unwrap();
    let worse = breakeven(&["compare", &a, &b, "--allow-invalid"]);
    assert_eq!(worse.status.code(), Some(1), "{}", shown(&worse));
    let json = breakeven(&["compare", &a, &b, "--allow-invalid", "--format", "json", "--threshold", "200%"]);
    assert_eq!(json.status.code(), Some(0), "{}", shown(&json));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(json["rows"].as_array().unwrap().iter().any(|row| row["verdict"] == "worse"));

    measurement.slo.ttft = None;
    file::write(&measurement, b.as_ref()).unwrap();
    let refused = shown(&breakeven(&["compare", &a, &b]));
    assert!(refused.contains("exit code: 2") && refused.contains("measured a different SLO"), "{refused}");
    let nonsense = shown(&breakeven(&["compare", &a, &b, "--threshold", "minus five"]));
    assert!(nonsense.contains("exit code: 2") && nonsense.contains("expected a percentage"), "{nonsense}");
}

#[test]
fn shards_merge_into_a_file_that_plans_and_a_lone_shard_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut shard = stored();
    shard.search = None;
    shard.target = Target::Endpoint { url: "http://server/v1".to_owned(), model: "m".to_owned() };
    for index in 0..2 {
        shard.shard = Some(Shard::new(index, 2).unwrap());
        file::write(&shard, path(&format!("{index}.json")).as_ref()).unwrap();
    }
    let merged = breakeven(&["merge", &path("0.json"), &path("1.json"), "--out", &path("all.json")]);
    assert_eq!(merged.status.code(), Some(0), "{}", shown(&merged));
    let all = file::read(path("all.json").as_ref()).unwrap();
    assert_eq!(all.status, Status::Complete);
    for (level, part) in all.levels.iter().zip(&shard.levels) {
        assert_eq!(level.overall.scheduled, 2 * part.overall.scheduled);
    }
    let twice = shown(&breakeven(&["merge", &path("0.json"), &path("0.json"), "--out", &path("no.json")]));
    assert!(twice.contains("exit code: 2") && twice.contains("would count twice"), "{twice}");
    assert!(!fs::exists(path("no.json")).unwrap());
    let alone = shown(&breakeven(&["plan", "examples/support-bot.toml", "--measurement", &path("0.json")]));
    assert!(alone.contains("exit code: 2") && alone.contains("is shard 0/2 of a load"), "{alone}");
}
