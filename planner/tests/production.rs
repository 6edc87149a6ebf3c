//! How often the flags and the forecast of production are right, over seeded logs that are drawn call by call.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::fmt::Write as _;

use breakeven_planner::actuals::{Actuals, FlagKind, Thresholds, actuals};
use breakeven_usage::{ReadOptions, read_bytes};
use jiff::{ToSpan as _, civil::Date};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, LogNormal, Poisson};

/// Logs a figure is taken over.
const LOGS: u64 = 100;
/// First day of every log, a Monday.
const FIRST: Date = Date::constant(2026, 6, 1);

/// What a day of a log is drawn from.
#[derive(Clone, Copy)]
struct Day {
    /// Mean calls.
    calls: f64,
    /// Factor on the tokens of a prompt.
    tokens: f64,
    /// Share that fails.
    failing: f64,
}

/// A log of so many days: prompt tokens are log-normal with a median of 500 and σ 0.5, calls Poisson. With
/// the calls of each day.
fn log(seed: u64, days: usize, day: impl Fn(usize) -> Day) -> (Actuals, Vec<u64>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let tokens = LogNormal::new(500.0_f64.ln(), 0.5).unwrap();
    let mut text = "time,model,input_tokens,output_tokens,status\n".to_owned();
    let mut calls_of = Vec::new();
    for index in 0..days {
        let Day { calls, tokens: factor, failing } = day(index);
        let date = FIRST.checked_add(i32::try_from(index).unwrap().days()).unwrap();
        let drawn: f64 = Poisson::new(calls).unwrap().sample(&mut random);
        let count = (0..2_000_u32).filter(|call| f64::from(*call) < drawn).count() as u64;
        calls_of.push(count);
        for call in 0..count {
            let second = call * 86_400 / count;
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            let made = tokens.sample(&mut random) * factor;
            let status = if random.random_bool(failing) { "failure" } else { "success" };
            writeln!(text, "{date}T{hour:02}:{minute:02}:{second:02}Z,m,{made:.0},50,{status}").unwrap();
        }
    }
    let usage = read_bytes("log.csv", text.into_bytes().into(), &ReadOptions::default()).unwrap();
    (actuals(&usage, None, &Thresholds::default()), calls_of)
}

fn logs_with(kinds: &[FlagKind], day: impl Fn(usize) -> Day + Copy) -> u64 {
    let flagged = |seed: &u64| log(*seed, 42, day).0.flags.iter().any(|flag| kinds.contains(&flag.kind));
    (0..LOGS).map(|seed| u64::from(flagged(&seed))).sum()
}

const ALL: [FlagKind; 5] = [
    FlagKind::InputTokenSpike,
    FlagKind::OutputTokenSpike,
    FlagKind::FallbackSurge,
    FlagKind::RetrySurge,
    FlagKind::FailureSurge,
];

#[test]
fn a_log_in_which_nothing_changes_is_seldom_flagged() {
    let quiet = Day { calls: 200.0, tokens: 1.0, failing: 0.05 };
    let flagged = logs_with(&ALL, |_| quiet);
    // Five series of 35 judged days at a chance of 0.001 a day and share; spikes also have to be a quarter above the usual.
    assert!(flagged <= 10, "{flagged} of {LOGS} quiet logs are flagged");
    println!("quiet logs flagged: {flagged} of {LOGS}");
}

#[test]
fn a_day_of_longer_prompts_and_a_day_of_failures_are_found() {
    let usual = Day { calls: 200.0, tokens: 1.0, failing: 0.05 };
    let at = |there: Day| move |day: usize| if day == 30 { there } else { usual };
    let longer = logs_with(&[FlagKind::InputTokenSpike], at(Day { tokens: 1.5, ..usual }));
    let failing = logs_with(&[FlagKind::FailureSurge], at(Day { failing: 0.2, ..usual }));
    println!("found: prompts half as long again {longer}, failures 5 to 20 % {failing} of {LOGS}");
    assert!(longer >= 95 && failing >= 95, "{longer} and {failing} of {LOGS}");
}

#[test]
fn the_forecast_of_a_month_holds_as_often_as_it_says() {
    // 1 June to 18 July: the forecast is of July, from six whole weeks and more of weekdays and weekends.
    let day =
        |index: usize| Day { calls: if index % 7 < 5 { 200.0 } else { 80.0 }, tokens: 1.0, failing: 0.0 };
    let (mut held, mut judged) = (0_u64, 0_u64);
    for seed in 0..LOGS {
        // The longer log begins with the same draws and goes on to the end of July.
        let truth: u64 = log(seed, 61, day).1.iter().skip(30).sum();
        let (part, _) = log(seed, 48, day);
        assert_eq!(part.forecast.month, Date::constant(2026, 7, 1));
        let month = part.forecast.requests.unwrap();
        let truth = truth as f64;
        judged += 1;
        held += u64::from(month.low <= truth && truth <= month.high);
    }
    println!("the month lies within its interval in {held} of {judged}");
    // 95 % nominal; 100 logs of a true 95 % give 90 to 99 in 98 of 100.
    assert!(held >= 88, "{held} of {judged}");
}
