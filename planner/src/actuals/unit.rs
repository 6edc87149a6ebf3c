//! Unit economics of some calls.

use breakeven_hardware::Usd;
use breakeven_measurement::Quantile;
use breakeven_usage::{Dimension, Sums, Usage};
use rust_decimal::Decimal;
use serde::Serialize;

/// Share of calls without a cost up to which a cost per request is still given: that of rows that may be refused.
const MOST_UNCOSTED: f64 = 0.01;

/// What calls cost and how they end. What the log does not say is absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitEconomics {
    /// The sums behind it.
    #[serde(flatten)]
    pub sums: Sums,
    /// Requests: attempts without retries.
    pub requests: u64,
    /// Cost as far as known.
    pub usd: Option<Usd>,
    /// Over requests; absent where over 1 % of calls have no cost.
    pub usd_per_request: Option<Usd>,
    /// Over answered attempts, likewise.
    pub usd_per_completed_request: Option<Usd>,
    /// Over successes, where the log says of every answer whether it was one.
    pub usd_per_success: Option<Usd>,
    /// Retries a request.
    pub retries_per_request: Option<f64>,
    /// Share of attempts that failed.
    pub failed_share: Option<f64>,
    /// Share of attempts that another model answered.
    pub fallback_share: Option<f64>,
    /// Share of judged attempts that were successes.
    pub success_share: Option<f64>,
    /// Share of prompt tokens that the provider's cache had.
    pub cached_share: Option<f64>,
    /// Mean prompt tokens of a call.
    pub input_tokens: Option<f64>,
    /// Mean answer tokens of a call.
    pub output_tokens: Option<f64>,
    /// Median, 95th and 99th percentile of the call time, seconds; only of all calls. Absent where the rank falls among failures.
    pub seconds_p50: Option<f64>,
    /// 95th percentile.
    pub seconds_p95: Option<f64>,
    /// 99th percentile.
    pub seconds_p99: Option<f64>,
}

/// The calls of one label's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Which label.
    pub dimension: Dimension,
    /// Its value.
    pub value: String,
    /// Their unit economics.
    #[serde(flatten)]
    pub unit: UnitEconomics,
    /// Share of the known cost.
    pub cost_share: Option<f64>,
}

impl UnitEconomics {
    /// Of all calls.
    pub(crate) fn of(usage: &Usage, sums: &Sums) -> Self {
        let seconds = |q| usage.latency.quantile(q).and_then(Quantile::finite).map(|took| took.as_secs_f64());
        Self {
            seconds_p50: seconds(0.5),
            seconds_p95: seconds(0.95),
            seconds_p99: seconds(0.99),
            ..Self::of_sums(sums)
        }
    }

    fn of_sums(sums: &Sums) -> Self {
        let requests = sums.requests();
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        let uncosted = (sums.attempts - sums.costed()) as f64;
        let usd = sums.usd();
        let whole = usd.filter(|_| uncosted <= MOST_UNCOSTED * sums.attempts as f64);
        let over = |count: u64| whole.and_then(|usd| usd.per(Decimal::from(count)));
        // Half-judged logs would give a price of those successes that somebody happened to mark.
        let judged = sums.judged >= sums.answered() && sums.successes > 0;
        Self {
            sums: *sums,
            requests,
            usd,
            usd_per_request: over(requests),
            usd_per_completed_request: over(sums.answered()),
            usd_per_success: judged.then(|| over(sums.successes)).flatten(),
            retries_per_request: share(sums.retries, requests),
            failed_share: share(sums.failed, sums.attempts),
            fallback_share: share(sums.fallbacks, sums.attempts),
            success_share: share(sums.successes, sums.judged),
            cached_share: sums.cached_share(),
            input_tokens: sums.mean_input_tokens(),
            output_tokens: sums.mean_output_tokens(),
            seconds_p50: None,
            seconds_p95: None,
            seconds_p99: None,
        }
    }
}

/// Every value of every label that tells calls apart, dearest first, then busiest.
pub(crate) fn groups(usage: &Usage) -> Vec<Group> {
    let mut all = Vec::new();
    let total = usage.total.usd().map(Usd::to_f64).filter(|total| *total > 0.0);
    for (dimension, breakdown) in &usage.by {
        let totals = breakdown.totals();
        // A label that no call has tells nothing apart.
        if totals.len() == 1 && totals.contains_key(breakeven_usage::usage::UNLABELLED) {
            continue;
        }
        let mut groups: Vec<Group> = totals
            .into_iter()
            .map(|(value, sums)| {
                let unit = UnitEconomics::of_sums(&sums);
                let cost_share = unit.usd.zip(total).map(|(own, total)| own.to_f64() / total);
                Group { dimension: *dimension, value: value.to_owned(), unit, cost_share }
            })
            .collect();
        groups.sort_by(|a, b| {
            (b.unit.usd, b.unit.sums.attempts)
                .cmp(&(a.unit.usd, a.unit.sums.attempts))
                .then(a.value.cmp(&b.value))
        });
        all.extend(groups);
    }
    all
}
