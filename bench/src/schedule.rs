//! When requests are due: absolute times, drawn before the run, so that a slow target cannot slow them.

use std::time::Duration;

use breakeven_measurement::{RequestRate, level::ArrivalProcess};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1, Gamma};

/// Arrival times from the start of the schedule, in order, all before `length`.
///
/// Gaps of Poisson are exponential with mean 1/rate, of gamma have the coefficient of variation asked; both are unscaled,
/// so the number of arrivals is itself random. Constant gaps are 1/rate, the first arrival half a gap in. A ramp is a
/// Poisson process whose rate changes linearly between its shares of `rate`. A trace has times of its own
/// ([`crate::trace`]); where none is at hand, it is taken for Poisson.
pub fn arrivals(process: &ArrivalProcess, rate: RequestRate, length: Duration, seed: u64) -> Vec<Duration> {
    let gap = 1.0 / rate.per_second();
    let end = length.as_secs_f64();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut exponential = || -> f64 { Exp1.sample(&mut random) };
    match process {
        ArrivalProcess::Poisson | ArrivalProcess::Trace { .. } => until(end, 0.0, || exponential() * gap),
        ArrivalProcess::Constant => until(end, -gap / 2.0, || gap),
        ArrivalProcess::Gamma { variation } => {
            let shape = 1.0 / (variation * variation);
            match Gamma::new(shape, gap / shape) {
                // The time from a random moment to the next arrival is shorter than a gap after an arrival; starting inside
                // a gap keeps the first arrivals from coming in one clump.
                Ok(gamma) => {
                    let mut random = ChaCha8Rng::seed_from_u64(seed);
                    let skipped: f64 = 200.0 * gap;
                    let mut times = until(end + skipped, 0.0, || gamma.sample(&mut random));
                    let from = Duration::from_secs_f64(skipped);
                    times.retain(|at| *at >= from);
                    times.into_iter().map(|at| at.saturating_sub(from)).collect()
                }
                // Unreachable: the variation is finite and above zero.
                Err(_) => until(end, 0.0, || exponential() * gap),
            }
        }
        ArrivalProcess::Ramp { from, to } => {
            // Arrivals of a unit-rate Poisson process, at the times where the expected count reaches them:
            // count(t) = rate (from t + (to − from) t² / 2 length).
            let expected = rate.per_second() * end * f64::midpoint(*from, *to);
            let inverse = |count: f64| {
                let (a, b) = ((to - from) / (2.0 * end), *from);
                let c = count / rate.per_second();
                // The stable root of a t² + b t = c.
                2.0 * c / (b + (b * b + 4.0 * a * c).max(0.0).sqrt())
            };
            let units = until(expected, 0.0, exponential);
            units
                .into_iter()
                .map(|u| Duration::from_secs_f64(inverse(u.as_secs_f64()).clamp(0.0, end)))
                .collect()
        }
    }
}

fn until(end: f64, start: f64, mut gap: impl FnMut() -> f64) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut at = start;
    loop {
        at += gap();
        if at >= end {
            return times;
        }
        times.push(Duration::from_secs_f64(at.max(0.0)));
    }
}

/// Variance over mean of the number of arrivals in a long time.
pub fn dispersion(process: &ArrivalProcess) -> f64 {
    match process {
        ArrivalProcess::Poisson | ArrivalProcess::Ramp { .. } => 1.0,
        ArrivalProcess::Constant => 0.0,
        ArrivalProcess::Gamma { variation } => variation * variation,
        ArrivalProcess::Trace { gap_variation, .. } => *gap_variation,
    }
}

/// An arrival process as it is typed: `poisson`, `constant`, `gamma:2` (coefficient of variation), `ramp:0.2..1`.
///
/// # Errors
/// What was typed and what can be.
pub fn parse_arrivals(text: &str) -> Result<ArrivalProcess, ArrivalsError> {
    let wrong = || ArrivalsError(text.to_owned());
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let (name, value) = text.split_once(':').map_or((text, None), |(name, value)| (name, Some(value)));
    match (name.trim(), value) {
        ("poisson", None) => Ok(ArrivalProcess::Poisson),
        ("constant", None) => Ok(ArrivalProcess::Constant),
        ("gamma", Some(value)) => {
            let variation = number(value).filter(|v| (0.05..=10.0).contains(v)).ok_or_else(wrong)?;
            Ok(ArrivalProcess::Gamma { variation })
        }
        ("ramp", Some(value)) => {
            let (from, to) = value.split_once("..").ok_or_else(wrong)?;
            let (from, to) = (number(from).ok_or_else(wrong)?, number(to).ok_or_else(wrong)?);
            if from + to > 0.0 { Ok(ArrivalProcess::Ramp { from, to }) } else { Err(wrong()) }
        }
        _ => Err(wrong()),
    }
}

