//! What waiting for the first token costs an option: users who give up, and users who ask again (docs/METHOD.md, "Cost of latency").
//!
//! A repeat is a request like any other, so it is load: [`Waiting::asked`] multiplies what a request asks of the option. Who gives up is
//! counted once: at what a success is worth, on the line of its own, where the product file says that; else as a success that is not there.

mod bill;
mod waits;

use breakeven_hardware::Usd;
use breakeven_measurement::Measurement;

use crate::{
    capacity::PlanError,
    cost::{input, typed_at},
    cost_models::api_name,
    plan::{LineItem, Provenance},
    product::{
        Product,
        latency::{LatencyTable, ShareByWait},
    },
    workflow::load::{Load, Loads},
};
pub(crate) use waits::{Waits, mean_share};

/// What waiting makes of an option's requests.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waiting {
    /// How often a request is asked, its first time included.
    pub(crate) asked: f64,
    /// Where that comes from.
    pub(crate) asked_from: Provenance,
    /// Share of the requests that are given up.
    leaves: f64,
    /// Where that comes from.
    leaves_from: Provenance,
    /// What a request that succeeds is worth, where the product file says so.
    value: Option<Usd>,
}

impl Waiting {
    /// Of an option that lets its users wait; an error where what is asked again never ends.
    fn of(table: &LatencyTable, waits: &Waits<'_>, value: Option<Usd>) -> Result<Self, PlanError> {
        let again = waits.mean(&table.repeats);
        if again >= 1.0 {
            return Err(PlanError::Latency(format!(
                "{}: `latency.repeats`: expected shares whose mean over the waits is below 1, found {again} over {} ({}): every request would be \
                 asked again without end",
                table.repeats_place,
                place(&waits.from),
                waits.describe()
            )));
        }
        let mean_from = |curve: &ShareByWait, key: &str| Provenance::Computed {
            formula: "mean of the curve over the waits for the first token, at 200 quantiles".to_owned(),
            inputs: vec![
                input("waits for the first token", waits.describe(), waits.from.clone()),
                input("share by wait", curve, typed_at(&format!("latency.{key}"), table.note.clone())),
            ],
        };
        Ok(Self {
            asked: 1.0 / (1.0 - again),
            asked_from: Provenance::Computed {
                formula: "1 / (1 - share asked again): a repeat may be repeated".to_owned(),
                inputs: vec![input(
                    "share asked again",
                    format!("{again:.6}"),
                    mean_from(&table.repeats, "repeats"),
                )],
            },
            leaves: waits.mean(&table.abandonment),
            leaves_from: mean_from(&table.abandonment, "abandonment"),
            value,
        })
    }

    /// What is left of the successes: those who give up are missing from them, but for where they are paid for on their line.
    pub(crate) fn kept(&self) -> f64 {
        if self.value.is_some() { 1.0 } else { 1.0 - self.leaves }
    }

    /// Of each success there would be, the share that is given up and paid for on its line, and what a success is worth.
    pub(crate) fn lost(&self) -> (f64, Usd) {
        self.value.map_or((0.0, Usd::ZERO), |value| (self.leaves, value))
    }

    /// The same with nothing lost on its line.
    pub(crate) fn without_lost_value(self) -> Self {
        let leaves = if self.value.is_some() { 0.0 } else { self.leaves };
        Self { leaves, ..self }
    }

    /// Where the share of successes comes from, `from` being that of the share among those who wait.
    pub(crate) fn success_from(&self, before: f64, from: Provenance) -> Provenance {
        Provenance::Computed {
            formula: "share that succeeds of those who wait x (1 - share that gives up)".to_owned(),
            inputs: vec![
                input("share that succeeds of those who wait", format!("{before:.6}"), from),
                input("share that gives up", format!("{:.6}", self.leaves), self.leaves_from.clone()),
            ],
        }
    }
}

/// Whether what waiting costs is asked for.
pub(crate) fn matters(product: &Product) -> bool {
    curves(product).is_some()
}

/// The table, where one of its curves is typed.
fn curves(product: &Product) -> Option<&LatencyTable> {
    product.latency.as_ref().filter(|table| !(table.abandonment.is_none() && table.repeats.is_none()))
}

/// The loads with what waiting makes of them; as they are where no curve is typed.
///
/// # Errors
/// Where every request is asked again.
pub(crate) fn waited(
    mut loads: Loads,
    product: &Product,
    measurement: &Measurement,
) -> Result<Loads, PlanError> {
    let Some(table) = curves(product) else { return Ok(loads) };
    let value = product.success.value_usd_per_success.map(|price| price.0).filter(|usd| *usd != Usd::ZERO);
    let of = |load: &Load, waits: Option<Waits<'_>>| -> Result<Load, PlanError> {
        Ok(match waits {
            Some(waits) => load.clone().waited(Waiting::of(table, &waits, value)?),
            None => load.clone(),
        })
    };
    loads.own = of(&loads.own, Waits::measured(measurement))?;
    let apis = product.apis.iter().map(|api| {
        let path = format!("api.{}.ttft", api_name(api));
        of(&loads.api, api.ttft.map(|waits| Waits::typed(waits, &path)))
    });
    loads.apis = apis.collect::<Result<_, _>>()?;
    Ok(loads)
}

/// How often a request of our own replicas is asked; `None` where that never ends.
pub(crate) fn own_asked(product: &Product, measurement: &Measurement) -> Option<f64> {
    let waits = curves(product).zip(Waits::measured(measurement));
    waits.map_or(Some(1.0), |(table, waits)| Some(Waiting::of(table, &waits, None).ok()?.asked))
}

/// What the comparison leaves out, or counts twice.
pub(crate) fn warnings(product: &Product, loads: &Loads) -> Vec<String> {
    let Some(table) = curves(product) else { return Vec::new() };
    let mut all = Vec::new();
    if loads.own.waiting.is_none() {
        all.push(
            "no wait for the first token was measured at the expected level: the comparison leaves out what waiting costs our own replicas"
                .to_owned(),
        );
    }
    for (index, api) in product.apis.iter().enumerate() {
        if loads.of_api(index).waiting.is_none() {
            all.push(format!(
                "{}: its wait for the first token is neither measured nor typed (api.ttft): the comparison leaves out what waiting costs there",
                api_name(api)
            ));
        }
    }
    let typed = product.costs.iter().any(|cost| cost.line == LineItem::CostOfLatency);
    if typed && !table.abandonment.is_none() && product.success.value_usd_per_success.is_some() {
        all.push(
            "a [[cost]] is on the line cost of latency and so is what latency.abandonment comes to: both count; leave one out where they are \
             the same money"
                .to_owned(),
        );
    }
    if product.traffic.repeats.is_some() && !table.repeats.is_none() {
        all.push(
            "the balance of [traffic.repeats] begins from a demand that holds latency.repeats: leave one out where they are the same repeats"
                .to_owned(),
        );
    }
    all
}

fn place(from: &Provenance) -> String {
    match from {
        Provenance::Measured { run_id, path } => format!("{path} of run {run_id}"),
        Provenance::Assumption { path, .. } => path.clone(),
        _ => String::new(),
    }
}
