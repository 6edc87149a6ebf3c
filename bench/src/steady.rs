//! When a series has settled: MSER-5, the automatic end of warm-up.
//!
//! Sources: K. P. White, *An effective truncation heuristic for bias reduction in simulation output*, Simulation 69
//! (1997); S. C. Spratt (1998) for batches of five. The truncation point is where the standard error of the mean of what
//! is left is smallest; a minimum at the last place looked at means that the series never settled.

use std::time::Duration;

use crate::{drive::Attempt, search::ttft_series};

/// Values in one batch mean.
const BATCH: usize = 5;
/// Batches below which the statistic is chance.
const FEWEST_BATCHES: usize = 10;

/// What MSER-5 says of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settling {
    /// From this value on the series is steady.
    From(usize),
    /// The best truncation lies in the last part looked at: longer would have been better still.
    Never,
    /// Too short to tell.
    TooShort,
}

/// The truncation point of a series in time order, looked for in its first half.
pub fn mser5(series: &[f64]) -> Settling {
    let batches: Vec<f64> =
        series.chunks_exact(BATCH).map(|batch| batch.iter().sum::<f64>() / BATCH as f64).collect();
    let count = batches.len();
    if count < FEWEST_BATCHES {
        return Settling::TooShort;
    }
    let last_looked_at = count / 2;
    // Sums from the end, so that each truncation costs one step. Centred first: squares of large equal values cancel.
    let center = batches.iter().sum::<f64>() / count as f64;
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut best = (f64::INFINITY, 0);
    for (index, value) in batches.iter().enumerate().rev() {
        let deviation = value - center;
        sum += deviation;
        squares += deviation * deviation;
        if index <= last_looked_at {
            let left = (count - index) as f64;
            let statistic = (squares - sum * sum / left).max(0.0) / (left * left);
            // The earliest of equals: nothing is thrown away without need.
            if statistic <= best.0 {
                best = (statistic, index);
            }
        }
    }
    // A minimum in the last tenth of what was looked at is as good as at its end.
    if best.1 > 0 && best.1 + count / 20 >= last_looked_at {
        Settling::Never
    } else {
        Settling::From(best.1 * BATCH)
    }
}

/// Share of a level's schedule that warms up and is not measured, whatever the series says…
const WARMUP_SHARE: f64 = 0.1;
/// …and at most this much of it, where a level is long.
const LONGEST_FIXED_WARMUP: Duration = Duration::from_secs(20);

/// Where a level's window begins, and whether its series settled at all.
///
/// Warm-up is the first tenth of the schedule, longer where MSER-5 says so **and** what it cuts off was faster than the
/// rest: a queue that filled. A slow stretch (a stall) is never cut off, so that truncation cannot flatter.
pub fn warmup(attempts: &[Attempt], length: Duration) -> (Duration, Settling) {
    let mut in_order: Vec<&Attempt> = attempts.iter().collect();
    in_order.sort_by_key(|a| a.scheduled);
    let series = ttft_series(&in_order);
    let settling = mser5(&series);
    let fixed = fixed_warmup(length);
    let Settling::From(cut) = settling else { return (fixed, settling) };
    let (before, after) = series.split_at(cut);
    let filled = median(before).zip(median(after)).is_some_and(|(before, after)| before < after);
    let reached = in_order.get(cut).map_or(fixed, |a| a.scheduled);
    (if filled { fixed.max(reached) } else { fixed }, settling)
}

/// The warm-up of a level whose series nobody looked at.
pub fn fixed_warmup(length: Duration) -> Duration {
    length.mul_f64(WARMUP_SHARE).min(LONGEST_FIXED_WARMUP)
}

/// Nearest-rank median.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().div_ceil(2).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        move || random.random_range(-0.5..0.5)
    }

    #[test]
    fn a_start_from_empty_is_cut_where_the_level_is_reached() {
        let mut within = 0;
        for seed in 0..50 {
            let mut e = noise(seed);
            // Rises as 1 − exp(−i / 20) to 10.
            let series: Vec<f64> =
                (0..400).map(|i| 10.0 * (1.0 - (-f64::from(i) / 20.0).exp()) + e()).collect();
            if let Settling::From(cut) = mser5(&series)
                && (30..=160).contains(&cut)
            {
                within += 1;
            }
        }
        assert!(within >= 45, "{within} of 50");
    }

    #[test]
    fn a_steady_series_keeps_nearly_all() {
        let mut kept = 0;
        for seed in 0..50 {
            let mut e = noise(seed);
            let series: Vec<f64> = (0..400).map(|_| 5.0 + e()).collect();
            if let Settling::From(cut) = mser5(&series)
                && cut <= 100
            {
                kept += 1;
            }
        }
        assert!(kept >= 40, "{kept} of 50");
    }

    #[test]
    fn a_queue_that_grows_never_settles() {
        for seed in 0..20 {
            let mut e = noise(seed);
            let series: Vec<f64> = (0..300).map(|i| f64::from(i) * 0.1 + e()).collect();
            assert_eq!(mser5(&series), Settling::Never);
        }
    }

    #[test]
    fn equal_values_are_steady_from_the_start_and_few_say_nothing() {
        assert_eq!(mser5(&[0.3; 60]), Settling::From(0));
        assert_eq!(mser5(&[0.3; 49]), Settling::TooShort);
    }
}
