//! How to measure: `[bench]`, and what makes an answer of a segment a success.

use breakeven_measurement::FailureCause;
use serde::Deserialize;

use super::text::{NonNegative, Price, TextDuration};

/// `[bench]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BenchTable {
    /// Seed of schedules, lengths and prompts.
    pub seed: u64,
    /// Longest life of a request, retries included; 60 s where left out.
    pub timeout: Option<TextDuration>,
    /// When to try again; never where left out.
    pub retries: Option<RetryTable>,
    /// Running cost and cap of a paid endpoint.
    pub spend: Option<SpendTable>,
    /// Whom to ask once a request has failed for good; its answer counts as a fallback.
    pub fallback: Option<FallbackTable>,
}

/// `[bench.fallback]`: an OpenAI-compatible endpoint. Its key, where it needs one, is in `BREAKEVEN_FALLBACK_API_KEY`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FallbackTable {
    /// Address, such as `http://localhost:8000/v1`.
    pub target: String,
    /// Model to ask for.
    pub model: String,
    /// Asks `/completions` instead of `/chat/completions`.
    #[serde(default)]
    pub completions: bool,
}

/// `[bench.retries]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryTable {
    /// Tries after the first, at most.
    pub most: u32,
    /// Causes worth another try.
    #[serde(default = "passing_causes")]
    pub causes: Vec<FailureCause>,
    /// Wait before the first retry; each further one waits twice as long. A longer `Retry-After` is obeyed.
    #[serde(default = "half_a_second")]
    pub backoff: TextDuration,
    /// Longest wait that doubling leads to.
    #[serde(default = "half_a_minute")]
    pub longest_backoff: TextDuration,
}

/// Causes that pass by themselves.
fn passing_causes() -> Vec<FailureCause> {
    vec![FailureCause::Connection, FailureCause::RateLimited, FailureCause::ServerError]
}

fn half_a_second() -> TextDuration {
    TextDuration(std::time::Duration::from_millis(500))
}

fn half_a_minute() -> TextDuration {
    TextDuration(std::time::Duration::from_secs(30))
}

/// `[bench.spend]`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpendTable {
    /// Price of a million prompt tokens.
    pub usd_per_million_input_tokens: Price,
    /// Price of a million answer tokens.
    pub usd_per_million_output_tokens: Price,
    /// Nothing more is sent once this is spent; no cap where left out.
    pub cap_usd: Option<NonNegative>,
}

/// `[segment.success]`: what an answer must be. Everything that is set must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SuccessTable {
    /// A regular expression that the text matches.
    pub matches: Option<String>,
    /// The text is one JSON value.
    pub json: bool,
    /// Keys of the JSON object, or of the tool call's arguments.
    pub keys: Vec<String>,
    /// Fewest answer tokens.
    pub least_tokens: Option<u64>,
    /// Most answer tokens.
    pub most_tokens: Option<u64>,
    /// Why generation must have ended (`stop`, `length`, `tool_calls`…).
    pub stop_reasons: Vec<String>,
    /// A tool that is called.
    pub tool: Option<String>,
    /// A JSON Schema file, beside the product file or from the working directory, that the text (or the tool call's arguments)
    /// satisfies.
    pub json_schema: Option<std::path::PathBuf>,
}
