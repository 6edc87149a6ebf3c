//! What changed in production: tokens a call, shares of fallbacks, retries and failures, and routes that are new and dear.

use std::collections::BTreeMap;

use breakeven_measurement::interval::{difference, proportion};
use breakeven_usage::{Dimension, Sums, Usage, usage::UNLABELLED};
use jiff::{Span, civil::Date};
use serde::Serialize;

use super::robust::{median, modified_z};

/// When a change is one. Where each figure comes from is in docs/METHOD.md.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Thresholds {
    /// Modified z-score above which a day's mean tokens are an outlier.
    pub robust_z: f64,
    /// Least rise of tokens a call over the usual, as a share: a smaller one is not worth a flag.
    pub least_rise: f64,
    /// One-sided chance, a day and series, that a share that did not rise is taken for one that did.
    pub alpha: f64,
    /// Least rise of a share that matters.
    pub least_points: f64,
    /// Fewest days to compare a day with.
    pub least_days: usize,
    /// Most days to compare it with, the latest.
    pub most_days: usize,
    /// Fewest calls of a day that says something.
    pub least_calls: u64,
    /// Share of the cost from which a new route or model is dear.
    pub costly_share: f64,
    /// Change against the plan that is flagged.
    pub off_plan: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            robust_z: 3.5,
            least_rise: 0.25,
            alpha: 0.001,
            least_points: 0.01,
            least_days: 7,
            most_days: 28,
            least_calls: 30,
            costly_share: 0.05,
            off_plan: 0.10,
        }
    }
}

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlagKind {
    /// Prompt tokens a call jumped.
    InputTokenSpike,
    /// Answer tokens a call jumped.
    OutputTokenSpike,
    /// More calls are answered by another model than the one asked for.
    FallbackSurge,
    /// More attempts repeat a failed one.
    RetrySurge,
    /// More attempts fail.
    FailureSurge,
    /// A route, model or stage that was not there before takes a share of the cost.
    NewCostlyRoute,
    /// A model that the plan's option does not have takes a share of the cost.
    UnplannedModel,
    /// A figure is worse than the plan says.
    OffPlan,
}

impl FlagKind {
    /// Its name for a reader.
    pub fn name(self) -> &'static str {
        match self {
            Self::InputTokenSpike => "prompt token spike",
            Self::OutputTokenSpike => "answer token spike",
            Self::FallbackSurge => "fallback surge",
            Self::RetrySurge => "retry surge",
            Self::FailureSurge => "failure surge",
            Self::NewCostlyRoute => "new costly route",
            Self::UnplannedModel => "model not in the plan",
            Self::OffPlan => "off plan",
        }
    }
}

/// A change that is over its threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flag {
    /// What kind.
    pub kind: FlagKind,
    /// Of which calls; all of them where absent.
    pub dimension: Option<Dimension>,
    /// The label's value, or the figure of the plan.
    pub of: Option<String>,
    /// First day; absent where it is about all days.
    pub from: Option<Date>,
    /// Last day.
    pub to: Option<Date>,
    /// What was usual, or planned: tokens a call, a share, or the plan's figure. Absent of what is new.
    pub was: Option<f64>,
    /// What it is at its highest.
    pub is: f64,
    /// The statistic that is over its limit, and the limit, for a reader.
    pub why: String,
}

/// Calls of one label, or all, by day.
struct Series<'a> {
    dimension: Option<Dimension>,
    value: Option<&'a str>,
    days: &'a BTreeMap<Date, Sums>,
}

/// The flags of production alone, most telling kind first.
pub(crate) fn find(usage: &Usage, at: &Thresholds) -> Vec<Flag> {
    let mut series = vec![Series { dimension: None, value: None, days: &usage.days }];
    for (dimension, breakdown) in &usage.by {
        // The only value of a label is all calls again.
        if breakdown.values().count() > 1 {
            series.extend(breakdown.values().map(|(value, days)| Series {
                dimension: Some(*dimension),
                value: Some(value),
                days,
            }));
        }
    }
    let mut flags = Vec::new();
    for one in &series {
        let tokens = [
            (FlagKind::InputTokenSpike, Sums::mean_input_tokens as fn(&Sums) -> Option<f64>),
            (FlagKind::OutputTokenSpike, Sums::mean_output_tokens),
        ];
        for (kind, mean) in tokens {
            flags.extend(spikes(one, kind, mean, at));
        }
        let shares = [
            (FlagKind::FallbackSurge, (|sums| sums.fallbacks) as fn(&Sums) -> u64),
            (FlagKind::RetrySurge, |sums| sums.retries),
            (FlagKind::FailureSurge, |sums| sums.failed),
        ];
        for (kind, part) in shares {
            flags.extend(surges(one, kind, part, at));
        }
    }
    flags.extend(new_and_dear(usage, at));
    flags.sort_by(|a, b| (a.kind, a.dimension, a.from, &a.of).cmp(&(b.kind, b.dimension, b.from, &b.of)));
    flags
}

