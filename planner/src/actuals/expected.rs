//! What a plan, or the product file alone, says that production should look like.

use breakeven_hardware::Usd;
use breakeven_measurement::LevelName;
use breakeven_usage::{Dimension, ModelPrice, Prices, Usage, same_model};

use crate::{
    basis::SupplyBasis,
    plan::{LineItem, OptionKind, OptionPlan, Plan},
    product::Product,
};

/// Lines of a bill that are model calls: what a log of calls can be held against.
pub const CALL_LINES: [LineItem; 4] =
    [LineItem::Inference, LineItem::Retries, LineItem::Guardrails, LineItem::Fallbacks];

/// What production is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Where it comes from, for a reader.
    pub source: String,
    /// Requests a month, retries not included.
    pub requests_per_month: f64,
    /// Extra attempts a request.
    pub retries_per_request: f64,
    /// Prompt tokens a call, in the tokenizer of the option's model.
    pub input_tokens: f64,
    /// Answer tokens a call, likewise.
    pub output_tokens: f64,
    /// Attempts a second in the busiest hour.
    pub busiest_hour_per_second: Option<f64>,
    /// Share of requests that succeed.
    pub success_probability: Option<f64>,
    /// The option; absent without a plan.
    pub option: Option<ExpectedOption>,
}

/// The option of a plan that production is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedOption {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why this one.
    pub why: String,
    /// The model that answers.
    pub model: Option<String>,
    /// [`CALL_LINES`] of its bill, a month.
    pub calls_usd_per_month: Usd,
    /// Median and 95th percentile of the call time in seconds, where the option was measured.
    pub e2e_seconds: (Option<f64>, Option<f64>),
}

/// An option that the plan does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan has no option `{asked}` that can be had; expected one of: {known}")]
pub struct UnknownOption {
    asked: String,
    known: String,
}

impl Expected {
    /// What a product file types.
    pub fn of_product(product: &Product, file: &str) -> Self {
        let workload = product.workload();
        Self {
            source: format!("product file {file}"),
            requests_per_month: product.traffic.requests_per_month.get(),
            retries_per_request: product.success.retries_per_request.get(),
            input_tokens: workload.mean_input_tokens(),
            output_tokens: workload.mean_output_tokens(),
            busiest_hour_per_second: None,
            success_probability: Some(product.success.probability.get()),
            option: None,
        }
    }

    /// What a plan says of one option: the one asked for, else the API whose model answers most calls, else the plan's choice.
    ///
    /// # Errors
    /// Where the plan has no such option.
    pub fn of_plan(plan: &Plan, usage: &Usage, asked: Option<&str>) -> Result<Self, UnknownOption> {
        let option = choose(plan, usage, asked)?;
        let ratio = option.as_ref().and_then(|(option, _)| tokens_ratio(plan, &option.id)).unwrap_or(1.0);
        let traffic = &plan.traffic;
        // What an API's calls are tried again is typed, whatever was measured of our own replicas.
        let basis = plan.cost_basis.as_ref();
        let typed = basis
            .filter(|basis| basis.own_retries_per_request.is_some())
            .map(|basis| basis.retries_per_request);
        let is_api = option.as_ref().is_some_and(|(option, _)| matches!(option.kind, OptionKind::Api { .. }));
        // A log knows no repeats: each is a request of its own there.
        let own_asked = traffic.asked_per_request;
        let own = (traffic.attempts_per_month / (traffic.requests_per_month * own_asked) - 1.0).max(0.0);
        let retries = typed.filter(|_| is_api).unwrap_or(own);
        let asked = option.as_ref().and_then(|(option, _)| asked_of(plan, &option.id)).unwrap_or(own_asked);
        let named = option.as_ref().map_or_else(String::new, |(option, _)| format!(", {}", option.name));
        let likeliest = option.as_ref().map(|(option, _)| option.success_probability.get());
        Ok(Self {
            source: format!("plan of {}{named}", plan.as_of),
            requests_per_month: traffic.requests_per_month * asked,
            retries_per_request: if retries.is_finite() { retries } else { 0.0 },
            input_tokens: traffic.mean_input_tokens * ratio,
            output_tokens: traffic.mean_output_tokens * ratio,
            // The plan's rates are our own replicas'; another option's calls are tried again as often as its own are.
            busiest_hour_per_second: Some(
                traffic.peak_hour_rate.per_second()
                    * typed.filter(|_| is_api).map_or(1.0, |typed| (1.0 + typed) / (1.0 + own)),
            ),
            success_probability: likeliest,
            option: option.map(|(option, why)| expected_option(plan, option, why)),
        })
    }
}

