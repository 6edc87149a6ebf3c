//! What the bills are computed from, as numbers: so that a spreadsheet can recalculate them (crate `report`, XLSX).
//!
//! The formulas are those of `cost`; [`CostBasis::line`] is a second way to the same line, and a report compares the two before
//! it calls a cell live.

use breakeven_hardware::{ApiPrice, Service, Usd, sheet::Term};
use serde::{Deserialize, Serialize};

use crate::{
    cost::{CostModel, SegmentTokens, Supply},
    plan::{LineItem, OptionKind},
    product::{OnlyFor, Product},
    traffic::{HOURS_PER_MONTH, Week},
};

/// A hair above a whole number of replicas is rounding error, as in `capacity::replicas_for`.
pub const HAIR: f64 = 1e-9;

/// The inputs of every bill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CostBasis {
    /// Requests a month, retries not included.
    pub requests_per_month: f64,
    /// Extra attempts a request, as typed.
    pub retries_per_request: f64,
    /// Extra attempts a request of our own replicas, as measured; absent where the typed ones hold for them too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_retries_per_request: Option<f64>,
    /// Hours of a month.
    pub hours_per_month: f64,
    /// Peak minute over the mean of its hour.
    pub burst_factor: f64,
    /// Replicas that may be down.
    pub replicas_lost: u32,
    /// For each hour of the week, Monday 00:00 first: the busiest hour within the scale-up lag over the week's mean.
    pub busiest_by_hour: Vec<f64>,
    /// Traffic segments.
    pub segments: Vec<SegmentBasis>,
    /// Options that can be had.
    pub options: Vec<OptionBasis>,
    /// What the product file types for the lines.
    pub typed: Vec<TypedCost>,
    /// Attempts that the stages make a request, repeats after long waits included, in requests as they were measured; absent without a
    /// `[[stage]]`, without repeats and without measured retries, which a measured request holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_per_request: Option<f64>,
}

/// One traffic segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SegmentBasis {
    /// Its name.
    pub name: String,
    /// Relative share of requests.
    pub weight: f64,
    /// Mean prompt tokens, in the benchmarked model's tokenizer.
    pub input_tokens: f64,
    /// Mean answer tokens.
    pub output_tokens: f64,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OptionBasis {
    /// Option id.
    pub id: String,
    /// Share of requests that succeed.
    pub success_probability: f64,
    /// Share of requests that an escalation resolves.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub aided: f64,
    /// How often a request is asked, repeats after long waits included.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub asked: f64,
    /// Where its model calls come from.
    pub supply: SupplyBasis,
}

pub(crate) fn once() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
pub(crate) fn is_once(asked: &f64) -> bool {
    *asked <= 1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_nothing(share: &f64) -> bool {
    *share <= 0.0
}

/// Where an option's model calls come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SupplyBasis {
    /// Replicas by the hour.
    Replicas {
        /// Requests per second that one carries.
        capacity_per_second: f64,
        /// Price of a replica-hour.
        usd_per_replica_hour: Usd,
        /// Whether every hour pays for the busiest hour's number; else each pays for its own.
        pays_for_the_peak: bool,
    },
    /// Tokens of a managed API.
    Tokens {
        /// Tokens of the same text in its tokenizer, over ours.
        tokens_ratio: f64,
        /// Prices at the segments' prompt lengths, in the order of [`CostBasis::segments`].
        prices: Vec<TokenPrice>,
    },
    /// Units of throughput.
    Provisioned {
        /// Price of a unit-hour.
        usd_per_unit_hour: Usd,
        /// Fewest units sold.
        minimum_units: u32,
        /// Units come in multiples of this.
        unit_step: u32,
        /// Prompt tokens a second of one unit.
        input_tokens_per_second_per_unit: f64,
        /// Answer tokens a second of one unit.
        output_tokens_per_second_per_unit: f64,
        /// Tokens of the same text in its tokenizer, over ours.
        tokens_ratio: f64,
    },
    /// Tokens of a managed API of which some are at cached or batch prices: no closed formula.
    DiscountedTokens {
        /// Tokens of the same text in its tokenizer, over ours.
        tokens_ratio: f64,
        /// Full prices, as those of [`Self::Tokens`].
        prices: Vec<TokenPrice>,
    },
    /// No closed formula: owned hardware, whose energy follows the hours, and workflows, whose calls are a chain's.
    Other,
}

