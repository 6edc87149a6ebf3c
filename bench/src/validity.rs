//! Findings against a level: what makes its numbers doubtful, by the limits of DESIGN §2.

use std::time::Duration;

use breakeven_measurement::{
    Finding, Fraction, LoadResult, Quantile, Slo, Validity, Workload, level::Resources,
    validity::samples_needed,
};

use crate::{drive::Driven, steady::Settling, tally::latencies};

/// Send lag below this is not worth a word.
const SEND_LAG_FLOOR: Duration = Duration::from_millis(1);
/// Share of the median TTFT that send lag may be.
const SEND_LAG_SHARE: f64 = 0.01;
/// CPU time that other tenants may take before the level says so.
const STEAL_LIMIT: f64 = 0.02;
/// The second half's median TTFT may be this many times the first's.
const DRIFT_LIMIT: f64 = 1.5;
/// Where MSER-5 finds no steady state, the halves may still differ by this much.
const SETTLED_LIMIT: f64 = 1.1;
/// Answers that server and tokenizer may count differently.
const COUNTS_LIMIT: f64 = 0.02;
/// Prompt tokens from an undeclared cache that may be chance.
const CACHE_LIMIT: f64 = 0.02;

/// Judges a level.
pub fn judge(
    driven: &Driven,
    window_start: Duration,
    settling: Settling,
    overall: &LoadResult,
    workload: &Workload,
    slo: &Slo,
    resources: &Resources,
) -> Validity {
    let mut findings = Vec::new();
    if driven.cancelled {
        findings.push(Finding::Interrupted);
    } else if driven.unsent > 0 {
        findings.push(Finding::ArrivalsMissed { missed: driven.unsent });
    }
    if overall.completed == 0 {
        findings.push(Finding::NothingCompleted);
    }
    findings.extend(generator_late(overall));
    // The percentile the SLO is about, and the headline p95.
    let mut quantiles = vec![slo.attainment.get().min(0.999), 0.95];
    quantiles.sort_by(f64::total_cmp);
    quantiles.dedup_by(|a, b| samples_needed(*a) == samples_needed(*b));
    for quantile in quantiles {
        let needed = samples_needed(quantile);
        if overall.scheduled < needed {
            findings.push(Finding::TooFewSamples { quantile, samples: overall.scheduled, needed });
        }
    }
    findings.extend(drift(driven, window_start, settling));
    findings.extend(undeclared_cache(overall, workload));
    findings.extend(counts_disagree(overall));
    if let Some(steal) = resources.cpu_steal
        && steal.get() > STEAL_LIMIT
    {
        findings.push(Finding::CpuStolen { share: steal });
    }
    for gpu in resources.gpus.iter().filter(|gpu| !gpu.throttle_reasons.is_empty()) {
        let reason = format!("{}: {}", gpu.name, gpu.throttle_reasons.join(", "));
        findings.push(Finding::GpuThrottled { reason });
    }
    findings.into()
}

fn generator_late(overall: &LoadResult) -> Option<Finding> {
    let lag = overall.send_lag.quantile(0.99).and_then(Quantile::finite)?;
    let median = overall.ttft.quantile(0.5).and_then(Quantile::finite);
    let limit = median.map_or(SEND_LAG_FLOOR, |m| m.mul_f64(SEND_LAG_SHARE).max(SEND_LAG_FLOOR));
    (lag > limit).then_some(Finding::GeneratorLate {
        send_lag_p99_seconds: lag.as_secs_f64(),
        limit_seconds: limit.as_secs_f64(),
    })
}

/// Compares the median TTFT of the window's halves; too few requests say nothing.
fn drift(driven: &Driven, window_start: Duration, settling: Settling) -> Option<Finding> {
    const FEWEST: usize = 10;
    let mut window: Vec<_> = driven.attempts.iter().filter(|a| a.scheduled >= window_start).collect();
    if window.len() < 2 * FEWEST {
        return None;
    }
    window.sort_by_key(|a| a.scheduled);
    let (first, second) = window.split_at(window.len() / 2);
    let median = |half: &[&crate::drive::Attempt]| {
        let mut ttfts: Vec<_> = half.iter().map(|a| latencies(a).map_or(Duration::MAX, |l| l.ttft)).collect();
        ttfts.sort_unstable();
        ttfts.get(ttfts.len().div_ceil(2) - 1).copied().unwrap_or(Duration::MAX)
    };
    let (before, after) = (median(first), median(second));
    let ratio = after.as_secs_f64() / before.as_secs_f64().max(f64::MIN_POSITIVE);
    if settling == Settling::Never
        && !(1.0 / SETTLED_LIMIT..=SETTLED_LIMIT).contains(&ratio)
        && ratio <= DRIFT_LIMIT
    {
        return Some(Finding::NeverSettled {
            first_half_ttft_p50_seconds: before.as_secs_f64(),
            second_half_ttft_p50_seconds: after.as_secs_f64(),
        });
    }
    if before == Duration::MAX || after.as_secs_f64() <= before.as_secs_f64() * DRIFT_LIMIT {
        return None;
    }
    Some(Finding::NotStationary {
        first_half_ttft_p50_seconds: before.as_secs_f64(),
        second_half_ttft_p50_seconds: (after != Duration::MAX).then_some(after.as_secs_f64()),
    })
}

fn counts_disagree(overall: &LoadResult) -> Option<Finding> {
    let share = Fraction::of(overall.counts_disagreeing, overall.counts_checked)?;
    (share.get() > COUNTS_LIMIT).then_some(Finding::TokenCountsDisagree { share })
}

fn undeclared_cache(overall: &LoadResult, workload: &Workload) -> Option<Finding> {
    let share = Fraction::of(overall.cached_input_tokens.0, overall.input_tokens.0)?;
    (share.get() > workload.declared_reuse() + CACHE_LIMIT).then_some(Finding::UndeclaredCacheHits { share })
}
