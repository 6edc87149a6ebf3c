//! The capacity that all evidence together supports: a monotone curve of goodput over rate, fitted to every probe and
//! level at once.
//!
//! The share of good requests falls with the rate as a logistic curve in ln(rate), under a ceiling for requests that fail
//! whatever the rate. Its three numbers (the rate at the attainment, the steepness, the ceiling) lie on a grid; each point
//! gets its posterior probability, and the capacity is the median over all of it. This is the method of psychometrics for
//! a threshold from few noisy trials (King-Smith et al., Vision Research 34 (1994), 885–912).

use breakeven_measurement::{CapacityEstimate, Fraction, RequestRate};

/// Steepness of the curve tried, in logits per unit of ln(rate). Queues are steep: a few per cent of rate decide.
const SLOPES: [f64; 8] = [2.0, 4.0, 7.0, 11.0, 17.0, 26.0, 40.0, 60.0];
/// Requests that fail whatever the rate, as shares of what the attainment leaves.
const LAPSES: [f64; 4] = [0.0, 0.3, 0.6, 0.9];
/// Shapes of the curve tried.
const CASES: usize = SLOPES.len() * LAPSES.len();
/// Points of the rate axis.
const POINTS: u32 = 241;
/// The axis reaches from this share of the throughput flat out…
const LOWEST_SHARE: f64 = 1e-3;
/// …to this one: the burst that measures it is short, and its ends run at less than a full batch.
pub const CEILING_SHARE: f64 = 1.6;
/// Standard deviation of ln(capacity / throughput flat out) above it: a rate beyond what completes flat out cannot be
/// carried for long, however well a short probe looks.
const ABOVE_SPREAD: f64 = 0.15;
/// Decay of the prior below it, per unit of ln(rate): the SLO may ask for much less than flat out.
const BELOW_DECAY: f64 = 0.7;

/// No stretch counts for more than this many independent requests: near saturation a queue remembers for longer than a
/// stretch lasts. Chosen, like [`INHERITED`], so that the interval holds the truth on M/D/1 and M/D/4
/// (`tests/capacity_search.rs`).
const MOST_EFFECTIVE: f64 = 30.0;
/// Factor on the spread of load between stretches: a stretch inherits the queue of the one before it.
const INHERITED: f64 = 1.5;
/// Probes taken to be about something else: a neighbour's job, a stall. One such cannot decide.
const OUTLIERS: f64 = 0.05;

/// What one probe or level says: requests at a rate, and how many were good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Requests a second, as it came about: the draw of arrivals and lengths makes it differ from the rate asked.
    pub rate: f64,
    /// Independent requests that its requests are worth: neighbours share a queue.
    pub effective: f64,
    /// Share that was good.
    pub good: f64,
    /// Standard deviation of ln(load drawn) between stretches as long as this one at an unchanging rate, inherited queues
    /// included.
    pub spread: f64,
}

impl Evidence {
    /// Evidence of outcomes in the order they were due.
    ///
    /// The effective number is n (1 − ρ) / (1 + ρ), ρ the correlation of neighbours, from how often good and bad change:
    /// ρ = 1 − changes / (2 p (1 − p)), smoothed by half a count so that a series of equals is not taken for certainty.
    pub fn of(rate: f64, outcomes: &[bool], spread: f64) -> Option<Self> {
        if outcomes.is_empty() || !(rate.is_finite() && rate > 0.0) {
            return None;
        }
        let n = outcomes.len() as f64;
        let good = outcomes.iter().filter(|good| **good).count() as f64;
        let changes = outcomes.windows(2).filter(|pair| pair.first() != pair.last()).count() as f64;
        let smooth = (good + 0.5) / (n + 1.0);
        let correlation = (1.0 - (changes + 0.5) / n / (2.0 * smooth * (1.0 - smooth))).clamp(0.0, 0.98);
        let effective = n * (1.0 - correlation) / (1.0 + correlation);
        let effective = (effective / (1.0 + effective / MOST_EFFECTIVE)).max(1.0);
        Some(Self { rate, effective, good: good / n, spread: (spread * INHERITED).clamp(0.0, 1.0) })
    }

    /// Evidence of a record: `count` requests in a row, of Poisson arrivals, worth `effective` independent ones; a third of
    /// them where nothing says (neighbours of one outcome).
    pub fn of_counts(rate: f64, good: Fraction, count: u64, effective: Option<f64>) -> Option<Self> {
        if count == 0 || !(rate.is_finite() && rate > 0.0) {
            return None;
        }
        let independent = count as f64 / 3.0;
        let effective = effective.unwrap_or(independent / (1.0 + independent / MOST_EFFECTIVE)).max(1.0);
        let spread = (INHERITED / (count as f64).sqrt()).min(1.0);
        Some(Self { rate, effective, good: good.get(), spread })
    }

