//! Prometheus metrics, under the names of vLLM's with our own prefix, so that its dashboards need one change.

use std::{sync::atomic::AtomicU64, time::Duration};

use breakeven_models::inference::{EngineStats, FinishReason};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Seconds: vLLM's own buckets for TTFT and, in hundredths, for TPOT.
const TTFT_BUCKETS: [f64; 17] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0];
const TPOT_BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];
const E2E_BUCKETS: [f64; 13] = [0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finished {
    finished_reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    status: u16,
}

/// All counters of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    running: Gauge,
    waiting: Gauge,
    kv_use: Gauge<f64, AtomicU64>,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    generation_tokens: Counter,
    success: Family<Finished, Counter>,
    cancelled: Counter,
    answers: Family<Answered, Counter>,
    ttft: Histogram,
    tpot: Histogram,
    e2e: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("breakeven"),
            running: Gauge::default(),
            waiting: Gauge::default(),
            kv_use: Gauge::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generation_tokens: Counter::default(),
            success: Family::default(),
            cancelled: Counter::default(),
            answers: Family::default(),
            ttft: Histogram::new(TTFT_BUCKETS),
            tpot: Histogram::new(TPOT_BUCKETS),
            e2e: Histogram::new(E2E_BUCKETS),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        r.register("num_requests_running", "Requests that hold a slot", self.running.clone());
        r.register("num_requests_waiting", "Requests that wait for a slot", self.waiting.clone());
        r.register("kv_cache_usage_perc", "Share of the KV slots in use, 0 to 1", self.kv_use.clone());
        r.register("prompt_tokens", "Prompt tokens of answered requests", self.prompt_tokens.clone());
        r.register("prefix_cache_hits", "Of these, found in the prefix cache", self.cached_tokens.clone());
        r.register("generation_tokens", "Generated tokens", self.generation_tokens.clone());
        r.register("request_success", "Answered requests by why they ended", self.success.clone());
        r.register("request_cancelled", "Requests whose client went away", self.cancelled.clone());
        r.register(
            "http_responses",
            "HTTP answers of the two completion paths by status",
            self.answers.clone(),
        );
        r.register("time_to_first_token_seconds", "From the request's arrival", self.ttft.clone());
        r.register(
            "time_per_output_token_seconds",
            "Mean of each answer, after its first token",
            self.tpot.clone(),
        );
        r.register(
            "e2e_request_latency_seconds",
            "From the request's arrival to its last token",
            self.e2e.clone(),
        );
        self
    }

    pub(crate) fn answered(&self, status: u16) {
        self.answers.get_or_create(&Answered { status }).inc();
    }

    pub(crate) fn first_token(&self, after: Duration) {
        self.ttft.observe(after.as_secs_f64());
    }

    pub(crate) fn token(&self) {
        self.generation_tokens.inc();
    }

    pub(crate) fn cancelled(&self) {
        self.cancelled.inc();
    }

    /// An answer that came to its end; `decoding` is from its first to its last token.
    pub(crate) fn finished(
        &self,
        reason: FinishReason,
        prompt_tokens: usize,
        cached_tokens: usize,
        output_tokens: usize,
        decoding: Duration,
        whole: Duration,
    ) {
        let finished_reason = crate::answer::reason_name(reason);
        self.success.get_or_create(&Finished { finished_reason }).inc();
        self.prompt_tokens.inc_by(prompt_tokens as u64);
        self.cached_tokens.inc_by(cached_tokens as u64);
        if output_tokens > 1 {
            self.tpot.observe(decoding.as_secs_f64() / (output_tokens - 1) as f64);
        }
        self.e2e.observe(whole.as_secs_f64());
    }

    /// The text that Prometheus reads, with the engine's state at this moment.
    pub(crate) fn text(&self, stats: EngineStats) -> String {
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.running.set(gauge(stats.running));
        self.waiting.set(gauge(stats.queued));
        self.kv_use.set(stats.kv_tokens as f64 / stats.kv_capacity_tokens.max(1) as f64);
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            // Writing into memory cannot fail; half a text would be worse than none.
            text.clear();
        }
        text
    }
}
