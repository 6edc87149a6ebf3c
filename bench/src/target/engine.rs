//! The in-process engine as a target. Token times are the engine's own stamps.

use std::sync::{Arc, Mutex, PoisonError};

use breakeven_measurement::{FailureCause, level::TokenSource, step_fit::StepRow};
use breakeven_models::inference::{Engine, Event, GenerateRequest, Prompt, RequestError, SubmitError};
use tokio::time::Instant;

use crate::{
    requests::Request,
    target::{Attempting, Outcome, Target, TargetLoad, Trace, Usage},
};

/// Drives an engine of this process, greedily and past the model's own end, so that lengths are exact.
#[derive(Debug)]
pub struct EngineTarget {
    engine: Arc<Engine>,
    steps: Mutex<Vec<StepRow>>,
}

impl EngineTarget {
    /// A target over a running engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine, steps: Mutex::default() }
    }

    async fn answer(&self, request: &Request, trace: &mut Trace) -> Outcome {
        let generate = GenerateRequest {
            ignore_eos: true,
            ..GenerateRequest::new(Prompt::Tokens(request.context()), request.output_tokens as usize)
        };
        let mut events = match self.engine.submit(generate) {
            Ok(events) => events,
            Err(error) => return refused(&error),
        };
        while let Some(event) = events.next().await {
            match event {
                Event::Token { at, id, text } => {
                    trace.chunk(Instant::from_std(at), 1);
                    if let Some(answer) = &mut trace.answer {
                        answer.tokens.push(id);
                        answer.text.push_str(text.as_deref().unwrap_or_default());
                    }
                }
                Event::Done { prompt_tokens, cached_tokens, output_tokens, .. } => {
                    if output_tokens < request.output_tokens as usize {
                        return Outcome::Failed {
                            cause: FailureCause::Truncated,
                            detail: format!("{output_tokens} of {} tokens", request.output_tokens),
                        };
                    }
                    return Outcome::Completed(Usage {
                        input_tokens: prompt_tokens as u64,
                        cached_tokens: cached_tokens as u64,
                        output_tokens: output_tokens as u64,
                        source: TokenSource::Usage,
                    });
                }
                Event::Failed { error } => return failed(&error),
            }
        }
        failed(&RequestError::Stopped)
    }
}

fn refused(error: &SubmitError) -> Outcome {
    let cause = match error {
        SubmitError::QueueFull(_) => FailureCause::RateLimited,
        SubmitError::PromptTooLong { .. } | SubmitError::EmptyPrompt => FailureCause::Rejected,
        _ => FailureCause::Engine,
    };
    Outcome::Failed { cause, detail: error.to_string() }
}

fn failed(error: &RequestError) -> Outcome {
    Outcome::Failed { cause: FailureCause::Engine, detail: error.to_string() }
}

impl Target for EngineTarget {
    fn attempt<'a>(&'a self, request: &'a Request, trace: &'a mut Trace) -> Attempting<'a> {
        Box::pin(self.answer(request, trace))
    }

    /// From the step log: occupancy weighs each step by its time, so idle time does not count.
    fn take_load(&self) -> TargetLoad {
        let steps = self.engine.take_step_log();
        let seconds: f64 = steps.iter().map(|s| s.seconds).sum();
        let busy: f64 = steps
            .iter()
            .map(|s| (s.decoding_sequences + usize::from(s.prefill_tokens > 0)) as f64 * s.seconds)
            .sum();
        let rows = steps.iter().map(|s| StepRow {
            steps: 1.0,
            prefill_tokens: s.prefill_tokens as f64,
            decoding_sequences: s.decoding_sequences as f64,
            context_tokens: s.context_tokens as f64,
            seconds: s.seconds,
        });
        *self.steps.lock().unwrap_or_else(PoisonError::into_inner) = rows.collect();
        TargetLoad {
            mean_batch_occupancy: (seconds > 0.0).then(|| busy / seconds),
            peak_queue: steps.iter().map(|s| s.queued as u64).max(),
            peak_kv_tokens: steps.iter().map(|s| s.context_tokens as u64).max(),
        }
    }

    fn take_steps(&self) -> Vec<StepRow> {
        std::mem::take(&mut *self.steps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
