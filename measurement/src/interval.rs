//! Confidence intervals from what a measurement keeps: counts and latency histograms.
//!
//! None of them resamples, so the same files always give the same interval. All take requests as independent of one
//! another; docs/METHOD.md says what that leaves out.

use statrs::distribution::{Binomial, ContinuousCDF as _, DiscreteCDF as _, StudentsT};

use crate::{
    search::wilson_interval,
    series::{LatencySeries, Quantile},
    workload::normal_quantile,
};

/// An estimate and its interval; an end is infinite where nothing bounds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Best estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Its ends `factor` times as far from the estimate; unbounded ends stay so.
    #[must_use]
    pub fn widened(self, factor: f64) -> Self {
        let end = |end: f64| {
            if end.is_finite() && self.estimate.is_finite() {
                self.estimate + (end - self.estimate) * factor
            } else {
                end
            }
        };
        Self { estimate: self.estimate, low: end(self.low), high: end(self.high) }
    }
}

/// The mean of a figure over independent runs with Student's t interval, at confidence `1 − alpha`; `None` of fewer than two runs and
/// where one is infinite.
pub fn mean_of_runs(values: &[f64], alpha: f64) -> Option<Interval> {
    let n = values.len() as f64;
    if values.len() < 2 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(1.0 - alpha / 2.0);
    let half = t * (variance / n).sqrt();
    Some(Interval { estimate: mean, low: mean - half, high: mean + half })
}

/// Quantile of Student's t at `degrees` of freedom; `None` of fewer than one.
pub fn student_quantile(p: f64, degrees: f64) -> Option<f64> {
    (degrees >= 1.0).then(|| StudentsT::new(0.0, 1.0, degrees).ok().map(|t| t.inverse_cdf(p))).flatten()
}

/// A share of a count with its Wilson interval, at confidence `1 − alpha`; `None` of nothing.
pub fn proportion(part: u64, whole: u64, alpha: f64) -> Option<Interval> {
    (whole > 0).then(|| {
        let (low, high) = wilson_interval(part, whole, normal_quantile(1.0 - alpha / 2.0));
        let estimate = (part as f64 / whole as f64).min(1.0);
        Interval { estimate, low: low.get().min(estimate), high: high.get().max(estimate) }
    })
}

/// A quantile in seconds with its order-statistic interval, at confidence of at least `1 − alpha`; `None` of nothing.
///
/// The number of values below the true quantile is binomial (n, q), whatever the distribution; so the values at two
/// binomial ranks enclose it (H. A. David, H. N. Nagaraja, *Order Statistics*, 3rd ed., 2003, §7.1). The lower end is 0
/// and the upper end infinite where the sample is too small for a rank, and where the rank falls among the failures.
pub fn quantile(series: &LatencySeries, q: f64, alpha: f64) -> Option<Interval> {
    let seconds = |value: Quantile| match value {
        Quantile::Finite(value) => value.as_secs_f64(),
        Quantile::Infinite => f64::INFINITY,
    };
    let n = series.len();
    let estimate = seconds(series.quantile(q)?);
    let below = Binomial::new(q, n).ok()?;
    // Lower rank: the largest l with P(fewer than l values below) <= alpha/2.
    let low_rank = first_rank(n, |rank| below.cdf(rank - 1) > alpha / 2.0).map_or(n, |rank| rank - 1);
    // Upper rank: the smallest u with P(u or more values below) <= alpha/2.
    let high_rank = first_rank(n, |rank| below.sf(rank - 1) <= alpha / 2.0);
    let low = series.at_rank(low_rank).map_or(0.0, seconds);
    let high = high_rank.and_then(|rank| series.at_rank(rank)).map_or(f64::INFINITY, seconds);
    Some(Interval { estimate, low: low.min(estimate), high: high.max(estimate) })
}

