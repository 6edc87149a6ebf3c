//! Whether a level may be believed: findings, each with what to do next, and the verdict they add up to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::quantity::Fraction;

/// How far a level may be trusted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing found against it.
    Valid,
    /// Usable with care: see the findings.
    Weak,
    /// The planner refuses it unless told otherwise.
    Invalid,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Valid => "valid",
            Self::Weak => "weak",
            Self::Invalid => "invalid",
        })
    }
}

/// One thing the tool found against its own result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Finding {
    /// Requests went out late: p99 send lag over 1 ms and over 1 % of the median TTFT.
    GeneratorLate {
        /// p99 of sent − scheduled, in seconds.
        send_lag_p99_seconds: f64,
        /// The limit it broke, in seconds.
        limit_seconds: f64,
    },
    /// Arrivals of the schedule that were never sent.
    ArrivalsMissed {
        /// How many.
        missed: u64,
    },
    /// The level stopped before its schedule ended.
    Interrupted,
    /// Too few requests for a percentile to mean anything (MLPerf early stopping, 99 % confidence).
    TooFewSamples {
        /// The percentile, for example 0.95.
        quantile: f64,
        /// Requests measured.
        samples: u64,
        /// Requests needed.
        needed: u64,
    },
    /// The queue grew or shrank through the window: latency depends on how long the level ran.
    NotStationary {
        /// Median TTFT of the window's first half, in seconds.
        first_half_ttft_p50_seconds: f64,
        /// Median TTFT of its second half, in seconds; absent where failures are in the median.
        second_half_ttft_p50_seconds: Option<f64>,
    },
    /// No part of the level is steady (MSER-5), though its halves differ by less than [`Self::NotStationary`] asks.
    NeverSettled {
        /// Median TTFT of the window's first half, in seconds.
        first_half_ttft_p50_seconds: f64,
        /// Median TTFT of its second half, in seconds.
        second_half_ttft_p50_seconds: f64,
    },
    /// The server's token counts and ours differ.
    TokenCountsDisagree {
        /// Share of requests where they differ.
        share: Fraction,
    },
    /// Prompts repeated although the workload declared no reuse: a prefix cache may have answered.
    UndeclaredCacheHits {
        /// Share of prompt tokens read from a cache.
        share: Fraction,
    },
    /// Another tenant took CPU time.
    CpuStolen {
        /// Share of CPU time stolen in the window.
        share: Fraction,
    },
    /// The accelerator slowed itself down.
    GpuThrottled {
        /// The driver's reason.
        reason: String,
    },
    /// The level took over half of what the generator itself can do on its machine, by its self-check.
    NearGeneratorCeiling {
        /// Share of the nearer of its ceilings: requests or streamed events per second.
        share: f64,
    },
    /// No request of the window was completed.
    NothingCompleted,
    /// The generators of a merged level did not run at the same time.
    GeneratorsApart {
        /// Seconds between the first start and the last.
        apart_seconds: f64,
        /// Seconds of warm-up, which may absorb as much.
        warmup_seconds: f64,
        /// Seconds of the window.
        window_seconds: f64,
    },
}