/// Prices of one segment's requests: those of the tier that its mean prompt falls in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TokenPrice {
    /// A million prompt tokens.
    pub usd_per_million_input: Usd,
    /// A million answer tokens.
    pub usd_per_million_output: Usd,
    /// Fee of a request.
    pub usd_per_request: Usd,
}

/// One `[[cost]]` of the product file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TypedCost {
    /// Which line.
    pub line: LineItem,
    /// Fixed amount a month.
    pub usd_per_month: Usd,
    /// A request.
    pub usd_per_request: Usd,
    /// A request that does not succeed.
    pub usd_per_failure: Usd,
    /// `self_host`, `api`, or absent for all.
    pub only: Option<String>,
    /// Path in the product file.
    pub path: String,
    /// What the file says about it.
    pub note: Option<String>,
}

impl CostBasis {
    /// The basis of a product's bills, for the options that can be had.
    pub(crate) fn of(product: &Product, week: &Week, options: &[(&str, &CostModel<'_>)]) -> Self {
        let burst = product.traffic.burst_factor.get();
        let segments = product.workload().segments;
        let lengths = lengths_of(product);
        Self {
            requests_per_month: product.traffic.requests_per_month.get(),
            retries_per_request: product.success.retries_per_request.get(),
            own_retries_per_request: product
                .loads
                .as_ref()
                .and_then(|loads| Some(loads.own.retries.as_ref()?.per_request())),
            hours_per_month: HOURS_PER_MONTH,
            burst_factor: burst,
            replicas_lost: product.fleet.replicas_lost,
            busiest_by_hour: week.ready.iter().map(|ready| ready / burst).collect(),
            segments: segments
                .iter()
                .zip(&lengths)
                .map(|(segment, (input_tokens, output_tokens))| SegmentBasis {
                    name: segment.name.clone(),
                    weight: segment.weight,
                    input_tokens: *input_tokens,
                    output_tokens: *output_tokens,
                })
                .collect(),
            options: options
                .iter()
                .map(|(id, model)| OptionBasis {
                    id: (*id).to_owned(),
                    success_probability: model.success.get(),
                    aided: model.load.aided,
                    asked: model.load.asked(),
                    supply: supply_of(model, &lengths),
                })
                .collect(),
            typed: product.costs.iter().enumerate().map(|(index, cost)| typed(index, cost)).collect(),
            attempts_per_request: product
                .loads
                .as_ref()
                .filter(|loads| {
                    !product.stages.is_empty()
                        || product.longer.is_some()
                        || loads.own.asked() > 1.0
                        || loads.own.retries.is_some()
                })
                .map(|loads| loads.own.in_all()),
        }
    }

    /// Mean attempts per second at a volume.
    pub fn mean_rate(&self, requests: f64) -> f64 {
        let attempts = self.attempts_per_request.unwrap_or(1.0);
        requests * attempts * (1.0 + self.own_retries()) / (self.hours_per_month * 3_600.0)
    }

    /// Extra attempts a request of our own replicas.
    fn own_retries(&self) -> f64 {
        self.own_retries_per_request.unwrap_or(self.retries_per_request)
    }

    /// Each segment's share of requests.
    pub fn shares(&self) -> Vec<f64> {
        let total: f64 = self.segments.iter().map(|segment| segment.weight).sum();
        self.segments.iter().map(|segment| segment.weight / total).collect()
    }

    /// Model calls of a month, retries apart, in USD; `None` without a formula.
    pub fn model_calls(&self, option: &OptionBasis, requests: f64) -> Option<(f64, f64)> {
        let retries = match &option.supply {
            SupplyBasis::Replicas { .. } => self.own_retries(),
            _ => self.retries_per_request,
        };
        let split = |all: f64| (all / (1.0 + retries), all * retries / (1.0 + retries));
        let mean = self.mean_rate(requests);
        // What an API is asked is its own: our stages and waits are not in it.
        let asked = requests * option.asked;
        match &option.supply {
            SupplyBasis::Replicas { capacity_per_second, usd_per_replica_hour, pays_for_the_peak } => {
                let replicas = self.busiest_by_hour.iter().map(|busiest| {
                    let wanted = mean * busiest * self.burst_factor / capacity_per_second;
                    (wanted - HAIR).ceil().max(1.0) + f64::from(self.replicas_lost)
                });
                let mean_replicas = if *pays_for_the_peak {
                    replicas.fold(0.0, f64::max)
                } else {
                    replicas.sum::<f64>() / self.busiest_by_hour.len() as f64
                };
                Some(split(usd_per_replica_hour.to_f64() * mean_replicas * self.hours_per_month))
            }
            SupplyBasis::Tokens { tokens_ratio, prices } => {
                let usd = self.shares().into_iter().zip(&self.segments).zip(prices).map(
                    |((share, segment), price)| {
                        let tokens = |mean: f64| (asked * share * mean * tokens_ratio).round();
                        tokens(segment.input_tokens) * price.usd_per_million_input.to_f64() / 1e6
                            + tokens(segment.output_tokens) * price.usd_per_million_output.to_f64() / 1e6
                            + (asked * share).round().max(1.0) * price.usd_per_request.to_f64()
                    },
                );
                let base: f64 = usd.sum();
                Some((base, base * retries))
            }
            SupplyBasis::Provisioned {
                usd_per_unit_hour,
                minimum_units,
                unit_step,
                input_tokens_per_second_per_unit,
                output_tokens_per_second_per_unit,
                tokens_ratio,
            } => {
                let peak = self.busiest_by_hour.iter().copied().fold(0.0, f64::max) * self.burst_factor;
                let tokens = |of: fn(&SegmentBasis) -> f64| -> f64 {
                    self.shares().into_iter().zip(&self.segments).map(|(share, s)| share * of(s)).sum()
                };
                let wanted = asked * (1.0 + retries) / (self.hours_per_month * 3_600.0)
                    * peak
                    * tokens_ratio
                    * (tokens(|s| s.input_tokens) / input_tokens_per_second_per_unit
                        + tokens(|s| s.output_tokens) / output_tokens_per_second_per_unit);
                let step = f64::from((*unit_step).max(1));
                let units = wanted.ceil().max(f64::from(*minimum_units)).max(1.0);
                Some(split((units / step).ceil() * step * usd_per_unit_hour.to_f64() * self.hours_per_month))
            }
            SupplyBasis::DiscountedTokens { .. } | SupplyBasis::Other => None,
        }
    }

    /// One line of an option's bill at a volume, in USD; `None` without a formula.
    pub fn line(&self, option: &OptionBasis, line: LineItem, requests: f64) -> Option<f64> {
        let calls = match line {
            LineItem::Inference => self.model_calls(option, requests)?.0,
            LineItem::Retries => self.model_calls(option, requests)?.1,
            _ => 0.0,
        };
        let kind = option.kind();
        let typed = self
            .typed
            .iter()
            .filter(|cost| cost.line == line && cost.only.as_deref().is_none_or(|only| only == kind));
        let failures = requests * (1.0 - option.success_probability - option.aided).max(0.0);
        Some(
            calls
                + typed
                    .map(|cost| {
                        cost.usd_per_month.to_f64()
                            + cost.usd_per_request.to_f64() * requests
                            + cost.usd_per_failure.to_f64() * failures
                    })
                    .sum::<f64>(),
        )
    }
}

impl OptionBasis {
    /// `self_host` or `api`, as `only` of a typed cost says it.
    pub fn kind(&self) -> &'static str {
        if self.id == crate::SELF_HOST { "self_host" } else { "api" }
    }
}

/// The kind of an option of the plan, as [`OptionBasis::kind`].
pub fn kind_name(kind: &OptionKind) -> &'static str {
    match kind {
        OptionKind::SelfHost { .. } => "self_host",
        OptionKind::Api { .. } => "api",
    }
}

