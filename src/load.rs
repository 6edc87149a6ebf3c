//! How arrivals are spaced, from the arguments: a process or a trace.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use breakeven_bench::{RunPlan, schedule::parse_arrivals, sweep::SweepPlan, trace::Trace};
use breakeven_measurement::{Quantile, SweepPoint, level::ArrivalProcess};
use clap::Args;

use crate::console;

/// How arrivals are spaced.
#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// Arrivals: `poisson`, `constant`, `gamma:CV` (coefficient of variation of the gaps, over 1 for bursts) or
    /// `ramp:FROM..TO` (shares of the rate at start and end)
    #[arg(long, default_value = "poisson", value_name = "PROCESS")]
    arrivals: String,
    /// Replay the arrivals of a trace, in time scaled to the rate: Azure 2023 CSV, `BurstGPT` CSV, Mooncake JSON lines, or a
    /// CSV with a column `arrival_seconds`
    #[arg(long, value_name = "FILE", conflicts_with = "arrivals")]
    trace: Option<PathBuf>,
    /// Take prompt and answer lengths from the trace too
    #[arg(long, requires = "trace")]
    trace_lengths: bool,
    /// Factor on the trace's lengths
    #[arg(long, requires = "trace_lengths", default_value_t = 1.0, value_name = "FACTOR")]
    length_scale: f64,
    /// After the levels, a closed loop at each of these numbers of requests in flight: the throughput/latency curve
    #[arg(long, value_delimiter = ',', num_args = 1, value_name = "1,2,4,8,16")]
    sweep: Vec<u32>,
    /// Send a server no bursts and single requests before the levels: up to 259 requests fewer, and a step model from the levels alone
    #[arg(long)]
    no_calibration: bool,
}

impl LoadArguments {
    /// The sweep, where one is asked for: each step a third as long as the longest level.
    pub(crate) fn sweep(&self, plan: &RunPlan) -> Result<Option<SweepPlan>> {
        anyhow::ensure!(
            self.sweep.iter().all(|n| (1..=100_000).contains(n)),
            "--sweep: expected numbers of requests in flight from 1 to 100000, such as 1,2,4,8,16"
        );
        let longest = plan.durations.levels.into_iter().max().unwrap_or_default();
        Ok((!self.sweep.is_empty()).then(|| SweepPlan {
            concurrencies: self.sweep.clone(),
            step: longest / 3,
            workload: plan.workload.clone(),
            slo: plan.slo.clone(),
            timeout: plan.timeout,
        }))
    }

    /// Whether a target without a step log is calibrated.
    pub(crate) fn calibration(&self) -> bool {
        !self.no_calibration
    }

    /// The process, and the trace where it is one.
    pub(crate) fn process(&self) -> Result<(ArrivalProcess, Option<Arc<Trace>>)> {
        let Some(path) = &self.trace else {
            return Ok((parse_arrivals(&self.arrivals).context("--arrivals")?, None));
        };
        let scale = self.length_scale;
        anyhow::ensure!(
            scale.is_finite() && scale > 0.0,
            "--length-scale: expected a factor above 0, found {scale}"
        );
        let trace = Trace::read(path)?.with_lengths_scaled(scale, scale);
        let requests = trace.rows.len() as u64;
        anyhow::ensure!(
            !self.trace_lengths || trace.rows.iter().all(|row| row.lengths.is_some()),
            "--trace-lengths: `{}` has no lengths; expected columns input_tokens and output_tokens",
            trace.name
        );
        let rate = trace.rate().map_or_else(|| "all at once".to_owned(), |rate| rate.to_string());
        console::note(&format!(
            "Trace: {requests} requests at {rate} on average, gaps {:.1} times as variable as Poisson's",
            trace.gap_variation().sqrt()
        ));
        if trace.unanswered > 0 {
            let count = trace.unanswered;
            console::note(&format!(
                "Trace: {count} requests have no answer; they are sent, and ask for one token"
            ));
        }
        if let Some(share) = trace.prefix_hit_share() {
            console::note(&format!(
                "Trace: an unlimited prefix cache would have answered {share} of its prompt blocks; our prompts are unique"
            ));
        }
        let process = ArrivalProcess::Trace {
            name: trace.name.clone(),
            requests,
            gap_variation: trace.gap_variation(),
            lengths: self.trace_lengths,
        };
        Ok((process, Some(Arc::new(trace))))
    }
}

/// A point of the curve as a row of the printed table.
pub(crate) fn sweep_line(point: &SweepPoint) -> String {
    let load = &point.load;
    format!(
        "in flight {:>5}  {:>8.2} req/s  {:>8.1} tokens/s  TTFT p50 {:>8} p95 {:>8}  TPOT p50 {:>7}  E2E p95 {:>8}  failed {}",
        point.concurrency,
        point.achieved_per_second,
        point.output_tokens_per_second,
        latency(load.ttft.quantile(0.5)),
        latency(load.ttft.quantile(0.95)),
        latency(load.tpot.quantile(0.5)),
        latency(load.e2e.quantile(0.95)),
        load.failed()
    )
}

/// A percentile for a reader: `never` where the rank falls among failures.
pub(crate) fn latency(quantile: Option<Quantile>) -> String {
    match quantile {
        Some(Quantile::Infinite) => "never".to_owned(),
        Some(Quantile::Finite(value)) => breakeven_report::format::seconds(Some(value.as_secs_f64())),
        None => breakeven_report::format::seconds(None),
    }
}
