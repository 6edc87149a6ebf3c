//! Service-level objectives: what a request must meet to count as goodput.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quantity::{Fraction, optional_seconds};

/// Latency targets that a request must meet *all together* (the joint rule, as `vllm bench serve --goodput`),
/// and the share of all scheduled requests that must do so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Largest TTFT, from the scheduled send time.
    #[serde(rename = "ttft_seconds", with = "optional_seconds", default)]
    #[schemars(with = "Option<f64>")]
    pub ttft: Option<Duration>,
    /// Largest TPOT of a request; a one-token answer has none and meets it.
    #[serde(rename = "tpot_seconds", with = "optional_seconds", default)]
    #[schemars(with = "Option<f64>")]
    pub tpot: Option<Duration>,
    /// Largest E2E latency, from the scheduled send time.
    #[serde(rename = "e2e_seconds", with = "optional_seconds", default)]
    #[schemars(with = "Option<f64>")]
    pub e2e: Option<Duration>,
    /// Share of all scheduled requests that must meet every target.
    pub attainment: Fraction,
}

impl Slo {
    /// Whether one completed request meets every target that is set.
    pub fn is_met(&self, ttft: Duration, tpot: Option<Duration>, e2e: Duration) -> bool {
        let within = |target: Option<Duration>, value: Duration| target.is_none_or(|limit| value <= limit);
        within(self.ttft, ttft) && tpot.is_none_or(|t| within(self.tpot, t)) && within(self.e2e, e2e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_missed_target_is_a_miss() {
        let ms = Duration::from_millis;
        let slo = Slo { ttft: Some(ms(100)), tpot: Some(ms(10)), e2e: None, attainment: Fraction::ONE };
        assert!(slo.is_met(ms(100), Some(ms(10)), ms(9_000)));
        assert!(!slo.is_met(ms(101), Some(ms(1)), ms(200)));
        assert!(!slo.is_met(ms(1), Some(ms(11)), ms(200)));
        assert!(slo.is_met(ms(1), None, ms(1)), "a one-token answer has no TPOT to miss");
    }
}