/// Mean prompt and answer tokens of each segment's calls: as measured where they were, else as typed.
fn lengths_of(product: &Product) -> Vec<(f64, f64)> {
    let typed = || SegmentTokens::of(&product.workload());
    let loads = product.loads.as_ref().filter(|_| product.stages.is_empty());
    let lengths = loads.map_or_else(typed, |loads| loads.api.first.clone());
    lengths.iter().map(|length| (length.parts().1, length.parts().2)).collect()
}

fn supply_of(model: &CostModel<'_>, lengths: &[(f64, f64)]) -> SupplyBasis {
    if model.load.workflow.is_some() {
        return SupplyBasis::Other;
    }
    match &model.supply {
        Supply::SelfHost { owned: Some(_), .. } => SupplyBasis::Other,
        Supply::SelfHost { capacity, usd_per_hour, .. } => SupplyBasis::Replicas {
            capacity_per_second: capacity.per_second(),
            usd_per_replica_hour: *usd_per_hour,
            pays_for_the_peak: match model.product.fleet.term {
                Term::OnDemand | Term::Spot => false,
                Term::CapacityBlock | Term::Reserved1y | Term::Reserved3y | Term::Owned => true,
            },
        },
        Supply::Api { provisioned: Some(table), tokens_ratio, .. } => SupplyBasis::Provisioned {
            usd_per_unit_hour: table.usd_per_unit_hour.0,
            minimum_units: table.minimum_units,
            unit_step: table.unit_step,
            input_tokens_per_second_per_unit: table.input_tokens_per_second_per_unit.get(),
            output_tokens_per_second_per_unit: table.output_tokens_per_second_per_unit.get(),
            tokens_ratio: *tokens_ratio,
        },
        Supply::Api { price, tokens_ratio, provisioned: None, discounts, .. } => {
            let prices = prices_at(price, *tokens_ratio, lengths);
            let tokens_ratio = *tokens_ratio;
            // Cached and batch prices have no cell of their own.
            if discounts.any() {
                SupplyBasis::DiscountedTokens { tokens_ratio, prices }
            } else {
                SupplyBasis::Tokens { tokens_ratio, prices }
            }
        }
    }
}

