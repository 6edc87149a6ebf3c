//! The price of latency: what our own replicas cost under tighter and looser targets, and which tightening pays for itself in requests
//! that are not given up.

use breakeven_hardware::Usd;
use breakeven_measurement::{RequestRate, Slo};

use super::{
    FleetError, Inputs,
    replica::{SimulatedReplica, meets},
};
use crate::{
    break_even::with_capacity,
    cost::{CostModel, decimal, input, rounded, typed_at},
    plan::{
        Provenance,
        fleet_plan::{FrontierPoint, LatencyFrontier},
    },
    product::latency::LatencyTable,
    waiting::{Waiting, mean_share},
};

/// Requests of each simulation, and halvings of the search: below a hundredth of the rate.
const REQUESTS: u64 = 2_000;
const HALVINGS: u32 = 8;

/// What the frontier starts from: the simulated capacity under the SLO itself, and the measured one.
pub(super) struct Start<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) replica: &'a SimulatedReplica,
    pub(super) table: &'a LatencyTable,
    pub(super) simulated: f64,
    pub(super) measured: f64,
}

/// The frontier, loosest targets first.
pub(super) fn frontier(start: &Start<'_>) -> Result<LatencyFrontier, FleetError> {
    let slo = start.inputs.product.slo();
    let mut factors = start.table.times.0.clone();
    factors.push(1.0);
    factors.sort_by(|a, b| b.total_cmp(a));
    let most = start.replica.saturated_per_second(start.inputs.workload, &slo, 400)? * 1.1;
    let mut points: Vec<FrontierPoint> = Vec::new();
    let mut highest = most;
    for times in factors {
        let targets = scaled(&slo, times);
        // A tighter target never lets more through; what says so is the noise of a simulation.
        let found = if (times - 1.0).abs() < 1e-9 {
            Some(start.simulated)
        } else if times > 1.0 {
            capacity_up_to(start, &targets, highest)?.map(|found| found.max(start.simulated))
        } else {
            capacity_up_to(start, &targets, highest)?
        };
        highest = found.unwrap_or(highest);
        let mut point = point(start, &targets, times, found)?;
        if let Some(before) = points.last() {
            point.usd_more = point.usd_per_month.zip(before.usd_per_month).map(|(now, before)| now - before);
            point.pays = point.with_lost().zip(before.with_lost()).map(|(now, before)| now < before);
        }
        points.push(point);
    }
    Ok(LatencyFrontier { points, from: from(start) })
}

fn scaled(slo: &Slo, times: f64) -> Slo {
    let of = |target: Option<std::time::Duration>| target.map(|target| target.mul_f64(times));
    Slo { ttft: of(slo.ttft), tpot: of(slo.tpot), e2e: of(slo.e2e), attainment: slo.attainment }
}

/// The highest simulated rate of one replica under some targets, `most` at most; `None` where a fiftieth of it misses them.
fn capacity_up_to(start: &Start<'_>, slo: &Slo, most: f64) -> Result<Option<f64>, FleetError> {
    let fits = |rate: f64| -> Result<bool, FleetError> {
        let outcome = start.replica.at_rate(1, start.inputs.workload, slo, rate, REQUESTS)?;
        Ok(meets(outcome.goodput(), slo))
    };
    let (mut low, mut high) = (most * 0.02, most);
    if fits(high)? {
        return Ok(Some(high));
    }
    if !fits(low)? {
        return Ok(None);
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if fits(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(Some(low))
}

fn point(
    start: &Start<'_>,
    slo: &Slo,
    times: f64,
    simulated: Option<f64>,
) -> Result<FrontierPoint, FleetError> {
    let seconds = |target: Option<std::time::Duration>| target.map(|target| target.as_secs_f64());
    let mut point = FrontierPoint {
        times,
        ttft_seconds: seconds(slo.ttft),
        tpot_seconds: seconds(slo.tpot),
        e2e_seconds: seconds(slo.e2e),
        capacity_per_second: None,
        replicas: None,
        usd_per_month: None,
        usd_more: None,
        abandoned: None,
        lost_usd_per_month: None,
        pays: None,
    };
    let Some(simulated) = simulated else { return Ok(point) };
    let product = start.inputs.product;
    let requests = product.traffic.requests_per_month.get();
    let Ok(rate) = RequestRate::new(simulated / start.simulated * start.measured) else { return Ok(point) };
    // The value lost under these targets stands beside the bill, not in it.
    let mut load = start.inputs.own.load.clone();
    load.waiting = load.waiting.map(Waiting::without_lost_value);
    let without_lost = CostModel { load: &load, ..start.inputs.own.clone() };
    let model = with_capacity(&without_lost, rate);
    let Some(by_hour) = model.replicas(requests) else { return Ok(point) };
    point.capacity_per_second = Some(rate.per_second());
    point.replicas = by_hour.iter().copied().max();
    point.usd_per_month = Some(model.total(requests));
    if start.table.abandonment.is_none() {
        return Ok(point);
    }
    // How loaded the mean replica of the mean hour is, as a share of what it carries.
    let mean_replicas = by_hour.iter().map(|n| f64::from(*n)).sum::<f64>() / by_hour.len().max(1) as f64;
    let mean = model.mean_rate(requests).ok_or(FleetError::Traffic)?.per_second();
    let busy = (mean / mean_replicas / rate.per_second()).min(1.0);
    let outcome =
        start.replica.at_rate(1, start.inputs.workload, slo, (simulated * busy).max(1e-6), REQUESTS)?;
    let left = mean_share(&start.table.abandonment, &outcome.ttft);
    point.abandoned = Some(left);
    point.lost_usd_per_month = product.success.value_usd_per_success.map(|value| {
        let lost = requests * left * start.inputs.own.success.get();
        rounded(value.0.times(decimal(lost)))
    });
    Ok(point)
}

fn from(start: &Start<'_>) -> Provenance {
    let product = start.inputs.product;
    let mut inputs = vec![
        input(
            "measured capacity under the SLO, req/s",
            format!("{:.4}", start.measured),
            Provenance::Measured {
                run_id: start.inputs.measurement.run_id.clone(),
                path: "search.capacity.rate".to_owned(),
            },
        ),
        input(
            "simulated capacity under the SLO, req/s",
            format!("{:.4}", start.simulated),
            Provenance::Measured {
                run_id: start.inputs.measurement.run_id.clone(),
                path: "steps.fit".to_owned(),
            },
        ),
        input(
            "targets, times",
            format!("{:?}", start.table.times.0),
            typed_at("latency.times", start.table.note.clone()),
        ),
    ];
    if !start.table.abandonment.is_none() {
        inputs.push(input(
            "share that leaves, by wait",
            "a curve",
            typed_at("latency.abandonment", start.table.note.clone()),
        ));
    }
    if let Some(value) = product.success.value_usd_per_success {
        inputs.push(input("USD of a success", value.0, typed_at("success.value_usd_per_success", None)));
    }
    Provenance::Computed {
        formula: "bill at the measured capacity x simulated capacity under the targets / simulated capacity under the SLO; lost = requests x \
                  share that leaves x success x value"
            .to_owned(),
        inputs,
    }
}

impl FrontierPoint {
    /// The bill and what leaves with those who wait too long; `None` where either is not known.
    pub fn with_lost(&self) -> Option<Usd> {
        Some(self.usd_per_month? + self.lost_usd_per_month?)
    }
}
