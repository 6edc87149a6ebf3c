//! The figures that a level is judged by: their names, units, and how each is read from a result.

use serde::{Deserialize, Serialize};

use crate::{
    interval::{self, Interval},
    level::LoadResult,
};

/// A headline figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Highest rate under the SLO.
    Capacity,
    /// Requests within every SLO target of all scheduled.
    Goodput,
    /// Requests not completed of all scheduled.
    Failed,
    /// first token − scheduled, failures as +infinity.
    TtftP50,
    /// The same at the 95th percentile.
    TtftP95,
    /// The same at the 99th percentile.
    TtftP99,
    /// Time per output token of completed requests.
    TpotP50,
    /// The same at the 95th percentile.
    TpotP95,
    /// last token − scheduled, failures as +infinity.
    E2eP50,
    /// The same at the 95th percentile.
    E2eP95,
}

impl Metric {
    /// Those that every level has.
    pub const OF_LEVELS: [Self; 9] = [
        Self::Goodput,
        Self::Failed,
        Self::TtftP50,
        Self::TtftP95,
        Self::TtftP99,
        Self::TpotP50,
        Self::TpotP95,
        Self::E2eP50,
        Self::E2eP95,
    ];

    /// How it is called in a table.
    pub fn label(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Goodput => "goodput",
            Self::Failed => "failed",
            Self::TtftP50 => "TTFT p50",
            Self::TtftP95 => "TTFT p95",
            Self::TtftP99 => "TTFT p99",
            Self::TpotP50 => "TPOT p50",
            Self::TpotP95 => "TPOT p95",
            Self::E2eP50 => "E2E p50",
            Self::E2eP95 => "E2E p95",
        }
    }

    /// What its values are and how a change of it is stated.
    pub fn unit(self) -> Unit {
        match self {
            Self::Capacity => Unit::RequestsPerSecond,
            Self::Goodput | Self::Failed => Unit::Share,
            Self::TtftP50
            | Self::TtftP95
            | Self::TtftP99
            | Self::TpotP50
            | Self::TpotP95
            | Self::E2eP50
            | Self::E2eP95 => Unit::Seconds,
        }
    }

    /// Whether a larger value is better.
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::Capacity | Self::Goodput)
    }

    /// Its value in a level with its interval, at confidence `1 − alpha`, of requests independent of one another; `None` of the capacity
    /// and of nothing.
    pub fn of(self, load: &LoadResult, alpha: f64) -> Option<Interval> {
        let quantile = |series, q| interval::quantile(series, q, alpha);
        match self {
            Self::Capacity => None,
            Self::Goodput => interval::proportion(load.within_slo, load.scheduled, alpha),
            Self::Failed => {
                interval::proportion(load.scheduled.saturating_sub(load.completed), load.scheduled, alpha)
            }
            Self::TtftP50 => quantile(&load.ttft, 0.5),
            Self::TtftP95 => quantile(&load.ttft, 0.95),
            Self::TtftP99 => quantile(&load.ttft, 0.99),
            Self::TpotP50 => quantile(&load.tpot, 0.5),
            Self::TpotP95 => quantile(&load.tpot, 0.95),
            Self::E2eP50 => quantile(&load.e2e, 0.5),
            Self::E2eP95 => quantile(&load.e2e, 0.95),
        }
    }
}

/// What a metric's values are, and how a change of it is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds; a change is relative, as a share of A's value.
    Seconds,
    /// From 0 to 1; a change is the difference of the shares.
    Share,
    /// Requests per second; a change is relative.
    RequestsPerSecond,
}