    fn log_likelihood(&self, share: f64) -> f64 {
        self.effective * (self.good * share.ln() + (1.0 - self.good) * (1.0 - share).ln())
    }

    /// ln of the mean likelihood over all shares from 0 to 1, by Laplace's approximation of the beta function.
    fn log_mean_likelihood(&self) -> f64 {
        let n = self.effective;
        let share = (self.good * n + 0.5) / (n + 1.0);
        self.log_likelihood(share) + (std::f64::consts::TAU * share * (1.0 - share) / n).ln() / 2.0
    }
}

/// The posterior of the capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// ln(rate) and probability, in order.
    points: Vec<(f64, f64)>,
}

impl Posterior {
    /// The posterior from evidence, where the throughput flat out was `saturated` requests a second.
    pub fn of(evidence: &[Evidence], attainment: Fraction, saturated: f64) -> Self {
        let attainment = attainment.get().clamp(0.01, 0.999);
        let (low, high) = ((saturated * LOWEST_SHARE).ln(), (saturated * CEILING_SHARE).ln());
        let middle = saturated.ln();
        let shifts: Vec<_> = evidence.iter().map(|e| shifts(e.spread, attainment)).collect();
        let mut points: Vec<(f64, f64)> = (0..POINTS)
            .map(|i| {
                let at = low + (high - low) * f64::from(i) / f64::from(POINTS - 1);
                let above = (at - middle).max(0.0) / ABOVE_SPREAD;
                let below = (middle - at).max(0.0) * BELOW_DECAY;
                let prior = -above * above / 2.0 - below;
                (at, prior + log_likelihood(at, evidence, &shifts, attainment))
            })
            .collect();
        let most = points.iter().map(|(_, log)| *log).fold(f64::NEG_INFINITY, f64::max);
        let mut total = 0.0;
        for (_, log) in &mut points {
            *log = (*log - most).exp();
            total += *log;
        }
        for (_, probability) in &mut points {
            *probability /= total;
        }
        Self { points }
    }

    /// The rate below which the capacity lies with probability `q`, in requests a second.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sum = 0.0;
        let mut before = self.points.first().map_or(0.0, |(at, _)| *at);
        for (at, probability) in &self.points {
            if sum + probability >= q && *probability > 0.0 {
                return (before + (at - before) * ((q - sum) / probability)).exp();
            }
            sum += probability;
            before = *at;
        }
        before.exp()
    }
}

/// One shape of the curve.
#[derive(Debug, Clone, Copy)]
struct Case {
    ceiling: f64,
    offset: f64,
    slope: f64,
}

fn cases(attainment: f64) -> impl Iterator<Item = Case> {
    LAPSES.into_iter().flat_map(move |lapse| {
        let ceiling = 1.0 - lapse * (1.0 - attainment);
        let at_capacity = attainment / ceiling;
        let offset = if at_capacity < 1.0 - 1e-6 { (at_capacity / (1.0 - at_capacity)).ln() } else { 14.0 };
        SLOPES.into_iter().map(move |slope| Case { ceiling, offset, slope })
    })
}

/// How far beyond the capacity, in ln(rate), a stretch of that spread still meets the attainment, for every case.
///
/// In the long run a rate brings stretches of more and of less load; the capacity is where their *mean* goodput is the
/// attainment. A short stretch whose own load is known is better than that mean at the same load: without this, short
/// probes believe in rates that no long run carries.
fn shifts(spread: f64, attainment: f64) -> [f64; CASES] {
    // Nine equally likely deviates of the normal distribution.
    const DEVIATES: [f64; 9] = [-1.593, -0.967, -0.589, -0.282, 0.0, 0.282, 0.589, 0.967, 1.593];
    let mut shifts = [0.0; CASES];
    if spread <= 0.0 {
        return shifts;
    }
    for (shift, Case { ceiling, offset, slope }) in shifts.iter_mut().zip(cases(attainment)) {
        let mean = |by: f64| {
            let good =
                DEVIATES.iter().map(|z| ceiling / (1.0 + (-(offset + slope * (by - z * spread))).exp()));
            good.sum::<f64>() / DEVIATES.len() as f64
        };
        let (mut low, mut high) = (0.0, 4.0 * spread);
        for _ in 0..16 {
            let middle = f64::midpoint(low, high);
            if mean(middle) < attainment { low = middle } else { high = middle }
        }
        *shift = high;
    }
    shifts
}

