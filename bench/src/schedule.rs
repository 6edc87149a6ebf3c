//! When requests are due: absolute times, drawn before the run, so that a slow target cannot slow them.

use std::time::Duration;

use breakeven_measurement::{RequestRate, level::ArrivalProcess};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1};

/// Arrival times from the start of the schedule, in order, all before `length`.
///
/// Poisson gaps are exponential with mean 1/rate and unscaled: the number of arrivals is itself random.
/// Constant gaps are 1/rate, the first arrival half a gap in.
pub fn arrivals(process: ArrivalProcess, rate: RequestRate, length: Duration, seed: u64) -> Vec<Duration> {
    let gap = 1.0 / rate.per_second();
    let end = length.as_secs_f64();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut times = Vec::new();
    let mut at = match process {
        ArrivalProcess::Poisson => 0.0,
        ArrivalProcess::Constant => -gap / 2.0,
    };
    loop {
        at += match process {
            ArrivalProcess::Poisson => {
                let unit: f64 = Exp1.sample(&mut random);
                unit * gap
            }
            ArrivalProcess::Constant => gap,
        };
        if at >= end {
            return times;
        }
        times.push(Duration::from_secs_f64(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poisson(rate: f64, seconds: u64, seed: u64) -> Vec<Duration> {
        arrivals(ArrivalProcess::Poisson, RequestRate::new(rate).unwrap(), Duration::from_secs(seconds), seed)
    }

    #[test]
    fn poisson_counts_and_gaps_follow_the_law() {
        let times = poisson(50.0, 2_000, 7);
        let expected = 100_000.0f64;
        assert!((times.len() as f64 - expected).abs() < 3.0 * expected.sqrt(), "{} arrivals", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|w| w[1].as_secs_f64() - w[0].as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!(
            (variance.sqrt() / mean - 1.0).abs() < 0.02,
            "coefficient of variation {}",
            variance.sqrt() / mean
        );
        // Index of dispersion of counts in 1 s bins: 1 for Poisson, 8.3 for a schedule that repeats its gaps.
        let mut bins = vec![0.0f64; 2_000];
        for t in &times {
            bins[usize::try_from(t.as_secs()).unwrap()] += 1.0;
        }
        let mean = bins.iter().sum::<f64>() / bins.len() as f64;
        let variance = bins.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / bins.len() as f64;
        assert!((variance / mean - 1.0).abs() < 0.15, "dispersion {}", variance / mean);
    }

    #[test]
    fn a_seed_repeats_its_schedule_and_another_does_not() {
        assert_eq!(poisson(10.0, 60, 1), poisson(10.0, 60, 1));
        assert_ne!(poisson(10.0, 60, 1), poisson(10.0, 60, 2));
    }

    #[test]
    fn constant_arrivals_are_exactly_as_many_as_asked() {
        let rate = RequestRate::new(4.0).unwrap();
        let times = arrivals(ArrivalProcess::Constant, rate, Duration::from_secs(10), 0);
        assert_eq!(times.len(), 40);
        assert_eq!(times[1].checked_sub(times[0]), Some(Duration::from_millis(250)));
    }
}
