//! What was asked of the target: traffic segments with their shares and token lengths.

use serde::{Deserialize, Serialize};

use crate::quantity::Fraction;

/// The 90th percentile of the standard normal distribution.
const Z_P90: f64 = 1.281_551_565_544_600_4;

/// A mix of traffic segments. Shares are relative weights; they need not add up to one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Workload {
    /// The segments, in the order of the product file; never empty.
    pub segments: Vec<Segment>,
}

/// One kind of traffic: happy path, edge case, failure-heavy…
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Segment {
    /// Name, unique in the workload.
    pub name: String,
    /// Relative share of requests, above zero.
    pub weight: f64,
    /// Prompt length in tokens of the benchmarked model, shared prefix included.
    pub input_tokens: Lengths,
    /// Answer length in tokens of the benchmarked model.
    pub output_tokens: Lengths,
    /// Share of the prompt that every request of the segment has in common (a system prompt), 0 by default.
    #[serde(default = "no_prefix")]
    pub shared_prefix: Fraction,
    /// How many different prefixes there are, each request taking one at random: system prompts of as many customers.
    #[serde(default = "one_prefix")]
    pub prefix_pool: u32,
    /// What the prompts talk about.
    #[serde(default)]
    pub text: PromptText,
    /// Turns of one conversation; single requests where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

fn no_prefix() -> Fraction {
    Fraction::ZERO
}

fn one_prefix() -> u32 {
    1
}

/// A conversation: each turn sends all that was said before, the target's own answers included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Session {
    /// Requests of a conversation, at least 2.
    pub turns: u32,
    /// From the end of an answer to the next turn.
    pub think_seconds: f64,
}

/// What prompts are written from. The number of the request stands before it, so that no two prompts are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PromptText {
    /// Everyday support requests (our own sentences).
    #[default]
    Support,
    /// The same in a dozen languages and scripts (our own sentences).
    Multilingual,
    /// Broken documents: cut tables, markup without ends, mojibake, control characters (our own).
    Malformed,
    /// The questions of MT-Bench (lm-sys/FastChat, Apache-2.0).
    MtBench,
    /// The questions of Vicuna-Bench (lm-sys/FastChat, Apache-2.0).
    VicunaBench,
}

impl Segment {
    /// A segment of single requests without anything in common.
    pub fn plain(name: &str, weight: f64, input_tokens: Lengths, output_tokens: Lengths) -> Self {
        Self {
            name: name.to_owned(),
            weight,
            input_tokens,
            output_tokens,
            shared_prefix: Fraction::ZERO,
            prefix_pool: 1,
            text: PromptText::Support,
            session: None,
        }
    }

    /// Requests of one conversation.
    pub fn turns(&self) -> u32 {
        self.session.map_or(1, |session| session.turns.max(1))
    }

    /// Mean prompt tokens of a request. The k-th turn of a conversation carries k messages and k − 1 answers, so that the mean
    /// over n turns is message · (n + 1) / 2 + answer · (n − 1) / 2.
    pub fn mean_input_tokens(&self) -> f64 {
        let turns = f64::from(self.turns());
        self.input_tokens.mean() * f64::midpoint(turns, 1.0)
            + self.output_tokens.mean() * ((turns - 1.0) / 2.0)
    }

    /// The share of its prompt tokens that a target with a prefix cache can know already: the shared prefix, and in a
    /// conversation all that was said before.
    pub fn declared_reuse(&self) -> f64 {
        let turns = f64::from(self.turns());
        let message = self.input_tokens.mean();
        let fresh = message * (1.0 - self.shared_prefix.get() / turns);
        (1.0 - fresh / self.mean_input_tokens()).clamp(0.0, 1.0)
    }
}

/// A token-length distribution: log-normal through its median and 90th percentile, cut at `max`.
///
/// Equal median and p90 make it a constant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "RawLengths", into = "RawLengths")]
pub struct Lengths {
    median: u32,
    p90: u32,
    max: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawLengths {
    median: u32,
    p90: u32,
    max: Option<u32>,
}

/// Why a length distribution was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LengthsError {
    /// A median of no tokens.
    #[error("expected a median of at least 1 token, found 0")]
    Empty,
    /// Percentiles out of order.
    #[error("expected median <= p90 <= max tokens, found median {median}, p90 {p90}, max {max}")]
    Order {
        /// Median as given.
        median: u32,
        /// 90th percentile as given.
        p90: u32,
        /// Largest length as given or derived.
        max: u32,
    },
}

