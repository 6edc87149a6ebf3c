//! Fuzzing of the readers of usage files: real shapes, damaged. A reader may refuse; it may not panic, hang, or lose a row.
//!
//! A few thousand inputs a reader as part of the test suite; `BREAKEVEN_FUZZ_SECONDS=60` makes it a minute a reader, as CI does.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]
#![expect(clippy::print_stdout, reason = "what was fuzzed, and how much, is for the reader of the log")]

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use breakeven_usage::{ReadOptions, Sums, read_bytes};
use bytes::Bytes;
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

/// Inputs a reader where no time is asked for.
const INPUTS: u64 = 3_000;
/// Damaged inputs that a reader still took are damaged further.
const KEPT_SEEDS: usize = 64;

/// Fragments that readers of tables, objects and numbers stumble over.
const FRAGMENTS: [&[u8]; 30] = [
    b"-1",
    b"NaN",
    b"1e999",
    b"1e-999",
    b"99999999999999999999999999999999999999",
    b"18446744073709551615",
    b"-0",
    b"\"",
    b"\"\"",
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"{",
    b"}",
    b"[",
    b"]",
    b"{\"resourceSpans\":",
    b"\"metadata\":\"{\\\"status\\\":1}\"",
    b"\"attributes\":{\"attributes\":{}}",
    b"null",
    b"\\u0000",
    b"\\ud800",
    b"2026-02-30",
    b"2100-01-01T00:00:00Z",
    b"0.000000000000000000000000000000000001",
];

fn fuzz(name: &str, seeds: &[Vec<u8>]) {
    let seconds = std::env::var("BREAKEVEN_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let budget = seconds.map(Duration::from_secs);
    // A timed run begins elsewhere every time; its seed is printed with the failing input.
    let seed = if budget.is_some() { rand::rng().next_u64() } else { 1 };
    let mut random = SmallRng::seed_from_u64(seed);
    for seed in seeds {
        assert!(takes(seed), "{name}: the undamaged file is not taken");
    }
    let mut kept = seeds.to_vec();
    let (begun, mut inputs, mut taken) = (Instant::now(), 0_u64, 0_u64);
    while budget.map_or(inputs < INPUTS, |budget| begun.elapsed() < budget) {
        let input = damaged(&kept, &mut random);
        let took = std::panic::catch_unwind(|| takes(&input));
        let Ok(took) = took else {
            panic!("{name}: seed {seed}, input {inputs} broke it: {:?}", String::from_utf8_lossy(&input));
        };
        inputs += 1;
        if took {
            taken += 1;
            if kept.len() < KEPT_SEEDS {
                kept.push(input);
            } else {
                let victim = random.random_range(seeds.len()..kept.len());
                kept[victim] = input;
            }
        }
    }
    println!("{name}: {inputs} inputs, {taken} taken, {:.1} s", begun.elapsed().as_secs_f64());
    assert!(taken > 0, "{name}: no input was taken, so the reader's inside was never reached");
}

fn damaged(kept: &[Vec<u8>], random: &mut SmallRng) -> Vec<u8> {
    let mut input = kept.choose(random).unwrap().clone();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=input.len());
        let to = (at + random.random_range(0..=24)).min(input.len());
        match random.random_range(0..6) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 => drop(input.drain(at..to)),
            2 => drop(input.splice(at..at, FRAGMENTS.choose(random).unwrap().iter().copied())),
            3 => drop(input.splice(at..to, FRAGMENTS.choose(random).unwrap().iter().copied())),
            4 => {
                let other = kept.choose(random).unwrap();
                let from = random.random_range(0..=other.len());
                let end = (from + random.random_range(0..=200)).min(other.len());
                drop(input.splice(at..to, other[from..end].iter().copied()));
            }
            _ => input.truncate(at),
        }
    }
    input.truncate(64 << 10);
    input
}

