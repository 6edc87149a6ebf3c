//! Capacity and purchase in full: hours, headroom, what to buy, what the simulator says of it (DESIGN §4).
//!
//! | file | holds |
//! |---|---|
//! | [`replica`] | the simulated replica, from the measurement |
//! | [`check`] | simulated beside measured, the capacity and what binds it |
//! | `loss` | a replica lost in the busiest hour |
//! | `frontier` | the price of latency: the bill under other targets |
//! | `repeats` | given-up requests as load |
//! | `offers`, `buying` | what may be bought, and the cheapest of it along the load-duration curve |
//! | `growing` | the months ahead |
//! | `autoscaling` | the autoscaler's settings, chosen on the steepest ramp |
//! | `options` | the mix, and the hybrid with an API, as options of the plan |
//! | [`search`] | the cheapest of thousands of fleets: closed form first, then simulated |

mod autoscaling;
pub(crate) mod buying;
pub mod check;
mod frontier;
mod growing;
mod loss;
pub(crate) mod offers;
pub(crate) mod options;
mod repeats;
pub mod replica;
pub mod search;

use breakeven_hardware::PriceBook;
use breakeven_measurement::{Measurement, RequestRate, Workload};
use jiff::civil::Date;

use crate::{
    cost::{CostModel, Supply, input, typed_at},
    plan::{
        Provenance,
        fleet_plan::{FleetHour, FleetPlan, HeadroomStep, PurchasePlan, SimulationCheck, SpikeFleet},
    },
    product::Product,
    purchase::{
        PurchaseError,
        fleet_hours::{FleetPolicy, fleet_hours},
    },
    simulator::SimulationError,
    traffic::{Week, mean_rate},
};
use buying::{Demand, buy};
use offers::{Offers, Overflow};
use replica::{SimulatedReplica, meets};

/// Why the fleet could not be computed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    #[error(transparent)]
    Purchase(#[from] PurchaseError),
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    #[error(transparent)]
    Repeats(#[from] repeats::RepeatsError),
    #[error("the traffic is no rate")]
    Traffic,
}

/// What the fleet is computed from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) product: &'a Product,
    pub(crate) week: &'a Week,
    pub(crate) workload: &'a Workload,
    pub(crate) measurement: &'a Measurement,
    pub(crate) prices: &'a PriceBook,
    pub(crate) as_of: Date,
    /// Our own option.
    pub(crate) own: &'a CostModel<'a>,
    /// The cheapest API that takes single requests, where there is one.
    pub(crate) api: Option<(&'a str, &'a CostModel<'a>)>,
}

/// The fleet, and the purchases behind the options: without and with overflow.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) plan: FleetPlan,
    pub(crate) machines: Option<PurchasePlan>,
    pub(crate) hybrid: Option<PurchasePlan>,
}

impl<'a> Inputs<'a> {
    fn capacity(&self) -> Option<(RequestRate, &'a breakeven_hardware::Usd, &'a Provenance)> {
        match &self.own.supply {
            Supply::SelfHost { capacity, usd_per_hour, price_from, .. } => {
                Some((*capacity, usd_per_hour, price_from))
            }
            Supply::Api { .. } => None,
        }
    }

    fn policy(&self) -> FleetPolicy {
        self.product.fleet.capacity.survival(self.product.fleet.replicas_lost)
    }
}

