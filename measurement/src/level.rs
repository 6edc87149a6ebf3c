//! One load level: what was offered, what came back, overall and by traffic segment.

use std::{collections::BTreeMap, fmt, time::Duration};

use breakeven_hardware::{Bytes, telemetry::GpuUse};
use breakeven_models::Tokens;
use serde::{Deserialize, Serialize};

use crate::{
    headline::Headline,
    metric::Metric,
    quantity::{Fraction, RequestRate, seconds},
    series::LatencySeries,
    validity::Validity,
};

/// The three load levels of DESIGN §2.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LevelName {
    /// Light load: 0.3 of the highest rate under the SLO.
    Baseline,
    /// What the product expects: 0.7 of it.
    Expected,
    /// Beyond what the target carries: 1.2 of it.
    Stress,
}

impl LevelName {
    /// All levels, lightest first.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Expected, Self::Stress];

    /// Share of the highest rate under the SLO at which the level is offered.
    pub fn share_of_capacity(self) -> f64 {
        match self {
            Self::Baseline => 0.3,
            Self::Expected => 0.7,
            Self::Stress => 1.2,
        }
    }
}

impl fmt::Display for LevelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Baseline => "baseline",
            Self::Expected => "expected",
            Self::Stress => "stress",
        })
    }
}

/// How arrivals are spaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArrivalProcess {
    /// Exponential gaps: the open-loop default.
    Poisson,
    /// Equal gaps.
    Constant,
    /// Gamma-distributed gaps.
    Gamma {
        /// Coefficient of variation of the gaps, above zero: 1 is Poisson, more is bursts.
        variation: f64,
    },
    /// Poisson arrivals whose rate changes linearly over the level.
    Ramp {
        /// Share of the level's rate at its start, 0 or more.
        from: f64,
        /// Share of the level's rate at its end, 0 or more.
        to: f64,
    },
    /// Replayed from a trace, in time scaled to the level's rate.
    Trace {
        /// The file.
        name: String,
        /// Requests in it.
        requests: u64,
        /// Squared coefficient of variation of its gaps.
        gap_variation: f64,
        /// Whether prompt and answer lengths are the trace's too.
        lengths: bool,
    },
}

/// Why an attempt failed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// No end within the request's deadline.
    Timeout,
    /// Could not connect, or the connection broke.
    Connection,
    /// HTTP 429: the server asked for less.
    RateLimited,
    /// HTTP 5xx.
    ServerError,
    /// The in-process engine refused or failed.
    Engine,
    /// An HTTP 4xx other than 429: our request was wrong.
    Rejected,
    /// The stream broke its own protocol.
    MalformedStream,
    /// The answer ended before its expected length.
    Truncated,
    /// The answer failed the segment's success check.
    FailedValidation,
    /// Cut off by the end of the run: Ctrl-C or a crash.
    Interrupted,
}

impl FailureCause {
    /// Whether the infrastructure failed (timeout, connection, 429, 5xx…), as against the product: an answer that came and
    /// was no good.
    pub fn is_infrastructure(self) -> bool {
        match self {
            Self::Timeout
            | Self::Connection
            | Self::RateLimited
            | Self::ServerError
            | Self::Engine
            | Self::Rejected
            | Self::MalformedStream
            | Self::Interrupted => true,
            Self::Truncated | Self::FailedValidation => false,
        }
    }
}

/// Where an output token count came from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The server's or engine's own usage record.
    Usage,
    /// Our tokenizer over the text.
    Tokenizer,
    /// Streamed chunks: an estimate.
    Chunks,
}

