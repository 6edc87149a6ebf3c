//! Production beside the plan, line by line.

use breakeven_hardware::Usd;
use breakeven_usage::{Dimension, Sums, Usage, same_model, usage::UNLABELLED};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Serialize;

use super::{
    expected::Expected,
    flags::{Flag, FlagKind, Thresholds},
    forecast::Forecast,
    unit::UnitEconomics,
};
use crate::traffic::HOURS_PER_MONTH;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Requests a month of 730.5 hours, at the mean of the whole days seen.
    RequestsPerMonth,
    /// Attempts a second in the busiest hour.
    BusiestHour,
    /// Retries a request.
    RetriesPerRequest,
    /// Share of attempts that failed.
    FailedShare,
    /// Share of attempts that another model answered.
    FallbackShare,
    /// Prompt tokens a call.
    InputTokens,
    /// Answer tokens a call.
    OutputTokens,
    /// Share of requests that succeed.
    SuccessShare,
    /// Cost of the model calls of a request.
    UsdPerRequest,
    /// Cost of the model calls of a success.
    UsdPerSuccess,
    /// Cost of the month's model calls.
    UsdPerMonth,
    /// Median call time.
    SecondsP50,
    /// 95th percentile of the call time.
    SecondsP95,
}

impl Measure {
    /// Its name for a reader.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestsPerMonth => "requests a month",
            Self::BusiestHour => "attempts a second, busiest hour",
            Self::RetriesPerRequest => "retries a request",
            Self::FailedShare => "failed attempts",
            Self::FallbackShare => "fallbacks",
            Self::InputTokens => "prompt tokens a call",
            Self::OutputTokens => "answer tokens a call",
            Self::SuccessShare => "requests that succeed",
            Self::UsdPerRequest => "model calls, USD a request",
            Self::UsdPerSuccess => "model calls, USD a success",
            Self::UsdPerMonth => "model calls, USD a month",
            Self::SecondsP50 => "call time, median",
            Self::SecondsP95 => "call time, p95",
        }
    }

    /// Whether more of it is worse.
    fn more_is_worse(self) -> bool {
        self != Self::SuccessShare
    }
}

/// A figure with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "unit", content = "value")]
pub enum Figure {
    /// Things.
    Count(f64),
    /// Things a second.
    PerSecond(f64),
    /// A share of 1.
    Share(f64),
    /// Money.
    Usd(Usd),
    /// Time.
    Seconds(f64),
}

impl Figure {
    /// The bare number.
    pub fn value(self) -> f64 {
        match self {
            Self::Count(value) | Self::PerSecond(value) | Self::Share(value) | Self::Seconds(value) => value,
            Self::Usd(usd) => usd.to_f64(),
        }
    }
}

/// One figure of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Which.
    pub measure: Measure,
    /// What the plan says; absent where it says nothing.
    pub planned: Option<Figure>,
    /// What production shows; absent where the log does not say.
    pub actual: Option<Figure>,
    /// Change as a share of the plan's; absent where either is, and where the plan has 0.
    pub change: Option<f64>,
    /// What a reader should know of it.
    pub note: Option<String>,
}