/// Computes the fleet.
///
/// # Errors
/// Where a number leaves the range of its type.
pub(crate) fn fleet_plan(inputs: &Inputs<'_>) -> Result<Found, FleetError> {
    let (capacity, usd_per_hour, price_from) = inputs.capacity().ok_or(FleetError::Traffic)?;
    let product = inputs.product;
    let requests = product.traffic.requests_per_month.get();
    let retries = inputs.own.retries();
    let attempts = inputs.own.load.in_all();
    let mean = mean_rate(requests * attempts, retries).ok_or(FleetError::Traffic)?.per_second();
    let policy = inputs.policy();
    let carries = capacity.per_second();
    let rates = |shape: &[f64]| -> Vec<f64> { shape.iter().map(|v| v * mean).collect() };
    let (means, ready) = (rates(&inputs.week.mean), rates(&inputs.week.ready));
    let needed = fleet_hours(&ready, carries, &policy)?;
    let hours = means.iter().zip(&ready).zip(&needed);
    let hours = hours
        .map(|((mean, ready), replicas)| FleetHour {
            mean_per_second: *mean,
            ready_per_second: *ready,
            replicas: *replicas,
        })
        .collect();
    let load: Vec<f64> =
        means.iter().zip(&needed).map(|(rate, n)| (rate / carries).min(f64::from(*n))).collect();
    let demand = Demand {
        needed: &needed,
        load: &load,
        capacity: carries,
        attempts_per_request: attempts * (1.0 + retries),
    };
    let offers = Offers::of(&product.fleet, inputs.prices, inputs.as_of, *usd_per_hour, price_from);
    // What overflows is a request with its retries, in the units of the demand above.
    let each = inputs.own.attempts_beside_stages();
    let overflow = inputs.api.map(|(api, model)| overflow_of(api, model, requests, each));
    let (points, machines) = buy(&demand, &offers, None)?;
    let allowed = product.fleet.purchase.as_ref().is_some_and(|p| p.overflow);
    let (mixed_points, hybrid) = match &overflow {
        Some(overflow) if allowed => buy(&demand, &offers, Some(overflow))?,
        Some(_) | None => (Vec::new(), None),
    };
    let load_duration = if hybrid.is_some() { mixed_points } else { points };
    let mut plan = FleetPlan {
        hours,
        headroom: headroom(inputs, mean, carries, &policy)?,
        load_duration,
        purchase: hybrid.clone().or_else(|| machines.clone()),
        months: Vec::new(),
        spikes: spikes(inputs, mean, carries, &policy, &offers)?,
        simulation: None,
        replica_loss: None,
        autoscaling: None,
        retries: None,
        latency: None,
        notes: offers.notes.clone(),
    };
    if let Some(growth) = &product.traffic.growth {
        let horizon = growing::Horizon {
            week: inputs.week,
            mean,
            capacity: carries,
            policy: &policy,
            requests_per_month: requests,
            factors: &growth.factors(),
        };
        plan.months = growing::months(&horizon, &offers, overflow.as_ref().filter(|_| allowed))?;
    }
    if inputs.own.load.workflow.is_some() {
        let why = "the simulation sends requests as they were measured, as many as the stages' calls take time, not the stages' own lengths";
        plan.notes.push(why.to_owned());
    }
    match SimulatedReplica::of(inputs.measurement, &product.fleet.replica) {
        Ok(replica) => simulated(inputs, &replica, &mut plan, mean, carries)?,
        Err(why) => plan.notes.push(why),
    }
    Ok(Found { plan, machines, hybrid })
}

/// What the API asks for one attempt: its model calls over all attempts, retries included.
fn overflow_of(api: &str, model: &CostModel<'_>, requests: f64, attempts: f64) -> Overflow {
    let mut model = model.clone();
    if let Supply::Api { discounts, .. } = &mut model.supply {
        *discounts = discounts.without_batches();
    }
    if model.load.workflow.is_some() {
        // Other models' calls may stand on the same lines.
        let (base, of_retries, from) = model.model_calls(requests);
        let attempts = requests * model.load.in_all() * attempts;
        let usd_per_attempt = (base + of_retries).to_f64() / attempts;
        return Overflow { api: api.to_owned(), usd_per_attempt, from };
    }
    let lines = model.lines(requests);
    let calls = lines
        .iter()
        .filter(|l| matches!(l.line, crate::plan::LineItem::Inference | crate::plan::LineItem::Retries));
    let mut usd = 0.0;
    let mut from = typed_at("api", None);
    for line in calls {
        usd += line.usd_per_month.to_f64();
        if line.line == crate::plan::LineItem::Inference {
            from = line.from.clone();
        }
    }
    Overflow { api: api.to_owned(), usd_per_attempt: usd / (requests * model.load.asked() * attempts), from }
}

