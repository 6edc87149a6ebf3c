//! The cheapest mix of terms, and the hybrid that sends what machines would idle for to an API, as options of the plan.

use breakeven_hardware::Usd;
use breakeven_measurement::Fraction;
use rust_decimal::Decimal;

use crate::{
    cost::{CostModel, decimal, input, rounded},
    plan::{
        LineItem, OptionKind, OptionPlan, Provenance,
        fleet_plan::{PurchaseKind, PurchasePlan},
    },
    traffic::HOURS_PER_MONTH,
};

/// Option id of our own replicas, bought in the cheapest mix of terms.
pub(crate) const MIX: &str = "self_host_mix";
/// Beginning of the option id of our own replicas with overflow to an API.
pub(crate) const HYBRID: &str = "hybrid:";

/// Machines, and what overflows, bought in another way than by the term of `[fleet]`.
pub(crate) struct Bought {
    pub(crate) usd_per_month: Usd,
    pub(crate) overflow_requests_per_month: f64,
    pub(crate) kind: OptionKind,
    pub(crate) from: Provenance,
}

impl Bought {
    pub(crate) fn of(purchase: &PurchasePlan) -> Self {
        let from = layers_from(purchase);
        Self {
            usd_per_month: purchase.usd_per_month,
            overflow_requests_per_month: purchase.overflow_requests_per_month,
            kind: kind(purchase, &from),
            from,
        }
    }
}

/// Our own option with its machines bought otherwise. `api_success` is the API's share of successes, where requests overflow.
pub(crate) fn bought(
    (id, name): (String, String),
    own: &CostModel<'_>,
    purchase: Bought,
    api_success: Option<Fraction>,
    requests: f64,
) -> OptionPlan {
    let Bought { usd_per_month: model_calls, overflow_requests_per_month, kind, from } = purchase;
    let over = (overflow_requests_per_month / requests).clamp(0.0, 1.0);
    let of_api = api_success.unwrap_or(own.success);
    let success =
        Fraction::new(own.success.get() * (1.0 - over) + of_api.get() * over).unwrap_or(own.success);
    let model = CostModel { success, ..own.clone() };
    let (base, base_retries, _) = model.model_calls(requests);
    let new_retries = model_calls.times(decimal(model.retries_of_all()));
    let new_base = model_calls - new_retries;
    let mut lines = model.lines(requests);
    for line in &mut lines {
        let rest = match line.line {
            LineItem::Inference => rounded(line.usd_per_month - base),
            LineItem::Retries => rounded(line.usd_per_month - base_retries),
            _ => continue,
        };
        match line.line {
            LineItem::Inference => line.usd_per_month = line.usd_per_month - base + new_base,
            LineItem::Retries => line.usd_per_month = line.usd_per_month - base_retries + new_retries,
            _ => continue,
        }
        let beside = own.load.workflow.is_some() && rest != Usd::ZERO;
        line.from = if beside {
            // Other models' calls stand on the same line.
            let machines = line.usd_per_month - rest;
            Provenance::Computed {
                formula: "sum of its parts".to_owned(),
                inputs: vec![
                    input("the option's model calls, USD a month", machines.0.round_dp(2), from.clone()),
                    input("other stages, USD a month", rest.0.round_dp(2), line.from.clone()),
                ],
            }
        } else {
            from.clone()
        };
    }
    let usd_per_month: Usd = lines.iter().map(|l| l.usd_per_month).sum();
    let output_tokens = decimal(requests * model.mean_output_tokens());
    let mut option = OptionPlan {
        id,
        name,
        kind,
        infeasible: None,
        usd_per_month,
        usd_per_request: usd_per_month.per(decimal(requests)).unwrap_or(Usd::ZERO),
        success_probability: success,
        usd_per_successful_outcome: usd_per_month.per(decimal(requests) * decimal(success.get())),
        usd_per_month_interval: None,
        usd_per_busy_hour: None,
        usd_per_million_output_tokens: model_calls.times(Decimal::from(1_000_000)).per(output_tokens),
        lines,
        unit_economics: Vec::new(),
    };
    option.unit_economics = crate::economics::figures(&option, &model, requests);
    option
}

fn layers_from(purchase: &PurchasePlan) -> Provenance {
    let inputs = purchase.layers.iter().map(|layer| {
        let from = purchase
            .offers
            .iter()
            .find(|o| o.kind == layer.kind)
            .map_or_else(|| crate::cost::typed_at("fleet.purchase", None), |o| o.from.clone());
        let name = format!("{}, USD a month", layer.kind.label());
        input(&name, layer.usd_per_month.0.round_dp(2), from)
    });
    Provenance::Computed {
        formula: "the cheapest purchase along the load-duration curve, layer by layer".to_owned(),
        inputs: inputs.collect(),
    }
}

fn kind(purchase: &PurchasePlan, from: &Provenance) -> OptionKind {
    let machines = || purchase.layers.iter().filter(|l| l.kind != PurchaseKind::Overflow);
    let usd: Usd = machines().map(|l| l.usd_per_month).sum();
    let hours: f64 = machines().map(|l| l.replica_hours_per_month).sum();
    let terms: Vec<String> = purchase
        .layers
        .iter()
        .map(|l| match l.kind {
            PurchaseKind::Overflow => l.kind.label().to_owned(),
            kind => format!("{} x {}", l.replicas.max(1), kind.label()),
        })
        .collect();
    OptionKind::SelfHost {
        replicas: machines().map(|l| l.replicas).sum(),
        // None of it is a machine where everything overflows.
        usd_per_replica_hour: usd.per(decimal(hours.min(1e9 * HOURS_PER_MONTH))).unwrap_or(Usd::ZERO),
        term: terms.join(" + "),
        price_from: from.clone(),
    }
}
