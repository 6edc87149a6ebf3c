//! A level that ran several times, as one: requests, counts and histograms of all its runs together.

use breakeven_hardware::telemetry::GpuUse;
use serde::{Deserialize, Serialize};

use crate::{
    findings::findings_of_all,
    level::{LevelResult, Rates, Resources, SegmentResult},
};

/// How often the levels ran.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Repeats {
    /// Runs of every level, each on a schedule and prompts of its own.
    pub runs: u32,
    /// Half-width that was asked for of the headline intervals: points of a share, else a share of the figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_width: Option<f64>,
    /// The widest at the end; absent where nothing bounds one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widest: Option<f64>,
}

/// The runs of one level as one level; `None` of none. Headlines are left to whoever has the requests.
///
/// Counts and histograms add exactly. Windows follow one another, so they add too, and the rates are those over their sum.
pub fn pool(runs: &[LevelResult]) -> Option<LevelResult> {
    let (first, others) = runs.split_first()?;
    let mut pooled = first.clone();
    for run in others {
        pooled.resources = follow(&pooled, run);
        pooled.warmup = pooled.warmup.min(run.warmup);
        pooled.window += run.window;
        pooled.overall.merge(&run.overall);
        for (SegmentResult { load, .. }, other) in pooled.segments.iter_mut().zip(&run.segments) {
            load.merge(&other.load);
        }
        pooled.validity.findings.extend(run.validity.findings.iter().cloned());
    }
    if !others.is_empty() {
        pooled.rates = Rates::over(&pooled.overall, pooled.window);
        pooled.validity = findings_of_all(&pooled).into();
        pooled.headlines = Vec::new();
    }
    Some(pooled)
}

/// What one machine used in windows that follow one another: means by their lengths, the largest of peaks, the sum of energy.
fn follow(a: &LevelResult, b: &LevelResult) -> Resources {
    let lengths = (a.window.as_secs_f64(), b.window.as_secs_f64());
    let mean = |x: Option<f64>, y: Option<f64>| weighted(x, y, lengths);
    let (x, y) = (&a.resources, &b.resources);
    Resources {
        mean_batch_occupancy: mean(x.mean_batch_occupancy, y.mean_batch_occupancy),
        peak_queue: x.peak_queue.max(y.peak_queue),
        peak_kv_tokens: x.peak_kv_tokens.max(y.peak_kv_tokens),
        peak_memory: x.peak_memory.max(y.peak_memory),
        mean_cpu_cores: mean(x.mean_cpu_cores, y.mean_cpu_cores),
        // The worst run decides whether another tenant disturbed it.
        cpu_steal: match (x.cpu_steal, y.cpu_steal) {
            (Some(x), Some(y)) => Some(if x < y { y } else { x }),
            (x, y) => x.or(y),
        },
        energy_joules: x.energy_joules.zip(y.energy_joules).map(|(x, y)| x + y),
        gpus: x.gpus.iter().zip(&y.gpus).map(|(x, y)| follow_gpu(x, y, lengths)).collect(),
    }
}

fn follow_gpu(a: &GpuUse, b: &GpuUse, lengths: (f64, f64)) -> GpuUse {
    let mut throttle_reasons = a.throttle_reasons.clone();
    throttle_reasons.extend(b.throttle_reasons.iter().cloned());
    throttle_reasons.sort();
    throttle_reasons.dedup();
    GpuUse {
        name: a.name.clone(),
        mean_utilization: weighted(a.mean_utilization, b.mean_utilization, lengths),
        peak_memory: a.peak_memory.max(b.peak_memory),
        energy_joules: a.energy_joules.zip(b.energy_joules).map(|(a, b)| a + b),
        mean_compute_clock_mhz: weighted(a.mean_compute_clock_mhz, b.mean_compute_clock_mhz, lengths),
        throttle_reasons,
    }
}

/// The mean of two stretches; absent where one of them does not tell.
fn weighted(a: Option<f64>, b: Option<f64>, (of_a, of_b): (f64, f64)) -> Option<f64> {
    let both = (of_a + of_b).max(f64::MIN_POSITIVE);
    a.zip(b).map(|(a, b)| (a * of_a + b * of_b) / both)
}
