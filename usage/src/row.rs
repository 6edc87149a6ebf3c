//! A row as its file has it, and the call that it says, checked.

use std::borrow::Cow;

use breakeven_hardware::Usd;

use crate::{
    field::{FIELDS, Field},
    instant::{self, SECOND},
    model_name::same_model,
    money::AttoUsd,
};

/// Most tokens that one call may have: a larger figure is a mistake.
const MOST_TOKENS: u64 = 1_000_000_000;
/// Longest label.
const LONGEST_LABEL: usize = 256;
/// Longest call: 30 days.
const LONGEST_CALL: i64 = 30 * instant::DAY;

/// A value in a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// Text, or a number or `true` as it is written.
    Text(Cow<'a, str>),
    Integer(i64),
    Number(f64),
    /// Unscaled value and decimals.
    Decimal(i128, i32),
    /// Nanoseconds since 1970.
    Instant(i64),
    /// An object or a list.
    Structure,
}

impl Value<'_> {
    fn into_owned<'b>(self) -> Value<'b> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Integer(value) => Value::Integer(value),
            Self::Number(value) => Value::Number(value),
            Self::Decimal(value, scale) => Value::Decimal(value, scale),
            Self::Instant(value) => Value::Instant(value),
            Self::Structure => Value::Structure,
        }
    }

    /// For an error message.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.to_string(),
            Self::Integer(value) | Self::Instant(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Decimal(value, scale) => format!("{value}e-{scale}"),
            Self::Structure => "an object or a list".to_owned(),
        }
    }

    fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Integer(value) => Some(Cow::Owned(value.to_string())),
            _ => None,
        }
    }

    fn count(&self) -> Option<u64> {
        match self {
            Self::Integer(value) => u64::try_from(*value).ok(),
            Self::Number(value) => whole(*value),
            Self::Text(text) => text.parse().ok().or_else(|| whole(text.parse().ok()?)),
            Self::Decimal(value, 0) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    fn instant(&self) -> Option<i64> {
        match self {
            Self::Text(text) => instant::parse(text),
            Self::Integer(value) => instant::integer(*value),
            Self::Number(value) => instant::seconds(*value),
            Self::Instant(value) => instant::bounded(*value),
            _ => None,
        }
    }

    fn money(&self) -> Option<AttoUsd> {
        match self {
            Self::Text(text) => AttoUsd::parse(text),
            Self::Integer(value) => AttoUsd::of(i128::from(*value), 0),
            // The shortest decimal that is this binary fraction, as JSON would have it.
            Self::Number(value) => AttoUsd::parse(&format!("{value:e}")),
            Self::Decimal(value, scale) => AttoUsd::of(*value, *scale),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        let value = match self {
            Self::Text(text) => text.parse().ok()?,
            Self::Integer(value) => *value as f64,
            Self::Number(value) => *value,
            _ => return None,
        };
        (value.is_finite() && value >= 0.0).then_some(value)
    }

    fn truth(&self) -> Option<bool> {
        let text = self.text()?;
        if ["true", "yes", "1", "t"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return Some(true);
        }
        // LiteLLM writes `None` where it never looked into its cache.
        ["false", "no", "0", "f", "none"].iter().any(|word| text.eq_ignore_ascii_case(word)).then_some(false)
    }
}

/// A float that is a whole number: tables with gaps in a column write counts as `12.0`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole, and from 0 to the most tokens"
)]
fn whole(value: f64) -> Option<u64> {
    ((0.0..=MOST_TOKENS as f64).contains(&value) && value.fract().abs() < f64::EPSILON)
        .then_some(value as u64)
}

/// A row as its file has it.
#[derive(Debug)]
pub(crate) struct RawRow<'a>([Option<Value<'a>>; FIELDS]);

impl<'a> RawRow<'a> {
    pub(crate) fn new() -> Self {
        Self([const { None }; FIELDS])
    }

    /// Sets a field that has no value yet: of two names for one thing the first that says something counts.
    pub(crate) fn set(&mut self, field: Field, value: Value<'a>) {
        if matches!(&value, Value::Text(text) if text.is_empty()) {
            return;
        }
        if let Some(slot) = self.0.get_mut(field.index()).filter(|slot| slot.is_none()) {
            *slot = Some(value);
        }
    }

