//! Where capacity comes from, as the product file types it: hardware of one's own, and what a managed API lets through.

use breakeven_hardware::{
    UsdPerHour,
    api_limits::{ProvisionedThroughput, RateLimits},
    owned::{EnergyBasis, OwnedHardware, owned_cost},
};
use breakeven_measurement::Fraction;
use serde::Deserialize;

use super::text::{Positive, Price};

/// `[fleet.owned]`: what one server costs to buy and run. Servers and utilisation come from the plan.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "OwnedHardware")]
pub struct OwnedTable(pub OwnedHardware);

impl TryFrom<OwnedHardware> for OwnedTable {
    type Error = String;

    fn try_from(hardware: OwnedHardware) -> Result<Self, String> {
        // Costing it once finds every figure that no hardware can have.
        owned_cost(&hardware, &EnergyBasis::steady(0.0)).map_err(|error| error.to_string())?;
        Ok(Self(hardware))
    }
}

/// `[api.limits]`: what the provider lets through in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsTable {
    /// Requests.
    pub requests_per_minute: Option<Positive>,
    /// Prompt and answer tokens together.
    pub tokens_per_minute: Option<Positive>,
    /// Prompt tokens.
    pub input_tokens_per_minute: Option<Positive>,
    /// Answer tokens.
    pub output_tokens_per_minute: Option<Positive>,
}

impl LimitsTable {
    /// As the price engine checks them.
    pub fn limits(&self) -> RateLimits {
        let number = |limit: Option<Positive>| limit.map(Positive::get);
        RateLimits {
            requests_per_minute: number(self.requests_per_minute),
            tokens_per_minute: number(self.tokens_per_minute),
            input_tokens_per_minute: number(self.input_tokens_per_minute),
            output_tokens_per_minute: number(self.output_tokens_per_minute),
        }
    }
}

/// `[api.prompt_cache]`: the provider keeps the beginnings of prompts for a while and bills them cheaper when they come again.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptCacheTable {
    /// Share of requests whose `segment.shared_prefix` is still in the cache; the others write it, at the row's price of that, or as
    /// ordinary prompt tokens where it has none.
    pub hit_share: Fraction,
    /// Shared prefixes below this many tokens are not cached; 1,024 where left out, which providers commonly ask for.
    #[serde(default = "commonly_asked")]
    pub least_tokens: u32,
    /// Where the figures come from.
    pub note: Option<String>,
}

fn commonly_asked() -> u32 {
    1_024
}

/// `[api.provisioned]`: throughput bought by the unit, instead of tokens.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProvisionedTable {
    /// Price of one unit for an hour.
    pub usd_per_unit_hour: Price,
    /// The fewest units sold.
    #[serde(default)]
    pub minimum_units: u32,
    /// Units are sold in multiples of this.
    #[serde(default)]
    pub unit_step: u32,
    /// The shortest time sold.
    #[serde(default)]
    pub minimum_term_hours: u32,
    /// Prompt tokens a second that one unit carries.
    pub input_tokens_per_second_per_unit: Positive,
    /// Answer tokens a second that one unit carries besides.
    pub output_tokens_per_second_per_unit: Positive,
    /// Where the figures come from.
    pub note: Option<String>,
}

impl ProvisionedTable {
    /// As the price engine costs it.
    pub fn offer(&self) -> ProvisionedThroughput {
        ProvisionedThroughput {
            usd_per_unit_hour: UsdPerHour(self.usd_per_unit_hour.0),
            minimum_units: self.minimum_units,
            unit_step: self.unit_step,
            minimum_term_hours: self.minimum_term_hours,
            input_tokens_per_second_per_unit: self.input_tokens_per_second_per_unit.get(),
            output_tokens_per_second_per_unit: self.output_tokens_per_second_per_unit.get(),
        }
    }
}
