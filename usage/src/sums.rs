//! What adds up: counts, tokens and money of a group of calls. Integers throughout, so that no order of adding changes them.

use breakeven_hardware::Usd;
use serde::Serialize;

use crate::{
    money::AttoUsd,
    row::{Cost, Ending, UsageRow},
};

/// Sums over calls. A figure that a log did not give is counted as unknown, never as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sums {
    /// Attempts: rows.
    pub attempts: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that followed a failed one of the same request, or that the log calls so.
    pub retries: u64,
    /// Attempts that another model answered.
    pub fallbacks: u64,
    /// Attempts that a response cache answered.
    pub cache_hits: u64,
    /// Attempts of which the log says whether they were a success for the product.
    pub judged: u64,
    /// Those that were.
    pub successes: u64,
    /// Prompt tokens, cached ones included.
    pub input_tokens: u64,
    /// Attempts with a figure of prompt tokens.
    pub input_known: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// Attempts with a figure of answer tokens.
    pub output_known: u64,
    /// Prompt tokens that the provider's cache had.
    pub cached_tokens: u64,
    /// Attempts with a figure of cached tokens.
    pub cached_known: u64,
    /// Cost that the log records.
    pub recorded_usd: AttoUsd,
    /// Attempts with it.
    pub recorded: u64,
    /// Cost from prices, where the log records none.
    pub priced_usd: AttoUsd,
    /// Attempts with it.
    pub priced: u64,
    /// Tokens of retries, prompt and answer.
    pub retry_tokens: u64,
    /// Cost of retries, as far as known.
    pub retry_usd: AttoUsd,
}

impl Sums {
    /// Attempts that ended with an answer.
    pub fn answered(&self) -> u64 {
        self.attempts - self.failed
    }

    /// Requests: attempts without retries.
    pub fn requests(&self) -> u64 {
        self.attempts.saturating_sub(self.retries)
    }

    /// Attempts with a known cost.
    pub fn costed(&self) -> u64 {
        self.recorded + self.priced
    }

    /// Cost as far as known; `None` where no attempt has one.
    pub fn usd(&self) -> Option<Usd> {
        (self.costed() > 0).then(|| (self.recorded_usd + self.priced_usd).usd())
    }

    /// Mean prompt tokens of the attempts that have them.
    pub fn mean_input_tokens(&self) -> Option<f64> {
        mean(self.input_tokens, self.input_known)
    }

    /// Mean answer tokens of the attempts that have them.
    pub fn mean_output_tokens(&self) -> Option<f64> {
        mean(self.output_tokens, self.output_known)
    }

    /// Share of prompt tokens that the provider's cache had; `None` where no attempt says.
    pub fn cached_share(&self) -> Option<f64> {
        (self.cached_known > 0).then(|| mean(self.cached_tokens, self.input_tokens)).flatten()
    }

    /// Adds a call; `priced` is its cost from prices where the log has none.
    pub(crate) fn add(&mut self, row: &UsageRow<'_>, priced: Option<AttoUsd>) {
        self.attempts += 1;
        self.failed += u64::from(row.ending != Ending::Answered);
        self.fallbacks += u64::from(row.fallback);
        self.cache_hits += u64::from(row.cache_hit);
        self.judged += u64::from(row.success.is_some());
        self.successes += u64::from(row.success == Some(true));
        self.input_tokens += row.input_tokens.unwrap_or(0);
        self.input_known += u64::from(row.input_tokens.is_some());
        self.output_tokens += row.output_tokens.unwrap_or(0);
        self.output_known += u64::from(row.output_tokens.is_some());
        self.cached_tokens += row.cached_tokens.unwrap_or(0);
        self.cached_known += u64::from(row.cached_tokens.is_some());
        match (row.cost, priced) {
            (Cost::Recorded(cost), _) => {
                self.recorded_usd += cost;
                self.recorded += 1;
            }
            (Cost::Absent { .. }, Some(cost)) => {
                self.priced_usd += cost;
                self.priced += 1;
            }
            (Cost::Absent { .. }, None) => {}
        }
    }

    /// Adds what was found of retries.
    pub(crate) fn add_retry(&mut self, found: &Retry) {
        self.retries += found.retries;
        self.fallbacks += found.fallbacks;
        self.retry_tokens += found.tokens;
        self.retry_usd += found.usd;
    }

    /// Adds another group.
    pub fn merge(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.failed += other.failed;
        self.retries += other.retries;
        self.fallbacks += other.fallbacks;
        self.cache_hits += other.cache_hits;
        self.judged += other.judged;
        self.successes += other.successes;
        self.input_tokens += other.input_tokens;
        self.input_known += other.input_known;
        self.output_tokens += other.output_tokens;
        self.output_known += other.output_known;
        self.cached_tokens += other.cached_tokens;
        self.cached_known += other.cached_known;
        self.recorded_usd += other.recorded_usd;
        self.recorded += other.recorded;
        self.priced_usd += other.priced_usd;
        self.priced += other.priced;
        self.retry_tokens += other.retry_tokens;
        self.retry_usd += other.retry_usd;
    }
}

/// What the attempts of one group turned out to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Retry {
    pub(crate) retries: u64,
    pub(crate) fallbacks: u64,
    pub(crate) tokens: u64,
    pub(crate) usd: AttoUsd,
}

fn mean(sum: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
}
