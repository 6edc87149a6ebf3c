//! Curves against 231 measured configurations: every interior concurrency is left out and predicted from the others.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is the report, and metrics are 0, 1 and 2"
)]

use std::collections::BTreeMap;

use breakeven_planner::curve::{Axis, Band, Curve};

/// TTFT in milliseconds, TPOT in milliseconds, or output tokens per second, against concurrency.
type Points = Vec<(f64, f64)>;

/// Concurrency, TTFT, TPOT and tokens per second of each configuration; repeats are their geometric mean.
fn configurations() -> Vec<[Points; 3]> {
    let mut all: BTreeMap<u32, BTreeMap<u32, Vec<[f64; 3]>>> = BTreeMap::new();
    for line in include_str!("fixtures/inferencex_curves.csv").lines().skip(1) {
        let columns: Vec<f64> = line.split(',').map(|c| c.parse().unwrap()).collect();
        let [configuration, concurrency, output, ttft, tpot] = columns[..] else { panic!("{line}") };
        let seconds = (ttft + tpot * (output - 1.0)) / 1e3;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small whole numbers")]
        let place = all.entry(configuration as u32).or_default().entry(concurrency as u32).or_default();
        place.push([ttft, tpot, concurrency * output / seconds]);
    }
    let mean =
        |rows: &[[f64; 3]], i: usize| (rows.iter().map(|r| r[i].ln()).sum::<f64>() / rows.len() as f64).exp();
    all.values()
        .map(|curve| {
            [0, 1, 2].map(|i| curve.iter().map(|(c, rows)| (f64::from(*c), mean(rows, i))).collect())
        })
        .collect()
}

/// Predictions of each interior point from the others: predicted, true.
fn left_out(axis: Axis, points: &Points) -> Vec<(Curve, (f64, f64))> {
    (1..points.len() - 1)
        .map(|i| {
            let mut rest = points.clone();
            let point = rest.remove(i);
            (Curve::through_on(axis, &rest).unwrap(), point)
        })
        .collect()
}

/// TTFT is a queue's, TPOT and throughput follow power laws.
fn axis(metric: usize) -> Axis {
    if metric == 0 { Axis::Root } else { Axis::Logarithm }
}

fn mape(metric: usize) -> f64 {
    let errors: Vec<f64> = configurations()
        .iter()
        .flat_map(|c| left_out(axis(metric), &c[metric]))
        .map(|(curve, (x, y))| (curve.at(x, None).value / y - 1.0).abs())
        .collect();
    assert_eq!(errors.len(), 782);
    errors.iter().sum::<f64>() / errors.len() as f64
}

#[test]
fn tpot_within_3_6_percent() {
    let error = mape(1);
    assert!(error <= 0.036, "{error}");
}

#[test]
fn throughput_within_3_8_percent() {
    let error = mape(2);
    assert!(error <= 0.038, "{error}");
}

#[test]
fn ttft_within_13_5_percent() {
    // The aim is 14.9 %, over another grouping of the rows than this one.
    let error = mape(0);
    assert!(error <= 0.135, "{error}");
}

#[test]
fn bands_hold_the_truth_as_often_as_they_claim() {
    let all = configurations();
    for metric in 0..3 {
        for coverage in [0.8, 0.9, 0.95] {
            let (mut held, mut count) = (0_u32, 0_u32);
            // Calibrated on every second configuration, tried on the others, both ways.
            for half in 0..2 {
                let of = |parity: usize| all.iter().skip(parity).step_by(2).map(|c| c[metric].clone());
                let band = Band::calibrate_on(axis(metric), &of(half).collect::<Vec<_>>(), coverage).unwrap();
                for (curve, (x, y)) in of(1 - half).flat_map(|points| left_out(axis(metric), &points)) {
                    let (low, high) = curve.at(x, Some(&band)).band.unwrap();
                    held += u32::from((low..=high).contains(&y));
                    count += 1;
                }
            }
            let seen = f64::from(held) / f64::from(count);
            assert!((seen - coverage).abs() <= 0.03, "metric {metric}: {seen} of {coverage}");
        }
    }
}
