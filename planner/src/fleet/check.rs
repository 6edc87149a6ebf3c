//! The simulator held against the measured levels, and the capacity it finds with what binds it.

use std::time::Duration;

use breakeven_measurement::{
    Fraction, LatencySeries, LevelName, LevelResult, Measurement, Slo, Workload, level::ArrivalProcess,
};

use super::replica::{SEED, SimulatedReplica, meets, quantile};
use crate::{
    measured_retries::attempts_per_request,
    plan::fleet_plan::{Binding, SimulatedFigure, SimulatedLevel},
    simulator::{Arrivals, Gaps, Outcome, RateProfile, ReplicaSettings, Scenario, SimulationError, simulate},
};

/// Draws of each level's arrivals: a level is short, and one draw of it is mostly luck.
const DRAWS: u64 = 12;
/// Requests of each simulation in the search for the capacity.
const SEARCH_REQUESTS: u64 = 3_000;
/// Halvings of the search: below a hundredth of the rate.
const HALVINGS: u32 = 9;

/// One simulated level, all draws pooled.
#[derive(Debug, Clone)]
pub struct Pooled {
    /// TTFT of all draws.
    pub ttft: LatencySeries,
    /// TPOT of all draws.
    pub tpot: LatencySeries,
    /// E2E of all draws.
    pub e2e: LatencySeries,
    requests: u64,
    within_slo: u64,
    completed: u64,
    seconds: f64,
}

impl Pooled {
    /// Share of all requests within every target.
    pub fn goodput(&self) -> Option<Fraction> {
        Fraction::of(self.within_slo, self.requests)
    }
}

/// Simulates so many draws of arrivals as a level is offered: the same warm-up, window and rate on one replica.
///
/// # Errors
/// Where the rate or the settings make no sense.
pub fn simulate_level(
    replica: &SimulatedReplica,
    workload: &Workload,
    slo: &Slo,
    gaps: Gaps,
    rate: f64,
    (warmup, window): (Duration, Duration),
) -> Result<Pooled, SimulationError> {
    let mut pooled = Pooled {
        ttft: LatencySeries::new(),
        tpot: LatencySeries::new(),
        e2e: LatencySeries::new(),
        requests: 0,
        within_slo: 0,
        completed: 0,
        seconds: 0.0,
    };
    let until = (warmup + window).as_secs_f64();
    for draw in 0..DRAWS {
        let profile = RateProfile::Constant(rate);
        let arrivals = Arrivals::new(workload, profile, gaps, until, u64::MAX, SEED + draw)?;
        let scenario = Scenario { warmup_seconds: warmup.as_secs_f64(), ..replica.fleet(1, slo) };
        let outcome = simulate(&scenario, arrivals)?;
        pooled.ttft.merge(&outcome.ttft);
        pooled.tpot.merge(&outcome.tpot);
        pooled.e2e.merge(&outcome.e2e);
        pooled.requests += outcome.requests;
        pooled.within_slo += outcome.within_slo;
        pooled.completed += outcome.completed;
        pooled.seconds += window.as_secs_f64();
    }
    Ok(pooled)
}

/// Every level that has Poisson, constant or gamma arrivals, simulated beside measured.
///
/// # Errors
/// Where the settings make no sense.
pub(crate) fn levels(
    replica: &SimulatedReplica,
    measurement: &Measurement,
    seen: &[LevelName],
) -> Result<Vec<SimulatedLevel>, SimulationError> {
    let mut rows = Vec::new();
    for level in &measurement.levels {
        let gaps = match level.arrivals {
            ArrivalProcess::Poisson => Gaps::Exponential,
            ArrivalProcess::Constant => Gaps::Constant,
            ArrivalProcess::Gamma { variation } => Gaps::Gamma { variation },
            ArrivalProcess::Ramp { .. } | ArrivalProcess::Trace { .. } => continue,
        };
        let Some(offered) = level.rates.map(|r| r.offered_per_second).filter(|r| *r > 0.0) else { continue };
        let (workload, slo) = (&measurement.workload, &measurement.slo);
        // The simulator knows attempts, a level its requests, which made retries too.
        let tried = attempts_per_request(&level.overall);
        let times = (level.warmup, level.window);
        let pooled = simulate_level(replica, workload, slo, gaps, offered * tried, times)?;
        rows.push(SimulatedLevel {
            level: level.name.to_string(),
            seen_by_fit: seen.contains(&level.name),
            offered_per_second: offered,
            figures: figures(level, &pooled, tried),
        });
    }
    Ok(rows)
}

