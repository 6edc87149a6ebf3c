//! The autoscaler's settings, chosen by simulating the week's steepest ramp.
//!
//! What is watched is requests in flight a ready replica, waiting ones included: on a GPU the busy share says nothing (one sequence
//! keeps it as busy as a full batch). Replicas beyond what the autoscaler can bring in time are asked for ahead by a schedule.

use breakeven_measurement::{Slo, Workload};

use super::replica::{SEED, SimulatedReplica, meets};
use crate::{
    plan::fleet_plan::{AutoscalingPlan, PrewarmWindow, TriedTarget},
    simulator::{Arrivals, Autoscaler, Gaps, RateProfile, ScaleOn, Scenario, SimulationError, simulate},
    traffic::HOURS,
};

/// Shares of the concurrency at capacity that are tried as the target.
const SHARES: [f64; 5] = [0.9, 0.75, 0.6, 0.45, 0.3];
/// Requests of each simulation.
const REQUESTS: f64 = 24_000.0;
/// Seconds between looks: the default of Kubernetes' HPA.
const LOOK_SECONDS: f64 = 15.0;
/// Shortest cool-down, seconds: the default of Kubernetes' HPA.
const LEAST_COOL_DOWN: f64 = 300.0;

/// What the autoscaler is chosen for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Week<'a> {
    pub(crate) replica: &'a SimulatedReplica,
    pub(crate) workload: &'a Workload,
    pub(crate) slo: &'a Slo,
    /// Attempts per second of each hour.
    pub(crate) means: &'a [f64],
    /// Replicas of each hour.
    pub(crate) needed: &'a [u32],
    /// Seconds from asking for a replica until it serves.
    pub(crate) lag: f64,
    /// Requests in flight on one replica at its capacity.
    pub(crate) concurrency: f64,
}

/// Chooses the target: the highest that meets the SLO on the steepest ramp, since fewer replica-hours follow from it; where none does,
/// the lowest, and the schedule has to carry the ramp.
///
/// # Errors
/// Where the settings make no sense.
pub(crate) fn choose(week: &Week<'_>) -> Result<AutoscalingPlan, SimulationError> {
    let next = |hour: usize| week.means.get((hour + 1) % HOURS).copied().unwrap_or(0.0);
    let steepest = (0..HOURS)
        .max_by(|a, b| {
            let rise = |h: usize| next(h) - week.means.get(h).copied().unwrap_or(0.0);
            rise(*a).total_cmp(&rise(*b))
        })
        .unwrap_or(0);
    let (from, to) = (week.means.get(steepest).copied().unwrap_or(0.0), next(steepest));
    let (min, max) = (
        week.needed.iter().copied().min().unwrap_or(1).max(1),
        week.needed.iter().copied().max().unwrap_or(1).max(1),
    );
    let start = week.needed.get(steepest).copied().unwrap_or(min).max(1);
    let cool_down_seconds = (2.0 * week.lag).clamp(LEAST_COOL_DOWN, 3_600.0);
    let mut tried = Vec::new();
    for share in SHARES {
        let target = (week.concurrency * share).max(1.0);
        let scaler = Autoscaler {
            on: ScaleOn::Concurrency(target),
            every_seconds: LOOK_SECONDS,
            cool_down_seconds,
            min,
            max: max.saturating_mul(2),
        };
        // The hour before the ramp's step and the hour after, both cut to what may be simulated.
        let each = (REQUESTS / 2.0 / to.max(f64::MIN_POSITIVE)).min(3_600.0);
        let before = ramp(week, from, each, 0.0, SEED)?;
        let after = ramp(week, to, each, each, SEED + 1)?;
        let scenario = Scenario {
            autoscaler: Some(scaler),
            cold_start_seconds: week.lag,
            warmup_seconds: each * 0.2,
            ..week.replica.fleet(start, week.slo)
        };
        let outcome = simulate(&scenario, before.into_iter().chain(after))?;
        tried.push(TriedTarget {
            requests_in_flight: target,
            goodput: outcome.goodput(),
            replica_hours: outcome.replica_hours,
            holds: meets(outcome.goodput(), week.slo),
        });
    }
    let chosen = tried.iter().find(|t| t.holds).or(tried.last());
    let reactive = chosen.is_some_and(|t| t.holds);
    Ok(AutoscalingPlan {
        requests_in_flight_per_replica: chosen.map_or(1.0, |t| t.requests_in_flight),
        minimum_replicas: min,
        maximum_replicas: max,
        scale_down_stabilisation_seconds: cool_down_seconds,
        scale_up_lag_seconds: week.lag,
        ramp_hour: u32::try_from(steepest).unwrap_or(0),
        ramp_per_second: (from, to),
        reactive_holds: reactive,
        tried,
        prewarm: prewarm(week.needed, min),
    })
}

/// Requests at a constant rate from a time on.
fn ramp(
    week: &Week<'_>,
    rate: f64,
    seconds: f64,
    offset: f64,
    seed: u64,
) -> Result<Vec<crate::simulator::Request>, SimulationError> {
    if rate <= 0.0 {
        return Ok(Vec::new());
    }
    let profile = RateProfile::Constant(rate);
    let arrivals = Arrivals::new(week.workload, profile, Gaps::Exponential, seconds, u64::MAX, seed)?;
    Ok(arrivals.map(|r| crate::simulator::Request { at_seconds: r.at_seconds + offset, ..r }).collect())
}

/// Stretches of the week that need more than the least, each with its replicas: a stretch ends where the number changes.
fn prewarm(needed: &[u32], min: u32) -> Vec<PrewarmWindow> {
    let mut windows: Vec<PrewarmWindow> = Vec::new();
    for (hour, replicas) in needed.iter().enumerate() {
        if *replicas <= min {
            continue;
        }
        let hour = u32::try_from(hour).unwrap_or(0);
        match windows.last_mut() {
            // A day's stretches stay apart from the next day's, so that days that are alike can share a line.
            Some(last) if last.to_hour == hour && last.replicas == *replicas && !hour.is_multiple_of(24) => {
                last.to_hour = hour + 1;
            }
            _ => windows.push(PrewarmWindow { from_hour: hour, to_hour: hour + 1, replicas: *replicas }),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_stretches_of_one_number_within_a_day() {
        let mut needed = vec![2; HOURS];
        needed[8..10].fill(5);
        needed[10] = 6;
        needed[47..50].fill(3);
        let found = prewarm(&needed, 2);
        let plain: Vec<(u32, u32, u32)> =
            found.iter().map(|w| (w.from_hour, w.to_hour, w.replicas)).collect();
        assert_eq!(plain, [(8, 10, 5), (10, 11, 6), (47, 48, 3), (48, 50, 3)]);
    }
}
