//! `breakeven simulate`: a fleet of replicas under the product's traffic, hour by hour, and what a lost replica does to it.

use std::{fmt::Write as _, path::PathBuf};

use anyhow::{Result, bail};
use breakeven_measurement::{LatencySeries, Measurement, Quantile, file};
use breakeven_planner::{
    Product,
    fleet::replica::SimulatedReplica,
    own_retries,
    simulator::{Arrivals, Failure, Gaps, Outcome, RateProfile, Router, Scenario, simulate as run_fleet},
    step_fit::StepFit,
    step_model::StepModel,
    traffic::{Week, mean_rate},
    workflow::measured_requests,
};
use breakeven_report::format::{percent, seconds};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    console::{self, Answer},
    plan::read_product,
};

#[derive(Debug, Args)]
pub(crate) struct SimulateArguments {
    /// Product file: lengths, SLO, and the shape of its week
    product: PathBuf,
    /// Measurement with the step model and the engine's settings
    #[arg(long)]
    measurement: PathBuf,
    /// Another step model, in seconds: base, a prefill token, a decoding sequence, a context token
    #[arg(long, value_delimiter = ',', num_args = 1, value_name = "A,B,C,D")]
    step: Vec<f64>,
    /// Mean requests per second over the week; the product's traffic where left out
    #[arg(long)]
    rate: Option<f64>,
    /// The same rate in every hour, instead of the product's shape of a week
    #[arg(long)]
    flat: bool,
    /// Replicas
    #[arg(long, default_value_t = 1)]
    replicas: u32,
    /// Replicas that go down, and when: 1@13:00 (may be given more than once)
    #[arg(long, value_name = "COUNT@HH:MM", value_parser = loss)]
    fail: Vec<Loss>,
    /// Minutes until what went down is back, its cold start not counted
    #[arg(long, default_value_t = 60.0, value_parser = minutes)]
    down_minutes: f64,
    /// Hours to simulate, from Monday 00:00
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=168))]
    hours: u32,
    /// Who takes a request
    #[arg(long, value_enum, default_value_t = RouterName::LeastLoaded)]
    router: RouterName,
    /// Most sequences in a step, where the measurement is of a server that does not say
    #[arg(long)]
    max_sequences: Option<u32>,
    /// Most tokens in a step, likewise
    #[arg(long)]
    token_budget: Option<u32>,
    /// Tokens that a replica's KV memory holds; without limit where left out
    #[arg(long)]
    kv_tokens: Option<u64>,
    /// Seed of arrivals and lengths
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print every number as JSON, for a program
    #[arg(long)]
    json: bool,
}

/// Who takes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RouterName {
    /// Each replica in turn
    RoundRobin,
    /// The replica with the fewest requests
    LeastLoaded,
    /// The replica that keeps the request's prefix, unless it is overloaded
    PrefixAffine,
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// So many replicas go down at a time of the first day.
#[derive(Debug, Clone, Copy)]
struct Loss {
    count: u32,
    at_seconds: f64,
}

fn loss(text: &str) -> Result<Loss, String> {
    let wrong = || format!("expected a number of replicas and a time such as 1@13:00, found `{text}`");
    let (count, time) = text.split_once('@').ok_or_else(wrong)?;
    let (hour, minute) = time.split_once(':').ok_or_else(wrong)?;
    let (hour, minute): (u32, u32) =
        (hour.parse().map_err(|_| wrong())?, minute.parse().map_err(|_| wrong())?);
    if hour > 23 || minute > 59 {
        return Err(wrong());
    }
    let count = count.parse().map_err(|_| wrong())?;
    Ok(Loss { count, at_seconds: f64::from(hour * 3_600 + minute * 60) })
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err(format!("expected minutes, 0 or more, found `{text}`")),
    }
}

