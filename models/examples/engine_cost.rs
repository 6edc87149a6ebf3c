//! What the engine costs beside the model's own arithmetic: seconds to load, peak memory against weights and KV cache, and
//! the share of a step that is not the decoder's (planning, sampling, text, events).
//!
//!     cargo run --release -p breakeven-models --features inference --example engine_cost -- [SEQUENCES [CONTEXT]]
//!
//! All slots are filled to their last token, so that the whole KV cache is touched: an untouched part would cost nothing.
//! Memory is read from /proc/self/status, thus on Linux only.

use std::error::Error;
use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use breakeven_models::inference::fetch::{FetchOptions, Silent, WeightsChoice, resolve};
use breakeven_models::inference::{
    Engine, EngineSettings, Event, EventStream, GenerateRequest, Prompt, Sampling,
};
use breakeven_models::registry::DEFAULT_MODEL;
use serde_json::json;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const PROMPT_TOKENS: usize = 32;
const MEBIBYTE: f64 = 1_048_576.0;

fn main() -> Fallible<()> {
    let mut arguments = std::env::args().skip(1);
    let sequences = arguments.next().map_or(Ok(64), |text| text.parse::<usize>())?;
    let context = arguments.next().map_or(Ok(256), |text| text.parse::<usize>())?;
    let mut out = stdout();

    let begun = Instant::now();
    let before = peak_bytes()?;
    let options = FetchOptions { weights: WeightsChoice::Real, ..FetchOptions::default() };
    let resolved = resolve(DEFAULT_MODEL, &options, &mut Silent)?;
    let found = begun.elapsed();
    let settings = EngineSettings {
        max_sequences: sequences,
        max_context: context,
        token_budget: 128.max(sequences + 1),
        ..EngineSettings::default()
    };
    let engine = Engine::start(resolved.model, &settings)?;
    let loaded = begun.elapsed();
    let after_load = peak_bytes()?;
    writeln!(
        out,
        "{}",
        json!({ "find_and_hash_seconds": found.as_secs_f64(), "load_seconds": loaded.as_secs_f64() })
    )?;

    let samplings = [
        ("greedy", Sampling::Greedy),
        ("temperature 0.8", Sampling::Random { temperature: 0.8, top_p: 1.0 }),
        ("temperature 0.8, top-p 0.95", Sampling::Random { temperature: 0.8, top_p: 0.95 }),
    ];
    for (name, sampling) in samplings {
        let share = measure(&engine, sequences, context, sampling)?;
        writeln!(out, "{}", json!({ "sampling": name, "sequences": sequences, "steps": share }))?;
    }

    let weights = engine.record().weight_bytes as f64;
    let slots = engine.settings().slots();
    let kv = engine.record().kv_bytes_per_token as f64 * (slots.slots * slots.tokens) as f64;
    let peak = peak_bytes()?;
    writeln!(
        out,
        "{}",
        json!({
            "weights_mib": weights / MEBIBYTE,
            "kv_mib": kv / MEBIBYTE,
            "process_before_mib": before / MEBIBYTE,
            "peak_after_load_mib": after_load / MEBIBYTE,
            "peak_mib": peak / MEBIBYTE,
            "peak_over_weights_and_kv": peak / (weights + kv),
        })
    )?;
    Ok(())
}

/// Where the time of the steps went in which all sequences decode and nothing else runs.
fn measure(
    engine: &Engine,
    sequences: usize,
    context: usize,
    sampling: Sampling,
) -> Fallible<serde_json::Value> {
    drop(engine.take_step_log());
    let streams = (0..sequences)
        .map(|index| {
            let first = u32::try_from(1000 + index * 7)?;
            let prompt = Prompt::Tokens((first..).take(PROMPT_TOKENS).collect());
            let tokens = context - PROMPT_TOKENS;
            let request = GenerateRequest {
                sampling,
                ignore_eos: true,
                seed: index as u64,
                ..GenerateRequest::new(prompt, tokens)
            };
            Ok(engine.submit(request)?)
        })
        .collect::<Fallible<Vec<_>>>()?;
    let times = std::thread::scope(|scope| {
        let readers: Vec<_> = streams.into_iter().map(|stream| scope.spawn(|| times(stream))).collect();
        readers
            .into_iter()
            .map(|reader| reader.join().map_err(|_| "a reader panicked")?)
            .collect::<Fallible<Vec<_>>>()
    })?;
    // From the first token of the last to begin until the last token of the first to end, all decode.
    let begin = times.iter().filter_map(|times| times.first()).max().ok_or("no tokens")?;
    let end = times.iter().filter_map(|times| times.last()).min().ok_or("no tokens")?;
    let log = engine.take_step_log();
    let full = log.iter().filter(|step| step.decoding_sequences == sequences && step.prefill_tokens == 0);
    let (mut count, mut decoder, mut booked) = (0, 0.0, 0.0);
    for step in full {
        count += 1;
        decoder += step.decoder_seconds;
        booked += step.seconds - step.decoder_seconds;
    }
    let wall = end.duration_since(*begin).max(Duration::from_nanos(1)).as_secs_f64();
    let per_step = |seconds: f64| 1e3 * seconds / f64::from(count.max(1));
    Ok(json!({
        "count": count,
        "step_ms": per_step(wall),
        "decoder_ms": per_step(decoder),
        "plan_and_sample_ms": per_step(booked),
        "outside_share": 1.0 - decoder / wall,
    }))
}

/// When each token was there.
fn times(mut stream: EventStream) -> Fallible<Vec<Instant>> {
    let mut times = Vec::new();
    while let Some(event) = stream.blocking_next() {
        match event {
            Event::Token { at, .. } => times.push(at),
            Event::Done { .. } => return Ok(times),
            Event::Failed { error } => return Err(error.into()),
        }
    }
    Err("the stream was cut off".into())
}

/// Most memory that this process has had at once, in bytes.
fn peak_bytes() -> Fallible<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024.0)
}
