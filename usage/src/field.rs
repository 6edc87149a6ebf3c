//! What a column, key or attribute means.

use std::{fmt, str::FromStr};

use crate::hash::Map;

/// A meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// When the call began.
    Time,
    /// When it ended.
    End,
    /// How long it took, milliseconds.
    DurationMs,
    /// The same in seconds.
    DurationSeconds,
    /// What the attempts of one request share.
    Request,
    /// A trace: one request over all its calls.
    Trace,
    /// LiteLLM's name for a trace.
    Session,
    /// The span above.
    Parent,
    /// Number of the attempt, from 1.
    Attempt,
    /// Number of the attempt, from 0.
    Resends,
    /// Name of a span.
    Name,
    /// The model that answered.
    Model,
    /// The model that was asked for.
    RequestedModel,
    /// What kind of call.
    Operation,
    /// LiteLLM's kind of call.
    CallType,
    /// Stage of the workflow.
    Stage,
    /// Route, or LiteLLM's model group.
    Route,
    /// Feature of the product.
    Feature,
    /// Team that pays.
    Team,
    /// The team's id, where it has no name.
    TeamId,
    /// Prompt tokens, cached ones included.
    InputTokens,
    /// Answer tokens.
    OutputTokens,
    /// Prompt tokens that the provider's cache had.
    CachedTokens,
    /// Cost of the call, USD.
    Cost,
    /// LiteLLM's cost, which is 0 where it knows no price.
    Spend,
    /// How it ended.
    Status,
    /// Why it failed.
    Error,
    /// Code of the failure, where it has no class.
    ErrorCode,
    /// Whether a response cache answered.
    CacheHit,
    /// Fallbacks that were tried before this answer.
    Fallbacks,
    /// The group that a fallback stood in for.
    OriginalModel,
    /// Whether the outcome was a success for the product.
    Success,
}

/// Fields, their names in logs, and whether `--column` may name them anew. The first name is that of our own CSV.
///
/// Sources: OpenTelemetry `GenAI` semantic conventions (open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-spans.md; the names before
/// 1.27 are `gen_ai.usage.prompt_tokens` and `completion_tokens`), OTLP/JSON (opentelemetry-proto, trace.proto in lowerCamelCase), and
/// LiteLLM's `LiteLLM_SpendLogs` (BerriAI/litellm, schema.prisma).
const NAMES: [(Field, bool, &[&str]); 32] = [
    (
        Field::Time,
        true,
        &["time", "timestamp", "start_time", "startTime", "startTimeUnixNano", "start_time_unix_nano", "ts"],
    ),
    (Field::End, true, &["end_time", "endTime", "endTimeUnixNano", "end_time_unix_nano"]),
    (Field::DurationMs, true, &["duration_ms", "latency_ms", "request_duration_ms"]),
    (Field::DurationSeconds, true, &["duration_seconds", "latency_seconds"]),
    (Field::Request, true, &["request_id"]),
    (Field::Trace, true, &["trace_id", "traceId"]),
    (Field::Session, false, &["session_id"]),
    (Field::Parent, false, &["parent_id", "parent_span_id", "parentSpanId"]),
    (Field::Attempt, true, &["attempt"]),
    (Field::Resends, false, &["http.request.resend_count"]),
    (Field::Name, false, &["name"]),
    (Field::Model, true, &["model", "gen_ai.response.model", "response_model"]),
    (Field::RequestedModel, true, &["requested_model", "gen_ai.request.model", "request_model"]),
    (Field::Operation, true, &["operation", "gen_ai.operation.name"]),
    (Field::CallType, false, &["call_type"]),
    (Field::Stage, true, &["stage"]),
    (Field::Route, true, &["route", "http.route", "model_group"]),
    (Field::Feature, true, &["feature", "service.name"]),
    (Field::Team, true, &["team", "user_api_key_team_alias"]),
    (Field::TeamId, false, &["team_id"]),
    (
        Field::InputTokens,
        true,
        &["input_tokens", "prompt_tokens", "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"],
    ),
    (
        Field::OutputTokens,
        true,
        &[
            "output_tokens",
            "completion_tokens",
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
        ],
    ),
    (
        Field::CachedTokens,
        true,
        &[
            "cached_tokens",
            "cache_read_input_tokens",
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
        ],
    ),
    (Field::Cost, true, &["cost_usd", "cost", "gen_ai.usage.cost"]),
    (Field::Spend, false, &["spend"]),
    (Field::Status, true, &["status", "http.response.status_code"]),
    (Field::Error, true, &["error_type", "error.type", "error_class"]),
    (Field::ErrorCode, false, &["error_code"]),
    (Field::CacheHit, true, &["cache_hit"]),
    (Field::Fallbacks, false, &["attempted_fallbacks"]),
    (Field::OriginalModel, false, &["original_model_group"]),
    (Field::Success, true, &["success"]),
];

/// How many fields there are.
pub(crate) const FIELDS: usize = NAMES.len();

impl Field {
    /// Its place in a row.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The name in our own CSV.
    pub fn name(self) -> &'static str {
        NAMES.get(self.index()).and_then(|(_, _, names)| names.first()).copied().unwrap_or("?")
    }
}

/// A field's own name for it: `--column feature=service.namespace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    field: Field,
    name: String,
}

/// Text that is no `FIELD=NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRenamed(String);

impl fmt::Display for NotRenamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = NAMES.iter().filter(|entry| entry.1).map(|entry| entry.0.name()).collect();
        write!(f, "expected FIELD=NAME with a field of {}; found `{}`", known.join(", "), self.0)
    }
}

impl std::error::Error for NotRenamed {}

impl FromStr for Renamed {
    type Err = NotRenamed;

    fn from_str(text: &str) -> Result<Self, NotRenamed> {
        let wrong = || NotRenamed(text.to_owned());
        let (field, name) = text.split_once('=').ok_or_else(wrong)?;
        let found = NAMES.iter().find(|(known, may, _)| *may && known.name() == field.trim());
        let (field, _, _) = found.filter(|_| !name.trim().is_empty()).ok_or_else(wrong)?;
        Ok(Self { field: *field, name: name.trim().to_owned() })
    }
}

/// Names to fields.
#[derive(Debug, Clone)]
pub(crate) struct Names(Map<Box<str>, Field>);

impl Names {
    /// The built-in names; a field that is named anew has no other.
    pub(crate) fn new(renamed: &[Renamed]) -> Self {
        let mut names = Map::default();
        for (field, _, known) in NAMES {
            if !renamed.iter().any(|new| new.field == field) {
                names.extend(known.iter().map(|name| (Box::from(*name), field)));
            }
        }
        names.extend(renamed.iter().map(|new| (Box::from(new.name.as_str()), new.field)));
        Self(names)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Field> {
        self.0.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_at_its_place() {
        for (index, (field, _, _)) in NAMES.iter().enumerate() {
            assert_eq!(field.index(), index, "{field:?}");
        }
    }

    #[test]
    fn a_renamed_field_loses_its_other_names() {
        let names = Names::new(&["feature=service.namespace".parse().unwrap()]);
        assert_eq!(names.get("service.namespace"), Some(Field::Feature));
        assert_eq!(names.get("feature"), None);
        assert_eq!(names.get("prompt_tokens"), Some(Field::InputTokens));
        let wrong = "colour=x".parse::<Renamed>().unwrap_err().to_string();
        assert!(wrong.contains("expected FIELD=NAME") && wrong.contains("feature"), "{wrong}");
        assert!("feature=".parse::<Renamed>().is_err());
    }
}