pub(crate) fn simulate(arguments: &SimulateArguments) -> Result<Answer> {
    let product = read_product(&arguments.product)?;
    let measurement = file::read(&arguments.measurement)?;
    let replica = replica(arguments, &product, &measurement)?;
    let week = Week::of(&product);
    // With stages, each request is so many of the measured ones.
    let attempts = measured_requests(&product, &measurement);
    let mean = if let Some(rate) = arguments.rate {
        rate
    } else {
        let Some(attempts) = attempts else {
            bail!(
                "`latency.repeats` makes every request be asked again without end; lower its shares, or give --rate"
            );
        };
        let typed = product.traffic.requests_per_month.get() * attempts;
        match mean_rate(typed, own_retries(&product, &measurement)) {
            Some(rate) => rate.per_second(),
            None => bail!("`traffic.requests_per_month` is {typed}, which is no rate; give --rate"),
        }
    };
    let per_second =
        week.mean.iter().map(|factor| if arguments.flat { mean } else { factor * mean }).collect();
    let until = f64::from(arguments.hours) * 3_600.0;
    let profile = RateProfile::Weekly { per_second, start_hour: 0 };
    let workload = product.workload();
    let arrivals = Arrivals::new(&workload, profile, Gaps::Exponential, until, u64::MAX, arguments.seed)?;
    let mut scenario: Scenario = replica.fleet(arguments.replicas, &product.slo());
    scenario.router = match arguments.router {
        RouterName::RoundRobin => Router::RoundRobin,
        RouterName::LeastLoaded => Router::LeastLoaded,
        RouterName::PrefixAffine => Router::PrefixAffine,
    };
    scenario.cold_start_seconds = product.fleet.scale_up_lag.0.as_secs_f64();
    scenario.timeline_seconds = Some(3_600.0);
    let down_seconds = arguments.down_minutes * 60.0;
    // Each loss takes other replicas than the one before, as far as there are others.
    let mut next = 0;
    for loss in &arguments.fail {
        for _ in 0..loss.count {
            let replica = next % arguments.replicas.max(1);
            scenario.failures.push(Failure { replica, at_seconds: loss.at_seconds, down_seconds });
            next += 1;
        }
    }
    let outcome = run_fleet(&scenario, arrivals)?;
    if arguments.json {
        console::print(&serde_json::to_string_pretty(&Simulated::of(&outcome, mean))?)?;
    } else {
        console::print(&text(&outcome, arguments, mean)?)?;
    }
    let met = outcome.goodput().is_some_and(|goodput| goodput >= product.slo().attainment);
    Ok(if met { Answer::Yes } else { Answer::No })
}

/// The measured replica, with what was typed instead.
fn replica(
    arguments: &SimulateArguments,
    product: &Product,
    measurement: &Measurement,
) -> Result<SimulatedReplica> {
    let mut typed = product.fleet.replica;
    let number = |value: Option<u32>| value.and_then(std::num::NonZeroU32::new);
    typed.max_sequences = number(arguments.max_sequences).or(typed.max_sequences);
    typed.token_budget = number(arguments.token_budget).or(typed.token_budget);
    typed.kv_tokens = arguments.kv_tokens.or(typed.kv_tokens);
    let &[base, prefill, decode, context] = arguments.step.as_slice() else {
        if !arguments.step.is_empty() {
            bail!("expected four numbers for --step, found {}", arguments.step.len());
        }
        return SimulatedReplica::of(measurement, &typed)
            .map_err(|why| anyhow::anyhow!("{why}; or type a step model with --step A,B,C,D"));
    };
    let model = StepModel::new(base, prefill, decode, context)?;
    let fit =
        StepFit { model, half_widths: [None; 4], rows: 0, r_squared: 1.0, median_error: 0.0, p90_error: 0.0 };
    SimulatedReplica::with_fit(fit, measurement, &typed).map_err(anyhow::Error::msg)
}

/// What `--json` prints. Latencies are seconds, absent where the rank falls among requests never answered.
#[derive(Debug, Serialize)]
struct Simulated {
    weekly_mean_per_second: f64,
    requests: u64,
    completed: u64,
    within_slo: u64,
    goodput: Option<f64>,
    ttft_seconds: Percentiles,
    tpot_seconds: Percentiles,
    e2e_seconds: Percentiles,
    wait_seconds: Percentiles,
    utilization: Option<f64>,
    mean_batch: Option<f64>,
    mean_queue: f64,
    peak_queue: u64,
    replica_hours: f64,
    rerouted: u64,
    preemptions: u64,
    refused: u64,
    timeline: Vec<SimulatedHour>,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    p50: Option<f64>,
    p90: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, Serialize)]
