//! Answers in OpenAI's shapes: whole, or as server-sent events the way llama.cpp's server and vLLM send them: a chunk with the
//! role, chunks with text, a chunk with the reason, on request a chunk with the usage and no choices, `[DONE]`.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::response::sse::Event as SseEvent;
use breakeven_models::inference::{Event, EventStream, FinishReason, RequestError};
use futures_util::{Stream, stream};
use serde_json::{Value, json};

use crate::{error::ApiError, metrics::Metrics};

/// Which of the two interfaces an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Completion,
}

/// The reason as OpenAI names it.
pub(crate) fn reason_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// What every chunk of an answer repeats.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    kind: Kind,
    id: String,
    created: u64,
    model: Arc<str>,
}

impl Envelope {
    pub(crate) fn new(kind: Kind, number: u64, model: Arc<str>) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let prefix = match kind {
            Kind::Chat => "chatcmpl",
            Kind::Completion => "cmpl",
        };
        Self { kind, id: format!("{prefix}-{created:x}-{number:x}"), created, model }
    }

    fn json(&self, object: &str, choices: &[Value], usage: Option<&Value>) -> Value {
        match usage {
            None => json!({
                "id": self.id, "object": object, "created": self.created, "model": &*self.model, "choices": choices,
            }),
            Some(usage) => json!({
                "id": self.id, "object": object, "created": self.created, "model": &*self.model, "choices": choices,
                "usage": usage,
            }),
        }
    }

    fn whole(&self, text: &str, reason: FinishReason, usage: &Value) -> Value {
        let reason = reason_name(reason);
        let (object, choice) = match self.kind {
            Kind::Chat => (
                "chat.completion",
                json!({ "index": 0, "message": { "role": "assistant", "content": text }, "logprobs": null,
                    "finish_reason": reason }),
            ),
            Kind::Completion => (
                "text_completion",
                json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": reason }),
            ),
        };
        self.json(object, &[choice], Some(usage))
    }

    fn chunk_object(&self) -> &'static str {
        match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Completion => "text_completion",
        }
    }

    fn chunk(&self, choice: Value) -> Value {
        self.json(self.chunk_object(), &[choice], None)
    }

    fn role(&self) -> Option<Value> {
        (self.kind == Kind::Chat).then(|| {
            self.chunk(json!({ "index": 0, "delta": { "role": "assistant", "content": "" }, "logprobs": null,
                "finish_reason": null }))
        })
    }

    fn text(&self, text: &str) -> Value {
        self.chunk(match self.kind {
            Kind::Chat => {
                json!({ "index": 0, "delta": { "content": text }, "logprobs": null, "finish_reason": null })
            }
            Kind::Completion => json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": null }),
        })
    }

    fn end(&self, reason: FinishReason) -> Value {
        let reason = reason_name(reason);
        self.chunk(match self.kind {
            Kind::Chat => json!({ "index": 0, "delta": {}, "logprobs": null, "finish_reason": reason }),
            Kind::Completion => json!({ "index": 0, "text": "", "logprobs": null, "finish_reason": reason }),
        })
    }

    fn usage(&self, usage: &Value) -> Value {
        self.json(self.chunk_object(), &[], Some(usage))
    }
}

fn usage(prompt_tokens: usize, cached_tokens: usize, output_tokens: usize) -> Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
        "prompt_tokens_details": { "cached_tokens": cached_tokens },
    })
}

/// A running request, watched: its metrics are counted whoever reads it, and whoever drops it early cancels it.
#[derive(Debug)]
pub(crate) struct Running {
    events: EventStream,
    metrics: Arc<Metrics>,
    arrived: Instant,
    first: Option<Instant>,
    last: Instant,
    ended: bool,
}

impl Running {
    pub(crate) fn new(events: EventStream, metrics: Arc<Metrics>, arrived: Instant) -> Self {
        Self { events, metrics, arrived, first: None, last: arrived, ended: false }
    }

    async fn next(&mut self) -> Event {
        let event = self.events.next().await.unwrap_or(Event::Failed { error: RequestError::Stopped });
        match &event {
            Event::Token { at, .. } => {
                if self.first.is_none() {
                    self.first = Some(*at);
                    self.metrics.first_token(at.saturating_duration_since(self.arrived));
                }
                self.last = *at;
                self.metrics.token();
            }
            Event::Done { reason, prompt_tokens, cached_tokens, output_tokens, .. } => {
                self.ended = true;
                let decoding = self.last.saturating_duration_since(self.first.unwrap_or(self.last));
                let whole = self.last.saturating_duration_since(self.arrived);
                self.metrics.finished(
                    *reason,
                    *prompt_tokens,
                    *cached_tokens,
                    *output_tokens,
                    decoding,
                    whole,
                );
            }
            Event::Failed { .. } => self.ended = true,
        }
        event
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.metrics.cancelled();
        }
    }
}

/// The whole answer at once.
pub(crate) async fn whole(envelope: Envelope, mut running: Running) -> Result<Value, ApiError> {
    let mut text = String::new();
    loop {
        match running.next().await {
            Event::Token { text: piece, .. } => text.push_str(&piece.unwrap_or_default()),
            Event::Done { reason, prompt_tokens, cached_tokens, output_tokens, .. } => {
                let usage = usage(prompt_tokens, cached_tokens, output_tokens);
                return Ok(envelope.whole(&text, reason, &usage));
            }
            Event::Failed { error } => return Err(error.into()),
        }
    }
}

/// Chunks that are ready to be sent, and where more come from.
struct Chunks {
    envelope: Envelope,
    running: Option<Running>,
    include_usage: bool,
    ready: std::collections::VecDeque<String>,
    /// The chunk with the role, until the engine says something: clients take the first chunk for the first token.
    role: Option<Value>,
}

/// The answer as server-sent events. Dropping the stream cancels the request.
pub(crate) fn streamed(
    envelope: Envelope,
    running: Running,
    include_usage: bool,
) -> impl Stream<Item = Result<SseEvent, Infallible>> {
    let role = envelope.role();
    let ready = std::collections::VecDeque::new();
    let chunks = Chunks { envelope, running: Some(running), include_usage, ready, role };
    stream::unfold(chunks, |mut chunks| async move {
        loop {
            if let Some(data) = chunks.ready.pop_front() {
                return Some((Ok(SseEvent::default().data(data)), chunks));
            }
            let event = chunks.running.as_mut()?.next().await;
            chunks.take(event);
        }
    })
}

impl Chunks {
    fn take(&mut self, event: Event) {
        if let Some(role) = self.role.take() {
            self.push(&role);
        }
        match event {
            // No text yet: inside a character, or of a stop text that may still turn out to be one.
            Event::Token { text: None, .. } => {}
            Event::Token { text: Some(text), .. } => self.push(&self.envelope.text(&text)),
            Event::Done { reason, prompt_tokens, cached_tokens, output_tokens, .. } => {
                self.push(&self.envelope.end(reason));
                if self.include_usage {
                    self.push(&self.envelope.usage(&usage(prompt_tokens, cached_tokens, output_tokens)));
                }
                self.finish();
            }
            Event::Failed { error } => {
                self.push(&ApiError::from(error).json());
                self.finish();
            }
        }
    }

    fn push(&mut self, chunk: &Value) {
        self.ready.push_back(chunk.to_string());
    }

    fn finish(&mut self) {
        self.ready.push_back("[DONE]".to_owned());
        self.running = None;
    }
}
