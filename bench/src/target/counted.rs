//! A target whose answers are counted by our tokenizer too.
//!
//! Servers that send no usage record leave streamed chunks, of one token or several, as the only count; then ours is better. Where a
//! record comes it is what the server bills, and ours stands beside it.

use std::{fmt, sync::Arc};

use breakeven_measurement::{level::TokenSource, step_fit::StepRow};

use super::{Answer, Attempting, Outcome, Target, TargetLoad, Trace};
use crate::requests::Request;

/// Tokens of a text; `None` where the tokenizer cannot encode it.
pub type Count = Arc<dyn Fn(&str) -> Option<u64> + Send + Sync>;

/// A server's count may be this much off ours: the end-of-text token that it counts and does not send, and a word cut differently.
const EITHER_WAY: u64 = 2;
/// Or one token in so many: text is not always cut as it was generated.
const ONE_IN: u64 = 50;

/// Whether two counts of one answer are more than a manner of counting apart.
pub fn disagree(server: u64, ours: u64) -> bool {
    server.abs_diff(ours) > EITHER_WAY.max(server.div_ceil(ONE_IN))
}

/// A target with a tokenizer beside it.
pub struct Counted {
    /// What is asked.
    pub target: Arc<dyn Target>,
    /// The tokenizer of its model.
    pub count: Count,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Counted {
    async fn answer(&self, request: &Request, trace: &mut Trace) -> Outcome {
        let wanted = trace.answer.is_some();
        trace.answer.get_or_insert_default();
        let mut outcome = self.target.attempt(request, trace).await;
        let ours = trace.answer.as_ref().and_then(|answer| self.tokens_of(answer));
        trace.tokenizer_tokens = ours;
        if let (Outcome::Completed(usage), Some(ours)) = (&mut outcome, ours)
            && usage.source == TokenSource::Chunks
        {
            (usage.output_tokens, usage.source) = (ours, TokenSource::Tokenizer);
        }
        if !wanted {
            trace.answer = None;
        }
        outcome
    }

    fn tokens_of(&self, answer: &Answer) -> Option<u64> {
        let calls = answer.tool_calls.iter().flat_map(|call| [&call.name, &call.arguments]);
        let texts = [&answer.text, &answer.reasoning].into_iter().chain(calls);
        texts.filter(|text| !text.is_empty()).map(|text| (self.count)(text)).sum()
    }
}

impl Target for Counted {
    fn attempt<'a>(&'a self, request: &'a Request, trace: &'a mut Trace) -> Attempting<'a> {
        Box::pin(self.answer(request, trace))
    }

    fn take_load(&self) -> TargetLoad {
        self.target.take_load()
    }

    fn take_steps(&self) -> Vec<StepRow> {
        self.target.take_steps()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_text_token_is_no_disagreement() {
        assert!(!disagree(41, 40) && !disagree(40, 42) && disagree(40, 43));
        assert!(!disagree(1_000, 980) && disagree(1_000, 979));
    }
}