/// From the naive quotient to the fleet of the busiest hour, one reason at a time.
fn headroom(
    inputs: &Inputs<'_>,
    mean: f64,
    capacity: f64,
    policy: &FleetPolicy,
) -> Result<Vec<HeadroomStep>, FleetError> {
    let product = inputs.product;
    let burst = product.traffic.burst_factor.get();
    let (hour, ready) = (inputs.week.peak_hour() * mean, inputs.week.peak_ready() * mean);
    let calm =
        FleetPolicy { maximum_utilization: 1.0, replicas_lost: 0, zones: 1, upgrade_surge: 0, ..*policy };
    let utilised = FleetPolicy { maximum_utilization: policy.maximum_utilization, ..calm };
    let survives = FleetPolicy { replicas_lost: policy.replicas_lost, ..utilised };
    let zoned = FleetPolicy { zones: policy.zones, ..survives };
    let mut steps: Vec<HeadroomStep> = Vec::new();
    let mut step = |because: String, rate: f64, policy: &FleetPolicy, path: &str| -> Result<(), FleetError> {
        let replicas = fleet_hours(&[rate], capacity, policy)?.first().copied().unwrap_or(0);
        steps.push(HeadroomStep { because, replicas, from: typed_at(path, None) });
        Ok(())
    };
    step("the busiest hour's mean".to_owned(), hour, &calm, "traffic.requests_per_month")?;
    step(format!("bursts within the hour, x {burst}"), hour * burst, &calm, "traffic.burst_factor")?;
    let lag = product.fleet.scale_up_lag.0.as_secs_f64();
    step(format!("the ramp within a scale-up lag of {lag} s"), ready, &calm, "fleet.scale_up_lag")?;
    let share = policy.maximum_utilization * 100.0;
    step(format!("at most {share} % utilised"), ready, &utilised, "fleet.capacity.maximum_utilization")?;
    step(format!("{} lost", policy.replicas_lost), ready, &survives, "fleet.replicas_lost")?;
    step(format!("one of {} zones lost", policy.zones), ready, &zoned, "fleet.capacity.zones")?;
    let surge = policy.upgrade_surge;
    step(format!("{surge} in a rolling upgrade"), ready, policy, "fleet.capacity.upgrade_surge")?;
    if let Some(first) = steps.first_mut() {
        first.from = Provenance::Computed {
            formula: "ceil(busiest hour's mean / capacity of one replica)".to_owned(),
            inputs: vec![
                input("busiest hour's mean, req/s", format!("{hour:.3}"), typed_at("traffic", None)),
                input(
                    "capacity of one replica, req/s",
                    format!("{capacity:.3}"),
                    Provenance::Measured {
                        run_id: inputs.measurement.run_id.clone(),
                        path: "search.capacity.rate".to_owned(),
                    },
                ),
            ],
        };
    }
    Ok(steps)
}

fn spikes(
    inputs: &Inputs<'_>,
    mean: f64,
    capacity: f64,
    policy: &FleetPolicy,
    offers: &Offers,
) -> Result<Vec<SpikeFleet>, FleetError> {
    let ready = inputs.week.peak_ready() * mean;
    let usual = fleet_hours(&[ready], capacity, policy)?.first().copied().unwrap_or(0);
    let on_demand = offers.find(crate::plan::fleet_plan::PurchaseKind::OnDemand).map(|o| o.usd_per_hour);
    let mut fleets = Vec::new();
    for spike in &inputs.product.traffic.spikes {
        let (factor, hours) = (spike.factor.get(), spike.hours.get());
        let replicas = fleet_hours(&[ready * factor], capacity, policy)?.first().copied().unwrap_or(0);
        let more = f64::from(replicas.saturating_sub(usual)) * hours;
        fleets.push(SpikeFleet {
            name: spike.name.clone(),
            factor,
            hours,
            replicas,
            usd: on_demand.map(|usd| usd.times(crate::cost::decimal(more))),
        });
    }
    Ok(fleets)
}