/// Days on which the mean tokens of a call are far above those of the days before.
fn spikes(series: &Series<'_>, kind: FlagKind, mean: fn(&Sums) -> Option<f64>, at: &Thresholds) -> Vec<Flag> {
    let days = series.days.iter().filter(|(_, sums)| sums.attempts >= at.least_calls);
    let days: Vec<(Date, f64)> = days.filter_map(|(day, sums)| Some((*day, mean(sums)?))).collect();
    let mut usual: Vec<(Date, f64)> = Vec::new();
    let mut runs = Runs::new(series, kind);
    for (day, value) in days {
        let recent = usual.get(usual.len().saturating_sub(at.most_days)..).unwrap_or_default();
        let values: Vec<f64> = recent.iter().map(|(_, value)| *value).collect();
        let same_weekday: Vec<f64> = recent
            .iter()
            .filter(|(other, _)| other.weekday() == day.weekday())
            .map(|(_, value)| *value)
            .collect();
        let judged = (values.len() >= at.least_days)
            .then(|| modified_z(value, &values).zip(median(&values)))
            .flatten()
            .map(|(z, middle)| {
                // Tokens that differ at weekends are no spike every Saturday.
                let weekday = median(&same_weekday).filter(|_| same_weekday.len() > 1).unwrap_or(middle);
                (z, middle.max(weekday))
            });
        match judged {
            Some((z, was)) if z > at.robust_z && value > was * (1.0 + at.least_rise) => {
                let shown = if z.is_finite() { format!("{z:.1}") } else { "infinite".to_owned() };
                let why = format!(
                    "modified z {shown} over {}, and over {:.0} % above the usual",
                    at.robust_z,
                    at.least_rise * 100.0
                );
                runs.add(day, was, value, why);
            }
            _ => usual.push((day, value)),
        }
    }
    runs.flags
}

/// Days on which a share is above that of the days before by more than chance and by more than what matters.
fn surges(series: &Series<'_>, kind: FlagKind, part: fn(&Sums) -> u64, at: &Thresholds) -> Vec<Flag> {
    let mut usual: Vec<(u64, u64)> = Vec::new();
    let mut runs = Runs::new(series, kind);
    for (day, sums) in series.days.iter().filter(|(_, sums)| sums.attempts >= at.least_calls) {
        let recent = usual.get(usual.len().saturating_sub(at.most_days)..).unwrap_or_default();
        let (before, of) = recent.iter().fold((0, 0), |(a, b), (x, n)| (a + x, b + n));
        let now = (part(sums), sums.attempts);
        if recent.len() >= at.least_days
            && let (Some(a), Some(b)) =
                (proportion(before, of, 2.0 * at.alpha), proportion(now.0, now.1, 2.0 * at.alpha))
        {
            let rise = difference(a, b);
            if rise.low > at.least_points {
                let why = format!(
                    "rise of at least {:.1} points at {:.1} % confidence, over {:.1}",
                    rise.low * 100.0,
                    (1.0 - at.alpha) * 100.0,
                    at.least_points * 100.0
                );
                runs.add(*day, a.estimate, b.estimate, why);
                continue;
            }
        }
        usual.push(now);
    }
    runs.flags
}

/// Routes, models and stages that a week of calls was without and that now take a share of the cost.
fn new_and_dear(usage: &Usage, at: &Thresholds) -> Vec<Flag> {
    let mut flags = Vec::new();
    let days_before = i32::try_from(at.least_days).unwrap_or(i32::MAX);
    for dimension in [Dimension::Route, Dimension::Model, Dimension::Stage] {
        let Some(breakdown) = usage.by.get(&dimension) else { continue };
        for (value, days) in breakdown.values().filter(|(value, _)| *value != UNLABELLED) {
            let Some((first, _)) = days.first_key_value() else { continue };
            let known = usage.first_day().checked_add(Span::new().days(days_before));
            if known.is_err() || known.is_ok_and(|known| *first < known) {
                continue;
            }
            let since = |days: &BTreeMap<Date, Sums>| {
                days.range(*first..)
                    .filter_map(|(_, sums)| sums.usd())
                    .map(breakeven_hardware::Usd::to_f64)
                    .sum::<f64>()
            };
            let (own, all) = (since(days), since(&usage.days));
            if all > 0.0 && own / all >= at.costly_share {
                flags.push(Flag {
                    kind: FlagKind::NewCostlyRoute,
                    dimension: Some(dimension),
                    of: Some(value.to_owned()),
                    from: Some(*first),
                    to: days.last_key_value().map(|(day, _)| *day),
                    was: None,
                    is: own / all,
                    why: format!(
                        "{:.1} % of the cost since its first call, over {:.0} %",
                        own / all * 100.0,
                        at.costly_share * 100.0
                    ),
                });
            }
        }
    }
    flags
}

/// Flags of one series; days in a row are one.
struct Runs<'s, 'a> {
    series: &'s Series<'a>,
    kind: FlagKind,
    flags: Vec<Flag>,
}

impl<'s, 'a> Runs<'s, 'a> {
    fn new(series: &'s Series<'a>, kind: FlagKind) -> Self {
        Self { series, kind, flags: Vec::new() }
    }

    fn add(&mut self, day: Date, was: f64, is: f64, why: String) {
        if let Some(last) = self.flags.last_mut()
            && last.to.and_then(|to| to.tomorrow().ok()) == Some(day)
        {
            last.to = Some(day);
            if is > last.is {
                (last.is, last.why) = (is, why);
            }
            return;
        }
        self.flags.push(Flag {
            kind: self.kind,
            dimension: self.series.dimension,
            of: self.series.value.map(str::to_owned),
            from: Some(day),
            to: Some(day),
            was: Some(was),
            is,
            why,
        });
    }
}
