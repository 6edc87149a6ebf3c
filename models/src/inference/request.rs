//! What a caller asks of the engine and what comes back.

use std::time::Instant;

use tokio::sync::mpsc;

use super::chat::Message;
use super::sampling::Sampling;

/// The prompt of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Tokens, used as they are.
    Tokens(Vec<u32>),
    /// A conversation, put into the model's chat template.
    Chat(Vec<Message>),
    /// Plain text, continued.
    Text(String),
}

/// One request for text.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// What to continue or answer.
    pub prompt: Prompt,
    /// Most tokens to generate; bounded by the context too.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts at which the answer ends; they are not part of it.
    pub stop: Vec<String>,
    /// Go on past the model's own end-of-answer tokens: benchmarks need exact lengths.
    pub ignore_eos: bool,
    /// Seed of random sampling.
    pub seed: u64,
    /// Requests of a higher priority leave the queue first; running ones are not put out for them.
    pub priority: u8,
}

impl GenerateRequest {
    /// A greedy request.
    pub fn new(prompt: Prompt, max_tokens: usize) -> Self {
        Self {
            prompt,
            max_tokens,
            sampling: Sampling::Greedy,
            stop: Vec::new(),
            ignore_eos: false,
            seed: 0,
            priority: 0,
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop text was met.
    Stop,
    /// `max_tokens` or the context was reached.
    Length,
}

/// Why an accepted request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A step failed.
    #[error("the engine failed: {0}")]
    Step(String),
    /// The logits held no number.
    #[error("the model produced no finite logit")]
    NotANumber,
    /// The engine was shut down.
    #[error("the engine stopped")]
    Stopped,
}

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The prompt has no tokens.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// No room for the prompt and one token of answer.
    #[error("the prompt has {tokens} tokens, expected fewer than the context of {context}")]
    PromptTooLong {
        /// Of the prompt.
        tokens: usize,
        /// Of the engine.
        context: usize,
    },
    /// A token that the model does not have.
    #[error("the prompt holds token {token}, expected ids below {vocabulary}")]
    UnknownToken {
        /// The id.
        token: u32,
        /// Entries of the vocabulary.
        vocabulary: usize,
    },
    /// The tokenizer or the chat template refused the prompt.
    #[error("cannot encode the prompt: {0}")]
    Encoding(String),
    /// A sampling parameter makes no sense.
    #[error("{0}")]
    Sampling(String),
    /// No answer was asked for.
    #[error("max_tokens is 0, expected at least 1")]
    NoTokens,
    /// The queue is full.
    #[error("the queue is full at {0} waiting requests")]
    QueueFull(usize),
    /// The engine was shut down.
    #[error("the engine stopped")]
    Stopped,
}

/// What happens to a request, in order: tokens, then exactly one of `Done` and `Failed`.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// One generated token, the model's own end token included.
    Token {
        /// Its id.
        id: u32,
        /// Text that became certain with it; `None` inside a character or a possible stop text.
        text: Option<String>,
        /// When it was ready.
        at: Instant,
    },
    /// The answer is complete.
    Done {
        /// Why.
        reason: FinishReason,
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Of these, found in the prefix cache.
        cached_tokens: usize,
        /// Tokens generated.
        output_tokens: usize,
        /// When.
        at: Instant,
    },
    /// The request came to nothing.
    Failed {
        /// Why.
        error: RequestError,
    },
}

/// The events of one request. Dropping it cancels the request.
#[derive(Debug)]
pub struct EventStream {
    receiver: mpsc::UnboundedReceiver<Event>,
    ended: bool,
}

impl EventStream {
    pub(crate) fn new(receiver: mpsc::UnboundedReceiver<Event>) -> Self {
        Self { receiver, ended: false }
    }

    /// The next event; `None` after the last one.
    pub async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.receiver.recv().await;
        Some(self.note(event))
    }

    /// The next event, for threads outside an async runtime.
    pub fn blocking_next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.receiver.blocking_recv();
        Some(self.note(event))
    }

    /// A closed channel without a last event means that the engine is gone.
    fn note(&mut self, event: Option<Event>) -> Event {
        let event = event.unwrap_or(Event::Failed { error: RequestError::Stopped });
        self.ended = !matches!(event, Event::Token { .. });
        event
    }
}
