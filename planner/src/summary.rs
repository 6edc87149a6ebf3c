//! What was measured, in a reader's terms. Copies and names; computes nothing but rates over windows.

use std::time::Duration;

use breakeven_measurement::{
    LevelResult, Measurement, Quantile, Slo,
    run::{Status, Target},
};
use breakeven_models::WeightsOrigin;

use crate::plan::{LevelSummary, LoadPoint, MeasuredSummary};

pub(crate) fn measured(measurement: &Measurement) -> MeasuredSummary {
    let cpu = &measurement.machine.cpu;
    let gpus: Vec<&str> = measurement.machine.gpus.iter().map(|g| g.name.as_str()).collect();
    let mut machine = if measurement.imported.is_some() && cpu.logical_cores == 0 {
        // Nothing is known of a machine that a tool does not report; its name says so.
        cpu.model.clone()
    } else {
        format!("{}, {} cores, {}", cpu.model, cpu.logical_cores, measurement.machine.memory)
    };
    if !gpus.is_empty() {
        machine.push_str(", ");
        machine.push_str(&gpus.join(", "));
    }
    let model = match (&measurement.model, &measurement.target) {
        (Some(m), _) => format!("{} {} ({} M parameters)", m.name, m.quantization, m.parameters / 1_000_000),
        (None, Target::Endpoint { url, model }) => format!("{model} at {url}"),
        (None, _) => "mock".to_owned(),
    };
    MeasuredSummary {
        run_id: measurement.run_id.clone(),
        machine,
        model,
        real_weights: !matches!(
            measurement.model.as_ref().map(|m| &m.weights),
            Some(WeightsOrigin::Random { .. })
        ),
        complete: measurement.status == Status::Complete,
        slo: slo_line(&measurement.slo),
        slo_limits: Some(measurement.slo.clone()),
        levels: measurement.levels.iter().map(level).collect(),
    }
}

/// The SLO in one line.
pub(crate) fn slo_line(slo: &Slo) -> String {
    let target =
        |name: &str, limit: Option<Duration>| limit.map(|l| format!("{name} {} ms", l.as_secs_f64() * 1e3));
    let targets: Vec<String> = [target("TTFT", slo.ttft), target("TPOT", slo.tpot), target("E2E", slo.e2e)]
        .into_iter()
        .flatten()
        .collect();
    let targets = if targets.is_empty() { "completed".to_owned() } else { targets.join(", ") };
    format!("{targets} together, for {} of requests", slo.attainment)
}

fn level(level: &LevelResult) -> LevelSummary {
    let load = &level.overall;
    LevelSummary {
        name: level.name,
        offered_per_second: level.rates.map_or(0.0, |r| r.offered_per_second),
        achieved_per_second: level.rates.map_or(0.0, |r| r.achieved_per_second),
        goodput: load.goodput(),
        ttft_p50_seconds: seconds(load.ttft.quantile(0.5)),
        ttft_p95_seconds: seconds(load.ttft.quantile(0.95)),
        tpot_p50_seconds: seconds(load.tpot.quantile(0.5)),
        e2e_p50_seconds: seconds(load.e2e.quantile(0.5)),
        e2e_p95_seconds: seconds(load.e2e.quantile(0.95)),
        output_tokens_per_second: level.rates.map_or(0.0, |r| r.output_tokens_per_second),
        batch_occupancy: level.resources.mean_batch_occupancy,
        scheduled: load.scheduled,
        failed: load.failed(),
        verdict: level.validity.verdict,
        findings: level.validity.findings.iter().map(ToString::to_string).collect(),
        headlines: level.headlines.clone(),
    }
}

/// Probes and levels as points of one curve, by offered rate. A probe that missed the SLO was cut off: what it completed
/// by then says nothing of what the target can complete, so only those that met it are points.
pub(crate) fn load_curve(measurement: &Measurement) -> Vec<LoadPoint> {
    let probes = measurement.search.iter().flat_map(|search| &search.probes).filter(|probe| probe.met);
    let probes = probes.map(|probe| LoadPoint {
        source: "probe".to_owned(),
        offered_per_second: probe.rate.per_second(),
        achieved_per_second: probe.achieved_per_second,
        goodput: breakeven_measurement::Fraction::of(probe.within_slo, probe.scheduled),
        ttft_p50_seconds: probe.ttft_p50.map(|d| d.as_secs_f64()),
        ttft_p95_seconds: probe.ttft_p95.map(|d| d.as_secs_f64()),
        tpot_p50_seconds: probe.tpot_p50.map(|d| d.as_secs_f64()),
        output_tokens_per_second: probe.output_tokens_per_second,
    });
    let levels = measurement.levels.iter().filter_map(|level| {
        let rates = level.rates?;
        let load = &level.overall;
        Some(LoadPoint {
            source: level.name.to_string(),
            offered_per_second: rates.offered_per_second,
            achieved_per_second: rates.achieved_per_second,
            goodput: load.goodput(),
            ttft_p50_seconds: seconds(load.ttft.quantile(0.5)),
            ttft_p95_seconds: seconds(load.ttft.quantile(0.95)),
            tpot_p50_seconds: seconds(load.tpot.quantile(0.5)),
            output_tokens_per_second: rates.output_tokens_per_second,
        })
    });
    let mut points: Vec<LoadPoint> = probes.chain(levels).collect();
    points.sort_by(|a, b| a.offered_per_second.total_cmp(&b.offered_per_second));
    points
}

fn seconds(quantile: Option<Quantile>) -> Option<f64> {
    quantile.and_then(Quantile::finite).map(|d| d.as_secs_f64())
}
