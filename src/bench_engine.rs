//! `breakeven bench engine`: the engine's own speed, without load, beside what the machine allows.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use breakeven_hardware::{detect, roofline};
use breakeven_models::inference::{
    Backend, EngineSettings,
    engine_report::{self, Bound, Roof, Row, Speed},
    fetch::{FetchOptions, WeightsChoice, resolve},
    gguf,
    throughput::{Point, ThroughputBench},
};
use serde_json::json;

use crate::{
    cli::{BenchEngineArguments, Weights},
    console::{self, Answer},
    download::Downloads,
    hardware,
};

/// Time for the loop that finds the int8 peak.
const PEAK_BUDGET: Duration = Duration::from_millis(250);

pub(crate) fn bench_engine(arguments: &BenchEngineArguments) -> Result<Answer> {
    let machine = detect();
    console::note(&format!("Machine: {}", hardware::line(&machine)));
    let mut bench = open(arguments)?;
    let settings = bench.settings().clone();
    let mut limits = roofline::RooflineSettings::quick(machine.cpu.last_level_cache);
    limits.threads = settings.threads;
    let roof = Roof {
        memory_bytes_per_second: roofline::measure(&limits)?.memory_read_bytes_per_second.best,
        int8_operations_per_second: bench.int8_peak(PEAK_BUDGET),
    };
    let int8 = roof
        .int8_operations_per_second
        .map_or_else(|| "no int8 instructions".to_owned(), |peak| format!("{:.0} int8 GOP/s", peak / 1e9));
    let backend = format!("{:?}", settings.backend).to_lowercase();
    console::note(&format!(
        "Weights: {:.1} MB, {} threads, {backend}; roof: {:.1} GB/s read, {int8}",
        bench.weight_bytes() as f64 / 1e6,
        settings.threads,
        roof.memory_bytes_per_second / 1e9,
    ));
    let warm_up = Point { batch: 1, prompt_tokens: 32, decode_tokens: 8 };
    engine_report::measure(&mut bench, warm_up, 1, &roof)?;
    let mut rows = Vec::new();
    for &prompt_tokens in &arguments.prompt {
        for &batch in &arguments.batch {
            let point = Point { batch, prompt_tokens, decode_tokens: arguments.decode };
            let row = engine_report::measure(&mut bench, point, arguments.repeat, &roof)?;
            rows.extend(row);
            console::note(&format!("{prompt_tokens} tokens, batch {batch}: done"));
        }
    }
    let weight_bytes = bench.weight_bytes();
    let report = json!({
        "format": engine_report::FORMAT,
        "breakeven_version": env!("CARGO_PKG_VERSION"),
        "machine": machine,
        "model": arguments.model,
        "weight_bytes": weight_bytes,
        "settings": settings,
        "repeats": arguments.repeat,
        "roof": roof,
        "rows": rows,
    });
    let text = serde_json::to_string_pretty(&report)? + "\n";
    match arguments.json.as_deref() {
        Some(path) if path == Path::new("-") => console::print(&text)?,
        path => {
            if let Some(path) = path {
                fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
            console::print(&table(&rows)?)?;
        }
    }
    Ok(Answer::Yes)
}

/// Places the weights with room for the largest point.
fn open(arguments: &BenchEngineArguments) -> Result<ThroughputBench> {
    let most = |values: &[usize]| values.iter().copied().max().unwrap_or(0);
    let (batch, prompt) = (most(&arguments.batch), most(&arguments.prompt));
    if batch == 0 || prompt == 0 || arguments.decode == 0 {
        bail!("--batch, --prompt and --decode must be at least 1");
    }
    let weights = match arguments.weights {
        Weights::RealOrRandom => WeightsChoice::RealOrRandom,
        Weights::Real => WeightsChoice::Real,
        Weights::Random => WeightsChoice::Random {
            seed: arguments.seed,
            quantization: gguf::type_named(&arguments.quantization).with_context(|| {
                format!(
                    "--quantization is `{}`, expected a GGUF type like Q4_0, Q4_K or F16",
                    arguments.quantization
                )
            })?,
        },
    };
    let options = FetchOptions { weights, offline: arguments.offline, cache: None };
    let resolved = resolve(&arguments.model, &options, &mut Downloads::new())?;
    let context = prompt.saturating_add(arguments.decode);
    let spec = &resolved.model.spec;
    if context > spec.context {
        bail!("prompt and decode make {context} tokens, the model's context has {}", spec.context);
    }
    let defaults = EngineSettings::default();
    let kv = spec.kv_bytes_per_token(4).saturating_mul((context as u64).saturating_mul(batch as u64));
    let settings = EngineSettings {
        threads: arguments.threads.unwrap_or(defaults.threads),
        max_sequences: batch,
        max_context: context,
        token_budget: arguments.step_tokens.max(batch + 1),
        kv_memory_bytes: kv,
        backend: if arguments.candle { Backend::Candle } else { Backend::Packed },
        ..defaults
    };
    Ok(ThroughputBench::new(resolved.model, &settings)?)
}

fn table(rows: &[Row]) -> Result<String> {
    let mut text = format!(
        "{:>6} {:>5} {:>6} {:>11} {:>16} {:>11} {:>16}\n",
        "prompt", "batch", "decode", "S_PP tok/s", "of its roof", "S_TG tok/s", "of its roof"
    );
    for row in rows {
        let Point { batch, prompt_tokens, decode_tokens } = row.point;
        writeln!(
            text,
            "{prompt_tokens:>6} {batch:>5} {decode_tokens:>6} {:>11.1} {:>16} {:>11.1} {:>16}",
            row.prefill.tokens_per_second,
            share(&row.prefill),
            row.decode.tokens_per_second,
            share(&row.decode),
        )?;
    }
    text.push_str(
        "Roof: the least time for the weights and cache read once a step, or for the products' int8 arithmetic; \
         attention's own arithmetic is not in it.\n",
    );
    Ok(text)
}

fn share(speed: &Speed) -> String {
    let bound = match speed.bound {
        Bound::Memory => "memory",
        Bound::Int8 => "int8",
    };
    format!("{:.0} % {bound}", 100.0 * speed.roofline_share)
}
