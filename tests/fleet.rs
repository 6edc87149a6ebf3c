//! From a measurement with a step model to a simulated fleet, its manifests, and back from other harnesses' results.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};
use support::{breakeven, shown};

/// The stored measurement with a step model of about the speed it was measured at.
fn measurement(folder: &Path) -> String {
    let path = format!("{}/tests/fixtures/measurement-1.json", env!("CARGO_MANIFEST_DIR"));
    let mut value: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let model = json!({
        "base_seconds": 0.006, "seconds_per_prefill_token": 0.0016, "seconds_per_decoding_sequence": 0.003,
        "seconds_per_context_token": 2e-6
    });
    value["steps"] = json!({
        "source": "engine_log", "levels": ["baseline", "expected"], "rows": 4000, "sample": [],
        "fit": {"model": model, "half_widths": [1e-4, 1e-5, 1e-5, null], "rows": 4000, "r_squared": 0.97,
            "median_error": 0.04, "p90_error": 0.12}
    });
    let out = folder.join("m.json");
    fs::write(&out, value.to_string()).unwrap();
    out.to_str().unwrap().to_owned()
}

#[test]
fn simulate_prints_percentiles_and_a_timeline_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let m = measurement(folder.path());
    let arguments = [
        "simulate",
        "examples/support-bot.toml",
        "--measurement",
        &m,
        "--rate",
        "1",
        "--replicas",
        "3",
        "--fail",
        "1@13:00",
    ];
    let text = shown(&breakeven(&arguments));
    assert!(text.contains("TTFT") && text.contains("Mon 13:00") && text.contains("exit code: 0"), "{text}");
    let output = breakeven(&[&arguments[..], &["--json"]].concat());
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let hours = value["timeline"].as_array().unwrap();
    assert!(hours.len() >= 24);
    // Down for an hour and a cold start from 13:00: two ready in that hour.
    let ready = |hour: usize| hours[hour]["mean_ready"].as_f64().unwrap();
    assert!((ready(12) - 3.0).abs() < 1e-9 && (ready(13) - 2.0).abs() < 1e-6, "{} {}", ready(12), ready(13));
    // The same seed, the same answer.
    assert_eq!(output.stdout, breakeven(&[&arguments[..], &["--json"]].concat()).stdout);
    // One replica under ten times the load misses the SLO: exit code 1.
    let over = breakeven(&[
        "simulate",
        "examples/support-bot.toml",
        "--measurement",
        &m,
        "--rate",
        "20",
        "--hours",
        "2",
        "--flat",
    ]);
    assert_eq!(over.status.code(), Some(1), "{}", shown(&over));
}

#[test]
fn simulate_without_a_step_model_says_what_to_do() {
    let m = format!("{}/tests/fixtures/measurement-1.json", env!("CARGO_MANIFEST_DIR"));
    let text = shown(&breakeven(&["simulate", "examples/support-bot.toml", "--measurement", &m]));
    assert!(
        text.contains("no step model") && text.contains("--step") && text.contains("exit code: 2"),
        "{text}"
    );
    let wrong = shown(&breakeven(&[
        "simulate",
        "examples/support-bot.toml",
        "--measurement",
        &m,
        "--fail",
        "1@25:00",
    ]));
    assert!(wrong.contains("1@25:00") && wrong.contains("exit code: 2"), "{wrong}");
}

#[test]
fn a_plan_becomes_manifests() {
    let folder = tempfile::tempdir().unwrap();
    let m = measurement(folder.path());
    let plan = folder.path().join("plan.json");
    let plan = plan.to_str().unwrap();
    let made = breakeven(&[
        "plan",
        "examples/support-bot.toml",
        "--measurement",
        &m,
        "--out",
        plan,
        "--allow-invalid",
        "--as-of",
        "2026-11-23",
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    let value: Value = serde_json::from_str(&fs::read_to_string(plan).unwrap()).unwrap();
    let fleet = &value["fleet_plan"];
    assert_eq!(fleet["hours"].as_array().unwrap().len(), 168);
    assert_eq!(fleet["simulation"]["levels"].as_array().unwrap().len(), 3);
    assert!(fleet["replica_loss"]["timeline"].as_array().unwrap().len() >= 10);
    let keda =
        shown(&breakeven(&["kubernetes", "deployment", plan, "--image", "registry.example/bot:1", "--keda"]));
    for expected in ["kind: Deployment", "kind: ScaledObject", "name: support-bot", "# simulated on"] {
        assert!(keda.contains(expected), "{expected}: {keda}");
    }
    let hpa = folder.path().join("hpa.yaml");
    let written = breakeven(&[
        "kubernetes",
        "deployment",
        plan,
        "--image",
        "i",
        "--server",
        "vllm",
        "--out",
        hpa.to_str().unwrap(),
    ]);
    assert_eq!(written.status.code(), Some(0));
    assert!(fs::read_to_string(hpa).unwrap().contains("kind: HorizontalPodAutoscaler"));
}

#[test]
fn another_harness_s_results_become_a_measurement_and_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("loads.csv");
    fs::write(
        &csv,
        "label,model,offered_per_second,ttft_p50_seconds,ttft_p90_seconds,tpot_p90_seconds\na,m,0.5,0.1,0.3,0.02\nb,m,1,0.2,0.6,0.03\n\
         c,m,2,0.9,3.1,0.05\n",
    )
    .unwrap();
    let (m, plan) = (folder.path().join("m.json"), folder.path().join("plan.json"));
    let (m, plan) = (m.to_str().unwrap(), plan.to_str().unwrap());
    let made =
        breakeven(&["import", csv.to_str().unwrap(), "--product", "examples/support-bot.toml", "--out", m]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    let made = breakeven(&["plan", "examples/support-bot.toml", "--measurement", m, "--out", plan]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    let value: Value = serde_json::from_str(&fs::read_to_string(plan).unwrap()).unwrap();
    let rate = value["fleet"]["replica_capacity"]["rate"].as_f64().unwrap();
    // p90 TTFT crosses 1.5 s between 1 and 2 requests a second.
    assert!((1.0..2.0).contains(&rate), "{rate}");
    assert_eq!(value["fleet"]["replica_capacity"]["basis"], "interpolated");
    let warnings = value["warnings"].to_string();
    assert!(warnings.contains("imported from CSV"), "{warnings}");
    let machine = value["measured"]["machine"].as_str().unwrap();
    assert_eq!(machine, "not reported by CSV");
    let mixed = breakeven(&[
        "import",
        csv.to_str().unwrap(),
        "measurement/tests/fixtures/import/aiperf-0.13.json",
        "--product",
        "examples/support-bot.toml",
        "--out",
        m,
    ]);
    assert_eq!(mixed.status.code(), Some(2), "{}", shown(&mixed));
}
