//! A level's headline figures with what is known of their uncertainty: within a run and between runs.

use serde::{Deserialize, Serialize};

use crate::{
    interval::{Interval, mean_of_runs},
    metric::{Metric, Unit},
};

/// Chance that an interval of a headline misses.
pub const ALPHA: f64 = 0.05;
/// Standard deviations from the middle to an end of a 95 % interval of a normal law.
const ENDS_AT: f64 = 1.959_964;

/// The two ends of a 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Span {
    /// Low end; absent where it falls among failures.
    pub low: Option<f64>,
    /// High end; absent where it falls among failures, and where there are too few requests to bound the percentile.
    pub high: Option<f64>,
}

impl Span {
    /// Of ends that may be infinite.
    pub fn of(low: f64, high: f64) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        Self { low: finite(low), high: finite(high) }
    }

    /// High − low; absent where an end is.
    pub fn width(&self) -> Option<f64> {
        Some(self.high? - self.low?)
    }
}

/// One run's value of a headline figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunFigure {
    /// Its value, in [`Metric::unit`]; absent where it falls among failures.
    pub value: Option<f64>,
    /// Its 95 % interval within that run; absent where the run has too few requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_run: Option<Span>,
}

/// A headline figure of a level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Headline {
    /// Which.
    pub metric: Metric,
    /// Its value over the requests of all runs together, in [`Metric::unit`]; absent where it falls among failures.
    pub estimate: Option<f64>,
    /// 95 % interval of the estimate from the requests of all runs together, drawn again in blocks of neighbours (moving-block
    /// bootstrap). What differs from run to run is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_run: Option<Span>,
    /// 95 % interval of the mean of the runs' own values (Student's t): what another run may show. Absent of one run, and where a run's
    /// value falls among failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between_runs: Option<Span>,
    /// Each run's own value; empty where the level ran once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunFigure>,
}

impl Headline {
    /// A figure of one or several runs.
    pub fn new(metric: Metric, estimate: f64, within_run: Option<Span>, runs: Vec<RunFigure>) -> Self {
        let runs = if runs.len() > 1 { runs } else { Vec::new() };
        let values: Vec<f64> = runs.iter().map(|run| run.value.unwrap_or(f64::INFINITY)).collect();
        let between_runs = mean_of_runs(&values, ALPHA).map(|interval| {
            let highest = if metric.unit() == Unit::Share { 1.0 } else { f64::INFINITY };
            Span::of(interval.low.max(0.0), interval.high.min(highest))
        });
        Self { metric, estimate: Some(estimate).filter(|e| e.is_finite()), within_run, between_runs, runs }
    }

    /// How much more the runs differ from one another than their own intervals allow for: √(χ² / (n − 1)) of their values with the
    /// standard deviations that the intervals imply. About 1 where nothing but chance within the runs is at work. `None` of one run,
    /// and where a run has no interval.
    ///
    /// Source: R. T. Birge, *The calculation of errors by the method of least squares*, Physical Review 40 (1932), 207–227; as the
    /// scale factor S of the Particle Data Group (*Review of Particle Physics*, introduction, §5.2.2).
    pub fn scatter(&self) -> Option<f64> {
        if self.runs.len() < 2 {
            return None;
        }
        let points = self.runs.iter().map(|run| {
            let deviation = run.within_run?.width()? / (2.0 * ENDS_AT);
            Some((run.value?, deviation))
        });
        let points: Vec<(f64, f64)> = points.collect::<Option<_>>()?;
        if points.iter().any(|(_, deviation)| *deviation <= 0.0) {
            return None;
        }
        let weights: f64 = points.iter().map(|(_, deviation)| deviation.powi(-2)).sum();
        let mean = points.iter().map(|(value, deviation)| value * deviation.powi(-2)).sum::<f64>() / weights;
        let chi_squared: f64 =
            points.iter().map(|(value, deviation)| ((value - mean) / deviation).powi(2)).sum();
        Some((chi_squared / (points.len() - 1) as f64).sqrt())
    }

    /// Half the width of the wider of both intervals: of a share in points, else as a share of the estimate. Absent where nothing
    /// bounds it.
    pub fn half_width(&self) -> Option<f64> {
        let widths = [self.within_run, self.between_runs].into_iter().flatten().map(|span| span.width());
        let widest = widths.collect::<Option<Vec<f64>>>()?.into_iter().reduce(f64::max)? / 2.0;
        match self.metric.unit() {
            Unit::Share => Some(widest),
            Unit::Seconds | Unit::RequestsPerSecond => {
                self.estimate.filter(|estimate| *estimate > 0.0).map(|estimate| widest / estimate)
            }
        }
    }
}

impl From<Interval> for Span {
    fn from(interval: Interval) -> Self {
        Self::of(interval.low, interval.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(value: f64, half: f64) -> RunFigure {
        RunFigure { value: Some(value), within_run: Some(Span::of(value - half, value + half)) }
    }

    #[test]
    fn runs_that_agree_scatter_little_and_runs_that_do_not_scatter_much() {
        let of = |runs| Headline::new(Metric::TtftP50, 1.0, Some(Span::of(0.9, 1.1)), runs);
        // Deviations 0.1 each, values ±0.1 about 1: χ² = 2 of one degree of freedom.
        let known = of(vec![run(0.9, 0.195_996_4), run(1.1, 0.195_996_4)]);
        assert!((known.scatter().unwrap() - 2.0f64.sqrt()).abs() < 1e-9);
        assert!(of(vec![run(1.0, 0.1), run(1.0, 0.1)]).scatter().unwrap() < 1e-9);
        assert_eq!(of(vec![run(1.0, 0.1)]).scatter(), None);
        assert_eq!(of(vec![run(1.0, 0.1)]).between_runs, None);
    }

    #[test]
    fn the_wider_interval_is_what_is_known() {
        let of = |metric| {
            Headline::new(metric, 0.5, Some(Span::of(0.45, 0.55)), vec![run(0.49, 0.1), run(0.51, 0.1)])
        };
        // t(0.975) of one degree of freedom, 12.706, times 0.01: 0.127 either way.
        assert!((of(Metric::Goodput).half_width().unwrap() - 0.127).abs() < 1e-3);
        assert!((of(Metric::TtftP50).half_width().unwrap() - 0.254).abs() < 2e-3);
        let failing =
            Headline::new(Metric::E2eP95, f64::INFINITY, Some(Span::of(1.0, f64::INFINITY)), Vec::new());
        assert_eq!((failing.estimate, failing.half_width()), (None, None));
    }
}
