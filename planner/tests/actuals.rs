//! Flags and forecasts on made-up production: how often they are wrong on stationary traffic, and that what was put in is found.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]
#![expect(clippy::print_stdout, reason = "the rates that docs/METHOD.md states")]

use std::fmt::Write as _;

use breakeven_planner::actuals::{Actuals, FlagKind, Thresholds, actuals};
use breakeven_usage::{ReadOptions, Usage, read_bytes};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution as _, LogNormal, Normal};

/// One made-up day: calls, log-normal prompt tokens of a median, and shares of fallbacks and failures.
#[derive(Debug, Clone, Copy)]
struct Day {
    calls: u64,
    median_tokens: f64,
    fallbacks: f64,
    failures: f64,
}

const USUAL: Day = Day { calls: 200, median_tokens: 150.0, fallbacks: 0.02, failures: 0.01 };

/// A log of these days, the first of which is a Sunday, 1 November 2026.
fn log(days: &[Day], random: &mut ChaCha8Rng) -> Usage {
    let mut text = "time,model,requested_model,route,input_tokens,output_tokens,cost_usd,status\n".to_owned();
    for (number, day) in (0_i64..).zip(days) {
        let lengths = LogNormal::new(day.median_tokens.ln(), 0.8).unwrap();
        for call in 0..day.calls {
            // A call in the first and in the last hour, so that the day is whole.
            let second = 86_399 * i64::try_from(call).unwrap() / i64::try_from(day.calls.max(2) - 1).unwrap();
            let time = 1_793_491_200 + number * 86_400 + second;
            let answered = if random.random_bool(day.fallbacks) { "other" } else { "m" };
            let status = if random.random_bool(day.failures) { "failure" } else { "success" };
            let tokens = lengths.sample(random).round();
            let _ = writeln!(text, "{time},{answered},m,/ask,{tokens},40,0.001,{status}");
        }
    }
    read_bytes("usage.csv", Bytes::from(text), &ReadOptions::default()).unwrap()
}

fn flagged(found: &Actuals, kind: FlagKind) -> usize {
    found.flags.iter().filter(|flag| flag.kind == kind && flag.dimension.is_none()).count()
}

/// Days judged of a log of `days`: all but the first seven.
const DAYS: usize = 35;
const LOGS: usize = 120;

#[test]
fn stationary_traffic_is_flagged_about_as_often_as_stated() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let default = Thresholds::default();
    // The statistics alone, without the least rise that matters.
    let bare = Thresholds { least_rise: 0.0, least_points: 0.0, ..default };
    let kinds = [FlagKind::InputTokenSpike, FlagKind::FallbackSurge, FlagKind::FailureSurge];
    let (mut alone, mut both) = ([0_usize; 3], [0_usize; 3]);
    for _ in 0..LOGS {
        let usage = log(&[USUAL; DAYS], &mut random);
        for (kind, (alone, both)) in kinds.into_iter().zip(alone.iter_mut().zip(&mut both)) {
            *alone += flagged(&actuals(&usage, None, &bare), kind);
            *both += flagged(&actuals(&usage, None, &default), kind);
        }
    }
    let judged = LOGS * (DAYS - 7);
    println!("of {judged} days: statistics alone {alone:?}, with the least rise {both:?}");
    let rate = |count: usize| count as f64 / judged as f64;
    // docs/METHOD.md: 3.4 % of days at seven days of baseline falling to 0.3 % at 28, 0.9 % over these; shares 0.1 %.
    assert!((0.003..0.02).contains(&rate(alone[0])), "{alone:?}");
    assert!(rate(alone[1]) < 0.005 && rate(alone[2]) < 0.005, "{alone:?}");
    // Together with the least rise: at most one day in a thousand.
    assert!(both.iter().all(|count| rate(*count) <= 0.001), "{both:?}");
}

#[test]
fn a_spike_of_half_and_a_surge_of_five_points_are_found_on_their_day() {
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let (mut spikes, mut surges, mut failures, logs) = (0, 0, 0, 60);
    for _ in 0..logs {
        let mut days = [USUAL; 21];
        days[15].median_tokens *= 1.5;
        days[17].fallbacks += 0.08;
        days[18].failures += 0.08;
        let found = actuals(&log(&days, &mut random), None, &Thresholds::default());
        let on = |kind, day: &str| {
            let flag = found.flags.iter().find(|flag| flag.kind == kind && flag.dimension.is_none());
            usize::from(flag.is_some_and(|flag| flag.from.unwrap().to_string() == day))
        };
        spikes += on(FlagKind::InputTokenSpike, "2026-11-16");
        surges += on(FlagKind::FallbackSurge, "2026-11-18");
        failures += on(FlagKind::FailureSurge, "2026-11-19");
    }
    println!("of {logs}: {spikes} spikes, {surges} fallback and {failures} failure surges found");
    assert!(
        spikes * 10 >= logs * 9 && surges * 10 >= logs * 7 && failures * 10 >= logs * 7,
        "{spikes} {surges} {failures}"
    );
}

