//! From stream events to token times, token counts and an outcome.

use breakeven_measurement::{FailureCause, level::TokenSource};
use tokio::time::Instant;

use super::{
    event::{Chunk, Timings, UsageRecord},
    fault::{Fault, excerpt},
    sse::Event,
};
use crate::{
    requests::Request,
    target::{Trace, Usage},
};

/// A server that goes on this far beyond what was asked never ends: factor and floor, in chunks.
const ENDLESS: (u64, u64) = (4, 4_096);

/// What has been read of one answer.
#[derive(Debug)]
pub(crate) struct Answering {
    usage: Option<UsageRecord>,
    timings: Option<Timings>,
    /// `[DONE]` came.
    pub(crate) done: bool,
    /// A `finish_reason` came: only usage and `[DONE]` may follow.
    pub(crate) finished: bool,
    most_chunks: u64,
    expected_chunks: usize,
}

impl Answering {
    pub(crate) fn new(request: &Request) -> Self {
        let asked = u64::from(request.output_tokens);
        Self {
            usage: None,
            timings: None,
            done: false,
            finished: false,
            most_chunks: (asked * ENDLESS.0).max(ENDLESS.1),
            expected_chunks: request.output_tokens.min(1 << 16) as usize,
        }
    }

    /// Takes one event that arrived at `at`.
    pub(crate) fn event(&mut self, event: Event<'_>, at: Instant, trace: &mut Trace) -> Result<(), Fault> {
        let data = event.data.trim_ascii();
        if data.is_empty() {
            return Ok(());
        }
        if data == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        if event.is_error {
            let value = serde_json::from_slice::<serde_json::Value>(data);
            let value = value.unwrap_or_else(|_| serde_json::Value::String(excerpt(data)));
            return Err(Fault::reported(value.get("error").unwrap_or(&value)));
        }
        match serde_json::from_slice::<Chunk<'_>>(data) {
            Ok(chunk) => self.chunk(chunk, at, trace),
            // Servers that leave out the blank line between events: each line is one.
            Err(_) if data.contains(&b'\n') => data
                .split(|byte| *byte == b'\n')
                .try_for_each(|line| self.event(Event { data: line, is_error: false }, at, trace)),
            Err(error) => {
                let what = if std::str::from_utf8(data).is_err() { "invalid UTF-8" } else { "invalid JSON" };
                Err(Fault::malformed(format!("{what} in an event ({error}): {}", excerpt(data))))
            }
        }
    }

    fn chunk(&mut self, chunk: Chunk<'_>, at: Instant, trace: &mut Trace) -> Result<(), Fault> {
        let groq = chunk.x_groq.unwrap_or_default();
        if chunk.usage.is_some() || groq.usage.is_some() {
            self.usage = chunk.usage.or(groq.usage);
        }
        self.timings = chunk.timings.or(self.timings);
        let choices = chunk.choices;
        if choices.visible || choices.reasoning {
            if trace.chunk_gaps.capacity() == 0 {
                trace.chunk_gaps.reserve_exact(self.expected_chunks);
            }
            if choices.visible {
                trace.chunk(at, 1);
            } else {
                trace.hidden_chunk(at, 1);
            }
            if trace.tokens > self.most_chunks {
                return Err(Fault::malformed(format!(
                    "still streaming after {} chunks; the answer was limited to fewer tokens",
                    self.most_chunks
                )));
            }
        }
        if let (Some(answer), Some(delta)) = (&mut trace.answer, &choices.first) {
            answer.text.push_str(&delta.content.visible);
            answer.text.push_str(&delta.refusal.visible);
            let named = if delta.reasoning_content.visible.is_empty() {
                &delta.reasoning
            } else {
                &delta.reasoning_content
            };
            answer.reasoning.push_str(&named.visible);
            answer.reasoning.push_str(&delta.content.thinking);
            for call in delta.tool_calls.iter().flatten() {
                call.add_to(&mut answer.tool_calls);
            }
        }
        if let Some(reason) = choices.finish_reason {
            self.finished = true;
            if trace.finish_reason.as_deref() != Some(&*reason) {
                trace.finish_reason = Some(reason.into_owned());
            }
        }
        match chunk.error.or(groq.error) {
            Some(error) if !error.is_null() => Err(Fault::reported(&error)),
            _ => Ok(()),
        }
    }

    /// The stream has ended: what it adds up to.
    pub(crate) fn conclude(self, request: &Request, trace: &Trace) -> Result<Usage, Fault> {
        if trace.first_token.is_none() {
            let reason = trace.finish_reason.as_deref().unwrap_or("none given");
            return Err(Fault::malformed(format!("the answer has no token (finish_reason: {reason})")));
        }
        if !self.done && !self.finished {
            return Err(Fault::new(
                FailureCause::Truncated,
                format!("the stream ended after {} chunks without finish_reason or [DONE]", trace.tokens),
            ));
        }
        let usage = self.usage.unwrap_or_default();
        let timings = self.timings.unwrap_or_default();
        // A count of none beside tokens that were seen is a server that does not count.
        let counted = usage.output().or(timings.predicted_n).filter(|count| *count > 0);
        let prompt = usage.prompt_tokens.or_else(|| Some(timings.prompt_n? + timings.cache_n.unwrap_or(0)));
        Ok(Usage {
            input_tokens: prompt.filter(|count| *count > 0).unwrap_or(request.input_tokens.into()),
            cached_tokens: usage.cached().or(timings.cache_n).unwrap_or(0),
            output_tokens: counted.unwrap_or(trace.tokens),
            source: if counted.is_some() { TokenSource::Usage } else { TokenSource::Chunks },
        })
    }
}