impl Finding {
    /// How much this finding takes away.
    pub fn severity(&self) -> Verdict {
        match self {
            // Latency counts from the schedule, so a late send is in the figures; ten times the limit is another load.
            Self::GeneratorLate { send_lag_p99_seconds, limit_seconds }
                if *send_lag_p99_seconds > 10.0 * limit_seconds =>
            {
                Verdict::Invalid
            }
            // Their windows do not even overlap: the target never saw the whole load.
            Self::GeneratorsApart { apart_seconds, warmup_seconds, window_seconds }
                if *apart_seconds > warmup_seconds + window_seconds =>
            {
                Verdict::Invalid
            }
            Self::ArrivalsMissed { .. } | Self::Interrupted | Self::NothingCompleted => Verdict::Invalid,
            Self::GeneratorLate { .. }
            | Self::TooFewSamples { .. }
            | Self::NotStationary { .. }
            | Self::NeverSettled { .. }
            | Self::TokenCountsDisagree { .. }
            | Self::UndeclaredCacheHits { .. }
            | Self::CpuStolen { .. }
            | Self::GpuThrottled { .. }
            | Self::NearGeneratorCeiling { .. }
            | Self::GeneratorsApart { .. } => Verdict::Weak,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GeneratorLate { send_lag_p99_seconds, limit_seconds } => write!(
                f,
                "the generator was late: p99 send lag {:.2} ms, limit {:.2} ms; lower the rate or free a core",
                send_lag_p99_seconds * 1e3,
                limit_seconds * 1e3
            ),
            Self::ArrivalsMissed { missed } => {
                write!(f, "{missed} scheduled arrivals were never sent; run the level again")
            }
            Self::Interrupted => f.write_str("stopped before its schedule ended; run the level again"),
            Self::TooFewSamples { quantile, samples, needed } => write!(
                f,
                "{samples} requests are too few for p{}: {needed} needed; run longer",
                percent_label(*quantile)
            ),
            Self::NotStationary { first_half_ttft_p50_seconds, second_half_ttft_p50_seconds } => {
                write!(
                    f,
                    "not stationary: median TTFT went from {:.0} ms to ",
                    first_half_ttft_p50_seconds * 1e3
                )?;
                match second_half_ttft_p50_seconds {
                    Some(second) => write!(f, "{:.0} ms", second * 1e3)?,
                    None => f.write_str("never")?,
                }
                f.write_str(
                    " between the halves of the window; under overload that is expected, else run longer",
                )
            }
            Self::NeverSettled { first_half_ttft_p50_seconds, second_half_ttft_p50_seconds } => write!(
                f,
                "never settled: median TTFT {:.0} ms, then {:.0} ms in the halves of the window, and no part of it is steady; run longer",
                first_half_ttft_p50_seconds * 1e3,
                second_half_ttft_p50_seconds * 1e3
            ),
            Self::TokenCountsDisagree { share } => {
                write!(
                    f,
                    "token counts disagree with the server's in {share} of requests; check the tokenizer"
                )
            }
            Self::UndeclaredCacheHits { share } => {
                write!(
                    f,
                    "{share} of prompt tokens came from a cache the workload did not declare; make prompts unique"
                )
            }
            Self::CpuStolen { share } => {
                write!(f, "{share} of CPU time was stolen by other tenants; use a quieter machine")
            }
            Self::GpuThrottled { reason } => {
                write!(f, "the GPU throttled ({reason}); check cooling and power limit")
            }
            Self::NearGeneratorCeiling { share } => write!(
                f,
                "the load took {:.0} % of what the generator can do on this machine; spread it with --shard",
                share * 100.0
            ),
            Self::NothingCompleted => {
                f.write_str("no request was completed; lower the rate or relax the timeout")
            }
            Self::GeneratorsApart { apart_seconds, warmup_seconds, .. } => write!(
                f,
                "the generators started {apart_seconds:.1} s apart, warm-up is {warmup_seconds:.1} s: for a part of the \
                 window the load was not whole; start them together"
            ),
        }
    }
}

fn percent_label(quantile: f64) -> String {
    let percent = quantile * 100.0;
    if (percent - percent.round()).abs() < 1e-9 { format!("{percent:.0}") } else { format!("{percent:.1}") }
}

/// The verdict on a level and the findings behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "ReadValidity")]
pub struct Validity {
    /// The worst severity of all findings; `valid` without any.
    pub verdict: Verdict,
    /// Everything found.
    pub findings: Vec<Finding>,
}

impl From<Vec<Finding>> for Validity {
    fn from(findings: Vec<Finding>) -> Self {
        let verdict = findings.iter().map(Finding::severity).max().unwrap_or(Verdict::Valid);
        Self { verdict, findings }
    }
}

/// Reading takes the findings and judges them anew: the written verdict is for people and other tools.
#[derive(Deserialize, schemars::JsonSchema)]
struct ReadValidity {
    findings: Vec<Finding>,
}

impl From<ReadValidity> for Validity {
    fn from(read: ReadValidity) -> Self {
        read.findings.into()
    }
}

/// Requests needed before a percentile is known: MLPerf's early-stopping bound at 99 % confidence
/// (DESIGN §2): p90 64, p95 130, p99 662, p99.9 6,636. For a quantile between, the next stricter bound.
pub fn samples_needed(quantile: f64) -> u64 {
    const BOUNDS: [(f64, u64); 4] = [(0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6_636)];
    BOUNDS.iter().find(|(q, _)| quantile <= *q + 1e-12).map_or(66_361, |(_, n)| *n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides() {
        let weak = Finding::TooFewSamples { quantile: 0.95, samples: 100, needed: 130 };
        assert_eq!(Validity::from(vec![]).verdict, Verdict::Valid);
        assert_eq!(Validity::from(vec![weak.clone()]).verdict, Verdict::Weak);
        assert_eq!(Validity::from(vec![weak, Finding::Interrupted]).verdict, Verdict::Invalid);
    }

    #[test]
    fn sample_bounds_are_those_of_mlperf() {
        assert_eq!([0.9, 0.95, 0.99, 0.999].map(samples_needed), [64, 130, 662, 6_636]);
        assert_eq!(samples_needed(0.93), 130);
    }
}
