//! What is driven. A target is not aware of schedules, SLOs or statistics; it answers one request and stamps its tokens.

pub mod counted;
#[cfg(feature = "engine")]
pub mod engine;
pub mod http;
pub mod mock;
pub mod null;

use std::{future::Future, pin::Pin, time::Duration};

use breakeven_measurement::{FailureCause, level::TokenSource, step_fit::StepRow};
use tokio::time::Instant;

use crate::requests::Request;

/// The token times of one attempt, filled by the target as they come, so that an attempt cut off keeps what it saw.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Trace {
    /// First token of any kind, reasoning included.
    pub first_token: Option<Instant>,
    /// First token that a user sees.
    pub first_visible: Option<Instant>,
    /// Latest token.
    pub last_token: Option<Instant>,
    /// Tokens seen.
    pub tokens: u64,
    /// Gaps between chunks.
    pub chunk_gaps: Vec<Duration>,
    /// HTTP status, where an HTTP server answered.
    pub http_status: Option<u16>,
    /// How long the server asked to wait before another try.
    pub retry_after: Option<Duration>,
    /// Why generation ended, in the target's word.
    pub finish_reason: Option<String>,
    /// What was answered; kept only where someone asked for it by putting an empty one here.
    pub answer: Option<Answer>,
    /// Tokens of the answer by our tokenizer, where one was given for the target's model.
    pub tokenizer_tokens: Option<u64>,
    /// Why earlier tries of this request failed, in order.
    pub retries: Vec<FailureCause>,
    /// Tokens, in and out, that those tries spent.
    pub retried_tokens: u64,
    /// Whether the fallback was asked.
    pub fell_back: bool,
}

/// What a target answered, for checks of the answer itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Visible text of the first choice.
    pub text: String,
    /// Its tokens, where the target tells them.
    pub tokens: Vec<u32>,
    /// Reasoning text, where it is told apart.
    pub reasoning: String,
    /// Tool calls in the order of their index.
    pub tool_calls: Vec<ToolCall>,
}

/// One tool call, put together from its pieces.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Function name.
    pub name: String,
    /// Arguments as the model wrote them, meant to be JSON.
    pub arguments: String,
}

impl Trace {
    /// Notes a chunk of `tokens` visible tokens that arrived at `at`.
    pub fn chunk(&mut self, at: Instant, tokens: u64) {
        self.first_visible.get_or_insert(at);
        self.hidden_chunk(at, tokens);
    }

    /// Forgets a failed try and keeps what it cost: the next one starts afresh.
    pub fn try_again(&mut self, cause: FailureCause, input_tokens: u64) {
        let mut retries = std::mem::take(&mut self.retries);
        retries.push(cause);
        let retried_tokens = self.retried_tokens + input_tokens + self.tokens;
        *self = Self { retries, retried_tokens, fell_back: self.fell_back, ..Self::default() };
    }

    /// Notes a chunk of `tokens` tokens that the user does not see (reasoning).
    pub fn hidden_chunk(&mut self, at: Instant, tokens: u64) {
        if let Some(last) = self.last_token {
            self.chunk_gaps.push(at.saturating_duration_since(last));
        }
        self.first_token.get_or_insert(at);
        self.last_token = Some(at);
        self.tokens += tokens;
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer came.
    Completed(Usage),
    /// It did not.
    Failed {
        /// Why.
        cause: FailureCause,
        /// What the target said, for the journal; no credentials.
        detail: String,
    },
}

/// Token counts of a completed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Of these, read from a prefix cache.
    pub cached_tokens: u64,
    /// Answer tokens, reasoning included.
    pub output_tokens: u64,
    /// Who counted the answer.
    pub source: TokenSource,
}

/// What a target can tell of its own load since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TargetLoad {
    /// Mean sequences sharing a step.
    pub mean_batch_occupancy: Option<f64>,
    /// Longest queue seen.
    pub peak_queue: Option<u64>,
    /// Most KV tokens seen in use.
    pub peak_kv_tokens: Option<u64>,
}

/// The future of one attempt.
pub type Attempting<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Something that answers requests.
pub trait Target: Send + Sync + std::fmt::Debug {
    /// Answers one request, stamping its tokens into `trace`. Dropping the future cancels the request.
    fn attempt<'a>(&'a self, request: &'a Request, trace: &'a mut Trace) -> Attempting<'a>;

    /// Its own load since the last call; nothing where it cannot tell.
    fn take_load(&self) -> TargetLoad {
        TargetLoad::default()
    }

    /// The steps that the last [`Self::take_load`] summed up; empty where it cannot tell.
    fn take_steps(&self) -> Vec<StepRow> {
        Vec::new()
    }
}
