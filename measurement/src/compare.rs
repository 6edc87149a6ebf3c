//! Two measurements side by side: what changed, how sure that is, and whether a gate should let it pass.

use serde::Serialize;

use crate::{
    headline::Headline,
    interval::{self, Interval},
    level::{LevelName, LevelResult},
    metric::{Metric, Unit},
    run::{Measurement, Status},
    search::CapacityEstimate,
    validity::Verdict as Validity,
};

/// Chance that a comparison of equal systems shows any difference at all: shared out among its rows (Bonferroni).
pub const JOINT_ALPHA: f64 = 0.05;
/// Rates further apart than this are another load.
const SAME_RATE: f64 = 0.01;

/// What a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval is on the better side.
    Better,
    /// The whole interval is on the worse side.
    Worse,
    /// The interval holds zero: none, or too few requests to see it.
    NoDifferenceShown,
    /// Measured under different load, or by one side only.
    NotComparable,
}

/// One metric of one level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The level; absent for the capacity.
    pub level: Option<LevelName>,
    /// The metric.
    pub metric: Metric,
    /// Its value in A, in [`Metric::unit`]; absent where there is none or it is infinite.
    pub a: Option<f64>,
    /// Its value in B.
    pub b: Option<f64>,
    /// B − A for shares, B / A − 1 for the others; absent where it has no finite value.
    pub change: Option<f64>,
    /// Lower end of the change's interval; absent where nothing bounds it.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// What that shows.
    pub verdict: Verdict,
    /// Whether it is shown to be worse, by more than the threshold.
    pub over_threshold: bool,
}

/// A comparison of two measurements.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Run compared against.
    pub a: String,
    /// Run compared.
    pub b: String,
    /// Worsening that fails the gate, as a share.
    pub threshold: f64,
    /// Confidence of all intervals together.
    pub joint_confidence: f64,
    /// Confidence of each.
    pub row_confidence: f64,
    /// One row a metric and level.
    pub rows: Vec<Row>,
    /// What a reader must know beside the rows.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Whether any metric is shown to be worse by more than the threshold.
    pub fn fails(&self) -> bool {
        self.rows.iter().any(|row| row.over_threshold)
    }
}

/// Why two measurements cannot be compared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// They were asked for different things.
    #[error(
        "they measured a different {what}, so a difference says nothing about the systems; measure both with one file"
    )]
    Differ {
        /// Workload or SLO.
        what: &'static str,
    },
    /// A level that may not be believed.
    #[error(
        "level {level} of {side} is invalid: {findings}; measure it again, or compare anyway with --allow-invalid"
    )]
    Invalid {
        /// A or B.
        side: char,
        /// The level.
        level: LevelName,
        /// Why.
        findings: String,
    },
    /// A run that stopped early.
    #[error("{side} did not reach its end: {reason}; resume it, or compare anyway with --allow-invalid")]
    Incomplete {
        /// A or B.
        side: char,
        /// Why.
        reason: String,
    },
    /// What A measured, B did not.
    #[error("B has no level {0}, which A has; measure it, or the gate would pass on silence")]
    LevelMissing(LevelName),
    /// Nothing was measured under the same load.
    #[error(
        "no level was measured at the same rate in both (A: {a}; B: {b}) and neither names a capacity in both; fix the rates \
         with --rates"
    )]
    NothingInCommon {
        /// Rates of A.
        a: String,
        /// Rates of B.
        b: String,
    },
}

/// What a comparison tolerates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompareOptions {
    /// Worsening that fails the gate, as a share: 0.05 is 5 % of a latency or rate, 5 points of a share.
    pub threshold: f64,
    /// Compare invalid levels and incomplete runs as if they were not.
    pub allow_invalid: bool,
}

/// Compares `b` against `a`.
///
/// # Errors
/// Where the two cannot be compared at all, or where one must not be believed.
pub fn compare(
    a: &Measurement,
    b: &Measurement,
    options: &CompareOptions,
) -> Result<Comparison, CompareError> {
    if a.workload != b.workload {
        return Err(CompareError::Differ { what: "workload" });
    }
    if a.slo != b.slo {
        return Err(CompareError::Differ { what: "SLO" });
    }
    let mut notes = Vec::new();
    for (side, measurement) in [('A', a), ('B', b)] {
        doubts(side, measurement, options.allow_invalid, &mut notes)?;
    }
    let mut pairs = Vec::new();
    for level in &a.levels {
        match b.level(level.name) {
            Some(other) => pairs.push((level, other)),
            None => return Err(CompareError::LevelMissing(level.name)),
        }
    }
    notes.extend(
        b.levels.iter().filter(|l| a.level(l.name).is_none()).map(|l| format!("A has no level {}", l.name)),
    );
    let capacities = capacity_of(a).zip(capacity_of(b));
    let comparable = pairs.iter().filter(|(a, b)| same_load(a, b)).count();
    if comparable == 0 && capacities.is_none() {
        return Err(CompareError::NothingInCommon { a: rates(a), b: rates(b) });
    }
    let judged = comparable * Metric::OF_LEVELS.len() + usize::from(capacities.is_some());
    let alpha = JOINT_ALPHA / judged.max(1) as f64;
    let mut rows = Vec::new();
    if let Some((a, b)) = capacities {
        rows.push(row(
            None,
            Metric::Capacity,
            Some(capacity_interval(a)),
            Some(capacity_interval(b)),
            options,
        ));
    }
    for (a, b) in pairs {
        let comparable = same_load(a, b);
        if !comparable {
            notes.push(format!(
                "{} ran at {} in A and at {} in B: not the same load, so its latencies are not judged",
                a.name, a.target_rate, b.target_rate
            ));
        }
        for metric in Metric::OF_LEVELS {
            let (of_a, of_b) = (interval_of(metric, a, alpha), interval_of(metric, b, alpha));
            if of_a.is_none() && of_b.is_none() {
                continue;
            }
            let mut row = row(Some(a.name), metric, of_a, of_b, options);
            if !comparable {
                row = Row {
                    change: None,
                    low: None,
                    high: None,
                    verdict: Verdict::NotComparable,
                    over_threshold: false,
                    ..row
                };
            }
            rows.push(row);
        }
    }
    Ok(Comparison {
        a: a.run_id.clone(),
        b: b.run_id.clone(),
        threshold: options.threshold,
        joint_confidence: 1.0 - JOINT_ALPHA,
        row_confidence: 1.0 - alpha,
        rows,
        notes,
    })
}