#[test]
fn tokens_that_differ_at_weekends_are_no_spike() {
    let mut random = ChaCha8Rng::seed_from_u64(13);
    let mut days = [USUAL; 35];
    for (number, day) in days.iter_mut().enumerate() {
        // 1 November 2026 is a Sunday.
        if number % 7 == 0 || number % 7 == 6 {
            day.median_tokens *= 1.6;
        }
    }
    let found = actuals(&log(&days, &mut random), None, &Thresholds::default());
    let late = found
        .flags
        .iter()
        .filter(|flag| flag.kind == FlagKind::InputTokenSpike && flag.from.is_some_and(|day| day.day() > 21));
    assert_eq!(late.count(), 0, "{:?}", found.flags);
}

/// The 95 % interval of the month holds the month as often as it says, with weekdays and without.
#[test]
fn the_months_interval_covers_it() {
    let mut random = ChaCha8Rng::seed_from_u64(14);
    let weekday = [0.6, 1.1, 1.2, 1.2, 1.1, 1.0, 0.5];
    for (seen, by_weekday) in [(17, true), (9, false)] {
        let (logs, mut held, mut spent) = (150, 0, 0);
        for _ in 0..logs {
            let mut whole = 0;
            let month: Vec<Day> = (0..30)
                .map(|number| {
                    let factor = if by_weekday { weekday[number % 7] } else { 1.0 };
                    let mean: f64 = 60.0 * factor * Normal::new(1.0, 0.1).unwrap().sample(&mut random);
                    let calls =
                        Binomial::new(1_000, (mean / 1_000.0).clamp(0.001, 1.0)).unwrap().sample(&mut random);
                    whole += calls.max(2);
                    Day { calls: calls.max(2), failures: 0.0, fallbacks: 0.0, ..USUAL }
                })
                .collect();
            let found = actuals(&log(&month[..seen], &mut random), None, &Thresholds::default());
            let forecast = &found.forecast;
            assert_eq!(
                (forecast.by_weekday, forecast.days, forecast.days_seen as usize),
                (by_weekday, 30, seen)
            );
            let requests = forecast.requests.unwrap();
            held += usize::from((requests.low..=requests.high).contains(&(whole as f64)));
            let usd = forecast.usd.unwrap();
            spent += usize::from(
                (usd.low.to_f64() - 0.01..=usd.high.to_f64() + 0.01).contains(&(whole as f64 / 1_000.0)),
            );
            let so_far: u64 = month[..seen].iter().map(|day| day.calls).sum();
            assert!((requests.so_far - so_far as f64).abs() < 1e-9);
        }
        println!("{seen} days seen: requests held {held}, cost {spent} of {logs}");
        assert!(
            held as f64 >= 0.90 * logs as f64 && spent >= held.saturating_sub(2),
            "{seen} days: {held} of {logs}"
        );
    }
}

#[test]
fn too_few_days_give_no_forecast_and_a_whole_month_gives_itself() {
    let mut random = ChaCha8Rng::seed_from_u64(15);
    let few = actuals(&log(&[USUAL; 6], &mut random), None, &Thresholds::default()).forecast;
    assert_eq!((few.requests, few.usd), (None, None));
    assert_eq!(few.note.as_deref(), Some("6 whole days seen; a forecast needs 7, one of each weekday"));
    let whole = actuals(&log(&[USUAL; 30], &mut random), None, &Thresholds::default()).forecast;
    let requests = whole.requests.unwrap();
    assert!((requests.low - 6_000.0).abs() < 1e-9 && (requests.high - 6_000.0).abs() < 1e-9, "{requests:?}");
    assert_eq!(whole.usd.unwrap().expected.to_string(), "$6.00");
}

/// docs/METHOD.md works this by hand: weekdays of 100, weekends of 40, no noise.
#[test]
fn the_worked_example_of_the_method() {
    let mut random = ChaCha8Rng::seed_from_u64(16);
    let day =
        |number: usize| Day { calls: if number % 7 == 0 || number % 7 == 6 { 40 } else { 100 }, ..USUAL };
    let days: Vec<Day> = (0..14).map(day).collect();
    let found = actuals(&log(&days, &mut random), None, &Thresholds::default()).forecast;
    // November 2026 has 21 weekdays and 9 days of weekends: 21 × 100 + 9 × 40.
    let requests = found.requests.unwrap();
    assert!(
        (requests.expected - 2_460.0).abs() < 1e-9 && (requests.so_far - 1_160.0).abs() < 1e-9,
        "{requests:?}"
    );
    assert!((requests.high - requests.low).abs() < 1e-6, "no noise, no interval: {requests:?}");
}
