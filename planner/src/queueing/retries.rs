//! Timeouts and repeats are load: demand, latency and retries are solved together.
//!
//! At a rate of attempts λ a share p(λ) of attempts fails. With up to k repeats of each failure, repeated with
//! probability r, a request costs g(p) = 1 + rp + … + (rp)^k attempts, so that λ = demand · g(p(λ)). The curve
//! λ / g(p(λ)) is the demand that λ attempts come from: where it has its highest point, demand has its limit. Above
//! it no fixed point exists below saturation, and the queue never empties again.

use super::{QueueError, not_negative, positive};

/// Who repeats, and how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Most repeats of one request.
    pub most_repeats: u32,
    /// Probability that a failed attempt is repeated at all.
    pub repeat_probability: f64,
}

impl RetryPolicy {
    /// Attempts a request costs where a share `failing` of attempts fails.
    pub fn attempts_per_request(&self, failing: f64) -> f64 {
        let repeated = (self.repeat_probability * failing).clamp(0.0, 1.0);
        let (mut attempts, mut term) = (1.0, 1.0);
        for _ in 0..self.most_repeats.min(10_000) {
            term *= repeated;
            attempts += term;
            if term < 1e-18 {
                break;
            }
        }
        attempts
    }
}

/// Demand, retries and latency in balance, or the reason why there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Balance {
    /// A fixed point exists; the smallest is the one that a system at rest settles in.
    Stable {
        /// Attempts a second, repeats included.
        attempts_per_second: f64,
        /// Share of attempts that fail.
        failing: f64,
        /// Requests a second above which no fixed point exists.
        unstable_above_per_second: f64,
    },
    /// None: repeats breed repeats.
    Unstable {
        /// Requests a second above which no fixed point exists.
        unstable_above_per_second: f64,
    },
}

/// Points at which the demand curve is first looked at; its highest point is then refined.
const POINTS: u32 = 512;

