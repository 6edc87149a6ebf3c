//! `[[stage]]`: the workflow of a request, stage by stage. What it comes to is in [`crate::workflow`].

use serde::Deserialize;

use super::{
    OnlyFor,
    text::{NonNegative, Positive, Price, TextDuration},
};
use crate::plan::LineItem;
use breakeven_measurement::{Fraction, workload::normal_quantile};

/// `[[stage]]`. A request begins at the first one.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageTable {
    /// Its name, which branches lead to.
    pub id: String,
    /// What happens there.
    pub kind: StageKind,
    /// Where the figures come from.
    pub note: Option<String>,
    /// Where a visit leads. Probabilities sum to 1; one branch may leave its own out and takes the rest.
    pub branches: Vec<BranchTable>,
    /// Calls of one visit, 1 where left out. Each must succeed for the visit to.
    #[serde(default = "one")]
    pub calls_per_visit: Positive,
    /// Whether those calls are made at once, so that the slowest counts, and not their sum.
    #[serde(default)]
    pub parallel: bool,
    /// Which model answers: `"option"` for the one under comparison (our replicas, or the API), or `"provider/model"` of a
    /// price sheet.
    pub model: Option<String>,
    /// Prompt tokens of a call; needed where it is priced by tokens. Calls of `model = "option"` that give none are as long as the
    /// product's segments.
    pub input_tokens: Option<StageTokens>,
    /// Answer tokens of a call.
    pub output_tokens: Option<StageTokens>,
    /// Price of a call, whatever its tokens.
    pub usd_per_call: Option<Price>,
    /// Price of a million prompt tokens.
    pub usd_per_million_input_tokens: Option<Price>,
    /// Price of a million answer tokens.
    pub usd_per_million_output_tokens: Option<Price>,
    /// Time of a call.
    pub latency: Option<StageLatency>,
    /// Attempts that fail, and what is done about them; none fails where left out.
    pub retries: Option<StageRetries>,
    /// Where a visit leads whose call failed for good; `failure` where left out.
    pub on_failure: Option<String>,
    /// A person's minutes on a visit.
    pub minutes_per_visit: Option<NonNegative>,
    /// Loaded cost of that person's hour: wage, benefits, workplace.
    pub loaded_usd_per_hour: Option<Price>,
    /// Whether reaching it means that the product did not resolve the request itself; true for people where left out.
    pub escalation: Option<bool>,
    /// The line of the bill; that of its kind where left out. Calls of `model = "option"` are inference always.
    pub line: Option<LineItem>,
    /// Where its model is named, for errors found when a price sheet is looked up.
    #[serde(skip)]
    pub place: String,
    /// Failing shares of infrastructure and product over those that were typed when it was measured, where a lever changes them.
    #[serde(skip)]
    pub(crate) failing_over: Option<(f64, f64)>,
}

/// What happens at a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    /// A language model answers.
    ModelCall,
    /// A text becomes a vector.
    Embedding,
    /// Documents are looked up.
    Retrieval,
    /// Another system is asked or told.
    Tool,
    /// An answer or a question is checked by a model.
    Guardrail,
    /// The same for what may not be said.
    Moderation,
    /// Code decides.
    Rule,
    /// A person works on it.
    Human,
}

/// One way out of a stage.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchTable {
    /// The stage it leads to, or an end: `success`, `failure`, `escalated`.
    pub to: String,
    /// How likely; the rest where left out.
    pub probability: Option<Fraction>,
    /// The kind of option it holds for; all where left out.
    pub only: Option<OnlyFor>,
}

/// Tokens of a call: the mean, or a distribution by its median and 90th percentile, log-normal, with a tail through the 99th
/// where that is given.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "RawTokens")]
pub struct StageTokens {
    mean: f64,
}

#[derive(Debug, Clone, Copy, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawTokens {
    mean: Option<NonNegative>,
    median: Option<Positive>,
    p90: Option<Positive>,
    p99: Option<Positive>,
}

/// Points of the quadrature over a distribution's quantiles.
const POINTS: u32 = 4_000;

impl TryFrom<RawTokens> for StageTokens {
    type Error = String;

