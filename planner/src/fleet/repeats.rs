//! Slow answers are given up and asked again: demand, latency and repeats in balance, on simulated latencies.

use breakeven_measurement::{Slo, Workload};

use super::replica::SimulatedReplica;
use crate::{
    plan::fleet_plan::RetryBalance,
    product::capacity_tables::RepeatsTable,
    queueing::{
        QueueError,
        retries::{Balance, RetryPolicy, balance},
    },
    simulator::SimulationError,
};

/// Rates at which the share of slow answers is simulated; between them it is taken on straight lines.
const RATES: u32 = 14;
/// Requests of each.
const REQUESTS: u64 = 2_000;

/// Why there is no balance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepeatsError {
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Solves demand and repeats for a fleet. A given-up attempt is served to its end all the same: servers rarely notice.
pub(crate) fn retry_balance(
    replica: &SimulatedReplica,
    workload: &Workload,
    slo: &Slo,
    replicas: u32,
    demand: f64,
    table: &RepeatsTable,
) -> Result<RetryBalance, RepeatsError> {
    let timeout = table.after.0;
    let saturation = replica.saturated_per_second(workload, slo, 400)? * f64::from(replicas);
    let mut points: Vec<(f64, f64)> = vec![(0.0, 0.0)];
    for point in 1..=RATES {
        let rate = saturation * f64::from(point) / f64::from(RATES);
        let count = REQUESTS.max(u64::from(replicas) * 200).min(40_000);
        let outcome = replica.at_rate(replicas, workload, slo, rate, count)?;
        // Failures rise with the rate; what falls is the noise of a draw.
        let before = points.last().map_or(0.0, |p| p.1);
        points.push((rate, before.max(share_above(&outcome.e2e, timeout))));
    }
    let failing = |rate: f64| {
        let after = points.partition_point(|p| p.0 < rate).clamp(1, points.len() - 1);
        match (points.get(after - 1), points.get(after)) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * ((rate - a.0) / (b.0 - a.0)).clamp(0.0, 1.0),
            _ => 1.0,
        }
    };
    let policy = RetryPolicy { most_repeats: table.most, repeat_probability: table.probability.get() };
    let balance = balance(demand, saturation, policy, failing)?;
    let (attempts_per_second, failing, unstable_above_per_second) = match balance {
        Balance::Stable { attempts_per_second, failing, unstable_above_per_second } => {
            (Some(attempts_per_second), Some(failing), unstable_above_per_second)
        }
        Balance::Unstable { unstable_above_per_second } => (None, None, unstable_above_per_second),
    };
    Ok(RetryBalance {
        demand_per_second: demand,
        attempts_per_second,
        failing,
        unstable_above_per_second,
        timeout_seconds: timeout.as_secs_f64(),
    })
}

/// Share of a series above a limit, by bisection of its ranks.
fn share_above(series: &breakeven_measurement::LatencySeries, limit: std::time::Duration) -> f64 {
    let n = series.len();
    let (mut within, mut beyond) = (0, n + 1);
    while beyond - within > 1 {
        let middle = within.midpoint(beyond);
        let value = series.at_rank(middle).and_then(breakeven_measurement::Quantile::finite);
        if value.is_some_and(|value| value <= limit) {
            within = middle;
        } else {
            beyond = middle;
        }
    }
    if n > 0 { (n - within) as f64 / n as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_share_above_a_limit_is_counted() {
        let mut series = breakeven_measurement::LatencySeries::new();
        for ms in [100, 200, 300, 400] {
            series.record(Duration::from_millis(ms));
        }
        series.record_infinite();
        assert!((share_above(&series, Duration::from_millis(250)) - 0.6).abs() < 1e-12);
        assert!((share_above(&series, Duration::from_secs(9)) - 0.2).abs() < 1e-12);
        assert!((share_above(&series, Duration::from_millis(1)) - 1.0).abs() < 1e-12);
    }
}
