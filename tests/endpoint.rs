//! `bench --target --launch` against a null server of this process: a measurement comes out, the server that was launched is gone,
//! and the key is in nothing that was written.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use breakeven_bench::{
    drive::Attempt,
    journal::{Entries, Entry},
    self_check::serve_beside,
    target::null::Script,
};
use breakeven_measurement::{
    FailureCause, Metric, file,
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

/// A product of one short segment, with more tables at its end.
fn short_product(folder: &Path, more: &str) -> PathBuf {
    let path = folder.join("product.toml");
    let text = format!(
        r#"name = "short"
[model]
name = "smollm2-135m-instruct"
[slo]
ttft = "30 s"
tpot = "10 s"
attainment = 0.9
[traffic]
requests_per_month = 1_000
[success]
probability = 0.9
[fleet]
usd_per_hour = 0.10
[[segment]]
name = "all"
weight = 1.0
input_tokens = {{ median = 24, p90 = 24, max = 24 }}
output_tokens = {{ median = 6, p90 = 6, max = 6 }}
{more}
"#
    );
    fs::write(&path, text).unwrap();
    path
}

fn attempts(folder: &Path) -> Vec<Attempt> {
    let (_, entries) = Entries::open(&folder.join("attempts.jsonl")).unwrap();
    let attempt = |entry| if let Ok(Entry::Attempt(line)) = entry { Some(line.record) } else { None };
    entries.filter_map(attempt).collect()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_conversation_with_a_launched_server_carries_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    let product = short_product(folder.path(), "[segment.session]\nturns = 3\nthink_time = \"50 ms\"");
    let port = free_port();
    let launch = format!(
        "exec {} serve --weights random --listen 127.0.0.1:{port} --offline",
        env!("CARGO_BIN_EXE_breakeven")
    );
    let target = format!("http://127.0.0.1:{port}/v1");
    let run = Command::new(env!("CARGO_BIN_EXE_breakeven"))
        .args(["bench", product.to_str().unwrap(), "--time", "20s", "--rates", "1,2,2", "--target", &target])
        .args(["--launch", &launch, "--out"])
        .arg(folder.path().join("measurement.json"))
        .output()
        .unwrap();
    let text = shown(&run);
    assert_eq!(run.status.code(), Some(0), "{text}");
    let measurement = file::read(&folder.path().join("measurement.json")).unwrap();
    assert!(
        measurement.levels.iter().all(|level| level.overall.completed == level.overall.scheduled),
        "{text}"
    );
    // A turn's prompt, as the server counted it, holds what was said before: some are well over one message and its template.
    let attempts = attempts(folder.path());
    let longest = attempts.iter().map(|a| a.input_tokens).max().unwrap();
    let shortest = attempts.iter().map(|a| a.input_tokens).min().unwrap();
    assert!(longest > shortest * 2, "{shortest} to {longest} prompt tokens");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the server still listens");
}

#[test]
fn what_the_first_server_refuses_the_fallback_answers() {
    let fallback = serve_beside(Script {
        ttft: Duration::from_millis(5),
        itl: Duration::from_millis(1),
        tokens: 6,
        stall: None,
    })
    .unwrap();
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = refusing.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in refusing.incoming().flatten() {
            std::thread::spawn(move || refuse(&stream));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let tables = format!(
        "[bench.retries]\nmost = 1\nbackoff = \"10 ms\"\n[bench.fallback]\ntarget = \"{}\"\nmodel = \"null\"\n\
         [bench.spend]\nusd_per_million_input_tokens = 1.0\nusd_per_million_output_tokens = 2.0",
        fallback.base
    );
    let product = short_product(folder.path(), &tables);
    let run = Command::new(env!("CARGO_BIN_EXE_breakeven"))
        .args(["bench", product.to_str().unwrap(), "--time", "4s", "--rates", "30,40,40", "--model", "busy"])
        .args(["--target", &format!("http://{address}/v1"), "--out"])
        .arg(folder.path().join("measurement.json"))
        .output()
        .unwrap();
    let text = shown(&run);
    assert_eq!(run.status.code(), Some(0), "{text}");
    let measurement = file::read(&folder.path().join("measurement.json")).unwrap();
    for level in &measurement.levels {
        let load = &level.overall;
        assert_eq!((load.completed, load.fallbacks), (load.scheduled, load.scheduled), "{text}");
        // The first try, and the retry of it.
        assert_eq!(load.retries.get(&FailureCause::ServerError), Some(&(2 * load.scheduled)), "{text}");
    }
    assert!(text.contains("Spent: USD 0."), "{text}");
}

/// Answers every request of a connection with HTTP 500.
fn refuse(mut stream: &std::net::TcpStream) {
    let mut buffer = [0; 8_192];
    while let Ok(read) = stream.read(&mut buffer)
        && read > 0
    {
        let answer = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_tokenizer_counts_beside_the_server_and_repeats_have_intervals() {
    let server = serve_beside(Script {
        ttft: Duration::from_millis(5),
        itl: Duration::from_millis(1),
        tokens: 6,
        stall: None,
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    // One token a word: the null server streams six words and says six tokens.
    let words: Vec<String> = (0..60).map(|i| format!("\"w{i}\": {}", i + 2)).collect();
    let tokenizer = folder.path().join("tokenizer.json");
    let json = format!(
        r#"{{"version": "1.0", "added_tokens": [], "pre_tokenizer": {{"type": "Whitespace"}},
            "model": {{"type": "WordLevel", "vocab": {{"[UNK]": 0, "token": 1, {}}}, "unk_token": "[UNK]"}}}}"#,
        words.join(", ")
    );
    fs::write(&tokenizer, json).unwrap();
    let product = short_product(folder.path(), "");
    let run = Command::new(env!("CARGO_BIN_EXE_breakeven"))
        .args([
            "bench",
            product.to_str().unwrap(),
            "--time",
            "4s",
            "--rates",
            "60,60,60",
            "--target",
            &server.base,
        ])
        .args(["--repeat", "2", "--tokenizer", tokenizer.to_str().unwrap(), "--out"])
        .arg(folder.path().join("measurement.json"))
        .output()
        .unwrap();
    let text = shown(&run);
    assert_eq!(run.status.code(), Some(0), "{text}");
    let measurement = file::read(&folder.path().join("measurement.json")).unwrap();
    assert_eq!(measurement.repeats.map(|repeats| repeats.runs), Some(2));
    for level in &measurement.levels {
        let load = &level.overall;
        assert_eq!((load.counts_checked, load.counts_disagreeing), (load.completed, 0), "{text}");
        let ttft = level.headline(Metric::TtftP50).unwrap();
        assert!(ttft.runs.len() == 2 && ttft.between_runs.is_some() && ttft.within_run.is_some(), "{ttft:?}");
    }
    assert!(text.contains("2 runs of each level"), "{text}");
}