fn doubts(
    side: char,
    measurement: &Measurement,
    allowed: bool,
    notes: &mut Vec<String>,
) -> Result<(), CompareError> {
    if let Status::Incomplete { reason } = &measurement.status {
        if !allowed {
            return Err(CompareError::Incomplete { side, reason: reason.clone() });
        }
        notes.push(format!("{side} did not reach its end: {reason}"));
    }
    for level in &measurement.levels {
        let findings: Vec<String> = level.validity.findings.iter().map(ToString::to_string).collect();
        if level.validity.verdict == Validity::Invalid && !allowed {
            let findings = findings.join("; ");
            return Err(CompareError::Invalid { side, level: level.name, findings });
        }
        notes.extend(findings.iter().map(|finding| format!("{side}, {}: {finding}", level.name)));
    }
    Ok(())
}

fn capacity_of(measurement: &Measurement) -> Option<&CapacityEstimate> {
    measurement.search.as_ref()?.capacity.as_ref()
}

fn capacity_interval(capacity: &CapacityEstimate) -> Interval {
    let estimate = capacity.rate.per_second();
    Interval {
        estimate,
        low: capacity.low.map_or(0.0, |low| low.per_second().min(estimate)),
        high: capacity.high.map_or(f64::INFINITY, |high| high.per_second().max(estimate)),
    }
}

/// The interval within the run, widened where the runs of a repeated level differ by more than it allows for.
fn interval_of(metric: Metric, level: &LevelResult, alpha: f64) -> Option<Interval> {
    let within = metric.of(&level.overall, alpha)?;
    let factor = level.headline(metric).and_then(Headline::scatter).map_or(1.0, |scatter| scatter.max(1.0));
    Some(within.widened(factor))
}

fn same_load(a: &LevelResult, b: &LevelResult) -> bool {
    let ratio = b.target_rate.per_second() / a.target_rate.per_second();
    a.arrivals == b.arrivals && (ratio - 1.0).abs() <= SAME_RATE
}

fn rates(measurement: &Measurement) -> String {
    let levels: Vec<String> =
        measurement.levels.iter().map(|level| format!("{} {}", level.name, level.target_rate)).collect();
    if levels.is_empty() { "no levels".to_owned() } else { levels.join(", ") }
}

fn row(
    level: Option<LevelName>,
    metric: Metric,
    a: Option<Interval>,
    b: Option<Interval>,
    options: &CompareOptions,
) -> Row {
    let finite = |value: f64| value.is_finite().then_some(value);
    let estimate = |side: Option<Interval>| side.and_then(|i| finite(i.estimate));
    let change = a.zip(b).map(|(a, b)| match metric.unit() {
        Unit::Share => interval::difference(a, b),
        Unit::Seconds | Unit::RequestsPerSecond => interval::relative_change(a, b),
    });
    let Some(change) = change else {
        return Row {
            level,
            metric,
            a: estimate(a),
            b: estimate(b),
            change: None,
            low: None,
            high: None,
            verdict: Verdict::NotComparable,
            over_threshold: false,
        };
    };
    let (up, down) = if metric.more_is_better() {
        (Verdict::Better, Verdict::Worse)
    } else {
        (Verdict::Worse, Verdict::Better)
    };
    let verdict = if change.low > 0.0 {
        up
    } else if change.high < 0.0 {
        down
    } else {
        Verdict::NoDifferenceShown
    };
    Row {
        level,
        metric,
        a: estimate(a),
        b: estimate(b),
        change: finite(change.estimate),
        // A relative change cannot be below −100 %: that bound says nothing.
        low: finite(change.low).filter(|low| metric.unit() == Unit::Share || *low > -1.0),
        high: finite(change.high),
        verdict,
        over_threshold: verdict == Verdict::Worse && change.estimate.abs() > options.threshold,
    }
}