impl Lengths {
    /// A log-normal distribution; `max` defaults to four times the 90th percentile.
    pub fn new(median: u32, p90: u32, max: Option<u32>) -> Result<Self, LengthsError> {
        let max = max.unwrap_or_else(|| p90.saturating_mul(if p90 == median { 1 } else { 4 }));
        if median == 0 {
            return Err(LengthsError::Empty);
        }
        if !(median <= p90 && p90 <= max) {
            return Err(LengthsError::Order { median, p90, max });
        }
        Ok(Self { median, p90, max })
    }

    /// Always `tokens`, which must be above zero.
    pub fn constant(tokens: u32) -> Result<Self, LengthsError> {
        Self::new(tokens, tokens, Some(tokens))
    }

    /// Median in tokens.
    pub fn median(self) -> u32 {
        self.median
    }

    /// 90th percentile in tokens.
    pub fn p90(self) -> u32 {
        self.p90
    }

    /// Largest length drawn, in tokens.
    pub fn max(self) -> u32 {
        self.max
    }

    /// The length at standard-normal deviate `z`: exp(ln median + z·sigma) with sigma = ln(p90 / median) / z(0.9),
    /// rounded, from 1 to `max` tokens.
    pub fn at_deviate(self, z: f64) -> u32 {
        let tokens = (f64::from(self.median).ln() + z * self.sigma()).exp().round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 1..=max, a u32, on this line"
        )]
        let tokens = tokens.clamp(1.0, f64::from(self.max)) as u32;
        tokens
    }

    /// Mean of the drawn lengths in tokens, cut at `max` included, by midpoint quadrature over 2,000 quantiles.
    ///
    /// The textbook mean exp(mu + sigma²/2) is not used: it ignores the cut and the rounding.
    pub fn mean(self) -> f64 {
        const POINTS: u32 = 2_000;
        let total: f64 = (0..POINTS)
            .map(|i| f64::from(self.at_deviate(normal_quantile((f64::from(i) + 0.5) / f64::from(POINTS)))))
            .sum();
        total / f64::from(POINTS)
    }

    fn sigma(self) -> f64 {
        (f64::from(self.p90) / f64::from(self.median)).ln() / Z_P90
    }
}

/// Standard normal quantile, P. J. Acklam's rational approximation (2003), relative error below 1.2e-9.
pub fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416];
    const LOW: f64 = 0.024_25;
    let poly = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    if p < LOW {
        let q = (-2.0 * p.ln()).sqrt();
        poly(&C, q) / (poly(&D, q) * q + 1.0)
    } else if p <= 1.0 - LOW {
        let q = p - 0.5;
        let r = q * q;
        poly(&A, r) * q / (poly(&B, r) * r + 1.0)
    } else {
        let q = (-2.0 * (1.0 - p).ln()).sqrt();
        -poly(&C, q) / (poly(&D, q) * q + 1.0)
    }
}

impl TryFrom<RawLengths> for Lengths {
    type Error = LengthsError;
    fn try_from(raw: RawLengths) -> Result<Self, LengthsError> {
        Self::new(raw.median, raw.p90, raw.max)
    }
}

impl From<Lengths> for RawLengths {
    fn from(lengths: Lengths) -> Self {
        Self { median: lengths.median, p90: lengths.p90, max: Some(lengths.max) }
    }
}

impl Workload {
    /// Share of requests of each segment, in order; they add up to one.
    pub fn shares(&self) -> Vec<f64> {
        let total: f64 = self.segments.iter().map(|s| s.weight).sum();
        self.segments.iter().map(|s| s.weight / total).collect()
    }

    /// Share of conversations of each segment, in order, single requests counted as conversations of one turn; they add up to one.
    pub fn session_shares(&self) -> Vec<f64> {
        let begun = |s: &Segment| s.weight / f64::from(s.turns());
        let total: f64 = self.segments.iter().map(begun).sum();
        self.segments.iter().map(|s| begun(s) / total).collect()
    }