/// Not an arrival process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected arrivals `poisson`, `constant`, `gamma:CV` with a coefficient of variation from 0.05 to 10, or `ramp:FROM..TO` \
     in shares of the rate, found `{0}`"
)]
pub struct ArrivalsError(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(process: &ArrivalProcess, rate: f64, seconds: u64, seed: u64) -> Vec<f64> {
        let rate = RequestRate::new(rate).unwrap();
        arrivals(process, rate, Duration::from_secs(seconds), seed)
            .iter()
            .map(Duration::as_secs_f64)
            .collect()
    }

    fn gaps(times: &[f64]) -> Vec<f64> {
        times.windows(2).map(|w| w[1] - w[0]).collect()
    }

    fn mean_and_variation(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance.sqrt() / mean)
    }

    /// Variance over mean of the counts in bins: 8.3 for a schedule that repeats its gaps.
    fn dispersion_of_counts(times: &[f64], seconds: usize, bin: usize) -> f64 {
        let mut bins = vec![0.0f64; seconds / bin];
        for t in times {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a time in the schedule"
            )]
            let index = (*t as usize) / bin;
            bins[index] += 1.0;
        }
        let mean = bins.iter().sum::<f64>() / bins.len() as f64;
        bins.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / bins.len() as f64 / mean
    }

    /// Kolmogorov and Smirnov's distance times √n: above 1.63 in one of a hundred samples of the law itself.
    fn kolmogorov_smirnov(mut values: Vec<f64>, law: impl Fn(f64) -> f64) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let distance = values.iter().enumerate().fold(0.0f64, |worst, (i, v)| {
            let (below, above) = (i as f64 / n, (i as f64 + 1.0) / n);
            worst.max((law(*v) - below).abs()).max((above - law(*v)).abs())
        });
        distance * n.sqrt()
    }

    #[test]
    fn poisson_counts_and_gaps_follow_the_law() {
        let times = drawn(&ArrivalProcess::Poisson, 50.0, 2_000, 7);
        let expected = 100_000.0f64;
        assert!((times.len() as f64 - expected).abs() < 3.0 * expected.sqrt(), "{} arrivals", times.len());
        let (_, variation) = mean_and_variation(&gaps(&times));
        assert!((variation - 1.0).abs() < 0.02, "coefficient of variation {variation}");
        let ks = kolmogorov_smirnov(gaps(&times), |x| 1.0 - (-50.0 * x).exp());
        assert!(ks < 1.63, "{ks}");
        let dispersion = dispersion_of_counts(&times, 2_000, 1);
        assert!((dispersion - 1.0).abs() < 0.15, "dispersion {dispersion}");
    }

    #[test]
    fn gamma_gaps_have_the_variation_asked_and_follow_the_law() {
        for variation in [0.5, 1.0, 2.0] {
            let times = drawn(&ArrivalProcess::Gamma { variation }, 50.0, 2_000, 3);
            let (mean, found) = mean_and_variation(&gaps(&times));
            assert!((mean * 50.0 - 1.0).abs() < 0.02, "mean gap {mean} at variation {variation}");
            assert!((found / variation - 1.0).abs() < 0.03, "{found} for {variation}");
            let dispersion = dispersion_of_counts(&times, 2_000, 10);
            assert!(
                (dispersion / (variation * variation) - 1.0).abs() < 0.25,
                "{dispersion} for {variation}"
            );
        }
        // Variation √½ is Erlang's law of two phases, whose distribution function is elementary.
        let times = drawn(&ArrivalProcess::Gamma { variation: 0.5f64.sqrt() }, 50.0, 400, 3);
        let ks = kolmogorov_smirnov(gaps(&times), |x| 1.0 - (-100.0 * x).exp() * (1.0 + 100.0 * x));
        assert!(ks < 1.63, "{ks}");
    }

    #[test]
    fn a_ramp_is_poisson_at_a_rate_that_changes_linearly() {
        let times = drawn(&ArrivalProcess::Ramp { from: 0.2, to: 1.8 }, 20.0, 1_000, 5);
        assert!((times.len() as f64 - 20_000.0).abs() < 3.0 * 20_000f64.sqrt(), "{}", times.len());
        assert!(times.windows(2).all(|w| w[0] <= w[1]));
        let count = |t: f64| (0.2 * t + 1.6 * t * t / 2_000.0) / 1_000.0;
        let ks = kolmogorov_smirnov(times, count);
        assert!(ks < 1.63, "{ks}");
        let falling = drawn(&ArrivalProcess::Ramp { from: 1.0, to: 0.0 }, 20.0, 1_000, 5);
        assert!((falling.len() as f64 - 10_000.0).abs() < 300.0 && falling.windows(2).all(|w| w[0] <= w[1]));
    }

    #[test]
    fn a_seed_repeats_its_schedule_and_another_does_not() {
        let poisson = |seed| drawn(&ArrivalProcess::Poisson, 10.0, 60, seed);
        assert_eq!(poisson(1), poisson(1));
        assert_ne!(poisson(1), poisson(2));
    }

    #[test]
    fn constant_arrivals_are_exactly_as_many_as_asked() {
        let rate = RequestRate::new(4.0).unwrap();
        let times = arrivals(&ArrivalProcess::Constant, rate, Duration::from_secs(10), 0);
        assert_eq!(times.len(), 40);
        assert_eq!(times[1].checked_sub(times[0]), Some(Duration::from_millis(250)));
    }

    #[test]
    fn arrivals_are_read_as_typed_or_refused_with_the_choices() {
        assert_eq!(parse_arrivals("gamma:2"), Ok(ArrivalProcess::Gamma { variation: 2.0 }));
        assert_eq!(parse_arrivals("ramp:0.2..1"), Ok(ArrivalProcess::Ramp { from: 0.2, to: 1.0 }));
        assert_eq!(parse_arrivals("constant"), Ok(ArrivalProcess::Constant));
        for wrong in ["", "gamma", "gamma:0", "gamma:NaN", "ramp:1", "ramp:0..0", "poisson:3", "uniform"] {
            let message = parse_arrivals(wrong).unwrap_err().to_string();
            assert!(message.contains("`ramp:FROM..TO`") && message.contains(wrong), "{message}");
        }
    }
}
