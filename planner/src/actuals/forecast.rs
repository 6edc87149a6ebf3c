//! The month, forecast anew from the days seen.

use std::collections::BTreeMap;

use breakeven_hardware::Usd;
use breakeven_measurement::interval::student_quantile;
use breakeven_usage::{Sums, Usage};
use jiff::civil::{Date, Weekday};
use serde::Serialize;

/// Fewest whole days: one of each weekday.
const LEAST_DAYS: usize = 7;
/// Whole days from which each weekday has its own mean: two of each.
const WEEKDAYS_FROM: usize = 14;
/// Most whole days used, the latest: traffic of two months ago says little about this one.
const MOST_DAYS: usize = 56;
/// Chance that the month ends outside the interval.
const ALPHA: f64 = 0.05;

/// A month's figure: what was seen of it, and the whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// On the whole days seen.
    pub so_far: f64,
    /// Of the month.
    pub expected: f64,
    /// Low end of the 95 % interval.
    pub low: f64,
    /// High end.
    pub high: f64,
}

/// A month's cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CostEstimate {
    /// On the whole days seen, exact.
    pub so_far: Usd,
    /// Of the month.
    pub expected: Usd,
    /// Low end of the 95 % interval.
    pub low: Usd,
    /// High end.
    pub high: Usd,
}

/// The month that the last call falls into.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Its first day.
    pub month: Date,
    /// Its days.
    pub days: u32,
    /// Days of it that the log covers from end to end.
    pub days_seen: u32,
    /// Whole days behind the forecast, earlier months included.
    pub basis_days: usize,
    /// Whether each weekday has its own mean.
    pub by_weekday: bool,
    /// Requests, retries not included. Absent where too few days were seen.
    pub requests: Option<Estimate>,
    /// Cost of the calls whose cost is known. Absent likewise, and where none is.
    pub usd: Option<CostEstimate>,
    /// Why there is no forecast, or what it leaves out.
    pub note: Option<String>,
}

/// Forecasts the month of the last call.
pub(crate) fn forecast(usage: &Usage) -> Forecast {
    let whole = usage.whole_days();
    let month = usage.last_day().first_of_month();
    let days = u32::try_from(month.days_in_month()).unwrap_or(0);
    let in_month = |day: Date| day.first_of_month() == month;
    let seen: Vec<&(Date, Sums)> = whole.iter().filter(|(day, _)| in_month(*day)).collect();
    let unseen: Vec<Date> = month
        .series(jiff::Span::new().days(1))
        .take_while(|day| in_month(*day))
        .filter(|day| !seen.iter().any(|(other, _)| other == day))
        .collect();
    let mut found = Forecast {
        month,
        days,
        days_seen: u32::try_from(seen.len()).unwrap_or(0),
        basis_days: 0,
        by_weekday: false,
        requests: None,
        usd: None,
        note: None,
    };
    if whole.len() < LEAST_DAYS && !unseen.is_empty() {
        found.note = Some(format!(
            "{} whole days seen; a forecast needs {LEAST_DAYS}, one of each weekday",
            whole.len()
        ));
        return found;
    }
    let by_weekday = whole.len() >= WEEKDAYS_FROM;
    // Without means by weekday, a week exactly: eight days would count one weekday twice.
    let used = if by_weekday { whole.len().min(MOST_DAYS) } else { whole.len().min(LEAST_DAYS) };
    let basis = whole.get(whole.len() - used..).unwrap_or_default();
    (found.basis_days, found.by_weekday) = (used, by_weekday);
    let of = |figure: &dyn Fn(&Sums) -> f64| {
        let so_far = seen.iter().map(|(_, sums)| figure(sums)).sum();
        let history: Vec<(Date, f64)> = basis.iter().map(|(day, sums)| (*day, figure(sums))).collect();
        month_of(so_far, &history, &unseen, by_weekday)
    };
    found.requests = of(&|sums| sums.requests() as f64);
    if usage.total.costed() > 0 {
        let exact = seen.iter().filter_map(|(_, sums)| sums.usd()).sum::<Usd>();
        let usd = of(&|sums| sums.usd().map_or(0.0, Usd::to_f64));
        found.usd = usd.and_then(|usd| {
            let cents = |amount: f64| Usd::from_f64(amount).map(|usd| usd.rounded(2));
            let low = cents(usd.low)?.max(exact);
            Some(CostEstimate { so_far: exact, expected: cents(usd.expected)?, low, high: cents(usd.high)? })
        });
        let unknown = usage.total.attempts - usage.total.costed();
        if unknown > 0 {
            found.note = Some(format!(
                "the cost of {unknown} of {} calls is not known and not in it",
                usage.total.attempts
            ));
        }
    }
    found
}

/// What is seen and what the other days will bring, with a prediction interval.
///
/// A day of weekday w brings `μ_w` (1 + ε), ε independent with one variance s²; s² from the residuals y ÷ `μ_w` − 1 with n − (number of means)
/// degrees of freedom. The sum over the days to come has the variance s² [Σ μ² + `Σ_w` (`c_w` `μ_w)²` ÷ `k_w`]: the days' own, and that of
/// the means, each over `k_w` days seen and used for `c_w`.
fn month_of(so_far: f64, history: &[(Date, f64)], unseen: &[Date], by_weekday: bool) -> Option<Estimate> {
    if unseen.is_empty() {
        return Some(Estimate { so_far, expected: so_far, low: so_far, high: so_far });
    }
    let group = |day: Date| if by_weekday { day.weekday() } else { Weekday::Monday };
    let mut means: BTreeMap<i8, (f64, f64)> = BTreeMap::new();
    for (day, value) in history {
        let (sum, count) = means.entry(group(*day).to_monday_zero_offset()).or_default();
        (*sum, *count) = (*sum + value, *count + 1.0);
    }
    let mean =
        |day: Date| means.get(&group(day).to_monday_zero_offset()).map_or(0.0, |(sum, count)| sum / count);
    // A weekday on which nothing ever happens has no spread and takes no part in it.
    let residuals: Vec<f64> = history
        .iter()
        .filter(|(day, _)| mean(*day) > 0.0)
        .map(|(day, value)| value / mean(*day) - 1.0)
        .collect();
    let busy = means.values().filter(|(sum, _)| *sum > 0.0).count();
    let degrees = residuals.len() as f64 - busy as f64;
    let variance = residuals.iter().map(|e| e * e).sum::<f64>() / degrees.max(1.0);
    let coming: f64 = unseen.iter().map(|day| mean(*day)).sum();
    let own: f64 = unseen.iter().map(|day| mean(*day).powi(2)).sum();
    let of_means: f64 = means
        .iter()
        .map(|(weekday, (sum, count))| {
            let uses = unseen.iter().filter(|day| group(**day).to_monday_zero_offset() == *weekday).count();
            (uses as f64 * sum / count).powi(2) / count
        })
        .sum();
    let half = student_quantile(1.0 - ALPHA / 2.0, degrees)? * (variance * (own + of_means)).sqrt();
    let expected = so_far + coming;
    Some(Estimate { so_far, expected, low: (expected - half).max(so_far), high: expected + half })
}