    pub(crate) fn get(&self, field: Field) -> Option<&Value<'a>> {
        self.0.get(field.index())?.as_ref()
    }

    /// Takes what another row has and this one lacks.
    pub(crate) fn take(&mut self, other: RawRow<'_>) {
        for (to, from) in self.0.iter_mut().zip(other.0) {
            if let (None, Some(from)) = (&to, from) {
                *to = Some(from.into_owned());
            }
        }
    }

    fn parsed<T>(
        &self,
        field: Field,
        expected: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.get(field) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| Refusal::of(field, value, expected))
    }

    fn label(&self, field: Field) -> Result<Option<&str>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Text(text)) if text.len() <= LONGEST_LABEL => Ok(Some(text)),
            Some(value) => Err(Refusal::of(field, value, "a name of at most 256 bytes")),
        }
    }

    fn tokens(&self, field: Field) -> Result<Option<u64>, Refusal> {
        self.parsed(field, "a whole number of tokens, at most 1,000,000,000", |value| {
            value.count().filter(|count| *count <= MOST_TOKENS)
        })
    }
}

/// Why a row is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) field: Option<&'static str>,
    pub(crate) value: String,
    pub(crate) expected: String,
}

impl Refusal {
    fn of(field: Field, value: &Value<'_>, expected: &str) -> Self {
        Self { field: Some(field.name()), value: value.shown(), expected: expected.to_owned() }
    }

    fn missing(field: Field, expected: &str) -> Self {
        Self { field: Some(field.name()), value: String::new(), expected: expected.to_owned() }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending<'a> {
    /// With an answer.
    Answered,
    /// Without one, and why.
    Failed(&'a str),
}

/// Where a cost comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// The log's own figure.
    Recorded(AttoUsd),
    /// Not in the log; LiteLLM's 0 for tokens that no cache answered is such a one.
    Absent {
        /// Whether the log says 0 and cannot mean it.
        zero_recorded: bool,
    },
}

/// One attempt at one model call. What the log does not say is absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UsageRow<'a> {
    /// When it began: nanoseconds since 1970, UTC.
    pub start: i64,
    /// When it ended.
    pub end: Option<i64>,
    /// What the attempts of one request share: a 64-bit hash.
    pub request: Option<u64>,
    /// Whether the log itself calls it a second or later attempt.
    pub stated_retry: bool,
    /// Whether another model answered than the one asked for.
    pub fallback: bool,
    /// The model that answered; the one asked for where nothing answered.
    pub model: Option<&'a str>,
    /// The model asked for, where the log says.
    pub requested: Option<&'a str>,
    /// Stage of the workflow, or the kind of call.
    pub stage: Option<&'a str>,
    /// Route.
    pub route: Option<&'a str>,
    /// Feature.
    pub feature: Option<&'a str>,
    /// Team.
    pub team: Option<&'a str>,
    /// Prompt tokens, cached ones included.
    pub input_tokens: Option<u64>,
    /// Answer tokens.
    pub output_tokens: Option<u64>,
    /// Prompt tokens that the provider's cache had.
    pub cached_tokens: Option<u64>,
    /// Cost.
    pub cost: Cost,
    /// How it ended.
    pub ending: Ending<'a>,
    /// Whether a response cache answered.
    pub cache_hit: bool,
    /// Whether it was a success for the product, where the log says.
    pub success: Option<bool>,
}

/// What a row turned out to be.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every row is a call, the largest; a box would be an allocation a row"
)]
pub(crate) enum Checked<'a> {
    Call(UsageRow<'a>),
    /// A span of something else, or one that repeats its children's tokens.
    NotACall,
}

/// Operations whose spans are not model calls. `invoke_agent` and `invoke_workflow` repeat the tokens of the calls within.
const NOT_CALLS: [&str; 14] = [
    "invoke_agent",
    "invoke_workflow",
    "create_agent",
    "execute_tool",
    "retrieval",
    "plan",
    "create_memory",
    "create_memory_store",
    "delete_memory",
    "delete_memory_store",
    "search_memory",
    "update_memory",
    "upsert_memory",
    "call_mcp_tool",
];

