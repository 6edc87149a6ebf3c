//! What the load generator can do on the machine that it ran on, and how true its clocks are: measured against targets that
//! answer at once, and stored with every measurement.

use serde::{Deserialize, Serialize};

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
