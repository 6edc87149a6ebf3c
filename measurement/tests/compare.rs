//! What a comparison shows, and what it refuses to show.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_measurement::{
    CapacityEstimate, Finding, LevelName, Measurement, RequestRate, SearchRecord,
    compare::{CompareError, CompareOptions, Comparison, Row, Verdict, compare},
    metric::Metric,
    run::Status,
};
use support::{level, measurement};

const OPTIONS: CompareOptions = CompareOptions { threshold: 0.05, allow_invalid: false };

/// A level of `n` requests, exponential by exact quantiles, times `factor`.
fn run(n: u32, factor: f64, rate: f64) -> Measurement {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 10^10")]
    let fates = (0..n).map(|i| {
        let u = (f64::from(i) + 0.5) / f64::from(n);
        (0, Some((-(1.0 - u).ln() * 1e8 * factor) as u64 + 1))
    });
    measurement("run", None, vec![level(LevelName::Expected, rate, fates)])
}

fn found(a: &Measurement, b: &Measurement) -> Comparison {
    compare(a, b, &OPTIONS).unwrap()
}

fn of(comparison: &Comparison, metric: Metric) -> &Row {
    comparison.rows.iter().find(|row| row.metric == metric).unwrap()
}

#[test]
fn the_same_measurement_shows_no_difference() {
    let a = run(400, 1.0, 10.0);
    let comparison = found(&a, &a);
    assert!(!comparison.fails());
    assert!(comparison.rows.iter().all(|row| row.verdict == Verdict::NoDifferenceShown), "{comparison:?}");
}

#[test]
fn a_clear_slowdown_fails_and_its_mirror_is_better() {
    let (a, b) = (run(2_000, 1.0, 10.0), run(2_000, 1.5, 10.0));
    let slower = found(&a, &b);
    let row = of(&slower, Metric::TtftP50);
    assert_eq!((row.verdict, row.over_threshold), (Verdict::Worse, true), "{row:?}");
    let (low, high) = (row.low.unwrap(), row.high.unwrap());
    assert!(low < 0.5 && 0.5 < high && low > 0.25 && high < 0.75, "{row:?}");
    assert!(slower.fails());
    let faster = found(&b, &a);
    assert_eq!(of(&faster, Metric::TtftP50).verdict, Verdict::Better);
    assert!(!faster.fails());
}

#[test]
fn a_slowdown_under_the_threshold_is_shown_but_passes() {
    let (a, b) = (run(40_000, 1.0, 10.0), run(40_000, 1.045, 10.0));
    let comparison = found(&a, &b);
    let row = of(&comparison, Metric::TtftP50);
    assert_eq!((row.verdict, row.over_threshold), (Verdict::Worse, false), "{row:?}");
    assert!(!comparison.fails());
}

#[test]
fn few_requests_show_nothing_however_large_the_change() {
    let comparison = found(&run(8, 1.0, 10.0), &run(8, 1.5, 10.0));
    assert_eq!(of(&comparison, Metric::TtftP95).verdict, Verdict::NoDifferenceShown);
    assert!(!comparison.fails());
}

#[test]
fn answers_that_never_come_are_worse() {
    let a = run(400, 1.0, 10.0);
    let mut b = a.clone();
    let fates = (0..400).map(|i| (0, (i % 4 != 0).then_some(70_000_000)));
    b.levels = vec![level(LevelName::Expected, 10.0, fates)];
    let comparison = found(&a, &b);
    let failed = of(&comparison, Metric::Failed);
    assert!(failed.over_threshold && (failed.change.unwrap() - 0.25).abs() < 1e-12, "{failed:?}");
    let p99 = of(&comparison, Metric::TtftP95);
    assert_eq!((p99.b, p99.change, p99.verdict), (None, None, Verdict::Worse), "{p99:?}");
    assert!(p99.over_threshold);
}

#[test]
fn another_load_is_not_compared_and_nothing_in_common_is_an_error() {
    let (a, b) = (run(400, 1.0, 10.0), run(400, 3.0, 12.0));
    let refused = compare(&a, &b, &OPTIONS).unwrap_err();
    assert!(refused.to_string().contains("(A: expected 10.0 req/s; B: expected 12.0 req/s)"), "{refused}");
    // Where both searched, their capacities still compare.
    let searched = |rate: f64, low: f64, high: f64| {
        let rate_of = |r| RequestRate::new(r).unwrap();
        let capacity =
            CapacityEstimate { rate: rate_of(rate), low: Some(rate_of(low)), high: Some(rate_of(high)) };
        Some(SearchRecord { probes: vec![], capacity: Some(capacity), saturated: None })
    };
    let (mut a, mut b) = (a, b);
    (a.search, b.search) = (searched(14.0, 13.5, 14.5), searched(10.0, 9.5, 10.5));
    let comparison = found(&a, &b);
    let row = of(&comparison, Metric::Capacity);
    assert_eq!((row.verdict, row.over_threshold), (Verdict::Worse, true), "{row:?}");
    assert_eq!(of(&comparison, Metric::TtftP50).verdict, Verdict::NotComparable);
}

#[test]
fn what_cannot_be_compared_says_why() {
    let a = run(400, 1.0, 10.0);
    let error = |change: &dyn Fn(&mut Measurement)| {
        let mut b = a.clone();
        change(&mut b);
        compare(&a, &b, &OPTIONS).unwrap_err()
    };
    assert_eq!(error(&|b| b.slo.ttft = None), CompareError::Differ { what: "SLO" });
    assert_eq!(error(&|b| b.workload.segments[0].weight = 9.0), CompareError::Differ { what: "workload" });
    assert_eq!(error(&|b| b.levels.clear()), CompareError::LevelMissing(LevelName::Expected));
    assert!(matches!(
        error(&|b| b.status = Status::Incomplete { reason: "interrupted".to_owned() }),
        CompareError::Incomplete { side: 'B', .. }
    ));
    assert!(
        error(&|b| b.levels[0].validity = vec![Finding::NothingCompleted].into())
            .to_string()
            .starts_with("level expected of B is invalid: no request was completed")
    );
}

#[test]
fn invalid_levels_are_compared_only_when_asked() {
    let a = run(400, 1.0, 10.0);
    let mut b = a.clone();
    b.levels[0].validity = vec![Finding::Interrupted].into();
    let comparison = compare(&a, &b, &CompareOptions { allow_invalid: true, ..OPTIONS }).unwrap();
    assert!(comparison.notes.iter().any(|n| n.starts_with("B, expected: stopped before")), "{comparison:?}");
}
