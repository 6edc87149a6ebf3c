//! One request on the engine's side: sampling, text, limits, and the channel to its caller.

use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::request::{Event, FinishReason, GenerateRequest, RequestError};
use super::sampling::{Sampler, Scratch};
use super::text_stream::TextStream;
use super::tokenizer::TextCodec;

/// Whether a sequence goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With this token.
    Goes(u32),
    /// It ended, and its caller knows.
    Ends,
}

/// Events of a step, sent when the step is in the log: who has seen an answer's end finds its steps there.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Vec<(UnboundedSender<Event>, Event)>);

impl Outbox {
    fn push(&mut self, to: &UnboundedSender<Event>, event: Event) {
        self.0.push((to.clone(), event));
    }

    pub(crate) fn send(&mut self) {
        for (to, event) in self.0.drain(..) {
            // A caller that is gone needs no event: the next step drops the sequence.
            drop(to.send(event));
        }
    }
}

/// The state of one answer.
#[derive(Debug)]
pub(crate) struct Answer {
    events: UnboundedSender<Event>,
    sampler: Sampler,
    /// The next token, until it is told; `None` where no logit was a number.
    drawn: Option<u32>,
    text: TextStream,
    ignore_eos: bool,
    prompt_tokens: usize,
    /// Tokens of the prompt that were found in the prefix cache.
    pub(crate) cached_tokens: usize,
    output_tokens: usize,
    limit: usize,
}

impl Answer {
    /// `limit`: most tokens to generate, the context considered.
    pub(crate) fn new(
        request: GenerateRequest,
        prompt_tokens: usize,
        limit: usize,
        events: UnboundedSender<Event>,
    ) -> Self {
        Self {
            events,
            sampler: Sampler::new(request.sampling, request.seed),
            drawn: None,
            text: TextStream::new(request.stop),
            ignore_eos: request.ignore_eos,
            prompt_tokens,
            cached_tokens: 0,
            output_tokens: 0,
            limit,
        }
    }

    /// The caller dropped its stream.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.events.is_closed()
    }

    /// Tells the caller that nothing more comes.
    pub(crate) fn fail(&self, error: RequestError) {
        // A caller that is gone needs no event.
        drop(self.events.send(Event::Failed { error }));
    }

    /// Samples the next token.
    pub(crate) fn draw(&mut self, logits: &[f32], scratch: &mut Scratch) {
        self.drawn = self.sampler.next(logits, scratch);
    }

    /// Goes on by the token drawn; what the caller is to be told goes to `outbox`.
    pub(crate) fn advance(&mut self, codec: &TextCodec, at: Instant, outbox: &mut Outbox) -> Outcome {
        let Some(token) = self.drawn.take() else {
            outbox.push(&self.events, Event::Failed { error: RequestError::NotANumber });
            return Outcome::Ends;
        };
        self.output_tokens += 1;
        let addition = self.text.push(codec.piece(token));
        let mut text = addition.text;
        let reason = if addition.stopped || (!self.ignore_eos && codec.is_stop(token)) {
            Some(FinishReason::Stop)
        } else {
            (self.output_tokens >= self.limit).then_some(FinishReason::Length)
        };
        if reason.is_some() && !addition.stopped {
            text.push_str(&self.text.finish());
        }
        let text = (!text.is_empty()).then_some(text);
        outbox.push(&self.events, Event::Token { id: token, text, at });
        let Some(reason) = reason else { return Outcome::Goes(token) };
        let Self { prompt_tokens, cached_tokens, output_tokens, .. } = *self;
        let done = Event::Done { reason, prompt_tokens, cached_tokens, output_tokens, at };
        outbox.push(&self.events, done);
        Outcome::Ends
    }
}