fn figures(level: &LevelResult, simulated: &Pooled, tried: f64) -> Vec<SimulatedFigure> {
    let load = &level.overall;
    let figure = |name: &str, measured: Option<f64>, simulated: Option<f64>| SimulatedFigure {
        name: name.to_owned(),
        measured,
        simulated,
    };
    let of = |name: &str, measured: &LatencySeries, simulated: &LatencySeries, q: f64| {
        figure(name, quantile(measured, q), quantile(simulated, q))
    };
    vec![
        of("TTFT p50", &load.ttft, &simulated.ttft, 0.5),
        of("TTFT p95", &load.ttft, &simulated.ttft, 0.95),
        of("TPOT p50", &load.tpot, &simulated.tpot, 0.5),
        of("E2E p95", &load.e2e, &simulated.e2e, 0.95),
        figure("within SLO", load.goodput().map(f64::from), simulated.goodput().map(f64::from)),
        figure(
            "completed per second",
            level.rates.map(|r| r.achieved_per_second),
            (simulated.seconds > 0.0).then(|| simulated.completed as f64 / simulated.seconds / tried),
        ),
    ]
}

/// The highest rate of one replica under the SLO, and the outcome there; `None` where not even a tenth of what it completes flat
/// out meets it.
///
/// # Errors
/// Where the settings make no sense.
pub fn capacity(
    replica: &SimulatedReplica,
    workload: &Workload,
    slo: &Slo,
) -> Result<Option<(f64, Outcome)>, SimulationError> {
    let most = replica.saturated_per_second(workload, slo, 400)?;
    let try_at = |rate: f64| replica.at_rate(1, workload, slo, rate, SEARCH_REQUESTS);
    let (mut low, mut high) = (most * 0.02, most * 1.1);
    let mut best = try_at(low)?;
    if !meets(best.goodput(), slo) {
        return Ok(None);
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        let outcome = try_at(middle)?;
        if meets(outcome.goodput(), slo) {
            (low, best) = (middle, outcome);
        } else {
            high = middle;
        }
    }
    Ok(Some((low, best)))
}

/// What binds a capacity: whichever relief raises it, in order; else where the time of the steps goes.
///
/// # Errors
/// Where the settings make no sense.
pub(crate) fn binding(
    replica: &SimulatedReplica,
    workload: &Workload,
    slo: &Slo,
    (rate, outcome): (f64, &Outcome),
) -> Result<Binding, SimulationError> {
    let relieved = |settings: ReplicaSettings| {
        let other = SimulatedReplica { settings, ..*replica };
        let outcome = other.at_rate(1, workload, slo, rate * 1.1, SEARCH_REQUESTS)?;
        Ok::<bool, SimulationError>(meets(outcome.goodput(), slo))
    };
    let settings = replica.settings;
    if settings.kv_tokens.is_some() && relieved(ReplicaSettings { kv_tokens: None, ..settings })? {
        return Ok(Binding::KvMemory);
    }
    let wide = settings.max_sequences.saturating_mul(4);
    let budget = settings.token_budget.max(wide);
    if relieved(ReplicaSettings { max_sequences: wide, token_budget: budget, ..settings })? {
        return Ok(Binding::BatchSlots);
    }
    // With no variance of arrivals a tenth more fits: it is bursts that miss.
    let even = Arrivals::new(
        workload,
        RateProfile::Constant(rate * 1.1),
        Gaps::Constant,
        f64::INFINITY,
        SEARCH_REQUESTS,
        SEED,
    )?;
    let warmup_seconds = 0.1 * SEARCH_REQUESTS as f64 / rate;
    let calm = simulate(&Scenario { warmup_seconds, ..replica.fleet(1, slo) }, even)?;
    if outcome.utilization.is_some_and(|u| u.get() < 0.9) && meets(calm.goodput(), slo) {
        return Ok(Binding::QueueingVariance);
    }
    // Seconds of the steps: the base and the context are memory, prompt tokens and sequences arithmetic.
    let [base, prefill, decoding, _] = replica.fit.model.coefficients();
    let (input, output) = (workload.mean_input_tokens(), workload.mean_output_tokens());
    let busy = outcome.utilization.map_or(0.0, Fraction::get) * outcome.horizon_seconds;
    let arithmetic = SEARCH_REQUESTS as f64 * (prefill * input + decoding * (output - 1.0).max(0.0));
    let memory = (busy - arithmetic).max(base * outcome.steps as f64);
    Ok(if arithmetic >= memory { Binding::Compute } else { Binding::MemoryBandwidth })
}
