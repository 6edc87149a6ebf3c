//! What the decision is tried against: `[uncertainty]`, `[[scenario]]`, `[[stress]]`, `[horizon]` and `[[allocation]]`.

use std::num::NonZeroU64;

use breakeven_measurement::Fraction;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{NonNegative, Positive, Price};

/// `[uncertainty]`: how the draws are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UncertaintyTable {
    /// Draws, 100 to 100,000.
    pub draws: Draws,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for UncertaintyTable {
    fn default() -> Self {
        Self { draws: Draws(10_000), seed: 1 }
    }
}

/// 100 to 100,000 draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "u64")]
pub struct Draws(pub u32);

impl TryFrom<u64> for Draws {
    type Error = String;
    fn try_from(value: u64) -> Result<Self, String> {
        let draws = u32::try_from(value).ok().filter(|draws| (100..=100_000).contains(draws));
        draws.map(Self).ok_or_else(|| format!("expected 100 to 100000 draws, found {value}"))
    }
}

/// `[[scenario]]` or `[[stress]]`: what it changes. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionTable {
    /// Its name.
    pub name: String,
    /// Requests a month, times this.
    #[serde(default = "one")]
    pub traffic: Positive,
    /// Burst factor, times this.
    #[serde(default = "one")]
    pub burst: Positive,
    /// Prices of managed APIs, times this.
    #[serde(default = "one")]
    pub api_prices: Positive,
    /// What our own machines cost, times this.
    #[serde(default = "one")]
    pub machine_prices: Positive,
    /// Retries a request, added.
    #[serde(default)]
    pub more_retries: NonNegative,
    /// Share of requests that succeed, times this; at most 1.
    #[serde(default = "all")]
    pub success: Fraction,
    /// Replicas that may be lost, added.
    #[serde(default)]
    pub more_replicas_lost: u32,
    /// Compliance, USD a month, added to every option.
    #[serde(default)]
    pub compliance_usd_per_month: Price,
    /// Compliance, USD a request, added to every option.
    #[serde(default)]
    pub compliance_usd_per_request: Price,
    /// Where the figures come from.
    pub note: Option<String>,
}

fn one() -> Positive {
    Positive::try_from(1.0).expect("1 is above 0")
}

fn all() -> Fraction {
    Fraction::ONE
}

/// `[horizon]`: the months ahead.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HorizonTable {
    /// How many, 1 to 120.
    pub months: HorizonMonths,
    /// Growth of the traffic a month: 0.02 is two per cent more each month. That of `[traffic.growth]` where left out.
    pub growth_per_month: Option<Rate>,
    /// What prices of managed APIs do in a year: -0.3 is thirty per cent less.
    #[serde(default)]
    pub api_price_change_per_year: Rate,
    /// What rented machines' prices do in a year.
    #[serde(default)]
    pub machine_price_change_per_year: Rate,
    /// What money costs a year (effective).
    #[serde(default)]
    pub discount_rate_per_year: NonNegative,
    /// Paid once at the start for running it ourselves: engineering, migration.
    #[serde(default)]
    pub upfront_usd: Price,
}

/// 1 to 120 months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "NonZeroU64")]
pub struct HorizonMonths(pub u32);

impl TryFrom<NonZeroU64> for HorizonMonths {
    type Error = String;
    fn try_from(value: NonZeroU64) -> Result<Self, String> {
        let months = u32::try_from(value.get()).ok().filter(|months| *months <= 120);
        months.map(Self).ok_or_else(|| format!("expected a horizon of 1 to 120 months, found {value}"))
    }
}

/// A change from -90 % to +1000 %.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
pub struct Rate(pub f64);

impl TryFrom<f64> for Rate {
    type Error = String;
    fn try_from(value: f64) -> Result<Self, String> {
        if (-0.9..=10.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(format!("expected a change from -0.9 to 10 (0.1 is ten per cent more), found {value}"))
        }
    }
}

/// `[[allocation]]`: one way to split the bill.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllocationTable {
    /// By what: `team`, `feature`, `customer segment`…
    pub by: String,
    /// Who pays for idle capacity.
    #[serde(default)]
    pub idle: IdleRule,
    /// The parts; at least one.
    #[serde(rename = "part")]
    pub parts: Parts,
}

/// Who pays for capacity that nobody used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdleRule {
    /// Everybody, as they use it.
    #[default]
    ByUse,
    /// Everybody the same.
    Equally,
    /// A part of its own, named `idle`.
    Apart,
}

/// At least one part, with names that differ.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<PartTable>")]
pub struct Parts(pub Vec<PartTable>);

impl TryFrom<Vec<PartTable>> for Parts {
    type Error = String;
    fn try_from(parts: Vec<PartTable>) -> Result<Self, String> {
        if parts.is_empty() {
            return Err("expected at least one [[allocation.part]], found none".to_owned());
        }
        for (index, part) in parts.iter().enumerate() {
            if part.name == "idle" || parts.iter().take(index).any(|earlier| earlier.name == part.name) {
                return Err(format!(
                    "expected parts of different names, none of them `idle`, found `{}`",
                    part.name
                ));
            }
        }
        Ok(Self(parts))
    }
}

/// `[[allocation.part]]`: who sends which traffic.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartTable {
    /// Its name.
    pub name: String,
    /// Relative share of the requests.
    pub requests: Positive,
    /// The traffic segment that all of them are of; the product's mix where left out.
    pub segment: Option<String>,
}
