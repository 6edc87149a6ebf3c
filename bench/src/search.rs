//! The highest rate under the SLO: bracket, then bisect on rate, with short open-loop probes.

use std::time::Duration;

use breakeven_measurement::{
    CapacityEstimate, Fraction, LevelResult, Quantile, RequestRate, Slo, Workload,
    search::{Probe, wilson_interval},
};

use crate::{drive::Driven, tally::tally};

/// Normal deviate of a 95 % interval.
pub const Z_95: f64 = 1.959_964;
/// Step of the bracketing phase.
const BRACKET_STEP: f64 = 1.4;
/// The bracket is narrow enough below this ratio.
const CLOSE_ENOUGH: f64 = 1.08;
/// First rate tried, as a share of the throughput flat out.
const FIRST_SHARE: f64 = 1.0;
/// Rates above this share of the throughput flat out are not tried. Over one, because the burst that measures it is
/// short, and its ends run at less than a full batch.
const CEILING_SHARE: f64 = 1.6;
/// Rates outside are not looked at, in requests per second.
const RATES: (f64, f64) = (0.02, 20_000.0);

/// Where the search stands: the best rate that met, the lowest that missed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bracket {
    met: Option<f64>,
    missed: Option<f64>,
    first: Option<f64>,
}

impl Bracket {
    /// A search below the saturated throughput: no open-loop rate above what the target completes flat out can be
    /// carried for long, however well a short probe of it looks.
    pub fn below(saturated: RequestRate) -> Self {
        let at = |share: f64| Some((saturated.per_second() * share).clamp(RATES.0, RATES.1));
        Self { met: None, missed: at(CEILING_SHARE), first: at(FIRST_SHARE) }
    }

    /// The rate to try next; none when the bracket is narrow or the range is used up.
    pub fn next(&self) -> Option<RequestRate> {
        let rate = match (self.first, self.met, self.missed) {
            (Some(first), _, _) => first,
            (None, Some(met), Some(missed)) if missed / met <= CLOSE_ENOUGH => return None,
            (None, Some(met), Some(missed)) => (met * missed).sqrt(),
            (None, None, Some(missed)) if missed > RATES.0 => (missed / BRACKET_STEP).max(RATES.0),
            (None, Some(met), None) if met < RATES.1 => (met * BRACKET_STEP).min(RATES.1),
            (None, _, _) => return None,
        };
        RequestRate::new(rate).ok()
    }

    /// Takes in a probe's answer. A miss below an earlier pass withdraws the pass: chance made one of them, and the
    /// careful one is kept.
    pub fn note(&mut self, rate: RequestRate, met: bool) {
        let rate = rate.per_second();
        self.first = None;
        if met {
            self.met = Some(self.met.map_or(rate, |best| best.max(rate)));
        } else {
            self.missed = Some(self.missed.map_or(rate, |worst| worst.min(rate)));
            if self.met.is_some_and(|met| met >= rate) {
                self.met = None;
            }
        }
    }

    /// The best rate that met the SLO below every rate that missed it.
    pub fn best(&self) -> Option<RequestRate> {
        self.met.and_then(|rate| RequestRate::new(rate).ok())
    }
}

/// Whether a share may still reach the attainment: false once even the upper 95 % bound is below it.
pub fn is_hopeless(good: u64, judged: u64, attainment: Fraction) -> bool {
    judged >= 8 && wilson_interval(good, judged, Z_95).1 < attainment
}

/// A probe's record. Attempts that were cut off count as misses: they were late already.
pub fn probe_of(
    rate: RequestRate,
    window: Duration,
    driven: &Driven,
    workload: &Workload,
    slo: &Slo,
) -> Probe {
    let (mut load, _) = tally(&driven.attempts, Duration::ZERO, workload, slo);
    load.scheduled += driven.unsent;
    let seconds = window.as_secs_f64().max(f64::MIN_POSITIVE);
    let finite = |q: Option<Quantile>| q.and_then(Quantile::finite);
    let share = load.goodput();
    Probe {
        rate,
        window,
        scheduled: load.scheduled,
        within_slo: load.within_slo,
        goodput_interval: wilson_interval(load.within_slo, load.scheduled, Z_95),
        achieved_per_second: load.completed as f64 / seconds,
        output_tokens_per_second: load.output_tokens.0 as f64 / seconds,
        ttft_p50: finite(load.ttft.quantile(0.5)),
        ttft_p95: finite(load.ttft.quantile(0.95)),
        tpot_p50: finite(load.tpot.quantile(0.5)),
        met: share.is_some_and(|share| share >= slo.attainment),
    }
}

/// The capacity that probes and levels together support.
///
/// `rate` is the search's best rate, moved inside the interval where a level contradicts it. `low` is the highest
/// offered rate whose goodput is above the attainment with 95 % confidence, `high` the lowest whose goodput is below it
/// (Wilson intervals). Levels are longer than probes, so they usually decide.
pub fn capacity(best: RequestRate, probes: &[Probe], levels: &[LevelResult], slo: &Slo) -> CapacityEstimate {
    let seen = probes.iter().map(|p| (p.rate, p.goodput_interval)).chain(levels.iter().map(|level| {
        let load = &level.overall;
        (level.target_rate, wilson_interval(load.within_slo, load.scheduled, Z_95))
    }));
    let (mut low, mut high): (Option<RequestRate>, Option<RequestRate>) = (None, None);
    for (rate, (at_least, at_most)) in seen {
        if at_most < slo.attainment && high.is_none_or(|h| rate < h) {
            high = Some(rate);
        }
        if at_least >= slo.attainment && low.is_none_or(|l| rate > l) {
            low = Some(rate);
        }
    }
    if let (Some(l), Some(h)) = (low, high)
        && l >= h
    {
        // Noise: a rate passed above one that failed. The failure is the careful reading.
        low = None;
    }
    let mut rate = best;
    if let Some(low) = low
        && rate < low
    {
        rate = low;
    }
    if let Some(high) = high
        && rate > high
    {
        rate = high;
    }
    CapacityEstimate { rate, low, high }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(capacity: f64, saturated: f64, most: usize) -> Option<f64> {
        let mut bracket = Bracket::below(RequestRate::new(saturated).unwrap());
        for _ in 0..most {
            let Some(rate) = bracket.next() else { break };
            bracket.note(rate, rate.per_second() <= capacity);
        }
        bracket.best().map(RequestRate::per_second)
    }

    proptest! {
        #[test]
        fn a_clear_limit_is_found_below_any_ceiling(log_capacity in -3.0f64..9.9, above in 1.0f64..50.0) {
            let capacity = log_capacity.exp().max(0.05);
            let best = found(capacity, capacity * above, 60).unwrap();
            prop_assert!(best <= capacity && best >= capacity / 1.09, "{best} for {capacity}");
        }
    }

    #[test]
    fn a_miss_below_a_pass_is_believed() {
        let rate = |r| RequestRate::new(r).unwrap();
        let mut bracket = Bracket::below(rate(5.0));
        bracket.note(rate(4.0), true);
        bracket.note(rate(3.0), false);
        assert_eq!(bracket.best(), None);
        assert!(bracket.next().unwrap() < rate(3.0));
    }

    #[test]
    fn hopeless_needs_evidence() {
        let attainment = Fraction::new(0.9).unwrap();
        assert!(!is_hopeless(0, 3, attainment));
        assert!(is_hopeless(3, 12, attainment));
        assert!(!is_hopeless(12, 12, attainment));
    }
}