/// The first rank from 1 to `n` that satisfies a condition which, once true, stays true.
fn first_rank(n: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    let (mut low, mut high) = (1, n + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    (low <= n).then_some(low)
}

/// Interval of `b − a` from the intervals of independent `a` and `b` (the method of variance estimates recovery,
/// MOVER: G. Y. Zou, A. Donner, Statistics in Medicine 27 (2008); of Wilson intervals it is method 10 of
/// R. G. Newcombe, Statistics in Medicine 17 (1998), 873–890).
pub fn difference(a: Interval, b: Interval) -> Interval {
    if !a.estimate.is_finite() || !b.estimate.is_finite() {
        // An infinite estimate has no distance to its bounds: only what both bounds exclude is known.
        return Interval {
            estimate: minus(b.estimate, a.estimate),
            low: bound(b.low, a.high, f64::NEG_INFINITY),
            high: bound(b.high, a.low, f64::INFINITY),
        };
    }
    let estimate = b.estimate - a.estimate;
    Interval {
        estimate,
        low: estimate - (b.estimate - b.low).hypot(a.high - a.estimate),
        high: estimate + (b.high - b.estimate).hypot(a.estimate - a.low),
    }
}

/// Interval of `b / a − 1`, by [`difference`] of logarithms. Both above zero.
pub fn relative_change(a: Interval, b: Interval) -> Interval {
    let ln = |i: Interval| Interval { estimate: i.estimate.ln(), low: i.low.ln(), high: i.high.ln() };
    let of_logs = difference(ln(a), ln(b));
    Interval { estimate: of_logs.estimate.exp_m1(), low: of_logs.low.exp_m1(), high: of_logs.high.exp_m1() }
}

/// A difference in which two infinities of one sign are equal.
fn minus(b: f64, a: f64) -> f64 {
    let difference = b - a;
    if difference.is_nan() { 0.0 } else { difference }
}

/// The same for a bound, which then says nothing.
fn bound(b: f64, a: f64, unknown: f64) -> f64 {
    let difference = b - a;
    if difference.is_nan() { unknown } else { difference }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn series(nanoseconds: impl Iterator<Item = u64>) -> LatencySeries {
        let mut series = LatencySeries::new();
        for value in nanoseconds {
            series.record(Duration::from_nanos(value));
        }
        series
    }

    #[test]
    fn differences_of_proportions_match_newcombes_table() {
        // Newcombe 1998, table II, method 10: 56/70 − 48/80 and others, to the four digits printed.
        for ((x1, n1), (x2, n2), low, high) in [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((9, 10), (3, 10), 0.1705, 0.8090),
            ((10, 10), (0, 20), 0.6791, 1.0000),
            ((5, 56), (0, 29), -0.0381, 0.1926),
        ] {
            let of = |x, n| proportion(x, n, 0.05).unwrap();
            let found = difference(of(x2, n2), of(x1, n1));
            assert!(
                (found.low - low).abs() < 6e-5 && (found.high - high).abs() < 6e-5,
                "{x1}/{n1} − {x2}/{n2}: {found:?}"
            );
        }
    }

    #[test]
    fn the_ranks_of_a_median_are_those_of_the_sign_test_table() {
        // Two-sided 95 % ranks of the median: n = 10: 2 and 9, n = 20: 6 and 15, n = 50: 18 and 33 (standard tables,
        // for example W. J. Conover, Practical Nonparametric Statistics, 3rd ed., table A3).
        for (n, low, high) in [(10u64, "2", "9"), (20, "6", "15"), (50, "18", "33")] {
            let found = quantile(&series(1..=n), 0.5, 0.05).unwrap();
            let rank = |seconds: f64| format!("{:.0}", seconds * 1e9);
            assert_eq!((rank(found.low).as_str(), rank(found.high).as_str()), (low, high));
        }
    }

    #[test]
    fn the_mean_of_runs_matches_a_textbook() {
        // NIST/SEMATECH e-Handbook of Statistical Methods, 7.2.2: t(0.975) of 4 degrees of freedom is 2.776, of 1 is 12.706.
        let found = mean_of_runs(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.05).unwrap();
        let half = 2.776 * 2.5f64.sqrt() / 5.0f64.sqrt();
        assert!((found.estimate - 3.0).abs() < 1e-12 && (found.high - 3.0 - half).abs() < 1e-3, "{found:?}");
        let two = mean_of_runs(&[1.0, 3.0], 0.05).unwrap();
        assert!((two.high - 2.0 - 12.706).abs() < 1e-3, "{two:?}");
        assert_eq!(mean_of_runs(&[1.0], 0.05), None);
        assert_eq!(mean_of_runs(&[1.0, f64::INFINITY], 0.05), None);
    }

    #[test]
    fn a_small_sample_does_not_bound_a_tail() {
        let found = quantile(&series(1..=50), 0.99, 0.05).unwrap();
        assert!(found.high.is_infinite() && found.low > 0.0);
        let mut failing = series(1..=90);
        for _ in 0..10 {
            failing.record_infinite();
        }
        assert!(quantile(&failing, 0.95, 0.05).unwrap().estimate.is_infinite());
        assert!(quantile(&failing, 0.9, 0.05).unwrap().high.is_infinite());
        assert!(quantile(&LatencySeries::new(), 0.5, 0.05).is_none());
    }

    #[test]
    fn what_turned_infinite_is_bounded_by_what_both_exclude() {
        let a = Interval { estimate: 1.0, low: 0.9, high: 1.2 };
        let b = Interval { estimate: f64::INFINITY, low: 2.4, high: f64::INFINITY };
        let change = relative_change(a, b);
        assert!((change.low - 1.0).abs() < 1e-12 && change.high.is_infinite(), "{change:?}");
        let same = relative_change(b, b);
        assert!(same.estimate.abs() < 1e-12 && same.low < 0.0 && same.high > 0.0, "{same:?}");
    }

    #[test]
    fn intervals_cover_the_truth_as_often_as_they_say() {
        use rand::{Rng as _, SeedableRng as _};
        // Two samples of 200 from one exponential law: the true change of every quantile is 0.
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let mut sample = || {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some 10^10 at most")]
            series((0..200).map(|_| (-(1.0 - random.random::<f64>()).ln() * 1e9) as u64 + 1))
        };
        let mut missed = 0;
        for _ in 0..500 {
            let of = |s: &LatencySeries| quantile(s, 0.9, 0.05).unwrap();
            let change = relative_change(of(&sample()), of(&sample()));
            missed += u32::from(change.low > 0.0 || change.high < 0.0);
        }
        // 25 of 500 expected at 95 %; fewer is conservative, 40 would be three standard deviations off.
        assert!(missed <= 40, "{missed} of 500");
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_estimate(
            values in prop::collection::vec(1u64..10_000_000_000, 1..200), q in 0.01f64..0.999, failures in 0u64..20,
        ) {
            let mut series = series(values.into_iter());
            for _ in 0..failures {
                series.record_infinite();
            }
            let i = quantile(&series, q, 0.01).unwrap();
            prop_assert!(i.low <= i.estimate && i.estimate <= i.high, "{:?}", i);
        }
    }
}
