//! The answer: which option, by how much, how sure, and what would change it.

use breakeven_hardware::Usd;
use breakeven_measurement::Fraction;

use crate::{
    cost::CostModel,
    plan::{BreakEven, BreakEvenOutcome, Decision, OptionPlan, TrafficSummary},
};

/// A cost ratio this close to one is no answer on one measurement.
const TOO_CLOSE: f64 = 1.05;

/// The self-hosted option and the cheapest API, where there are both.
#[derive(Debug)]
pub(crate) struct Contest<'a> {
    pub(crate) own: Option<(&'a OptionPlan, &'a CostModel<'a>)>,
    pub(crate) api: Option<(&'a OptionPlan, &'a CostModel<'a>)>,
}

/// Decides between options that are sorted, cheapest per successful outcome first.
pub(crate) fn decide(
    options: &[OptionPlan],
    contest: &Contest<'_>,
    break_evens: &[BreakEven],
    traffic: &TrafficSummary,
) -> Decision {
    let feasible =
        |option: &&OptionPlan| option.infeasible.is_none() && option.usd_per_successful_outcome.is_some();
    let Some(best) = options.iter().find(feasible) else {
        let headline = "No option can be had: see why beside each.".to_owned();
        return Decision { choice: None, headline, would_change: Vec::new() };
    };
    let volume = thousands(traffic.requests_per_month);
    let headline = match options.iter().filter(feasible).nth(1) {
        None => format!("{}: the only option that can be had, at {volume} requests a month.", best.name),
        Some(second) => {
            let ratio = ratio(second, best);
            let (cost, other) = (outcome_price(best), outcome_price(second));
            if ratio < TOO_CLOSE {
                format!(
                    "Too close to call: {} at {cost} and {} at {other} per successful outcome, at {volume} requests a month.",
                    best.name, second.name
                )
            } else {
                format!(
                    "{}: {cost} per successful outcome against {other} with {}, at {volume} requests a month.",
                    best.name, second.name
                )
            }
        }
    };
    Decision {
        choice: Some(best.id.clone()),
        headline,
        would_change: would_change(contest, break_evens, traffic),
    }
}

fn would_change(contest: &Contest<'_>, break_evens: &[BreakEven], traffic: &TrafficSummary) -> Vec<String> {
    let (Some((own, own_model)), Some((api, _))) = (&contest.own, &contest.api) else { return Vec::new() };
    let requests = traffic.requests_per_month;
    let mut changes = Vec::new();
    if let Some(even) = break_evens.iter().find(|e| e.api == api.id) {
        changes.push(match even.outcome {
            BreakEvenOutcome::At { requests_per_month } => format!(
                "volume: self-host is cheaper than {} from {} requests a month (now {})",
                api.name,
                thousands(requests_per_month),
                thousands(requests)
            ),
            BreakEvenOutcome::Always => {
                format!("volume: self-host is cheaper than {} at any volume", api.name)
            }
            BreakEvenOutcome::Never { up_to_requests_per_month } => format!(
                "volume: none up to {} requests a month makes self-host cheaper than {}",
                thousands(up_to_requests_per_month),
                api.name
            ),
        });
    }
    let Some(target) = api.usd_per_successful_outcome else { return changes };
    let successes = crate::cost::decimal(requests * own.success_probability.get());
    if let Some(hours) = own_model.replica_hours(requests)
        && let crate::cost::Supply::SelfHost { usd_per_hour, .. } = &own_model.supply
    {
        let fixed = own.usd_per_month - usd_per_hour.times(hours);
        let left = target.times(successes) - fixed;
        changes.push(match left.per(hours) {
            Some(price) if price > Usd::ZERO => format!(
                "machine price: the decision flips at {} per replica-hour (now {})",
                dollars(price),
                dollars(*usd_per_hour)
            ),
            _ => format!(
                "machine price: none makes self-host match {}: its other costs alone are higher",
                api.name
            ),
        });
    }
    changes.push(flip_of_success(own_model, api, requests));
    changes
}

/// The success share at which self-host costs as much per successful outcome as the API, by bisection: cost per success
/// falls as the share rises. With stages it is the share of what the workflow ends well that is right, as `success.probability` is.
fn flip_of_success(own: &CostModel<'_>, api: &OptionPlan, requests: f64) -> String {
    let at = |share: f64| {
        let success = Fraction::new(share * own.load.success).unwrap_or(own.success);
        CostModel { success, ..own.clone() }.usd_per_success(requests)
    };
    let target = api.usd_per_successful_outcome.map_or(f64::INFINITY, Usd::to_f64);
    if at(1.0).is_none_or(|cost| cost > target) {
        return format!("success rate: even 100 % self-hosted does not match {}", api.name);
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if at(middle).is_some_and(|cost| cost <= target) {
            high = middle;
        } else {
            low = middle;
        }
    }
    format!(
        "success rate: the decision flips at {:.1} % self-hosted (now {:.1} %)",
        high * 100.0,
        own.success.get() / own.load.success.max(f64::MIN_POSITIVE) * 100.0
    )
}

fn ratio(dearer: &OptionPlan, cheaper: &OptionPlan) -> f64 {
    let price = |o: &OptionPlan| o.usd_per_successful_outcome.map_or(f64::INFINITY, Usd::to_f64);
    price(dearer) / price(cheaper)
}

fn outcome_price(option: &OptionPlan) -> String {
    option.usd_per_successful_outcome.map_or_else(|| "no price".to_owned(), dollars)
}

/// Dollars with enough digits to tell two prices apart: four significant, at least cents.
pub(crate) fn dollars(amount: Usd) -> String {
    let value = amount.0.abs();
    let rounded = if value >= rust_decimal::Decimal::ONE {
        amount.0.round_dp(2)
    } else {
        amount.0.round_sf(4).unwrap_or(amount.0)
    };
    format!("${}", rounded.normalize())
}

/// A count with thousands separated.
pub(crate) fn thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