/// Every line.
pub(crate) fn lines(
    usage: &Usage,
    whole: &[(Date, Sums)],
    total: &UnitEconomics,
    forecast: &Forecast,
    expected: &Expected,
) -> Vec<Line> {
    let option = expected.option.as_ref();
    let requests: u64 = whole.iter().map(|(_, sums)| sums.requests()).sum();
    let pace = (!whole.is_empty()).then(|| requests as f64 / whole.len() as f64 * HOURS_PER_MONTH / 24.0);
    let planned_request = option.and_then(|option| {
        option.calls_usd_per_month.per(Decimal::try_from(expected.requests_per_month).ok()?)
    });
    let probability =
        expected.success_probability.and_then(|p| Decimal::try_from(p).ok()).filter(|p| !p.is_zero());
    let planned_success = planned_request.zip(probability).and_then(|(usd, p)| usd.per(p));
    // Without a mark in the log the plan's share stands in, and the line says so.
    let assumed = total.usd_per_success.is_none();
    let success = total
        .usd_per_success
        .or_else(|| total.usd_per_request.zip(probability).and_then(|(usd, p)| usd.per(p)));
    let e2e = option.map_or((None, None), |option| option.e2e_seconds);
    let count = |value: Option<f64>| value.map(Figure::Count);
    let share = |value: Option<f64>| value.map(Figure::Share);
    let no_days = whole.is_empty().then(|| "no day is covered from end to end".to_owned());
    let rows = [
        (Measure::RequestsPerMonth, count(Some(expected.requests_per_month)), count(pace), no_days),
        (
            Measure::BusiestHour,
            expected.busiest_hour_per_second.map(Figure::PerSecond),
            Some(Figure::PerSecond(usage.busiest_hour_attempts as f64 / 3_600.0)),
            None,
        ),
        (
            Measure::RetriesPerRequest,
            count(Some(expected.retries_per_request)),
            count(total.retries_per_request),
            None,
        ),
        (Measure::FailedShare, None, share(total.failed_share), None),
        (Measure::FallbackShare, None, share(total.fallback_share), None),
        (Measure::InputTokens, count(Some(expected.input_tokens)), count(total.input_tokens), None),
        (Measure::OutputTokens, count(Some(expected.output_tokens)), count(total.output_tokens), None),
        (
            Measure::SuccessShare,
            share(expected.success_probability),
            share(total.success_share),
            total.success_share.is_none().then(|| "the log does not say; `success` would".to_owned()),
        ),
        (
            Measure::UsdPerRequest,
            planned_request.map(Figure::Usd),
            total.usd_per_request.map(Figure::Usd),
            None,
        ),
        (
            Measure::UsdPerSuccess,
            planned_success.map(Figure::Usd),
            success.map(Figure::Usd),
            (assumed && success.is_some()).then(|| "at the plan's share of successes".to_owned()),
        ),
        (
            Measure::UsdPerMonth,
            option.map(|option| Figure::Usd(option.calls_usd_per_month)),
            forecast.usd.map(|usd| Figure::Usd(usd.expected)),
            forecast.usd.map(|_| format!("forecast of {}", month(forecast.month))),
        ),
        (Measure::SecondsP50, e2e.0.map(Figure::Seconds), total.seconds_p50.map(Figure::Seconds), None),
        (Measure::SecondsP95, e2e.1.map(Figure::Seconds), total.seconds_p95.map(Figure::Seconds), None),
    ];
    rows.into_iter()
        .filter(|(_, planned, actual, _)| planned.is_some() || actual.is_some())
        .map(|(measure, planned, actual, note)| {
            let both = planned.zip(actual).filter(|(planned, _)| planned.value() > 0.0);
            let change = both.map(|(planned, actual)| actual.value() / planned.value() - 1.0);
            Line { measure, planned, actual, change, note }
        })
        .collect()
}

/// `2026-11`.
fn month(first: Date) -> String {
    format!("{:04}-{:02}", first.year(), first.month())
}

/// Lines that are worse than the plan by more than the threshold. More requests than planned count as worse: the fleet and the bill
/// were sized for fewer.
pub(crate) fn off_plan(lines: &[Line], at: &Thresholds) -> Vec<Flag> {
    let worse = |line: &&Line| {
        let change = line.change.unwrap_or(0.0);
        if line.measure.more_is_worse() { change > at.off_plan } else { change < -at.off_plan }
    };
    let flag = |line: &Line| {
        Some(Flag {
            kind: FlagKind::OffPlan,
            dimension: None,
            of: Some(line.measure.name().to_owned()),
            from: None,
            to: None,
            was: Some(line.planned?.value()),
            is: line.actual?.value(),
            why: format!("{:+.1} %, over {:.0} %", line.change? * 100.0, at.off_plan * 100.0),
        })
    };
    lines.iter().filter(worse).filter_map(flag).collect()
}

/// Models that the plan's option does not have and that take a share of the cost, or of the calls where no cost is known.
pub(crate) fn unplanned(usage: &Usage, expected: &Expected, at: &Thresholds) -> Vec<Flag> {
    let Some(planned) = expected.option.as_ref().and_then(|option| option.model.as_deref()) else {
        return Vec::new();
    };
    let Some(breakdown) = usage.by.get(&Dimension::Model) else { return Vec::new() };
    let total = usage.total.usd().map(Usd::to_f64).filter(|usd| *usd > 0.0);
    let mut flags = Vec::new();
    for (model, days) in breakdown.values().filter(|(model, _)| *model != UNLABELLED) {
        if same_model(planned, model) {
            continue;
        }
        let mut sums = Sums::default();
        for day in days.values() {
            sums.merge(day);
        }
        let (share, of) = match (total, sums.usd()) {
            (Some(total), usd) => (usd.map_or(0.0, Usd::to_f64) / total, "cost"),
            (None, _) => (sums.attempts as f64 / usage.total.attempts.max(1) as f64, "calls"),
        };
        if share >= at.costly_share {
            flags.push(Flag {
                kind: FlagKind::UnplannedModel,
                dimension: Some(Dimension::Model),
                of: Some(model.to_owned()),
                from: days.first_key_value().map(|(day, _)| *day),
                to: days.last_key_value().map(|(day, _)| *day),
                was: None,
                is: share,
                why: format!(
                    "{:.1} % of the {of}, over {:.0} %; the plan has `{planned}`",
                    share * 100.0,
                    at.costly_share * 100.0
                ),
            });
        }
    }
    flags
}
