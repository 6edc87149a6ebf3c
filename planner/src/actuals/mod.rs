//! Production against the plan: unit economics, what is off, what changed, and the month forecast anew.
//!
//! Pure: the usage was read and added up by crate `usage`. A log of model calls says nothing of storage, people or machines; those
//! lines stay the plan's, and nothing here pretends otherwise.

mod comparison;
mod expected;
mod flags;
mod forecast;
mod robust;
mod unit;

use breakeven_usage::{Usage, source::Source};
use jiff::civil::Date;
use serde::Serialize;

pub use comparison::{Figure, Line, Measure};
pub use expected::{CALL_LINES, Expected, ExpectedOption, UnknownOption, prices};
pub use flags::{Flag, FlagKind, Thresholds};
pub use forecast::{CostEstimate, Estimate, Forecast};
pub use unit::{Group, UnitEconomics};

/// What production says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Actuals {
    /// What was read.
    pub source: Source,
    /// Day of the first call, UTC.
    pub first_day: Date,
    /// Day of the last.
    pub last_day: Date,
    /// Days that the log covers from end to end.
    pub whole_days: usize,
    /// Of all calls.
    pub total: UnitEconomics,
    /// By label and value, dearest first.
    pub groups: Vec<Group>,
    /// Failed attempts by cause, most first; absent where there are too many causes.
    pub causes: Option<Vec<(String, u64)>>,
    /// Fallbacks by `asked for → answered`, most first; absent likewise.
    pub fallbacks: Option<Vec<(String, u64)>>,
    /// What it was compared with, and why with that; absent without a plan or product.
    pub compared_with: Option<String>,
    /// Line by line; empty without a plan or product.
    pub comparison: Vec<Line>,
    /// What is over a threshold.
    pub flags: Vec<Flag>,
    /// The thresholds.
    pub thresholds: Thresholds,
    /// The month.
    pub forecast: Forecast,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Puts production beside what was expected.
pub fn actuals(usage: &Usage, expected: Option<&Expected>, thresholds: &Thresholds) -> Actuals {
    let whole = usage.whole_days();
    let total = UnitEconomics::of(usage, &usage.total);
    let forecast = forecast::forecast(usage);
    let mut flags = flags::find(usage, thresholds);
    let comparison = expected
        .map_or_else(Vec::new, |expected| comparison::lines(usage, &whole, &total, &forecast, expected));
    if let Some(expected) = expected {
        flags.extend(comparison::unplanned(usage, expected, thresholds));
        flags.extend(comparison::off_plan(&comparison, thresholds));
    }
    let compared_with = expected.map(|expected| match &expected.option {
        Some(option) => format!("{}: {}", expected.source, option.why),
        None => expected.source.clone(),
    });
    Actuals {
        source: usage.source.clone(),
        first_day: usage.first_day(),
        last_day: usage.last_day(),
        whole_days: whole.len(),
        groups: unit::groups(usage),
        causes: most_first(usage.causes.as_ref()),
        fallbacks: most_first(usage.fallbacks.as_ref()),
        compared_with,
        comparison,
        flags,
        thresholds: *thresholds,
        forecast,
        notes: notes(usage, &whole, thresholds),
        total,
    }
}

fn most_first(counts: Option<&std::collections::BTreeMap<String, u64>>) -> Option<Vec<(String, u64)>> {
    let mut all: Vec<(String, u64)> = counts?.iter().map(|(name, count)| (name.clone(), *count)).collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Some(all)
}

fn notes(usage: &Usage, whole: &[(Date, breakeven_usage::Sums)], at: &Thresholds) -> Vec<String> {
    let mut notes = usage.source.notes.clone();
    let total = &usage.total;
    let unknown = total.attempts - total.costed();
    if unknown > 0 {
        notes.push(format!(
            "{unknown} of {} calls have no cost: neither the log nor the plan's prices give one",
            total.attempts
        ));
    }
    if total.priced > 0 {
        notes.push(format!(
            "{} calls are priced from the plan, since the log records no cost; cached prompt tokens at the full price",
            total.priced
        ));
    }
    for (known, what) in [(total.input_known, "prompt"), (total.output_known, "answer")] {
        let missing = total.attempts - known;
        // A failure has no answer to count.
        if missing > total.failed {
            notes.push(format!("{missing} of {} calls have no figure of {what} tokens", total.attempts));
        }
    }
    let silent: Vec<String> =
        whole.iter().filter(|(_, sums)| sums.attempts == 0).map(|(day, _)| day.to_string()).collect();
    if let Some(first) = silent.first() {
        notes.push(format!(
            "no calls on {} days, the first {first}: counted as days without traffic, not as gaps of the log",
            silent.len()
        ));
    }
    let judged = usage.days.values().filter(|sums| sums.attempts >= at.least_calls).count();
    if judged <= at.least_days {
        notes.push(format!(
            "{judged} days with {} calls or more: too few to tell a spike or a surge, which needs {} days before",
            at.least_calls, at.least_days
        ));
    }
    notes
}
