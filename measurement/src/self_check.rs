//! What the load generator can do on the machine that it ran on, and how true its clocks are: measured against targets that
//! answer at once, and stored with every measurement.

use serde::{Deserialize, Serialize};

use crate::level::Rates;

/// The generator's own ceiling and errors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SelfCheck {
    /// Requests per second against the null target in process, closed loop.
    pub in_process_requests_per_second: f64,
    /// Streamed requests per second over loopback HTTP, closed loop; server and client share the machine.
    pub http_requests_per_second: f64,
    /// Streamed events per second of the same.
    pub http_events_per_second: f64,
    /// Requests in flight in the closed loops.
    pub concurrency: u32,
    /// Tokens of each answer, one an event.
    pub tokens_per_answer: u32,
    /// Rate of the open-loop part, in requests per second.
    pub paced_requests_per_second: f64,
    /// Median of sent − scheduled in the open-loop part, in seconds.
    pub send_lag_p50_seconds: f64,
    /// Its 99th percentile.
    pub send_lag_p99_seconds: f64,
    /// Median, over first and last tokens, of our stamp − the server's own stamp of the same bytes, in seconds.
    pub stamp_error_p50_seconds: f64,
    /// Its 99th percentile.
    pub stamp_error_p99_seconds: f64,
    /// 99th percentile of |TPOT as we measured it − TPOT by the server's stamps|, in seconds.
    pub tpot_error_p99_seconds: f64,
    /// How long the whole check took, in seconds.
    pub seconds: f64,
}

/// Share of its own ceiling from which the generator may be what is measured.
pub const NEAR_CEILING: f64 = 0.5;

impl SelfCheck {
    /// The larger share of the generator's own ceilings, requests or streamed events, that a level's completions took, where a token
    /// is an event at most. Over HTTP, or in process.
    pub fn share_of_ceiling(&self, rates: &Rates, over_http: bool) -> f64 {
        let ceiling =
            if over_http { self.http_requests_per_second } else { self.in_process_requests_per_second };
        let requests = rates.achieved_per_second / ceiling.max(f64::MIN_POSITIVE);
        let events = rates.output_tokens_per_second / self.http_events_per_second.max(f64::MIN_POSITIVE);
        if over_http { requests.max(events) } else { requests }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_ceiling_counts() {
        let check = SelfCheck {
            in_process_requests_per_second: 100_000.0,
            http_requests_per_second: 20_000.0,
            http_events_per_second: 400_000.0,
            concurrency: 64,
            tokens_per_answer: 20,
            paced_requests_per_second: 500.0,
            send_lag_p50_seconds: 0.0,
            send_lag_p99_seconds: 0.0,
            stamp_error_p50_seconds: 0.0,
            stamp_error_p99_seconds: 0.0,
            tpot_error_p99_seconds: 0.0,
            seconds: 1.0,
        };
        let rates = |requests: f64, tokens: f64| Rates {
            offered_per_second: requests,
            achieved_per_second: requests,
            goodput_per_second: requests,
            output_tokens_per_second: tokens,
        };
        assert!((check.share_of_ceiling(&rates(2_000.0, 20_000.0), true) - 0.1).abs() < 1e-12);
        assert!((check.share_of_ceiling(&rates(2_000.0, 240_000.0), true) - 0.6).abs() < 1e-12);
        assert!((check.share_of_ceiling(&rates(2_000.0, 240_000.0), false) - 0.02).abs() < 1e-12);
    }
}