/// Whether a file was taken. What was taken must be whole, and the same whatever the threads and blocks.
fn takes(bytes: &[u8]) -> bool {
    let options = |threads, block_bytes| ReadOptions {
        most_refused: 0.9,
        threads: NonZeroUsize::new(threads),
        block_bytes,
        ..ReadOptions::default()
    };
    let bytes = Bytes::copy_from_slice(bytes);
    let alone = read_bytes("f", bytes.clone(), &options(1, 1 << 20));
    let together = read_bytes("f", bytes, &options(2, 300));
    let Ok(usage) = alone else {
        let message = alone.unwrap_err().to_string();
        assert!(!message.contains("break the reader"), "{message}");
        assert!(together.is_err(), "blocks make a file readable");
        return false;
    };
    let source = &usage.source;
    assert_eq!(source.read, source.used + source.refused + source.passed_over);
    assert_eq!(source.used, usage.total.attempts);
    for breakdown in usage.by.values() {
        let mut all = Sums::default();
        breakdown.totals().values().for_each(|sums| all.merge(sums));
        assert_eq!(all, usage.total, "the parts are not the whole");
    }
    assert_eq!(usage, together.unwrap(), "blocks change a file");
    true
}

#[test]
fn usage_csv() {
    let seed = "time,duration_ms,request_id,model,requested_model,stage,route,feature,team,input_tokens,output_tokens,cached_tokens,cost_usd,status,error_type,success,attempt\n\
        2026-11-01T00:00:00Z,1200,r1,gpt-5-nano,gpt-5-nano,generation,\"/a \"\"b\"\", c\",f,t,120,40,10,0.000022,success,,true,1\n\
        2026-11-01 00:00:02,900.5,r2,gpt-5-mini,gpt-5-nano,generation,\"/a\n/b\",f,t,120,40,,3.5e-5,failure,timeout,false,2\n\
        1793491204,,r3,,,,,,,1,2,0,,429,,,\n";
    fuzz("usage CSV", &[seed.as_bytes().to_vec()]);
}

#[test]
fn usage_spend_logs() {
    let seed = r#"{"request_id":"a","call_type":"acompletion","spend":3.45e-05,"total_tokens":150,"prompt_tokens":120,"completion_tokens":30,"startTime":"2026-11-03T10:00:00.000Z","endTime":"2026-11-03T10:00:01.500Z","model":"openai/gpt-5-nano","model_group":"chat","cache_hit":"False","metadata":{"status":"success","error_information":{"error_class":""},"usage_object":{"prompt_tokens_details":{"cached_tokens":40}},"spend_logs_metadata":{"feature":"x\u00e9"},"attempted_fallbacks":0},"request_tags":["a"],"team_id":"t1","session_id":"s","status":"success"}
{"request_id":"b","call_type":"acompletion","spend":0.0,"prompt_tokens":0,"completion_tokens":0,"startTime":"2026-11-03T10:00:02Z","endTime":"2026-11-03T10:00:02Z","model":"m","metadata":"{\"attempted_fallbacks\":1,\"original_model_group\":\"n\"}","session_id":"s","status":"failure"}
"#;
    fuzz("usage spend logs", &[seed.as_bytes().to_vec()]);
}

#[test]
fn usage_spans() {
    let flat = r#"{"name":"chat gpt-4o","context":{"trace_id":"0x1","span_id":"0x2"},"parent_id":"0x9","start_time":"2026-11-03T10:00:00Z","end_time":"2026-11-03T10:00:02Z","status":{"status_code":"UNSET"},"attributes":{"gen_ai.operation.name":"chat","gen_ai.request.model":"gpt-4o","gen_ai.response.model":"gpt-4o-2024-08-06","gen_ai.usage.input_tokens":100,"gen_ai.usage.output_tokens":20},"resource":{"attributes":{"service.name":"bot"}}}
{"trace_id":"1","start_time":"2026-11-03T11:00:00Z","gen_ai.request.model":"gpt-4o","gen_ai.usage.prompt_tokens":50,"error.type":"timeout"}
"#;
    let otlp = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"bot"}}]},"scopeSpans":[{"spans":[{"traceId":"a","name":"chat","startTimeUnixNano":"1793700000000000000","endTimeUnixNano":"1793700001000000000","attributes":[{"key":"gen_ai.request.model","value":{"stringValue":"m"}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":"12"}}],"status":{"code":2}},{"traceId":"a","name":"GET"}]}]}]}
"#;
    fuzz("usage spans", &[flat.as_bytes().to_vec(), otlp.as_bytes().to_vec()]);
}