/// Everything counted about a set of requests. All fields add, so shards merge exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, Default)]
pub struct LoadResult {
    /// Arrivals scheduled in the window.
    pub scheduled: u64,
    /// Of these, completed.
    pub completed: u64,
    /// Of these, completed within every SLO target.
    pub within_slo: u64,
    /// Requests that failed in the end, by the cause of their last attempt. Attempts that failed are these and [`Self::retries`].
    pub failures: BTreeMap<FailureCause, u64>,
    /// Second and later attempts, the fallback's included, by the cause for which the one before had failed.
    pub retries: BTreeMap<FailureCause, u64>,
    /// Requests that were passed to the fallback; none in files of earlier versions.
    #[serde(default)]
    pub fallbacks: u64,
    /// Prompt tokens of completed requests.
    pub input_tokens: Tokens,
    /// Prompt tokens that a prefix cache answered.
    pub cached_input_tokens: Tokens,
    /// Output tokens of completed requests, reasoning included.
    pub output_tokens: Tokens,
    /// Tokens, in and out, spent on attempts that failed.
    pub failed_tokens: Tokens,
    /// Requests by the source of their output token count.
    pub token_sources: BTreeMap<TokenSource, u64>,
    /// Completed requests whose answer our tokenizer counted beside the server; none in files of earlier versions.
    #[serde(default)]
    pub counts_checked: u64,
    /// Of these, requests where the two counts differ by more than a manner of counting.
    #[serde(default)]
    pub counts_disagreeing: u64,
    /// first token − scheduled.
    pub ttft: LatencySeries,
    /// first token − sent.
    pub service_ttft: LatencySeries,
    /// (last token − first token) / (output tokens − 1), where output tokens > 1. Failures are not in it: they have
    /// no token to time.
    pub tpot: LatencySeries,
    /// last token − scheduled.
    pub e2e: LatencySeries,
    /// Pooled gaps between streamed chunks.
    pub chunk_gap: LatencySeries,
    /// sent − scheduled: the generator's own lateness.
    pub send_lag: LatencySeries,
}

impl LoadResult {
    /// Requests that failed in the end, of every cause.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Goodput as a share: requests within every SLO target of **all** requests scheduled.
    pub fn goodput(&self) -> Option<Fraction> {
        Fraction::of(self.within_slo, self.scheduled)
    }

    /// Adds another result; exact, in any order.
    pub fn merge(&mut self, other: &Self) {
        // Taken apart by name so that a new field cannot be forgotten here.
        let Self {
            scheduled,
            completed,
            within_slo,
            failures,
            retries,
            fallbacks,
            input_tokens,
            cached_input_tokens,
            output_tokens,
            failed_tokens,
            token_sources,
            counts_checked,
            counts_disagreeing,
            ttft,
            service_ttft,
            tpot,
            e2e,
            chunk_gap,
            send_lag,
        } = other;
        self.scheduled = self.scheduled.saturating_add(*scheduled);
        self.completed = self.completed.saturating_add(*completed);
        self.within_slo = self.within_slo.saturating_add(*within_slo);
        add_counts(&mut self.failures, failures);
        add_counts(&mut self.retries, retries);
        self.fallbacks += fallbacks;
        self.input_tokens.0 = self.input_tokens.0.saturating_add(input_tokens.0);
        self.cached_input_tokens.0 = self.cached_input_tokens.0.saturating_add(cached_input_tokens.0);
        self.output_tokens.0 = self.output_tokens.0.saturating_add(output_tokens.0);
        self.failed_tokens.0 = self.failed_tokens.0.saturating_add(failed_tokens.0);
        add_counts(&mut self.token_sources, token_sources);
        self.counts_checked = self.counts_checked.saturating_add(*counts_checked);
        self.counts_disagreeing = self.counts_disagreeing.saturating_add(*counts_disagreeing);
        self.ttft.merge(ttft);
        self.service_ttft.merge(service_ttft);
        self.tpot.merge(tpot);
        self.e2e.merge(e2e);
        self.chunk_gap.merge(chunk_gap);
        self.send_lag.merge(send_lag);
    }
}

fn add_counts<K: Ord + Copy>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        let sum = into.entry(*key).or_default();
        *sum = sum.saturating_add(*count);
    }
}

/// Rates of a window, in requests or tokens per second of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rates {
    /// Scheduled arrivals per second.
    pub offered_per_second: f64,
    /// Completed requests per second.
    pub achieved_per_second: f64,
    /// Requests within every SLO target per second.
    pub goodput_per_second: f64,
    /// Output tokens of completed requests per second.
    pub output_tokens_per_second: f64,
}

impl Rates {
    /// The rates of `load` over a window; `None` of an empty window.
    pub fn over(load: &LoadResult, window: Duration) -> Option<Self> {
        let seconds = window.as_secs_f64();
        (seconds > 0.0).then(|| Self {
            offered_per_second: load.scheduled as f64 / seconds,
            achieved_per_second: load.completed as f64 / seconds,
            goodput_per_second: load.within_slo as f64 / seconds,
            output_tokens_per_second: load.output_tokens.0 as f64 / seconds,
        })
    }

    /// The rates of two generators together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            offered_per_second: self.offered_per_second + other.offered_per_second,
            achieved_per_second: self.achieved_per_second + other.achieved_per_second,
            goodput_per_second: self.goodput_per_second + other.goodput_per_second,
            output_tokens_per_second: self.output_tokens_per_second + other.output_tokens_per_second,
        }
    }
}