/// Checks a row. `same` says whether two model names are declared to mean one model.
pub(crate) fn check<'a>(
    raw: &'a RawRow<'_>,
    same: impl Fn(&str, &str) -> bool,
) -> Result<Checked<'a>, Refusal> {
    let operation = raw.label(Field::Operation)?.or(raw.label(Field::CallType)?);
    if operation.is_some_and(|operation| NOT_CALLS.contains(&operation)) {
        return Ok(Checked::NotACall);
    }
    let answered = raw.label(Field::Model)?;
    let requested = raw.label(Field::RequestedModel)?.or(raw.label(Field::OriginalModel)?);
    let says_usage = [Field::InputTokens, Field::OutputTokens, Field::Cost, Field::Spend]
        .iter()
        .any(|field| raw.get(*field).is_some());
    let model = answered.or(requested);
    if model.is_none() && !says_usage {
        let span = [Field::Trace, Field::Name, Field::Parent].iter().any(|field| raw.get(*field).is_some());
        return if span {
            Ok(Checked::NotACall)
        } else {
            Err(Refusal::missing(Field::Model, "a model, tokens or a cost"))
        };
    }
    let start = raw.parsed(Field::Time, instant::EXPECTED, Value::instant)?;
    let start = start.ok_or_else(|| Refusal::missing(Field::Time, instant::EXPECTED))?;
    let (input_tokens, output_tokens) = (raw.tokens(Field::InputTokens)?, raw.tokens(Field::OutputTokens)?);
    let cached_tokens = raw.tokens(Field::CachedTokens)?;
    if let (Some(cached), Some(input), Some(value)) =
        (cached_tokens, input_tokens, raw.get(Field::CachedTokens))
        && cached > input
    {
        let expected = format!("at most the {input} input tokens, of which cached ones are part");
        return Err(Refusal::of(Field::CachedTokens, value, &expected));
    }
    let ending = ending(raw)?;
    let cache_hit = raw.parsed(Field::CacheHit, "true or false", Value::truth)?.unwrap_or(false);
    let tokens = input_tokens.unwrap_or(0) + output_tokens.unwrap_or(0);
    let fallbacks = raw.parsed(Field::Fallbacks, "a number of fallbacks", Value::count)?.unwrap_or(0);
    let attempt = raw.parsed(Field::Attempt, "the number of the attempt, from 1", |value| {
        value.count().filter(|attempt| *attempt > 0)
    })?;
    let resends = raw.parsed(Field::Resends, "a number of attempts before", Value::count)?;
    let asked_and_answered = raw.label(Field::RequestedModel)?.zip(answered);
    let differs = asked_and_answered.is_some_and(|(asked, answered)| {
        asked != answered && !same_model(asked, answered) && !same(asked, answered)
    });
    Ok(Checked::Call(UsageRow {
        start,
        end: end(raw, start)?,
        request: request(raw)?,
        stated_retry: attempt.unwrap_or(1) > 1 || resends.unwrap_or(0) > 0,
        fallback: fallbacks > 0 || differs,
        model,
        requested,
        stage: raw.label(Field::Stage)?.or(operation),
        route: raw.label(Field::Route)?,
        feature: raw.label(Field::Feature)?,
        team: raw.label(Field::Team)?.or(raw.label(Field::TeamId)?),
        input_tokens,
        output_tokens,
        cached_tokens,
        cost: cost(raw, tokens, cache_hit)?,
        ending,
        cache_hit,
        success: raw.parsed(Field::Success, "true or false", Value::truth)?,
    }))
}

fn cost(raw: &RawRow<'_>, tokens: u64, cache_hit: bool) -> Result<Cost, Refusal> {
    let expected = "a cost from 0 to 1,000,000 USD";
    if let Some(cost) = raw.parsed(Field::Cost, expected, Value::money)? {
        return Ok(Cost::Recorded(cost));
    }
    // The proxy writes 0 where it knows no price. A failure that spent no tokens, and an answer from the cache, do cost nothing.
    let spend = raw.parsed(Field::Spend, expected, Value::money)?;
    let unpriced = spend == Some(AttoUsd::ZERO) && tokens > 0 && !cache_hit;
    Ok(spend.filter(|_| !unpriced).map_or(Cost::Absent { zero_recorded: unpriced }, Cost::Recorded))
}

