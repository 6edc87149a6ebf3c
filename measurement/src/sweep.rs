//! The throughput/latency curve: closed-loop load at one concurrency after another.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{level::LoadResult, quantity::seconds};

/// One point of the curve: so many requests always in flight, the next sent when one ends.
///
/// A closed loop has no schedule: latencies count from the send, and a slow target is asked less. Read it as what the
/// target does at that concurrency, never as what users see at a rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SweepPoint {
    /// Requests in flight.
    pub concurrency: u32,
    /// Seconds from the end of warm-up to the last send.
    #[serde(rename = "window_seconds", with = "seconds")]
    #[schemars(with = "f64")]
    pub window: Duration,
    /// Requests that ended in the window, per second of it.
    pub achieved_per_second: f64,
    /// Output tokens of requests that ended in the window, per second of it.
    pub output_tokens_per_second: f64,
    /// Requests sent in the window.
    pub load: LoadResult,
}
