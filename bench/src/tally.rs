//! Attempts to counts and latency series, by the definitions of DESIGN §2.

use std::time::Duration;

use breakeven_measurement::{
    LoadResult, Slo, Workload,
    level::{SegmentResult, TokenSource},
};

use crate::{drive::Attempt, target::counted::disagree};

/// TTFT, TPOT and E2E of a completed attempt that streamed at least one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latencies {
    /// first token − scheduled.
    pub ttft: Duration,
    /// (last token − first token) / (output tokens − 1); none for one token.
    pub tpot: Option<Duration>,
    /// last token − scheduled.
    pub e2e: Duration,
}

/// The latencies of an attempt; none where it failed or streamed nothing.
pub fn latencies(attempt: &Attempt) -> Option<Latencies> {
    let (first, last) = (attempt.first_token?, attempt.last_token?);
    if attempt.failure.is_some() {
        return None;
    }
    let tpot = (attempt.output_tokens > 1).then(|| {
        let seconds = last.saturating_sub(first).as_secs_f64() / (attempt.output_tokens - 1) as f64;
        Duration::from_secs_f64(seconds)
    });
    let since = |at: Duration| at.saturating_sub(attempt.scheduled);
    Some(Latencies { ttft: since(first), tpot, e2e: since(last) })
}

/// Whether an attempt counts as goodput.
pub fn is_good(attempt: &Attempt, slo: &Slo) -> bool {
    latencies(attempt).is_some_and(|l| slo.is_met(l.ttft, l.tpot, l.e2e))
}

/// Adds one attempt to a result.
pub fn add(load: &mut LoadResult, attempt: &Attempt, slo: &Slo) {
    load.scheduled += 1;
    load.send_lag.record(attempt.sent.saturating_sub(attempt.scheduled));
    for gap in &attempt.chunk_gaps {
        load.chunk_gap.record(*gap);
    }
    for cause in &attempt.retries {
        *load.retries.entry(*cause).or_default() += 1;
    }
    load.failed_tokens.0 += attempt.retried_tokens;
    load.fallbacks += u64::from(attempt.fell_back);
    if let Some(l) = latencies(attempt) {
        load.completed += 1;
        load.within_slo += u64::from(slo.is_met(l.ttft, l.tpot, l.e2e));
        load.ttft.record(l.ttft);
        load.e2e.record(l.e2e);
        if let (Some(first), sent) = (attempt.first_token, attempt.sent) {
            load.service_ttft.record(first.saturating_sub(sent));
        }
        if let Some(tpot) = l.tpot {
            load.tpot.record(tpot);
        }
        load.input_tokens.0 += attempt.input_tokens;
        load.cached_input_tokens.0 += attempt.cached_tokens;
        load.output_tokens.0 += attempt.output_tokens;
        if let (Some(TokenSource::Usage), Some(ours)) = (attempt.token_source, attempt.tokenizer_tokens) {
            load.counts_checked += 1;
            load.counts_disagreeing += u64::from(disagree(attempt.output_tokens, ours));
        }
        if let Some(source) = attempt.token_source {
            *load.token_sources.entry(source).or_default() += 1;
        }
    } else {
        // An answer without a token is no answer, whatever its sender called it.
        let cause = attempt.failure.unwrap_or(breakeven_measurement::FailureCause::MalformedStream);
        *load.failures.entry(cause).or_default() += 1;
        load.ttft.record_infinite();
        load.service_ttft.record_infinite();
        load.e2e.record_infinite();
        load.failed_tokens.0 += attempt.input_tokens + attempt.output_tokens;
    }
}

/// The attempts scheduled at or after `window_start`, overall and by segment.
pub fn tally(
    attempts: &[Attempt],
    window_start: Duration,
    workload: &Workload,
    slo: &Slo,
) -> (LoadResult, Vec<SegmentResult>) {
    let mut overall = LoadResult::default();
    let mut segments: Vec<SegmentResult> = workload
        .segments
        .iter()
        .map(|s| SegmentResult { name: s.name.clone(), load: LoadResult::default() })
        .collect();
    for attempt in attempts.iter().filter(|a| a.scheduled >= window_start) {
        add(&mut overall, attempt, slo);
        if let Some(segment) = segments.get_mut(attempt.segment) {
            add(&mut segment.load, attempt, slo);
        }
    }
    (overall, segments)
}