/// The end, from itself or from the duration.
#[expect(clippy::cast_possible_truncation, reason = "checked to be below 30 days of nanoseconds")]
fn end(raw: &RawRow<'_>, start: i64) -> Result<Option<i64>, Refusal> {
    if let Some(value) = raw.get(Field::End) {
        let end = value.instant().filter(|end| (start..=start + LONGEST_CALL).contains(end));
        let expected = "a time at or after the start, within 30 days of it";
        return end.map(Some).ok_or_else(|| Refusal::of(Field::End, value, expected));
    }
    let units = [(Field::DurationMs, 1e6), (Field::DurationSeconds, SECOND as f64)];
    for (field, unit) in units {
        let read =
            |value: &Value<'_>| value.number().map(|n| n * unit).filter(|ns| *ns <= LONGEST_CALL as f64);
        if let Some(nanoseconds) = raw.parsed(field, "a duration from 0 to 30 days", read)? {
            return Ok(Some(start + nanoseconds.round() as i64));
        }
    }
    Ok(None)
}

/// What attempts of one request share. A trace has many calls, so the span above and the stage take part.
fn request(raw: &RawRow<'_>) -> Result<Option<u64>, Refusal> {
    let text = |field: Field| raw.get(field).and_then(Value::text);
    // LiteLLM gives every attempt a request id of its own; its attempts share the session.
    let session = raw.get(Field::CallType).and_then(|_| text(Field::Session));
    let Some(shared) = text(Field::Trace).or(session).or_else(|| text(Field::Request)) else {
        return Ok(None);
    };
    let stage = raw.label(Field::Stage)?.or(raw.label(Field::Operation)?).unwrap_or("");
    let parent = text(Field::Parent).unwrap_or_default();
    Ok(Some(crate::hash::of_texts(&[&shared, &parent, stage])))
}

fn ending<'a>(raw: &'a RawRow<'_>) -> Result<Ending<'a>, Refusal> {
    let text = |field: Field| match raw.get(field) {
        Some(Value::Text(text)) if text.len() <= LONGEST_LABEL && !text.eq_ignore_ascii_case("none") => {
            Some(text.as_ref())
        }
        _ => None,
    };
    let cause = text(Field::Error).or_else(|| text(Field::ErrorCode));
    let Some(value) = raw.get(Field::Status) else {
        return Ok(cause.map_or(Ending::Answered, Ending::Failed));
    };
    let stated = value.text().unwrap_or_default();
    let is = |words: &[&str]| words.iter().any(|word| stated.eq_ignore_ascii_case(word));
    let code = stated.parse::<u32>().ok();
    let failed =
        if is(&["success", "ok", "unset", "STATUS_CODE_OK", "STATUS_CODE_UNSET", "completed", "succeeded"])
            || matches!(code, Some(0 | 1 | 200..=399))
        {
            false
        } else if is(&[
            "failure",
            "failed",
            "error",
            "STATUS_CODE_ERROR",
            "timeout",
            "cancelled",
            "rate_limited",
        ]) || matches!(code, Some(2 | 400..=599))
        {
            true
        } else {
            let expected = "success, failure, ok, error, timeout, an OpenTelemetry status or an HTTP status";
            return Err(Refusal::of(Field::Status, value, expected));
        };
    // A cause beside a success is what a retry within overcame, or an empty default.
    if !failed && code.is_none_or(|code| code > 1) && !is(&["unset", "STATUS_CODE_UNSET"]) {
        return Ok(Ending::Answered);
    }
    let named = match value {
        Value::Text(text) if !is(&["failure", "failed", "error", "STATUS_CODE_ERROR", "2"]) => {
            Some(text.as_ref())
        }
        _ => None,
    };
    match (failed, cause) {
        (_, Some(cause)) => Ok(Ending::Failed(cause)),
        (true, None) => Ok(Ending::Failed(named.unwrap_or("not said"))),
        (false, None) => Ok(Ending::Answered),
    }
}

impl Cost {
    /// The figure of the log.
    pub fn recorded(self) -> Option<Usd> {
        match self {
            Self::Recorded(cost) => Some(cost.usd()),
            Self::Absent { .. } => None,
        }
    }
}
