//! Production usage, added up: what the planner compares a plan with.

use std::collections::BTreeMap;

use breakeven_measurement::LatencySeries;
use jiff::civil::Date;
use serde::Serialize;

use crate::{instant, source::Source, sums::Sums};

/// What calls are broken down by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The model that answered.
    Model,
    /// Stage of the workflow, or the kind of call.
    Stage,
    /// Route.
    Route,
    /// Feature.
    Feature,
    /// Team.
    Team,
}

impl Dimension {
    /// All of them, in the order of the reports.
    pub const ALL: [Self; 5] = [Self::Model, Self::Stage, Self::Route, Self::Feature, Self::Team];

    /// Its name for a reader.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Stage => "stage",
            Self::Route => "route",
            Self::Feature => "feature",
            Self::Team => "team",
        }
    }
}

/// Stands for calls that the log gives no label.
pub const UNLABELLED: &str = "(none)";

/// Calls by the values of one label and by day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "values")]
pub enum Breakdown {
    /// Every value with its days. Adding all of them up gives [`Usage::total`].
    Values(BTreeMap<String, BTreeMap<Date, Sums>>),
    /// More values, or values and days, than are kept: an id rather than a label.
    TooMany,
}

impl Breakdown {
    /// The values with their sums over all days; none where there are too many.
    pub fn totals(&self) -> BTreeMap<&str, Sums> {
        let Self::Values(values) = self else { return BTreeMap::new() };
        let total = |days: &BTreeMap<Date, Sums>| {
            days.values().fold(Sums::default(), |mut all, day| {
                all.merge(day);
                all
            })
        };
        values.iter().map(|(value, days)| (value.as_str(), total(days))).collect()
    }

    /// The days of every value; none where there are too many.
    pub fn values(&self) -> impl Iterator<Item = (&str, &BTreeMap<Date, Sums>)> {
        let values = match self {
            Self::Values(values) => Some(values),
            Self::TooMany => None,
        };
        values.into_iter().flatten().map(|(value, days)| (value.as_str(), days))
    }
}

/// Something counted by its name; absent where there were more names than are kept.
pub type Counts = Option<BTreeMap<String, u64>>;

/// Production usage, added up. Days are UTC.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Usage {
    /// What was read.
    pub source: Source,
    /// Nanoseconds since 1970 of the first and the last call's beginning.
    #[serde(skip)]
    pub span: (i64, i64),
    /// All calls.
    pub total: Sums,
    /// By day.
    pub days: BTreeMap<Date, Sums>,
    /// By label and day.
    pub by: BTreeMap<Dimension, Breakdown>,
    /// Attempts of the busiest hour.
    pub busiest_hour_attempts: u64,
    /// Failed attempts by cause.
    pub causes: Counts,
    /// Fallbacks by `asked for → answered`, where the log names both.
    pub fallbacks: Counts,
    /// Call times of the attempts that have one; a failed attempt is infinitely slow.
    pub latency: LatencySeries,
    /// Attempts with a call time.
    pub timed: u64,
    /// Attempts whose log records a cost of 0 for tokens, which LiteLLM writes where it knows no price.
    pub zero_cost_recorded: u64,
}

impl Usage {
    /// Day of the first call.
    pub fn first_day(&self) -> Date {
        instant::date(instant::day_of(self.span.0))
    }

    /// Day of the last call.
    pub fn last_day(&self) -> Date {
        instant::date(instant::day_of(self.span.1))
    }

    /// The days that the log covers from end to end, in order, with what was called: a day without a row is one of no calls.
    ///
    /// The first day counts where its first call is within its first hour, the last where its last call is within its last.
    pub fn whole_days(&self) -> Vec<(Date, Sums)> {
        let hour = 3_600 * instant::SECOND;
        let (first, last) = (instant::day_of(self.span.0), instant::day_of(self.span.1));
        let from = if self.span.0.rem_euclid(instant::DAY) < hour { first } else { first + 1 };
        let to = if self.span.1.rem_euclid(instant::DAY) >= instant::DAY - hour { last } else { last - 1 };
        (from..=to)
            .map(|day| {
                let date = instant::date(day);
                (date, self.days.get(&date).copied().unwrap_or_default())
            })
            .collect()
    }
}
