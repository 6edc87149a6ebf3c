//! Results of other harnesses: real files of AIPerf, GuideLLM and llama-bench, shapes of vLLM's and inference-perf's, and nonsense.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use breakeven_measurement::import::{ImportError, Imported, Tool, import};
use proptest::prelude::*;

fn read(file: &str) -> Imported {
    let path = format!("{}/tests/fixtures/import/{file}", env!("CARGO_MANIFEST_DIR"));
    import(file, &std::fs::read_to_string(path).unwrap()).unwrap()
}

fn close(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|found| (found / expected - 1.0).abs() < 1e-6)
}

#[test]
fn aiperf() {
    let found = read("aiperf-0.13.json");
    assert_eq!((found.tool, found.tool_version.as_deref()), (Tool::Aiperf, Some("0.13.0")));
    assert_eq!(found.model.as_deref(), Some("smollm2-135m-instruct"));
    let point = &found.points[0];
    assert!(close(point.offered_per_second, 1.0) && close(point.achieved_per_second, 0.863_166_057));
    assert!(
        close(point.ttft.p50_seconds, 0.403_274_846_5) && close(point.ttft.p95_seconds, 0.549_839_726_55)
    );
    assert!(close(point.tpot.mean_seconds, 0.015_799_222_962));
    assert!(close(point.e2e.p99_seconds, 1.849_164_332));
    assert!(close(point.mean_input_tokens, 158.0) && close(point.completed, 8.0));
    assert_eq!(point.failed, None, "this version reports no count of failures: absent, not zero");
}

#[test]
fn guidellm_open_and_closed() {
    let closed = read("guidellm-0.8-concurrent.json");
    assert_eq!((closed.tool, closed.tool_version.as_deref()), (Tool::Guidellm, Some("0.8.1")));
    let point = &closed.points[0];
    assert!(close(point.concurrency, 2.0) && point.offered_per_second.is_none());
    assert!(close(point.ttft.p50_seconds, 0.438_877_820_97) && close(point.failed.map(|f| f + 1.0), 1.0));
    // Its inter_token_latency, not its time_per_output_token, which has TTFT in it.
    assert!(close(point.tpot.mean_seconds, 0.022_323_693_548), "{:?}", point.tpot);
    let open = read("guidellm-0.8-constant.json");
    assert!(close(open.points[0].offered_per_second, 1.0) && open.points[0].concurrency.is_none());
}

#[test]
fn vllm_bench_serve() {
    let found = read("vllm-bench-serve.json");
    assert_eq!(found.tool, Tool::VllmBench);
    let point = &found.points[0];
    assert!(close(point.offered_per_second, 4.0) && close(point.concurrency, 64.0));
    assert!(close(point.ttft.p50_seconds, 0.045) && close(point.ttft.p99_seconds, 0.12));
    assert_eq!(point.ttft.p95_seconds, None, "not asked for, not reported");
    assert!(close(point.mean_input_tokens, 512.0) && close(point.mean_output_tokens, 128.0));
    let text = r#"{"request_rate": "inf", "mean_ttft_ms": 3.0, "completed": 0, "total_input_tokens": 0}"#;
    let all_at_once = import("v.json", text).unwrap();
    assert_eq!(all_at_once.points[0].offered_per_second, None, "all at once is no rate");
    assert_eq!(all_at_once.points[0].mean_input_tokens, None, "nothing completed has no mean");
}

#[test]
fn inference_perf_and_llama_bench() {
    let found = read("inference-perf.json");
    assert_eq!(found.tool, Tool::InferencePerf);
    let point = &found.points[0];
    assert!(close(point.offered_per_second, 5.0) && close(point.ttft.p50_seconds, 0.05));
    assert!(close(point.failed, 2.0) && close(point.tpot.p99_seconds, 0.03));
    let bench = read("llama-bench.json");
    let labels: Vec<&str> = bench.points.iter().map(|p| p.label.as_str()).collect();
    assert_eq!((bench.tool, labels), (Tool::LlamaBench, vec!["pp64", "tg16"]));
    assert!(
        bench.points[0].prompt_tokens_per_second.is_some()
            && bench.points[0].output_tokens_per_second.is_none()
    );
    assert!(bench.points.iter().all(|p| p.ttft.p50_seconds.is_none() && p.offered_per_second.is_none()));
}

#[test]
fn a_csv_with_holes() {
    let text = "label,offered_per_second,ttft_p95_seconds,tpot_p50_seconds\na,1,0.2,\nb,2,,0.01\n";
    let found = import("x.csv", text).unwrap();
    assert_eq!(found.points[0].tpot.p50_seconds, None);
    assert_eq!(found.points[1].ttft.p95_seconds, None);
    for (text, says) in [
        ("label,ttfft\na,1\n", "ttfft"),
        ("label,completed\na,-1\n", "0 or more"),
        ("label,completed\na\n", "2 plain cells"),
        ("", "no result"),
        ("{\"a\": 1}", "none of the tools"),
        ("{\"a\": ", "line 1"),
        (r#"{"mean_ttft_ms": -3}"#, "mean_ttft_ms"),
    ] {
        let error = import("x", text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn tools_are_not_mixed() {
    let mut first = read("aiperf-0.13.json");
    assert!(first.join(read("vllm-bench-serve.json")).is_err());
    assert!(first.join(read("aiperf-0.13.json")).is_ok() && first.points.len() == 2);
    assert!(matches!(import("x", "[]"), Err(ImportError::Unknown { .. })));
}

proptest! {
    #[test]
    fn no_damage_panics(cut in 0usize..14_000, junk in any::<u8>(), file in 0usize..5) {
        let name = ["aiperf-0.13.json", "guidellm-0.8-constant.json", "vllm-bench-serve.json", "inference-perf.json", "llama-bench.json"][file];
        let path = format!("{}/tests/fixtures/import/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut bytes = std::fs::read(path).unwrap();
        let at = cut % bytes.len();
        bytes[at] = junk;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let _whole = import("x", &text);
        let _cut = import("x", text.get(..at).unwrap_or_default());
    }
}
