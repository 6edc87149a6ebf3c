//! Finding the model that the product file names, and starting the engine on it.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, bail};
use breakeven_hardware::Bytes;
use breakeven_measurement::{Workload, run::EngineRecord};
use breakeven_models::inference::{
    DeviceChoice, Engine, EngineSettings, GgmlDType,
    fetch::{FetchOptions, WeightsChoice, resolve},
};
use breakeven_planner::Product;

use crate::{
    cli::{Measuring, Weights},
    console,
    download::Downloads,
};

/// Most tokens of one step. Prefill chunks and decoding share a step, so while prompts come in a step's time is the TPOT:
/// 128 tokens a step cost 150 ms on two cores, 64 about half, at the same throughput.
pub(crate) const STEP_TOKENS: usize = 64;

/// A running engine and what to remember of it.
pub(crate) struct Started {
    pub(crate) engine: Arc<Engine>,
    pub(crate) record: EngineRecord,
}

/// Finds the model, tells where it came from, and starts the engine.
pub(crate) fn start(product: &Product, file: &Path, measuring: &Measuring, seed: u64) -> Result<Started> {
    let options = FetchOptions {
        weights: weights_choice(measuring.weights, seed),
        offline: measuring.offline,
        cache: None,
    };
    let began = Instant::now();
    let resolved = resolve(&product.model.name, &options, &mut Downloads::new()).with_context(|| {
        format!(
            "{}, line {}: `name = \"{}\"`: expected a known model, a readable GGUF file or folder, or hf:owner/name of the hub",
            file.display(),
            product.model.line,
            product.model.name
        )
    })?;
    if resolved.random_fallback {
        console::note("Random weights in the model's shapes: timings are real, texts are not.");
    }
    let settings = EngineSettings {
        threads: measuring.threads.unwrap_or(EngineSettings::default().threads),
        token_budget: STEP_TOKENS,
        max_context: context_needed(&product.workload()),
        ..EngineSettings::default()
    };
    let engine = Engine::start(resolved.model, &settings)?;
    let in_force = engine.settings();
    if in_force.max_context < settings.max_context {
        bail!(
            "{}: the longest request of the segments needs {} tokens, the model's context has {}; lower the `max` of \
             input_tokens or output_tokens",
            file.display(),
            settings.max_context,
            in_force.max_context
        );
    }
    let device = match in_force.device {
        DeviceChoice::Cpu => "cpu".to_owned(),
        DeviceChoice::Cuda(index) => format!("cuda:{index}"),
    };
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let record = EngineRecord {
        device,
        backend: format!("{:?}", in_force.backend).to_lowercase(),
        threads: number(in_force.threads),
        max_sequences: number(in_force.max_sequences),
        max_context_tokens: number(in_force.max_context),
        step_token_budget: number(in_force.token_budget),
        kv_memory: Bytes(in_force.kv_memory_bytes),
        load_seconds: began.elapsed().as_secs_f64(),
    };
    Ok(Started { engine: Arc::new(engine), record })
}

/// Which weights the command line asks for.
pub(crate) fn weights_choice(weights: Weights, seed: u64) -> WeightsChoice {
    match weights {
        Weights::RealOrRandom => WeightsChoice::RealOrRandom,
        Weights::Real => WeightsChoice::Real,
        Weights::Random => WeightsChoice::Random { seed, quantization: GgmlDType::Q4_1 },
    }
}

/// Tokens of the longest request that the segments may draw.
fn context_needed(workload: &Workload) -> usize {
    let longest = workload
        .segments
        .iter()
        .map(|s| s.input_tokens.max().saturating_add(s.output_tokens.max()).saturating_mul(s.turns()))
        .max();
    longest.unwrap_or(0) as usize + 1
}