    fn try_from(raw: RawTokens) -> Result<Self, String> {
        match (raw.mean, raw.median, raw.p90) {
            (Some(mean), None, None) if raw.p99.is_none() => Ok(Self { mean: mean.get() }),
            (None, Some(median), Some(p90)) => {
                Self::distributed(median.get(), p90.get(), raw.p99.map(Positive::get))
            }
            _ => {
                Err("expected tokens as { mean } or as { median, p90 } with p99 where it is known".to_owned())
            }
        }
    }
}

impl StageTokens {
    /// Always so many.
    pub fn of_mean(mean: f64) -> Option<Self> {
        (mean.is_finite() && mean >= 0.0).then_some(Self { mean })
    }

    fn distributed(median: f64, p90: f64, p99: Option<f64>) -> Result<Self, String> {
        let quantiles = Quantiles::new(median, p90, p99)
            .ok_or_else(|| format!("expected median <= p90 <= p99, found {median}, {p90}, {p99:?}"))?;
        Self::of_mean(quantiles.mean()).ok_or_else(|| "expected fewer tokens".to_owned())
    }

    /// Mean tokens of a call.
    pub fn mean(self) -> f64 {
        self.mean
    }
}

/// A positive quantity by its quantiles: log-normal through the median and p90; beyond p90 through p99 where that is known.
#[derive(Debug, Clone, Copy, PartialEq, schemars::JsonSchema)]
pub struct Quantiles {
    median: f64,
    p90: f64,
    p99: f64,
}

/// Standard normal deviates of 90 and 99 %.
const Z90: f64 = 1.281_551_565_544_6;
const Z99: f64 = 2.326_347_874_040_8;

impl Quantiles {
    /// `None` where they are out of order.
    pub fn new(median: f64, p90: f64, p99: Option<f64>) -> Option<Self> {
        let p99 = p99.unwrap_or_else(|| median * (p90 / median).powf(Z99 / Z90));
        (median > 0.0 && median <= p90 && p90 <= p99 * (1.0 + 1e-12) && p99.is_finite()).then_some(Self {
            median,
            p90,
            p99,
        })
    }

    /// The value at standard-normal deviate `z`.
    pub fn at_deviate(self, z: f64) -> f64 {
        let body = (self.p90 / self.median).ln() / Z90;
        if z <= Z90 {
            return self.median * (body * z).exp();
        }
        let tail = (self.p99 / self.p90).ln() / (Z99 - Z90);
        self.p90 * (tail * (z - Z90)).exp()
    }

    /// Mean, by midpoint quadrature over 4,000 quantiles.
    pub fn mean(self) -> f64 {
        let at = |i: u32| self.at_deviate(normal_quantile((f64::from(i) + 0.5) / f64::from(POINTS)));
        (0..POINTS).map(at).sum::<f64>() / f64::from(POINTS)
    }
}

/// Time of a call.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "RawLatency")]
pub struct StageLatency(pub Quantiles);

#[derive(Debug, Clone, Copy, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawLatency {
    median: TextDuration,
    p90: Option<TextDuration>,
    p99: Option<TextDuration>,
}

impl TryFrom<RawLatency> for StageLatency {
    type Error = String;

    fn try_from(raw: RawLatency) -> Result<Self, String> {
        let seconds = |text: TextDuration| text.0.as_secs_f64();
        let median = seconds(raw.median);
        let p90 = raw.p90.map_or(median, seconds);
        let quantiles = Quantiles::new(median, p90, raw.p99.map(seconds))
            .ok_or_else(|| "expected median <= p90 <= p99".to_owned())?;
        Ok(Self(quantiles))
    }
}

