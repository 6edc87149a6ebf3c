//! How long a plan with all its uncertainty takes: options, cells of scenario and stress, months and draws.
//!
//! `cargo run --release -p breakeven-planner --example decision_speed`. Seconds, medians of three, of the whole plan: exact bills,
//! matrix and horizon, and the draws. Of the options, so many are other measured machines, and traffic is flat or has the shape of a week.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "prints timings of constant settings")]

#[expect(dead_code, reason = "the tests plan one machine, this several")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::{fmt::Write as _, time::Instant};

use breakeven_hardware::PriceBook;
use breakeven_measurement::Measurement;
use breakeven_planner::{MeasuredMachine, PlanOptions, Product, plan_on};
use jiff::civil::date;
use support::{measurement, product};

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

/// A week whose hours are nearly all different.
const WEEK: &str = "hour_of_day = [20,10,11,12,13,14,40,70,110,140,150,155,141,142,143,130,120,100,80,71,60,50,41,30]\n\
                    day_of_week = [1.1, 1.12, 1.09, 1.05, 1.0, 0.7, 0.65]\n";

fn of(options: usize, machines: usize, week: bool, cells: usize, months: usize, draws: usize) -> Product {
    let mut text = if week { WEEK.to_owned() } else { String::new() };
    text.push_str(
        "[success]\nprobability = 0.7\nretries_per_request = { low = 0.01, likely = 0.02, high = 0.1 }\n\
                    [fleet]\nusd_per_hour = { low = 0.2, likely = 0.5, high = 1.5 }\n\
                    [[cost]]\nline = \"support\"\nusd_per_failure = { low = 0.5, likely = 1, high = 4 }\n",
    );
    write!(text, "[uncertainty]\ndraws = {draws}\n[horizon]\nmonths = {months}\ngrowth_per_month = 0.02\n")
        .unwrap();
    for model in APIS.iter().take(options - 1 - machines) {
        write!(text, "[[api]]\nprovider = \"openai\"\nmodel = \"{model}\"\n").unwrap();
    }
    for index in 0..machines {
        write!(text, "[[machine]]\nname = \"m{index}\"\nmeasurement = \"m.json\"\nusd_per_hour = {{ low = 1, likely = 2.{index}, high = 3 }}\n").unwrap();
    }
    for index in 0..cells / 3 {
        write!(text, "[[scenario]]\nname = \"s{index}\"\ntraffic = 1.{index}\n").unwrap();
    }
    text.push_str(
        "[[stress]]\nname = \"cheap\"\napi_prices = 0.7\n[[stress]]\nname = \"surge\"\nmore_retries = 0.2\n",
    );
    product(3e6, &text)
}

/// Options, how many of them are other machines, whether traffic has the shape of a week, cells, months, draws.
type Row = (usize, usize, bool, usize, usize, usize);

fn main() {
    timed(&[
        (12, 0, false, 9, 36, 10_000),
        (12, 0, false, 9, 36, 5_000),
        (12, 0, false, 9, 18, 10_000),
        (12, 0, false, 3, 36, 10_000),
        (6, 0, false, 9, 36, 10_000),
        (3, 0, false, 3, 1, 10_000),
        (12, 6, false, 9, 36, 10_000),
        (12, 0, true, 9, 36, 10_000),
        (12, 6, true, 9, 36, 10_000),
    ]);
}

fn timed(rows: &[Row]) {
    println!("options  machines  week   cells  months   draws  seconds");
    let prices = PriceBook::built_in().unwrap();
    let settings = PlanOptions { as_of: date(2026, 11, 23), allow_invalid: false, version: "0.0.0" };
    for (options, machines, week, cells, months, draws) in rows.iter().copied() {
        let product = of(options, machines, week, cells, months, draws);
        let measured = measurement(&product, 4.0);
        let others: Vec<(String, Measurement)> =
            (0..machines).map(|index| (format!("m{index}"), measurement(&product, 6.0))).collect();
        let others: Vec<MeasuredMachine<'_>> =
            others.iter().map(|(name, measurement)| MeasuredMachine { name, measurement }).collect();
        let mut seconds: Vec<f64> = (0..3)
            .map(|_| {
                let start = Instant::now();
                let plan = plan_on(&product, &measured, &others, &prices, &settings).unwrap();
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
        println!("{options:>7} {machines:>9} {week:>6} {cells:>6} {months:>7} {draws:>7} {median:>8.3}");
    }
}
