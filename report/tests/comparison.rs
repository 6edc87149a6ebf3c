//! Comparisons, letter for letter.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

#[path = "../../measurement/tests/support/mod.rs"]
mod support;

use breakeven_measurement::{
    Finding, LevelName, Measurement,
    compare::{CompareOptions, Comparison, compare},
};
use breakeven_report::comparison;

/// 700 requests a level; `slower` stretches every latency, every `fails`-th request fails.
fn run(id: &str, slower: f64, fails: u32, stress_rate: f64) -> Measurement {
    let fates = |stretch: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 10^10")]
        (0..700u32).map(move |i| {
            let u = (f64::from(i) + 0.5) / 700.0;
            (0, (i % fails != 1).then_some((-(1.0 - u).ln() * 1e8 * stretch) as u64 + 1))
        })
    };
    let levels = vec![
        level(LevelName::Baseline, 10.0, fates(1.0)),
        level(LevelName::Expected, 20.0, fates(slower)),
        level(LevelName::Stress, stress_rate, fates(slower)),
    ];
    measurement(id, None, levels)
}

use support::{level, measurement};

fn compared() -> Comparison {
    let a = run("run-main", 1.0, 1_000, 30.0);
    let mut b = run("run-branch", 1.4, 14, 36.0);
    b.levels.first_mut().unwrap().validity =
        vec![Finding::TooFewSamples { quantile: 0.999, samples: 700, needed: 6_636 }].into();
    compare(&a, &b, &CompareOptions { threshold: 0.05, allow_invalid: false }).unwrap()
}

#[test]
fn terminal_at_100_columns() {
    insta::assert_snapshot!(comparison::terminal(&compared(), 100));
}

#[test]
fn markdown() {
    insta::assert_snapshot!(comparison::markdown(&compared()));
}