/// Prices of the plan's API options, for calls whose log records no cost.
///
/// A plan holds the prices of the tier that each segment's mean prompt falls in. Where they differ between segments no price holds for
/// all calls, and the model has none here.
pub fn prices(plan: &Plan) -> Prices {
    let mut all = Vec::new();
    for option in plan.cost_basis.iter().flat_map(|basis| &basis.options) {
        let (SupplyBasis::Tokens { prices, .. } | SupplyBasis::DiscountedTokens { prices, .. }) =
            &option.supply
        else {
            continue;
        };
        let kind = plan.options.iter().find(|other| other.id == option.id).map(|option| &option.kind);
        let (Some(first), Some(OptionKind::Api { model, .. })) = (prices.first(), kind) else { continue };
        if prices.iter().all(|price| price == first) {
            all.push(ModelPrice {
                model: model.clone(),
                usd_per_million_input: first.usd_per_million_input,
                usd_per_million_output: first.usd_per_million_output,
                usd_per_request: first.usd_per_request,
            });
        }
    }
    Prices::new(all)
}

fn feasible(plan: &Plan) -> impl Iterator<Item = &OptionPlan> {
    plan.options.iter().filter(|option| option.infeasible.is_none())
}

fn choose<'p>(
    plan: &'p Plan,
    usage: &Usage,
    asked: Option<&str>,
) -> Result<Option<(&'p OptionPlan, String)>, UnknownOption> {
    if let Some(asked) = asked {
        let found = feasible(plan).find(|option| option.id == asked);
        let known = || feasible(plan).map(|option| option.id.as_str()).collect::<Vec<_>>().join(", ");
        return found
            .map(|option| Some((option, "asked for".to_owned())))
            .ok_or_else(|| UnknownOption { asked: asked.to_owned(), known: known() });
    }
    let models = usage.by.get(&Dimension::Model).map(breakeven_usage::Breakdown::totals).unwrap_or_default();
    let busiest = models.iter().max_by_key(|(_, sums)| sums.attempts).map(|(name, _)| *name);
    let answers = |option: &&OptionPlan| {
        let OptionKind::Api { model, .. } = &option.kind else { return false };
        busiest.is_some_and(|busiest| same_model(model, busiest))
    };
    if let Some(option) = feasible(plan).find(answers) {
        return Ok(Some((option, format!("its model answers most calls ({})", busiest.unwrap_or("")))));
    }
    let choice = plan.decision.choice.as_deref();
    Ok(feasible(plan).find(|option| Some(option.id.as_str()) == choice).map(|option| {
        (option, "the plan's choice; no API of the plan has the model of most calls".to_owned())
    }))
}

/// How often a request of an option is asked.
fn asked_of(plan: &Plan, id: &str) -> Option<f64> {
    Some(plan.cost_basis.as_ref()?.options.iter().find(|option| option.id == id)?.asked)
}

fn tokens_ratio(plan: &Plan, id: &str) -> Option<f64> {
    let option = plan.cost_basis.as_ref()?.options.iter().find(|option| option.id == id)?;
    match &option.supply {
        SupplyBasis::Tokens { tokens_ratio, .. }
        | SupplyBasis::DiscountedTokens { tokens_ratio, .. }
        | SupplyBasis::Provisioned { tokens_ratio, .. } => Some(*tokens_ratio),
        SupplyBasis::Replicas { .. } | SupplyBasis::Other => None,
    }
}

fn expected_option(plan: &Plan, option: &OptionPlan, why: String) -> ExpectedOption {
    let level = plan.measured.levels.iter().find(|level| level.name == LevelName::Expected);
    let (model, e2e_seconds) = match &option.kind {
        OptionKind::Api { model, .. } => (Some(model.clone()), (None, None)),
        OptionKind::SelfHost { .. } => {
            (None, level.map_or((None, None), |level| (level.e2e_p50_seconds, level.e2e_p95_seconds)))
        }
    };
    let lines = option.lines.iter().filter(|line| CALL_LINES.contains(&line.line));
    ExpectedOption {
        id: option.id.clone(),
        name: option.name.clone(),
        why,
        model,
        calls_usd_per_month: lines.map(|line| line.usd_per_month).sum(),
        e2e_seconds,
    }
}
