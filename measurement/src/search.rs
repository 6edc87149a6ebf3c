//! The search for the highest rate the target carries under the SLO.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quantity::{Fraction, RequestRate, optional_seconds, seconds};

/// One short open-loop run at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Probe {
    /// Rate offered.
    pub rate: RequestRate,
    /// Seconds of the probe's window.
    #[serde(rename = "window_seconds", with = "seconds")]
    #[schemars(with = "f64")]
    pub window: Duration,
    /// Requests scheduled in it.
    pub scheduled: u64,
    /// Of these, within every SLO target.
    pub within_slo: u64,
    /// Wilson score interval of the goodput share at 95 % confidence.
    pub goodput_interval: (Fraction, Fraction),
    /// Completed requests per second.
    pub achieved_per_second: f64,
    /// Output tokens per second.
    pub output_tokens_per_second: f64,
    /// Median TTFT; absent where it falls among the failures.
    #[serde(rename = "ttft_p50_seconds", with = "optional_seconds")]
    #[schemars(with = "Option<f64>")]
    pub ttft_p50: Option<Duration>,
    /// p95 TTFT; absent where it falls among the failures.
    #[serde(rename = "ttft_p95_seconds", with = "optional_seconds")]
    #[schemars(with = "Option<f64>")]
    pub ttft_p95: Option<Duration>,
    /// Median TPOT.
    #[serde(rename = "tpot_p50_seconds", with = "optional_seconds")]
    #[schemars(with = "Option<f64>")]
    pub tpot_p50: Option<Duration>,
    /// Whether the probe met the SLO's attainment.
    pub met: bool,
    /// Rate as it came about: the draw of arrivals and lengths is rarely average. Absent in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn_rate: Option<RequestRate>,
    /// Goodput share after the way to the steady state; absent in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steady_goodput: Option<Fraction>,
    /// Independent requests that these are worth, neighbours sharing a queue; absent in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_samples: Option<f64>,
}

/// The highest rate one replica carries under the SLO, with what is known of its error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CapacityEstimate {
    /// Best estimate: the median of what all probes and levels together support.
    pub rate: RequestRate,
    /// Low end of the 95 % interval; absent where nothing met the SLO.
    pub low: Option<RequestRate>,
    /// High end; absent where nothing missed the SLO (then the estimate is a lower bound).
    pub high: Option<RequestRate>,
}

/// Every probe of the search and what it concluded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SearchRecord {
    /// Probes in the order they ran.
    pub probes: Vec<Probe>,
    /// The conclusion; absent where even the lightest probe missed the SLO.
    pub capacity: Option<CapacityEstimate>,
    /// Requests per second completed flat out, in bursts: the ceiling of the search. Absent in files of earlier versions.
    #[serde(rename = "saturated_rate", default, skip_serializing_if = "Option::is_none")]
    pub saturated: Option<RequestRate>,
}

/// Wilson score interval of a proportion, at the normal deviate `z` (1.96 for 95 %).
///
/// Source: E. B. Wilson, JASA 22 (1927), 209–212. Of nothing, the whole range.
pub fn wilson_interval(successes: u64, trials: u64, z: f64) -> (Fraction, Fraction) {
    if trials == 0 {
        return (Fraction::ZERO, Fraction::ONE);
    }
    let n = trials as f64;
    let p = successes as f64 / n;
    let z2 = z * z;
    let center = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let bound = |value: f64| Fraction::new(value.clamp(0.0, 1.0)).unwrap_or(Fraction::ZERO);
    (bound(center - half), bound(center + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_matches_the_published_example() {
        // Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263 gives 0.2553 to 0.3662.
        let (low, high) = wilson_interval(81, 263, 1.959_964);
        assert!((low.get() - 0.2553).abs() < 5e-5 && (high.get() - 0.3662).abs() < 5e-5, "{low:?} {high:?}");
    }

    #[test]
    fn wilson_keeps_doubt_where_all_succeeded() {
        let (low, high) = wilson_interval(10, 10, 1.96);
        assert!(low.get() < 0.75 && (high.get() - 1.0).abs() < 1e-12);
        assert_eq!(wilson_interval(0, 0, 1.96), (Fraction::ZERO, Fraction::ONE));
    }
}