/// `[stage.retries]`: attempts that fail, infrastructure apart from product, and the policy.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageRetries {
    /// Share of attempts that the infrastructure fails: timeout, connection, 429, 5xx.
    #[serde(default = "none")]
    pub infrastructure: Fraction,
    /// Share of attempts whose answer is no good: malformed, failed validation, truncated.
    #[serde(default = "none")]
    pub product: Fraction,
    /// Retries of a call, at most.
    #[serde(default)]
    pub most: u32,
    /// Whether failures of the infrastructure are tried again.
    #[serde(default = "yes")]
    pub of_infrastructure: bool,
    /// Whether failures of the product are tried again.
    #[serde(default = "yes")]
    pub of_product: bool,
    /// Wait before the first retry; each further one waits twice as long.
    pub backoff: Option<TextDuration>,
    /// Longest wait that doubling leads to; none where left out.
    pub longest_backoff: Option<TextDuration>,
    /// Share of its tokens that an attempt spends before the infrastructure fails it; all where left out.
    #[serde(default = "all")]
    pub infrastructure_token_share: Fraction,
    /// The same where the product fails.
    #[serde(default = "all")]
    pub product_token_share: Fraction,
    /// Prompt tokens of a retry over those of a first attempt: retried prompts are longer than average; 1 where left out.
    #[serde(default = "one")]
    pub retried_prompt_ratio: Positive,
}

fn one() -> Positive {
    Positive::try_from(1.0).expect("1 is above 0")
}

fn none() -> Fraction {
    Fraction::ZERO
}

fn all() -> Fraction {
    Fraction::ONE
}

fn yes() -> bool {
    true
}

impl StageRetries {
    /// No attempt fails, and none is tried again.
    pub(crate) fn never() -> Self {
        Self {
            infrastructure: none(),
            product: none(),
            most: 0,
            of_infrastructure: true,
            of_product: true,
            backoff: None,
            longest_backoff: None,
            infrastructure_token_share: all(),
            product_token_share: all(),
            retried_prompt_ratio: one(),
        }
    }
}

impl StageTable {
    /// Whether the option under comparison answers.
    pub fn is_option(&self) -> bool {
        self.model.as_deref() == Some(OPTION)
    }

    /// Whether its tokens have a price of their own.
    pub fn is_priced_by_token(&self) -> bool {
        self.usd_per_million_input_tokens.is_some() || self.usd_per_million_output_tokens.is_some()
    }

    /// Whether reaching it means that a person takes over.
    pub fn is_escalation(&self) -> bool {
        self.escalation.unwrap_or(self.kind == StageKind::Human)
    }

    /// The line of the bill.
    pub fn line(&self) -> LineItem {
        if self.is_option() {
            return LineItem::Inference;
        }
        self.line.unwrap_or(match self.kind {
            StageKind::ModelCall => LineItem::Inference,
            StageKind::Embedding | StageKind::Retrieval => LineItem::Retrieval,
            StageKind::Tool | StageKind::Rule => LineItem::Compute,
            StageKind::Guardrail | StageKind::Moderation => LineItem::Guardrails,
            StageKind::Human => LineItem::Support,
        })
    }
}

impl StageKind {
    /// The label a report prints.
    pub fn label(self) -> &'static str {
        match self {
            Self::ModelCall => "model call",
            Self::Embedding => "embedding",
            Self::Retrieval => "retrieval",
            Self::Tool => "tool",
            Self::Guardrail => "guardrail",
            Self::Moderation => "moderation",
            Self::Rule => "rule",
            Self::Human => "human",
        }
    }
}

/// The model under comparison.
pub const OPTION: &str = "option";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_drawn_through_all_three_percentiles() {
        let quantiles = Quantiles::new(100.0, 200.0, Some(900.0)).unwrap();
        assert!((quantiles.at_deviate(0.0) - 100.0).abs() < 1e-9);
        assert!((quantiles.at_deviate(Z90) - 200.0).abs() < 1e-9);
        assert!((quantiles.at_deviate(Z99) - 900.0).abs() < 1e-9);
        // A plain log-normal has mean median · exp(sigma² / 2), cut at the last quadrature point.
        let plain = Quantiles::new(100.0, 200.0, None).unwrap();
        let sigma: f64 = 2.0_f64.ln() / Z90;
        assert!(
            (plain.mean() / (100.0 * (sigma * sigma / 2.0).exp()) - 1.0).abs() < 1e-3,
            "{}",
            plain.mean()
        );
        assert!(quantiles.mean() > plain.mean());
        assert!(Quantiles::new(100.0, 90.0, None).is_none());
    }
}
