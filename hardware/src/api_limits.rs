//! What a managed API can carry: rate limits, and throughput bought by the unit.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::money::{Usd, UsdPerHour};

/// What a provider lets through in a minute; `None` is no limit that we know of.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    /// Requests.
    pub requests_per_minute: Option<f64>,
    /// Prompt and answer tokens together.
    pub tokens_per_minute: Option<f64>,
    /// Prompt tokens.
    pub input_tokens_per_minute: Option<f64>,
    /// Answer tokens, reasoning included.
    pub output_tokens_per_minute: Option<f64>,
}

/// The busiest minute of a traffic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PeakMinute {
    /// Requests.
    pub requests: f64,
    /// Prompt tokens.
    pub input_tokens: f64,
    /// Answer tokens, reasoning included.
    pub output_tokens: f64,
}

/// A limit by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Requests a minute.
    Requests,
    /// All tokens a minute.
    Tokens,
    /// Prompt tokens a minute.
    InputTokens,
    /// Answer tokens a minute.
    OutputTokens,
}

/// How a traffic stands to one limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LimitUse {
    /// Which.
    pub limit: Limit,
    /// What is let through in a minute.
    pub allowed_per_minute: f64,
    /// What the busiest minute offers.
    pub offered_per_minute: f64,
}

impl LimitUse {
    /// Whether the busiest minute is refused in part.
    pub fn is_exceeded(&self) -> bool {
        self.offered_per_minute > self.allowed_per_minute
    }
}

impl fmt::Display for LimitUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.limit {
            Limit::Requests => "requests",
            Limit::Tokens => "tokens",
            Limit::InputTokens => "input tokens",
            Limit::OutputTokens => "output tokens",
        };
        write!(f, "{:.0} of {:.0} {name} a minute", self.offered_per_minute, self.allowed_per_minute)
    }
}

impl RateLimits {
    /// The use of every limit there is.
    pub fn check(&self, peak: &PeakMinute) -> Vec<LimitUse> {
        let limits = [
            (Limit::Requests, self.requests_per_minute, peak.requests),
            (Limit::Tokens, self.tokens_per_minute, peak.input_tokens + peak.output_tokens),
            (Limit::InputTokens, self.input_tokens_per_minute, peak.input_tokens),
            (Limit::OutputTokens, self.output_tokens_per_minute, peak.output_tokens),
        ];
        limits
            .into_iter()
            .filter_map(|(limit, allowed, offered_per_minute)| {
                Some(LimitUse { limit, allowed_per_minute: allowed?, offered_per_minute })
            })
            .collect()
    }

    /// The most requests a minute of a traffic of this mix; `None` where nothing limits it.
    pub fn requests_per_minute(&self, peak: &PeakMinute) -> Option<f64> {
        self.check(peak)
            .into_iter()
            .filter(|used| used.offered_per_minute > 0.0)
            .map(|used| peak.requests * used.allowed_per_minute / used.offered_per_minute)
            .min_by(f64::total_cmp)
    }
}

/// Throughput bought by the unit and paid whether used or not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvisionedThroughput {
    /// Price of one unit.
    pub usd_per_unit_hour: UsdPerHour,
    /// The fewest units sold; 0 counts as 1.
    pub minimum_units: u32,
    /// Units are sold in multiples of this; 0 counts as 1.
    pub unit_step: u32,
    /// The shortest time sold.
    pub minimum_term_hours: u32,
    /// Prompt tokens a second that one unit carries.
    pub input_tokens_per_second_per_unit: f64,
    /// Answer tokens a second that one unit carries besides.
    pub output_tokens_per_second_per_unit: f64,
}

/// What provisioned throughput takes for a traffic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProvisionedCost {
    /// Units to buy.
    pub units: u32,
    /// Hours paid: those wanted, or the minimum term.
    pub hours: u32,
    /// The sum.
    pub usd: Usd,
    /// Share of the bought throughput that the busiest minute takes.
    pub peak_utilisation: f64,
}

impl ProvisionedThroughput {
    /// The units for a busiest minute and their price for a number of hours; `None` where no number of units carries it.
    ///
    /// Prompt and answer tokens share a unit's capacity, each at its own rate, as providers count them.
    pub fn cost(&self, peak: &PeakMinute, hours: u32) -> Option<ProvisionedCost> {
        let load = |tokens: f64, per_unit: f64| if tokens > 0.0 { tokens / 60.0 / per_unit } else { 0.0 };
        let wanted = load(peak.input_tokens, self.input_tokens_per_second_per_unit)
            + load(peak.output_tokens, self.output_tokens_per_second_per_unit);
        let step = self.unit_step.max(1);
        let at_least = whole(wanted)?.max(self.minimum_units).max(1);
        let units = at_least.div_ceil(step).checked_mul(step)?;
        let hours = hours.max(self.minimum_term_hours);
        let unit_hours = Decimal::from(units).checked_mul(Decimal::from(hours))?;
        let usd = self.usd_per_unit_hour.for_hours(unit_hours);
        Some(ProvisionedCost { units, hours, usd, peak_utilisation: wanted / f64::from(units) })
    }
}

/// The smallest whole number that is not less; `None` beyond four thousand million units or for nonsense.
fn whole(wanted: f64) -> Option<u32> {
    let up = wanted.ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to u32::MAX, checked"
    )]
    (0.0..=f64::from(u32::MAX)).contains(&up).then_some(up as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEAK: PeakMinute = PeakMinute { requests: 120.0, input_tokens: 60_000.0, output_tokens: 12_000.0 };

    #[test]
    fn the_tightest_limit_decides() {
        let limits = RateLimits {
            requests_per_minute: Some(500.0),
            tokens_per_minute: Some(36_000.0),
            ..RateLimits::default()
        };
        let used = limits.check(&PEAK);
        assert_eq!(used.iter().map(LimitUse::is_exceeded).collect::<Vec<_>>(), [false, true]);
        assert_eq!(used[1].to_string(), "72000 of 36000 tokens a minute");
        assert_eq!(limits.requests_per_minute(&PEAK), Some(60.0));
        assert_eq!(RateLimits::default().requests_per_minute(&PEAK), None);
    }

    #[test]
    fn units_come_in_steps_and_for_a_term() {
        let offer = ProvisionedThroughput {
            usd_per_unit_hour: UsdPerHour(Usd(Decimal::from(2))),
            minimum_units: 15,
            unit_step: 5,
            minimum_term_hours: 730,
            input_tokens_per_second_per_unit: 50.0,
            output_tokens_per_second_per_unit: 200.0,
        };
        // 1,000 input tokens a second take 20 units, 200 output tokens one more.
        let cost = offer.cost(&PEAK, 24).unwrap();
        assert_eq!((cost.units, cost.hours, cost.usd), (25, 730, Usd(Decimal::from(36_500))));
        assert!((cost.peak_utilisation - 21.0 / 25.0).abs() < 1e-12);
        let quiet = PeakMinute { requests: 1.0, input_tokens: 1.0, output_tokens: 1.0 };
        assert_eq!(offer.cost(&quiet, 1_000).unwrap().units, 15);
        let broken = ProvisionedThroughput { input_tokens_per_second_per_unit: 0.0, ..offer };
        assert_eq!(broken.cost(&PEAK, 24), None);
    }
}
