//! What a client does about failures: tries again by cause with backoff, turns to a fallback, checks the answer.
//!
//! A policy wraps a target and is one itself, so everything that drives a target drives it with its policy. A request's
//! latency counts from when it was due to the tokens of the try that succeeded; failed tries, their waits and their tokens are
//! part of it. The deadline is the drive's: it ends a request whatever try it is at.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use breakeven_measurement::{FailureCause, step_fit::StepRow};
use serde::Serialize;
use tokio::{sync::watch, time::sleep};

use crate::{
    criteria::Criteria,
    requests::Request,
    target::{Answer, Attempting, Outcome, Target, TargetLoad, Trace},
};

/// When to try again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetryPolicy {
    /// Tries after the first, at most.
    pub most_retries: u32,
    /// Causes worth another try.
    pub causes: BTreeSet<FailureCause>,
    /// Wait before the first retry; each further one waits twice as long. A longer `Retry-After` is obeyed.
    pub backoff: Duration,
    /// Longest wait that doubling leads to.
    pub longest_backoff: Duration,
}

impl RetryPolicy {
    /// The wait before retry number `retry` (from 1): exponential, with a jitter of up to half that the request's number
    /// decides, so that runs repeat and requests that failed together do not come back together.
    fn wait(&self, retry: u32, request: u64) -> Duration {
        let doubled = self.backoff.saturating_mul(1u32.checked_shl(retry - 1).unwrap_or(u32::MAX));
        let full = doubled.min(self.longest_backoff);
        // SplitMix64's finaliser.
        let mut x = request.wrapping_add(u64::from(retry).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let jitter = ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        full.mul_f64(1.0 - jitter / 2.0)
    }
}

/// What tries have used of a budget, in a unit that the caller knows (micro-dollars, say); this crate knows no money.
#[derive(Debug, Default)]
pub struct Meter {
    /// Units for a million prompt tokens.
    pub per_million_input_tokens: u64,
    /// Units for a million answer tokens.
    pub per_million_output_tokens: u64,
    /// Units after which nothing more is sent; none for no cap.
    pub cap: Option<u64>,
    /// Millionths of a unit used.
    used: AtomicU64,
    /// Told once the cap is reached.
    spent: watch::Sender<bool>,
}

impl Meter {
    /// A meter with nothing used.
    pub fn new(per_million_input_tokens: u64, per_million_output_tokens: u64, cap: Option<u64>) -> Self {
        Self { per_million_input_tokens, per_million_output_tokens, cap, ..Self::default() }
    }

    /// Units used so far.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed) / 1_000_000
    }

    /// Whether the cap is reached.
    pub fn is_spent(&self) -> bool {
        self.cap.is_some_and(|cap| self.used() >= cap)
    }

    fn add(&self, input_tokens: u64, output_tokens: u64) {
        let units = input_tokens
            .saturating_mul(self.per_million_input_tokens)
            .saturating_add(output_tokens.saturating_mul(self.per_million_output_tokens));
        self.used.fetch_add(units, Ordering::Relaxed);
        if self.is_spent() {
            self.spent.send_replace(true);
        }
    }

    /// Waits until the cap is reached, for ever where there is none: what would follow is no measurement, so the run ends there.
    pub async fn until_spent(&self) {
        if self.spent.subscribe().wait_for(|spent| *spent).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A target with a client's policy in front.
#[derive(Debug)]
pub struct WithPolicy {
    /// What is asked first.
    pub target: Arc<dyn Target>,
    /// What is asked, once, when the first has failed for good.
    pub fallback: Option<Arc<dyn Target>>,
    /// When to try again; none never does.
    pub retries: Option<RetryPolicy>,
    /// What an answer must be, by segment; segments beyond the end have no criteria.
    pub criteria: Vec<Criteria>,
    /// Counts what tries use.
    pub meter: Option<Arc<Meter>>,
}

impl WithPolicy {
    async fn answer(&self, request: &Request, trace: &mut Trace) -> Outcome {
        let mut target = &self.target;
        let mut fallback = self.fallback.as_ref();
        let mut retry = 0;
        loop {
            if self.meter.as_ref().is_some_and(|meter| meter.is_spent()) {
                let detail = "not sent: the spend cap is reached".to_owned();
                return Outcome::Failed { cause: FailureCause::Interrupted, detail };
            }
            let (cause, detail) = match self.one_try(target, request, trace).await {
                Outcome::Completed(usage) => return Outcome::Completed(usage),
                Outcome::Failed { cause, detail } => (cause, detail),
            };
            let policy = self.retries.as_ref().filter(|policy| policy.causes.contains(&cause));
            if let Some(policy) = policy.filter(|policy| retry < policy.most_retries) {
                retry += 1;
                let asked = trace.retry_after.unwrap_or_default();
                trace.try_again(cause, request.input_tokens.into());
                sleep(policy.wait(retry, request.id).max(asked)).await;
            } else if let Some(other) = fallback.take() {
                trace.try_again(cause, request.input_tokens.into());
                trace.fell_back = true;
                target = other;
                // The fallback is asked once.
                retry = u32::MAX;
            } else {
                return Outcome::Failed { cause, detail };
            }
        }
    }

    async fn one_try(&self, target: &Arc<dyn Target>, request: &Request, trace: &mut Trace) -> Outcome {
        let criteria = self.criteria.get(request.segment);
        if criteria.is_some_and(Criteria::read_the_answer) || !request.coming.is_empty() {
            trace.answer = Some(Answer::default());
        }
        let outcome = target.attempt(request, trace).await;
        let (input, output) = match &outcome {
            Outcome::Completed(usage) => (usage.input_tokens, usage.output_tokens),
            // What a failed try read is not known; that it was asked is.
            Outcome::Failed { .. } => (request.input_tokens.into(), trace.tokens),
        };
        if let Some(meter) = &self.meter {
            meter.add(input, output);
        }
        match (outcome, criteria) {
            (Outcome::Completed(usage), Some(criteria)) => match criteria.check(trace, usage.output_tokens) {
                Ok(()) => Outcome::Completed(usage),
                Err(detail) => Outcome::Failed { cause: FailureCause::FailedValidation, detail },
            },
            (outcome, _) => outcome,
        }
    }
}

impl Target for WithPolicy {
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
    fn waits_double_up_to_the_longest_and_jitter_repeats() {
        let ms = Duration::from_millis;
        let policy = RetryPolicy {
            most_retries: 9,
            causes: BTreeSet::new(),
            backoff: ms(100),
            longest_backoff: ms(1_000),
        };
        for (retry, full) in [(1, 100), (2, 200), (3, 400), (9, 1_000), (200, 1_000)] {
            let wait = policy.wait(retry, 7);
            assert!(wait >= ms(full / 2) && wait <= ms(full), "{retry}: {wait:?}");
            assert_eq!(wait, policy.wait(retry, 7));
        }
        assert_ne!(policy.wait(1, 7), policy.wait(1, 8));
    }

    #[test]
    fn a_meter_counts_whole_units_and_knows_its_cap() {
        // 2.50 and 10.00 dollars a million tokens in micro-dollars; a cap of one cent.
        let meter = Meter::new(2_500_000, 10_000_000, Some(10_000));
        meter.add(1_000, 500);
        assert_eq!((meter.used(), meter.is_spent()), (7_500, false));
        meter.add(1_000, 0);
        assert_eq!((meter.used(), meter.is_spent()), (10_000, true));
    }
}
