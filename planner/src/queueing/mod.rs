//! Queues in closed form: the fast path that the simulator then verifies.
//!
//! | file | holds |
//! |---|---|
//! | [`erlang`] | Erlang B and C, M/M/c waits |
//! | [`kimura`] | M/G/c waits and their percentiles from two moments of the service time |
//! | [`engset`] | a known number of users: blocking, and the wait of a finite population |
//! | [`retries`] | timeouts and repeats as load: the fixed point, and the rate above which there is none |
//!
//! Everywhere `servers` is the number of requests that may be in service at once (replicas × sequences a batch),
//! `load` is in Erlang (arrival rate × mean service seconds), and a percentile is of the wait before service begins.

pub mod engset;
pub mod erlang;
pub mod kimura;
pub mod retries;

/// Why a queue has no answer.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// No server at all.
    #[error("expected at least 1 server, found 0")]
    NoServers,
    /// A number that is no rate, time or share.
    #[error("expected {what} to be {expected}, found {value}")]
    Nonsense {
        /// What was given.
        what: &'static str,
        /// What was expected of it.
        expected: &'static str,
        /// Its value.
        value: f64,
    },
    /// Demand reaches supply: the queue grows for ever.
    #[error(
        "the load of {load} Erlang reaches the {servers} servers: the queue grows for ever; add servers or lower the rate"
    )]
    Saturated {
        /// Arrival rate × mean service seconds.
        load: f64,
        /// Servers.
        servers: u32,
    },
}

/// A finite number, zero or more.
pub(crate) fn not_negative(what: &'static str, value: f64) -> Result<f64, QueueError> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(QueueError::Nonsense { what, expected: "0 or more", value })
    }
}

/// A finite number above zero.
pub(crate) fn positive(what: &'static str, value: f64) -> Result<f64, QueueError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(QueueError::Nonsense { what, expected: "above 0", value })
    }
}