/// Everything that needs the simulator.
fn simulated(
    inputs: &Inputs<'_>,
    replica: &SimulatedReplica,
    plan: &mut FleetPlan,
    mean: f64,
    carries: f64,
) -> Result<(), FleetError> {
    let (product, workload) = (inputs.product, inputs.workload);
    let slo = product.slo();
    let seen = inputs.measurement.steps.as_ref().map_or(&[][..], |s| s.levels.as_slice());
    let capacity = check::capacity(replica, workload, &slo)?;
    let binds = match &capacity {
        Some((rate, outcome)) => Some(check::binding(replica, workload, &slo, (*rate, outcome))?),
        None => None,
    };
    // The simulator knows attempts, the measured capacity requests with their retries.
    let tried =
        inputs.own.load.retries.as_ref().map_or(1.0, crate::measured_retries::MeasuredRetries::in_capacity);
    let replicas = plan.hours.iter().map(|h| h.replicas).max().unwrap_or(0);
    let spares = product.fleet.replicas_lost.min(replicas.saturating_sub(1));
    let rate = inputs.week.peak_hour() * mean * product.traffic.burst_factor.get() * tried;
    let count = u64::from(replicas).saturating_mul(400).clamp(4_000, 60_000);
    let peak = replica.at_rate((replicas - spares).max(1), workload, &slo, rate, count)?;
    plan.simulation = Some(SimulationCheck {
        step: replica.fit.model,
        fitted_on: seen.iter().map(ToString::to_string).collect(),
        r_squared: replica.fit.r_squared,
        median_step_error: replica.fit.median_error,
        levels: check::levels(replica, inputs.measurement, seen)?,
        capacity_per_second: capacity.as_ref().map(|c| c.0),
        capacity_difference: capacity.as_ref().map(|c| c.0 / (carries * tried) - 1.0),
        binds,
        peak_goodput: peak.goodput(),
        peak_replicas: (replicas - spares).max(1),
        peak_per_second: rate,
        holds: meets(peak.goodput(), &slo),
    });
    let lag = product.fleet.scale_up_lag.0.as_secs_f64();
    let spare_usd = spare_cost(inputs, plan, spares)?;
    let at = loss::Peak { replica, workload, slo: &slo, replicas, spares, rate, lag };
    plan.replica_loss = Some(loss::replica_loss(&at, spare_usd)?);
    if let Some((_, outcome)) = &capacity {
        let means: Vec<f64> = plan.hours.iter().map(|h| h.mean_per_second * tried).collect();
        let needed: Vec<u32> = plan.hours.iter().map(|h| h.replicas).collect();
        let concurrency = outcome.mean_in_system;
        let week = autoscaling::Week {
            replica,
            workload,
            slo: &slo,
            means: &means,
            needed: &needed,
            lag,
            concurrency,
        };
        plan.autoscaling = Some(autoscaling::choose(&week)?);
    }
    match (&product.latency, &capacity) {
        (Some(table), Some((simulated, _))) => {
            let start = frontier::Start { inputs, replica, table, simulated: *simulated, measured: carries };
            plan.latency = Some(frontier::frontier(&start)?);
        }
        (Some(_), None) => plan.notes.push(
            "no price of latency: no simulated rate meets the SLO, so other targets are not comparable"
                .to_owned(),
        ),
        (None, _) => {}
    }
    if let Some(table) = &product.traffic.repeats {
        // First attempts: the stages' own retries are in the rate too.
        let all = inputs.own.attempts_beside_stages() * (1.0 + inputs.own.load.retried_share);
        let demand = rate / tried / all;
        plan.retries =
            Some(repeats::retry_balance(replica, workload, &slo, (replicas - spares).max(1), demand, table)?);
    }
    Ok(())
}

/// What the spares cost: the purchase with them less the purchase without.
fn spare_cost(
    inputs: &Inputs<'_>,
    plan: &FleetPlan,
    spares: u32,
) -> Result<Option<breakeven_hardware::Usd>, FleetError> {
    let Some((capacity, usd_per_hour, price_from)) = inputs.capacity() else { return Ok(None) };
    let carries = capacity.per_second();
    let offers = Offers::of(&inputs.product.fleet, inputs.prices, inputs.as_of, *usd_per_hour, price_from);
    let cost = |spares: u32| -> Result<Option<breakeven_hardware::Usd>, FleetError> {
        let needed: Vec<u32> = plan.hours.iter().map(|h| h.replicas.saturating_sub(spares).max(1)).collect();
        let load: Vec<f64> = plan
            .hours
            .iter()
            .zip(&needed)
            .map(|(h, n)| (h.mean_per_second / carries).min(f64::from(*n)))
            .collect();
        let demand = Demand { needed: &needed, load: &load, capacity: carries, attempts_per_request: 1.0 };
        Ok(buy(&demand, &offers, None)?.1.map(|p| p.usd_per_month))
    };
    Ok(cost(0)?.zip(cost(spares)?).map(|(with, without)| with - without))
}
