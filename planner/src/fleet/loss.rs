//! A replica lost in the busiest hour: what users see, minute by minute, and what the spares that soften it cost.

use breakeven_hardware::Usd;
use breakeven_measurement::{Fraction, LatencySeries, Slo, Workload};

use super::replica::{SEED, SimulatedReplica, poisson, quantile};
use crate::{
    plan::fleet_plan::{LossMinute, ReplicaLoss},
    simulator::{Failure, Outcome, Scenario, SimulationError, TimelinePoint, simulate},
};

/// Most requests simulated: an hour of a large fleet is cut short.
const MOST_REQUESTS: f64 = 60_000.0;
/// Shortest and longest stretch, seconds.
const STRETCH: (f64, f64) = (600.0, 3_600.0);

/// What is lost, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peak<'a> {
    pub(crate) replica: &'a SimulatedReplica,
    pub(crate) workload: &'a Workload,
    pub(crate) slo: &'a Slo,
    /// Replicas in the hour.
    pub(crate) replicas: u32,
    /// Of these, spares.
    pub(crate) spares: u32,
    /// Attempts per second.
    pub(crate) rate: f64,
    /// Seconds until a replacement serves.
    pub(crate) lag: f64,
}

/// Simulates the loss of one replica a third into the stretch.
///
/// # Errors
/// Where the settings make no sense.
pub(crate) fn replica_loss(peak: &Peak<'_>, spare_usd: Option<Usd>) -> Result<ReplicaLoss, SimulationError> {
    let stretch = (MOST_REQUESTS / peak.rate).min(peak.lag * 3.0).clamp(STRETCH.0, STRETCH.1);
    let at = stretch / 3.0;
    let run = |replicas: u32, fails: bool| -> Result<Outcome, SimulationError> {
        // Its machine goes for good; another is asked for at once and serves after the lag.
        let failure = Failure { replica: 0, at_seconds: at, down_seconds: 0.0 };
        let scenario = Scenario {
            failures: if fails { vec![failure] } else { Vec::new() },
            cold_start_seconds: peak.lag,
            timeline_seconds: Some(60.0),
            warmup_seconds: 60.0,
            ..peak.replica.fleet(replicas, peak.slo)
        };
        simulate(&scenario, poisson(peak.workload, peak.rate, stretch, u64::MAX, SEED)?)
    };
    let (calm, lost) = (run(peak.replicas, false)?, run(peak.replicas, true)?);
    let down = at..(at + peak.lag).min(stretch);
    let during = while_down(&lost, &down);
    let without_spares = match peak.replicas.checked_sub(peak.spares) {
        Some(left) if left > 0 && peak.spares > 0 => while_down(&run(left, true)?, &down).0,
        Some(_) | None => None,
    };
    Ok(ReplicaLoss {
        replicas: peak.replicas,
        offered_per_second: peak.rate,
        at_minute: at / 60.0,
        down_minutes: peak.lag / 60.0,
        goodput_before: calm.goodput(),
        goodput_during: during.0,
        ttft_p95_before_seconds: quantile(&calm.ttft, 0.95),
        ttft_p95_during_seconds: quantile(&during.1, 0.95),
        rerouted: lost.rerouted,
        timeline: lost.timeline.iter().take_while(|p| p.from_seconds < stretch).map(minute).collect(),
        spare_usd_per_month: spare_usd,
        goodput_without_spares: without_spares,
    })
}

/// Share within the SLO and TTFT of the minutes that touch the outage.
fn while_down(outcome: &Outcome, down: &std::ops::Range<f64>) -> (Option<Fraction>, LatencySeries) {
    let (mut requests, mut good, mut ttft) = (0, 0, LatencySeries::new());
    let touching = |p: &&TimelinePoint| p.from_seconds + 60.0 > down.start && p.from_seconds < down.end;
    for point in outcome.timeline.iter().filter(touching) {
        requests += point.requests;
        good += point.within_slo;
        ttft.merge(&point.ttft);
    }
    (Fraction::of(good, requests), ttft)
}

fn minute(point: &TimelinePoint) -> LossMinute {
    LossMinute {
        minute: point.from_seconds / 60.0,
        requests: point.requests,
        goodput: Fraction::of(point.within_slo, point.requests),
        ttft_p95_seconds: quantile(&point.ttft, 0.95),
        ready: point.mean_ready,
    }
}
