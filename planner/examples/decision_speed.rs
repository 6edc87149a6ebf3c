//! How long a plan with all its uncertainty takes: options, cells of scenario and stress, months and draws.
//!
//! `cargo run --release -p breakeven-planner --example decision_speed`. Seconds, medians of three, of the whole plan: exact bills,
//! matrix and horizon, and the draws.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "prints timings of constant settings")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{fmt::Write as _, time::Instant};

use breakeven_planner::Product;
use support::{measurement, planned, product};

const APIS: [&str; 11] = [
    "gpt-5-nano",
    "gpt-5-mini",
    "gpt-5",
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5.4-mini",
    "o3",
    "gpt-6-luna",
    "gpt-6-sol",
];

fn of(options: usize, cells: usize, months: usize, draws: usize) -> Product {
    let mut text =
        "[success]\nprobability = 0.7\nretries_per_request = { low = 0.01, likely = 0.02, high = 0.1 }\n\
                    [fleet]\nusd_per_hour = { low = 0.2, likely = 0.5, high = 1.5 }\n\
                    [[cost]]\nline = \"support\"\nusd_per_failure = { low = 0.5, likely = 1, high = 4 }\n"
            .to_owned();
    write!(text, "[uncertainty]\ndraws = {draws}\n[horizon]\nmonths = {months}\ngrowth_per_month = 0.02\n")
        .unwrap();
    for model in APIS.iter().take(options - 1) {
        write!(text, "[[api]]\nprovider = \"openai\"\nmodel = \"{model}\"\n").unwrap();
    }
    for index in 0..cells / 3 {
        write!(text, "[[scenario]]\nname = \"s{index}\"\ntraffic = 1.{index}\n").unwrap();
    }
    text.push_str(
        "[[stress]]\nname = \"cheap\"\napi_prices = 0.7\n[[stress]]\nname = \"surge\"\nmore_retries = 0.2\n",
    );
    product(3e6, &text)
}

fn main() {
    println!("options  cells  months   draws  seconds");
    for (options, cells, months, draws) in [
        (12, 9, 36, 10_000),
        (12, 9, 36, 5_000),
        (12, 9, 18, 10_000),
        (12, 3, 36, 10_000),
        (6, 9, 36, 10_000),
        (3, 3, 1, 10_000),
    ] {
        let product = of(options, cells, months, draws);
        let measured = measurement(&product, 4.0);
        let mut seconds: Vec<f64> = (0..3)
            .map(|_| {
                let start = Instant::now();
                let plan = planned(&product, &measured).unwrap();
                let found = plan.uncertainty.unwrap();
                assert_eq!(
                    (found.options.len(), found.cells.len(), found.draws as usize),
                    (options, cells, draws)
                );
                start.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds.get(1).copied().unwrap_or(f64::NAN);
        println!("{options:>7} {cells:>6} {months:>7} {draws:>7} {median:>8.3}");
    }
}