/// What one traffic segment saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SegmentResult {
    /// The segment's name in the workload.
    pub name: String,
    /// What was counted.
    pub load: LoadResult,
}

/// What the target's own machine used during the window; absent where it cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Resources {
    /// Mean sequences sharing an engine step.
    pub mean_batch_occupancy: Option<f64>,
    /// Longest queue of requests waiting for admission.
    pub peak_queue: Option<u64>,
    /// Most KV-cache tokens in use at once.
    pub peak_kv_tokens: Option<u64>,
    /// Largest resident memory of this process.
    pub peak_memory: Option<Bytes>,
    /// Mean CPU use of this process, in cores.
    pub mean_cpu_cores: Option<f64>,
    /// Share of CPU time taken by other tenants.
    pub cpu_steal: Option<Fraction>,
    /// Energy of the window at the level's mean power, processor packages and accelerators together, in joules. Absent where a part of
    /// the machine does not tell, and where the target runs on another machine.
    pub energy_joules: Option<f64>,
    /// The accelerators, from the level's first arrival to its last answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuUse>,
}

/// One load level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LevelResult {
    /// Which level.
    pub name: LevelName,
    /// How arrivals were spaced.
    pub arrivals: ArrivalProcess,
    /// Rate asked for, of all generators together.
    pub target_rate: RequestRate,
    /// Seconds of load before the window began; of several runs or generators the shortest.
    #[serde(rename = "warmup_seconds", with = "seconds")]
    #[schemars(with = "f64")]
    pub warmup: Duration,
    /// Seconds from the end of warm-up to the end of the schedule: the sum of a level's repeated runs, the longest of generators side by
    /// side.
    #[serde(rename = "window_seconds", with = "seconds")]
    #[schemars(with = "f64")]
    pub window: Duration,
    /// Rates over the window; absent where the window is empty. Of generators side by side, the sum of each one's over its own.
    pub rates: Option<Rates>,
    /// All requests of the window.
    pub overall: LoadResult,
    /// The same by segment, in the workload's order.
    pub segments: Vec<SegmentResult>,
    /// What the machine used.
    pub resources: Resources,
    /// Whether to believe it.
    pub validity: Validity,
    /// The headline figures with their intervals; none in files of earlier versions, of few requests, and of merged generators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headlines: Vec<Headline>,
}

impl LevelResult {
    /// A headline figure with its intervals.
    pub fn headline(&self, metric: Metric) -> Option<&Headline> {
        self.headlines.iter().find(|headline| headline.metric == metric)
    }

    /// Energy of a completed request, in joules.
    pub fn joules_per_request(&self) -> Option<f64> {
        self.joules_per(self.overall.completed)
    }

    /// Energy of an answer token, prompts and idling included, in joules.
    pub fn joules_per_output_token(&self) -> Option<f64> {
        self.joules_per(self.overall.output_tokens.0)
    }

    fn joules_per(&self, count: u64) -> Option<f64> {
        self.resources.energy_joules.filter(|_| count > 0).map(|joules| joules / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(seed: u64) -> LoadResult {
        let mut load = LoadResult {
            scheduled: seed % 7,
            completed: seed % 5,
            within_slo: seed % 3,
            ..Default::default()
        };
        load.failures.insert(FailureCause::Timeout, seed % 4);
        load.retries.insert(FailureCause::ServerError, seed % 6);
        load.token_sources.insert(TokenSource::Usage, seed % 9);
        load.input_tokens.0 = seed % 11;
        load.cached_input_tokens.0 = seed % 13;
        load.output_tokens.0 = seed % 17;
        load.failed_tokens.0 = seed % 19;
        for series in [
            &mut load.ttft,
            &mut load.service_ttft,
            &mut load.tpot,
            &mut load.e2e,
            &mut load.chunk_gap,
            &mut load.send_lag,
        ] {
            series.record(Duration::from_nanos(seed % 1_000 + 1));
        }
        load
    }

    proptest! {
        #[test]
        fn merging_is_the_same_in_any_order_and_grouping(a in any::<u64>(), b in any::<u64>(), c in any::<u64>()) {
            let (a, b, c) = (load(a), load(b), load(c));
            let mut left = a.clone();
            left.merge(&b);
            left.merge(&c);
            let mut right = c.clone();
            right.merge(&b);
            right.merge(&a);
            prop_assert_eq!(&left, &right);
            prop_assert_eq!(left.scheduled, a.scheduled + b.scheduled + c.scheduled);
            prop_assert_eq!(left.ttft.len(), 3);
            prop_assert_eq!(left.failed(), a.failed() + b.failed() + c.failed());
        }
    }
}