/// ln of the likelihood at one capacity, the mean over steepness and ceiling.
fn log_likelihood(capacity: f64, evidence: &[Evidence], shifts: &[[f64; CASES]], attainment: f64) -> f64 {
    let mut logs = [0.0; CASES];
    for (case, (log, Case { ceiling, offset, slope })) in logs.iter_mut().zip(cases(attainment)).enumerate() {
        for (e, shifts) in evidence.iter().zip(shifts) {
            let logit = offset + slope * (capacity + shifts.get(case).copied().unwrap_or(0.0) - e.rate.ln());
            let share = (ceiling / (1.0 + (-logit).exp())).clamp(1e-4, 1.0 - 1e-4);
            let curve = e.log_likelihood(share) + (1.0 - OUTLIERS).ln();
            let outlier = e.log_mean_likelihood() + OUTLIERS.ln();
            let most = curve.max(outlier);
            *log += most + ((curve - most).exp() + (outlier - most).exp()).ln();
        }
    }
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + (logs.iter().map(|log| (log - most).exp()).sum::<f64>() / logs.len() as f64).ln()
}

/// The capacity with its 95 % interval. `None` where nothing met the attainment.
///
/// An end is absent where nothing bounds it: no evidence below the attainment for `high`, none above for `low`.
pub fn estimate(evidence: &[Evidence], attainment: Fraction, saturated: f64) -> Option<CapacityEstimate> {
    let met = evidence.iter().any(|e| e.good >= attainment.get());
    let missed = evidence.iter().any(|e| e.good < attainment.get());
    let posterior = Posterior::of(evidence, attainment, saturated);
    let rate = |q: f64| RequestRate::new(posterior.quantile(q)).ok();
    if !met {
        return None;
    }
    Some(CapacityEstimate {
        rate: rate(0.5)?,
        low: rate(0.025),
        high: if missed { rate(0.975) } else { None },
    })
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn attainment() -> Fraction {
        Fraction::new(0.9).unwrap()
    }

    fn shares(rates: &[(f64, f64)]) -> Vec<Evidence> {
        rates
            .iter()
            .map(|(rate, good)| Evidence { rate: *rate, effective: 20.0, good: *good, spread: 0.0 })
            .collect()
    }

    #[test]
    fn contradictions_widen_the_interval_and_do_not_throw_evidence_away() {
        let clear = shares(&[(4.0, 1.0), (5.0, 1.0), (6.0, 0.2), (7.0, 0.0)]);
        let torn = shares(&[(4.0, 1.0), (5.0, 0.5), (6.0, 1.0), (7.0, 0.0)]);
        let of = |e: &[Evidence]| estimate(e, attainment(), 6.5).unwrap();
        let (clear, torn) = (of(&clear), of(&torn));
        let width = |c: &CapacityEstimate| c.high.unwrap().per_second() / c.low.unwrap().per_second();
        assert!((4.6..5.9).contains(&clear.rate.per_second()), "{clear:?}");
        assert!((4.0..6.3).contains(&torn.rate.per_second()), "{torn:?}");
        assert!(width(&torn) > width(&clear), "{clear:?} {torn:?}");
    }

    #[test]
    fn an_end_that_nothing_bounds_is_absent() {
        assert_eq!(estimate(&shares(&[(4.0, 1.0)]), attainment(), 6.0).unwrap().high, None);
        assert_eq!(estimate(&shares(&[(4.0, 0.1)]), attainment(), 6.0), None);
        assert_eq!(estimate(&[], attainment(), 6.0), None);
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        // Independent requests from a curve of the family: truth 5.0, steepness 15, at rates around it.
        let (mut inside, runs) = (0, 60);
        for seed in 0..runs {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let evidence: Vec<Evidence> = [3.0f64, 4.0, 4.6, 5.0, 5.4, 6.0]
                .iter()
                .filter_map(|rate| {
                    let p = 1.0 / (1.0 + (-(9.0f64.ln() + 15.0 * (5.0f64.ln() - rate.ln()))).exp());
                    let outcomes: Vec<bool> = (0..60).map(|_| random.random_bool(p)).collect();
                    Evidence::of(*rate, &outcomes, 0.0)
                })
                .collect();
            let found = estimate(&evidence, attainment(), 6.0).unwrap();
            let truth = RequestRate::new(5.0).unwrap();
            inside += u32::from(found.low.unwrap() <= truth && truth <= found.high.unwrap());
        }
        assert!(inside >= 54, "{inside} of {runs}");
    }

    #[test]
    fn neighbours_that_share_a_queue_count_for_less() {
        let alternating: Vec<bool> = (0..40).map(|i| i % 2 == 0).collect();
        let halves: Vec<bool> = (0..40).map(|i| i < 20).collect();
        let worth = |outcomes: &[bool]| Evidence::of(1.0, outcomes, 0.0).unwrap().effective;
        assert!(worth(&alternating) > 15.0);
        assert!(worth(&halves) < 4.0);
        assert!((7.0..20.0).contains(&worth(&[true; 40])));
        assert!(worth(&vec![true; 100_000]) < 30.0);
    }
}
