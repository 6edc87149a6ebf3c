//! Retries, fallback, criteria and the spend cap, in paused time.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use breakeven_bench::{
    criteria::Criteria,
    drive::{DriveSettings, Driven, Next, Pacing, drive},
    policy::{Meter, RetryPolicy, WithPolicy},
    requests::{Request, RequestSource},
    tally::tally,
    target::{Attempting, Outcome, Target, Trace, Usage, mock::Mock},
};
use breakeven_measurement::{
    FailureCause, Fraction, Lengths, LoadResult, Quantile, Segment, Slo, Workload, level::TokenSource,
};
use tokio::{sync::watch, time::Instant};

const MS: Duration = Duration::from_millis(1);

fn workload() -> Workload {
    Workload {
        segments: vec![Segment {
            name: "all".to_owned(),
            weight: 1.0,
            input_tokens: Lengths::constant(10).unwrap(),
            output_tokens: Lengths::constant(6).unwrap(),
            shared_prefix: Fraction::ZERO,
            prefix_pool: 1,
            text: breakeven_measurement::PromptText::default(),
            session: None,
        }],
    }
}

/// Streams two tokens and fails, as often as told; then answers. With a `Retry-After` where told.
#[derive(Debug)]
struct Failing {
    times: u64,
    cause: FailureCause,
    retry_after: Option<Duration>,
    asked: AtomicU64,
}

impl Failing {
    fn new(times: u64, cause: FailureCause, retry_after: Option<Duration>) -> Self {
        Self { times, cause, retry_after, asked: AtomicU64::new(0) }
    }
}

impl Target for Failing {
    fn attempt<'a>(&'a self, request: &'a Request, trace: &'a mut Trace) -> Attempting<'a> {
        Box::pin(async move {
            tokio::time::sleep(MS * 10).await;
            trace.chunk(Instant::now(), 2);
            if self.asked.fetch_add(1, Ordering::SeqCst) < self.times {
                trace.retry_after = self.retry_after;
                return Outcome::Failed { cause: self.cause, detail: "scripted".to_owned() };
            }
            trace.finish_reason = Some("stop".to_owned());
            Outcome::Completed(Usage {
                input_tokens: request.input_tokens.into(),
                cached_tokens: 0,
                output_tokens: 2,
                source: TokenSource::Usage,
            })
        })
    }
}

fn retries(most_retries: u32) -> RetryPolicy {
    RetryPolicy {
        most_retries,
        causes: BTreeSet::from([FailureCause::RateLimited, FailureCause::ServerError]),
        backoff: MS * 100,
        longest_backoff: MS * 1_000,
    }
}

fn with(target: impl Target + 'static) -> WithPolicy {
    WithPolicy { target: Arc::new(target), fallback: None, retries: None, criteria: Vec::new(), meter: None }
}

async fn driven(target: WithPolicy, requests: u32) -> (Driven, LoadResult) {
    let target: Arc<dyn Target> = Arc::new(target);
    let mut source = RequestSource::lengths_only(&workload(), 1);
    let schedule = (0..requests).map(|i| (MS * (i * 20), source.draw())).collect();
    let (_sender, cancel) = watch::channel(false);
    let settings = DriveSettings {
        timeout: MS * 30_000,
        drain: None,
        pacing: Pacing::Timer,
        most_in_flight: None,
        cancel,
    };
    let driven = drive(&target, schedule, &settings, &mut |_, _| Next::Go).await;
    let slo = Slo { ttft: Some(MS * 5_000), tpot: None, e2e: None, attainment: Fraction::new(0.9).unwrap() };
    let (load, _) = tally(&driven.attempts, Duration::ZERO, &workload(), &slo);
    (driven, load)
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_out_retry_after_and_all_of_it_is_in_the_latency() {
    let failing = Failing::new(2, FailureCause::RateLimited, Some(MS * 3_000));
    let policy = WithPolicy { retries: Some(retries(3)), ..with(failing) };
    let (driven, load) = driven(policy, 1).await;
    assert_eq!((load.completed, load.failed()), (1, 0));
    assert_eq!(load.retries.get(&FailureCause::RateLimited), Some(&2));
    assert_eq!(load.failed_tokens.0, 2 * (10 + 2), "prompts and tokens of both failed tries");
    let ttft = load.ttft.quantile(1.0).and_then(Quantile::finite).unwrap();
    assert!(ttft >= MS * 6_030 && ttft < MS * 6_060, "{ttft:?}");
    assert_eq!(driven.attempts[0].output_tokens, 2);
    assert_eq!(load.within_slo, 0, "two waits of three seconds miss five");
}

#[tokio::test(start_paused = true)]
async fn a_cause_that_is_not_worth_it_is_not_tried_again() {
    let failing = Failing::new(1, FailureCause::Rejected, None);
    let (_, load) = driven(WithPolicy { retries: Some(retries(3)), ..with(failing) }, 1).await;
    assert_eq!(load.failures.get(&FailureCause::Rejected), Some(&1));
    assert!(load.retries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_fallback_is_asked_once_and_counted() {
    let policy = WithPolicy {
        retries: Some(retries(1)),
        fallback: Some(Arc::new(Mock::new(MS * 40, MS, 10))),
        ..with(Failing::new(1_000, FailureCause::ServerError, None))
    };
    let (driven, load) = driven(policy, 50).await;
    assert_eq!((load.completed, load.fallbacks), (50, 50));
    assert_eq!(load.retries.get(&FailureCause::ServerError), Some(&100));
    assert!(driven.attempts.iter().all(|a| a.fell_back && a.output_tokens == 6));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_fails_its_criteria_is_a_product_failure() {
    let strict = Criteria { least_tokens: Some(100), ..Criteria::default() };
    let policy = WithPolicy { criteria: vec![strict], ..with(Mock::new(MS * 40, MS, 10)) };
    let (driven, load) = driven(policy, 5).await;
    assert_eq!(load.failures.get(&FailureCause::FailedValidation), Some(&5));
    assert_eq!(driven.attempts[0].detail.as_deref(), Some("expected at least 100 tokens, found 6"));
    assert!(
        !FailureCause::FailedValidation.is_infrastructure() && FailureCause::RateLimited.is_infrastructure()
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_beyond_the_spend_cap_and_failed_tries_cost_too() {
    // 16 units a request at a unit a token: the cap of 100 is reached by the seventh.
    let meter = Arc::new(Meter::new(1_000_000, 1_000_000, Some(100)));
    let policy = WithPolicy { meter: Some(Arc::clone(&meter)), ..with(Mock::new(MS * 2, MS, 10)) };
    let (_, load) = driven(policy, 20).await;
    assert_eq!((load.completed, meter.used()), (7, 112));
    assert_eq!(load.failures.get(&FailureCause::Interrupted), Some(&13), "none is lost");
}