/// Full prices at the segments' prompt lengths.
fn prices_at(price: &ApiPrice, tokens_ratio: f64, lengths: &[(f64, f64)]) -> Vec<TokenPrice> {
    let at = |(input_tokens, _): &(f64, f64)| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count from 0 up; a float cast saturates"
        )]
        let prompt = (input_tokens * tokens_ratio).ceil().max(0.0) as u64;
        let (rates, _) = price.rates(Service::Standard, prompt);
        TokenPrice {
            usd_per_million_input: rates.input.map_or(Usd::ZERO, |rate| rate.0),
            usd_per_million_output: rates.output.map_or(Usd::ZERO, |rate| rate.0),
            usd_per_request: price.usd_per_request.unwrap_or(Usd::ZERO),
        }
    };
    lengths.iter().map(at).collect()
}

fn typed(index: usize, cost: &crate::product::CostEntry) -> TypedCost {
    TypedCost {
        line: cost.line,
        usd_per_month: cost.usd_per_month.map_or(Usd::ZERO, |price| price.0),
        usd_per_request: cost.usd_per_request.map_or(Usd::ZERO, |price| price.0),
        usd_per_failure: cost.usd_per_failure.map_or(Usd::ZERO, |price| price.0),
        only: cost.only.map(|only| match only {
            OnlyFor::SelfHost => "self_host".to_owned(),
            OnlyFor::Api => "api".to_owned(),
        }),
        path: cost.path(index),
        note: cost.note.clone(),
    }
}
