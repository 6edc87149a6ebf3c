//! `bench --target --launch` against a null server of this process: a measurement comes out, the server that was launched is gone,
//! and the key is in nothing that was written.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{fs, process::Command, time::Duration};

use breakeven_bench::{self_check::serve_beside, target::null::Script};
use breakeven_measurement::{
    file,
    level::TokenSource,
    run::{Status, Target},
};
use support::{breakeven, shown};

const KEY: &str = "sk-hush-0123456789";

#[test]
fn an_endpoint_is_measured_and_the_key_shows_nowhere() {
    let server = serve_beside(Script {
        ttft: Duration::from_millis(20),
        itl: Duration::from_millis(2),
        tokens: 16,
        stall: None,
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("measurement.json");
    let pid = folder.path().join("pid");
    let launch = format!("echo $$ > {}; exec sleep 600", pid.display());
    let run = Command::new(env!("CARGO_BIN_EXE_breakeven"))
        .args([
            "bench",
            "examples/support-bot.toml",
            "--quick",
            "--rates",
            "10,20,30",
            "--target",
            &server.base,
        ])
        .args(["--launch", &launch, "--out"])
        .arg(&out)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("BREAKEVEN_API_KEY", KEY)
        .output()
        .unwrap();
    let text = shown(&run);
    assert_eq!(run.status.code(), Some(0), "{text}");
    let measurement = file::read(&out).unwrap();
    assert_eq!(measurement.status, Status::Complete);
    assert_eq!(measurement.target, Target::Endpoint { url: server.base.clone(), model: "null".to_owned() });
    assert_eq!(measurement.levels.len(), 3);
    for level in &measurement.levels {
        assert_eq!(level.overall.completed, level.overall.scheduled, "{text}");
        assert_eq!(level.overall.output_tokens.0, 16 * level.overall.completed);
        assert_eq!(level.overall.token_sources.get(&TokenSource::Usage), Some(&level.overall.completed));
    }
    let check = measurement.self_check.unwrap();
    assert!(check.http_requests_per_second > 0.0 && check.stamp_error_p99_seconds < 1.0, "{check:?}");
    let pid = fs::read_to_string(pid).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "the launched server still runs: {stat}");
    assert!(!text.contains("hush"), "{text}");
    for written in fs::read_dir(folder.path()).unwrap() {
        let path = written.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("hush"), "{}", path.display());
    }
}

#[test]
fn an_endpoint_that_cannot_be_used_is_one_message() {
    let refused = |arguments: &[&str]| {
        let all =
            [&["bench", "examples/support-bot.toml", "--out", "/nonexistent/m.json"], arguments].concat();
        let run = breakeven(&all);
        assert_eq!(run.status.code(), Some(2), "{}", shown(&run));
        shown(&run)
    };
    assert!(refused(&["--target", "http://me:hush@h/v1"]).contains("BREAKEVEN_API_KEY"));
    assert!(!refused(&["--target", "http://me:hush@h/v1"]).contains("hush"));
    assert!(refused(&["--target", "http://127.0.0.1:1/v1"]).contains("give --model NAME"));
    let text = refused(&["--target", "http://127.0.0.1:1/v1", "--extra-body", "[1]"]);
    assert!(text.contains("expected a JSON object"), "{text}");
}