    /// Mean requests of a conversation, single requests counted as conversations of one turn.
    pub fn mean_turns(&self) -> f64 {
        let shares = self.session_shares();
        shares.iter().zip(&self.segments).map(|(share, s)| share * f64::from(s.turns())).sum()
    }

    /// Longest time between the first and the last turn of a conversation, answers taken as instant, in seconds.
    pub fn longest_thinking_seconds(&self) -> f64 {
        let of = |s: &Segment| s.session.map_or(0.0, |x| f64::from(s.turns() - 1) * x.think_seconds);
        self.segments.iter().map(of).fold(0.0, f64::max)
    }

    /// Share of prompt tokens that a prefix cache may serve, by declaration.
    pub fn declared_reuse(&self) -> f64 {
        let all = self.mean_input_tokens();
        self.weighted(|s| s.mean_input_tokens() * s.declared_reuse()) / all
    }

    /// Mean prompt tokens of a request over all segments.
    pub fn mean_input_tokens(&self) -> f64 {
        self.weighted(Segment::mean_input_tokens)
    }

    /// Mean answer tokens of a request over all segments.
    pub fn mean_output_tokens(&self) -> f64 {
        self.weighted(|s| s.output_tokens.mean())
    }

    fn weighted(&self, value: impl Fn(&Segment) -> f64) -> f64 {
        self.shares().iter().zip(&self.segments).map(|(share, s)| share * value(s)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_quantiles_match_published_tables() {
        for (p, z) in [(0.5, 0.0), (0.9, 1.281_551_6), (0.975, 1.959_964), (0.001, -3.090_232)] {
            assert!((normal_quantile(p) - z).abs() < 1e-6, "p {p}: {}", normal_quantile(p));
        }
    }

    #[test]
    fn lengths_pass_through_median_and_p90_and_stop_at_max() {
        let lengths = Lengths::new(100, 200, Some(300)).unwrap();
        assert_eq!(lengths.at_deviate(0.0), 100);
        assert_eq!(lengths.at_deviate(Z_P90), 200);
        assert_eq!(lengths.at_deviate(9.0), 300);
        assert_eq!(lengths.at_deviate(-40.0), 1);
    }

    #[test]
    fn the_mean_of_an_uncut_log_normal_is_the_textbook_one() {
        let lengths = Lengths::new(1_000, 2_000, Some(1_000_000)).unwrap();
        let sigma = (2.0f64).ln() / Z_P90;
        let textbook = 1_000.0 * (sigma * sigma / 2.0).exp();
        assert!((lengths.mean() / textbook - 1.0).abs() < 2e-3, "{} {textbook}", lengths.mean());
        assert!((Lengths::constant(7).unwrap().mean() - 7.0).abs() < 1e-12);
    }

    #[test]
    fn a_conversation_grows_and_counts_as_its_turns() {
        let constant = |n| Lengths::constant(n).unwrap();
        let single = Segment::plain("single", 1.0, constant(100), constant(10));
        let session = Some(Session { turns: 3, think_seconds: 2.0 });
        let chat = Segment { session, ..Segment::plain("chat", 3.0, constant(50), constant(20)) };
        // Turns of 50, 50 + 20 + 50 and 50 + 20 + 50 + 20 + 50 tokens.
        assert!((chat.mean_input_tokens() - (50.0 + 120.0 + 190.0) / 3.0).abs() < 1e-9);
        // Of those 360 tokens 150 are new.
        assert!((chat.declared_reuse() - 210.0 / 360.0).abs() < 1e-9);
        let workload = Workload { segments: vec![single, chat] };
        // Three of four requests are in conversations of three: as many conversations as single requests.
        assert!(workload.session_shares().iter().all(|share| (share - 0.5).abs() < 1e-12));
        assert!((workload.mean_turns() - 2.0).abs() < 1e-12);
        assert!((workload.longest_thinking_seconds() - 4.0).abs() < 1e-12);
        assert!((workload.mean_input_tokens() - (0.25 * 100.0 + 0.75 * 120.0)).abs() < 1e-9);
    }

    #[test]
    fn percentiles_out_of_order_are_refused() {
        assert!(Lengths::new(0, 1, None).is_err());
        let message = Lengths::new(10, 5, None).unwrap_err().to_string();
        assert_eq!(message, "expected median <= p90 <= max tokens, found median 10, p90 5, max 20");
    }
}