/// Solves demand and retries together.
///
/// `failing_share` gives the share of attempts that fail at a rate of attempts per second; it must not fall as the rate
/// grows. It is asked only below `saturation_per_second`, the highest rate with a steady state.
///
/// # Errors
/// Where a rate is no rate, or a probability no probability.
pub fn balance(
    demand_per_second: f64,
    saturation_per_second: f64,
    policy: RetryPolicy,
    failing_share: impl Fn(f64) -> f64,
) -> Result<Balance, QueueError> {
    let demand = not_negative("the demand", demand_per_second)?;
    let saturation = positive("the saturation rate", saturation_per_second)?;
    if !(0.0..=1.0).contains(&policy.repeat_probability) {
        let (expected, value) = ("a probability from 0 to 1", policy.repeat_probability);
        return Err(QueueError::Nonsense { what: "the repeat probability", expected, value });
    }
    let failing = |attempts: f64| failing_share(attempts).clamp(0.0, 1.0);
    let carried = |attempts: f64| attempts / policy.attempts_per_request(failing(attempts));
    let limit = highest(&carried, saturation * (1.0 - 1e-9));
    if demand > limit.value {
        return Ok(Balance::Unstable { unstable_above_per_second: limit.value });
    }
    // The smallest rate of attempts that carries the demand: the curve is below demand at 0 and reaches it by its peak.
    let (mut low, mut high) = (0.0, limit.at);
    for point in 1..=POINTS {
        let at = limit.at * f64::from(point) / f64::from(POINTS);
        if carried(at) >= demand {
            (low, high) = (limit.at * f64::from(point - 1) / f64::from(POINTS), at);
            break;
        }
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if carried(middle) < demand {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(Balance::Stable {
        attempts_per_second: high,
        failing: failing(high),
        unstable_above_per_second: limit.value,
    })
}

struct Highest {
    at: f64,
    value: f64,
}

/// The highest point of `f` over (0, `end`]: a scan, then golden-section search around the best point.
fn highest(f: &impl Fn(f64) -> f64, end: f64) -> Highest {
    let step = end / f64::from(POINTS);
    let best = (1..=POINTS)
        .map(|point| f64::from(point) * step)
        .map(|at| Highest { at, value: f(at) })
        .max_by(|a, b| a.value.total_cmp(&b.value))
        .unwrap_or(Highest { at: end, value: f(end) });
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = ((best.at - step).max(0.0), (best.at + step).min(end));
    for _ in 0..80 {
        let (a, b) = (high - ratio * (high - low), low + ratio * (high - low));
        if f(a) < f(b) {
            low = a;
        } else {
            high = b;
        }
    }
    let at = f64::midpoint(low, high);
    let value = f(at);
    if value > best.value { Highest { at, value } } else { best }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::queueing::erlang::Mmc;

    const ONCE: RetryPolicy = RetryPolicy { most_repeats: 1, repeat_probability: 1.0 };

    #[test]
    fn a_fixed_share_of_failures_multiplies_the_load() {
        // p = 0.2 always, one repeat: 1.2 attempts a request.
        let Balance::Stable { attempts_per_second, unstable_above_per_second, .. } =
            balance(5.0, 12.0, ONCE, |_| 0.2).unwrap()
        else {
            panic!("5 of 10 is stable")
        };
        assert!((attempts_per_second - 6.0).abs() < 1e-9);
        assert!((unstable_above_per_second - 10.0).abs() < 1e-6, "{unstable_above_per_second}");
    }

    #[test]
    fn the_limit_is_where_a_linear_curve_peaks() {
        // p = λ/10, repeats without end: g = 1/(1−p), demand = λ(1 − λ/10), highest at λ = 5: 2.5 a second.
        let policy = RetryPolicy { most_repeats: u32::MAX, repeat_probability: 1.0 };
        let failing = |attempts: f64| attempts / 10.0;
        let Balance::Stable { attempts_per_second, unstable_above_per_second, failing: share } =
            balance(2.4, 10.0, policy, failing).unwrap()
        else {
            panic!("2.4 of 2.5 is stable")
        };
        // The smaller root of λ² − 10λ + 24 = 0.
        assert!((attempts_per_second - 4.0).abs() < 1e-9 && (share - 0.4).abs() < 1e-9);
        assert!((unstable_above_per_second - 2.5).abs() < 1e-9, "{unstable_above_per_second}");
        assert_eq!(
            balance(2.6, 10.0, policy, failing).unwrap(),
            Balance::Unstable { unstable_above_per_second }
        );
    }

    #[test]
    fn retries_lower_the_rate_a_queue_carries() {
        // M/M/4, 1 s of service, given up after 2 s of waiting and repeated up to three times.
        let failing = |rate: f64| Mmc::new(4, rate, 1.0).map_or(1.0, |q| q.waits_longer_than(2.0));
        let policy = RetryPolicy { most_repeats: 3, repeat_probability: 1.0 };
        let Balance::Unstable { unstable_above_per_second } = balance(3.99, 4.0, policy, failing).unwrap()
        else {
            panic!("3.99 of 4 with retries is not stable")
        };
        assert!((2.5..3.9).contains(&unstable_above_per_second), "{unstable_above_per_second}");
    }

    proptest! {
        #[test]
        fn a_stable_answer_is_a_fixed_point(demand in 0.01f64..4.0, repeats in 0u32..6, probability in 0.0f64..=1.0) {
            let failing = |rate: f64| Mmc::new(4, rate, 1.0).map_or(1.0, |q| q.waits_longer_than(1.0));
            let policy = RetryPolicy { most_repeats: repeats, repeat_probability: probability };
            match balance(demand, 4.0, policy, failing).unwrap() {
                Balance::Stable { attempts_per_second, failing: share, unstable_above_per_second } => {
                    let back = demand * policy.attempts_per_request(share);
                    prop_assert!((back / attempts_per_second - 1.0).abs() < 1e-6);
                    prop_assert!(attempts_per_second >= demand * (1.0 - 1e-9) && demand <= unstable_above_per_second);
                }
                Balance::Unstable { unstable_above_per_second } => prop_assert!(demand > unstable_above_per_second),
            }
        }
    }
}