struct SimulatedHour {
    from_seconds: f64,
    requests: u64,
    within_slo: u64,
    ttft_seconds: Percentiles,
    mean_ready: f64,
    mean_paid: f64,
}

impl Percentiles {
    fn of(series: &LatencySeries) -> Self {
        let at = |q| series.quantile(q).and_then(Quantile::finite).map(|d| d.as_secs_f64());
        Self { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) }
    }
}

impl Simulated {
    fn of(outcome: &Outcome, mean: f64) -> Self {
        let hours = outcome.timeline.iter().map(|point| SimulatedHour {
            from_seconds: point.from_seconds,
            requests: point.requests,
            within_slo: point.within_slo,
            ttft_seconds: Percentiles::of(&point.ttft),
            mean_ready: point.mean_ready,
            mean_paid: point.mean_paid,
        });
        Self {
            weekly_mean_per_second: mean,
            requests: outcome.requests,
            completed: outcome.completed,
            within_slo: outcome.within_slo,
            goodput: outcome.goodput().map(f64::from),
            ttft_seconds: Percentiles::of(&outcome.ttft),
            tpot_seconds: Percentiles::of(&outcome.tpot),
            e2e_seconds: Percentiles::of(&outcome.e2e),
            wait_seconds: Percentiles::of(&outcome.wait),
            utilization: outcome.utilization.map(f64::from),
            mean_batch: outcome.mean_batch,
            mean_queue: outcome.mean_queue,
            peak_queue: outcome.peak_queue,
            replica_hours: outcome.replica_hours,
            rerouted: outcome.rerouted,
            preemptions: outcome.preemptions,
            refused: outcome.refused,
            timeline: hours.collect(),
        }
    }
}

fn text(outcome: &Outcome, arguments: &SimulateArguments, mean: f64) -> Result<String> {
    let mut text = format!(
        "{} requests in {} h at a weekly mean of {mean:.2} req/s, {} replicas\n\n",
        outcome.requests, arguments.hours, arguments.replicas
    );
    let at = |series: &LatencySeries, q: f64| match series.quantile(q) {
        Some(Quantile::Infinite) => "never".to_owned(),
        other => seconds(other.and_then(Quantile::finite).map(|d| d.as_secs_f64())),
    };
    writeln!(text, "{:<8}{:>12}{:>12}{:>12}", "", "p50", "p95", "p99")?;
    for (name, series) in
        [("TTFT", &outcome.ttft), ("TPOT", &outcome.tpot), ("E2E", &outcome.e2e), ("wait", &outcome.wait)]
    {
        writeln!(text, "{name:<8}{:>12}{:>12}{:>12}", at(series, 0.5), at(series, 0.95), at(series, 0.99))?;
    }
    writeln!(
        text,
        "\nwithin the SLO {}, utilisation {}, mean batch {:.1}, mean queue {:.2}, peak queue {}, {:.1} replica-hours",
        percent(outcome.goodput().map(f64::from)),
        percent(outcome.utilization.map(f64::from)),
        outcome.mean_batch.unwrap_or(0.0),
        outcome.mean_queue,
        outcome.peak_queue,
        outcome.replica_hours
    )?;
    if outcome.rerouted + outcome.preemptions + outcome.refused > 0 {
        writeln!(
            text,
            "{} requests started again after a loss, {} sequences preempted, {} refused as too long",
            outcome.rerouted, outcome.preemptions, outcome.refused
        )?;
    }
    writeln!(
        text,
        "\n{:<12}{:>10}{:>14}{:>12}{:>10}",
        "hour", "requests", "within SLO", "p95 TTFT", "replicas"
    )?;
    for (hour, point) in outcome.timeline.iter().enumerate() {
        let day = DAYS.get(hour / 24).copied().unwrap_or("after");
        let good = (point.requests > 0).then(|| point.within_slo as f64 / point.requests as f64);
        writeln!(
            text,
            "{:<12}{:>10}{:>14}{:>12}{:>10.2}",
            format!("{day} {:02}:00", hour % 24),
            point.requests,
            percent(good),
            at(&point.ttft, 0.95),
            point.mean_ready
        )?;
    }
    Ok(text)
}
