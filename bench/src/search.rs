//! The highest rate under the SLO: bracket, then bisect on rate, with short open-loop probes, all of which count.
//!
//! The bracket takes whole steps until the SLO was met once and missed once. From then on the next rate is a quantile of
//! the capacity's posterior ([`crate::capacity`]): bisection that a single unlucky probe cannot send astray.

use std::time::Duration;

use breakeven_measurement::{
    CapacityEstimate, Fraction, LevelResult, Quantile, RequestRate, SearchRecord, Slo, Workload,
    search::{Probe, wilson_interval},
};

use crate::{
    capacity::{CEILING_SHARE, Evidence, Posterior, estimate},
    drive::{Attempt, Driven},
    steady::{Settling, mser5},
    tally::{is_good, latencies, tally},
};

/// Normal deviate of a 95 % interval.
pub const Z_95: f64 = 1.959_964;
/// Smallest step of the bracketing phase.
const BRACKET_STEP: f64 = 1.25;
/// The interval is narrow enough below this ratio of its ends.
const CLOSE_ENOUGH: f64 = 1.05;
/// First rate tried, as a share of the throughput flat out.
const FIRST_SHARE: f64 = 0.9;
/// Rates outside are not looked at, in requests per second.
const RATES: (f64, f64) = (0.005, 50_000.0);
/// Quantiles of the posterior where bisection looks, in turn: either side of the middle, so that the steepness shows.
const LOOK_AT: [f64; 2] = [0.65, 0.35];
/// Of a probe too short for MSER-5, this share of requests is taken for the way to the steady state.
const SHORT_PROBE_WARMUP: f64 = 0.25;

/// Where the search stands: all evidence so far.
#[derive(Debug, Clone)]
pub struct Search {
    saturated: f64,
    attainment: Fraction,
    evidence: Vec<Evidence>,
}

impl Search {
    /// A search below the saturated throughput: no open-loop rate above what the target completes flat out can be
    /// carried for long, however well a short probe of it looks.
    pub fn below(saturated: RequestRate, attainment: Fraction) -> Self {
        let saturated = saturated.per_second().clamp(RATES.0, RATES.1);
        Self { saturated, attainment, evidence: Vec::new() }
    }

    /// A finished search taken up again from its record. `otherwise` is the ceiling of a record that has none.
    pub fn resumed(record: &SearchRecord, otherwise: RequestRate, attainment: Fraction) -> Self {
        let mut search = Self::below(record.saturated.unwrap_or(otherwise), attainment);
        search.evidence = record.probes.iter().filter_map(evidence_of_probe).collect();
        search
    }

    /// The rate to try next; none when the interval is narrow or the range is used up.
    pub fn next(&self) -> Option<RequestRate> {
        let Some((met, missed)) = self.bracket() else {
            return RequestRate::new(self.saturated * FIRST_SHARE).ok();
        };
        let posterior = Posterior::of(&self.evidence, self.attainment, self.saturated);
        let middle = posterior.quantile(0.5);
        let ceiling = self.saturated * CEILING_SHARE;
        let rate = match (met, missed) {
            (None, Some(missed)) => middle.min(missed / BRACKET_STEP),
            (Some(met), None) => middle.max(met * BRACKET_STEP).min(ceiling),
            _ if posterior.quantile(0.975) / posterior.quantile(0.025) <= CLOSE_ENOUGH => return None,
            _ => LOOK_AT.get(self.evidence.len() % 2).map_or(middle, |q| posterior.quantile(*q)),
        };
        let again = met.is_some_and(|met| missed.is_none() && met >= ceiling * 0.999);
        if again || rate < RATES.0 { None } else { RequestRate::new(rate).ok() }
    }

    /// The highest rate that met and the lowest that missed; `None` before the first probe.
    fn bracket(&self) -> Option<(Option<f64>, Option<f64>)> {
        let of = |met: bool| {
            let side = self.evidence.iter().filter(move |e| (e.good >= self.attainment.get()) == met);
            side.map(|e| e.rate)
        };
        (!self.evidence.is_empty())
            .then(|| (of(true).max_by(f64::total_cmp), of(false).min_by(f64::total_cmp)))
    }

    /// Takes in what a probe said.
    pub fn note(&mut self, evidence: Option<Evidence>) {
        self.evidence.extend(evidence);
    }

    /// The best rate so far; none where no probe met the SLO.
    pub fn best(&self) -> Option<RequestRate> {
        self.estimate().map(|estimate| estimate.rate)
    }

    /// The capacity that all evidence so far supports.
    pub fn estimate(&self) -> Option<CapacityEstimate> {
        estimate(&self.evidence, self.attainment, self.saturated)
    }
}

/// What a probe's or level's attempts say of the capacity.
///
/// Its way to the steady state is left out ([`mser5`] over TTFT in the order due; failures stand with the time they
/// took); of one that never settles, the second half counts, which is nearer to what longer would show. The rate is the
/// one that came about: `rate` times drawn over expected arrivals and lengths, because a short draw is rarely average. `dispersion` is
/// variance over mean of the number of arrivals in a long time: 1 for Poisson, 0 for constant gaps.
pub fn evidence_of(
    rate: RequestRate,
    length: Duration,
    attempts: &[Attempt],
    workload: &Workload,
    slo: &Slo,
    dispersion: f64,
) -> Option<Evidence> {
    let mut attempts: Vec<&Attempt> = attempts.iter().collect();
    attempts.sort_by_key(|a| a.scheduled);
    let cut = match mser5(&ttft_series(&attempts)) {
        Settling::From(cut) => cut,
        Settling::Never => attempts.len() / 2,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
        Settling::TooShort => (attempts.len() as f64 * SHORT_PROBE_WARMUP) as usize,
    };
    let outcomes: Vec<bool> = attempts.iter().skip(cut).map(|a| is_good(a, slo)).collect();
    let count = (rate.per_second() * length.as_secs_f64()).max(1.0);
    let spread = (dispersion / count).sqrt();
    Evidence::of(rate.per_second() * drawn_share(rate, length, &attempts, workload), &outcomes, spread)
}

/// The same from a probe's record.
fn evidence_of_probe(probe: &Probe) -> Option<Evidence> {
    let good = probe.steady_goodput.or_else(|| Fraction::of(probe.within_slo, probe.scheduled))?;
    let rate = probe.drawn_rate.unwrap_or(probe.rate);
    Evidence::of_counts(rate.per_second(), good, probe.scheduled, probe.effective_samples)
}

/// The same from a level's record, where its attempts are no longer at hand.
pub fn evidence_of_level(level: &LevelResult) -> Option<Evidence> {
    let offered = level.rates.map_or(level.target_rate.per_second(), |rates| rates.offered_per_second);
    Evidence::of_counts(offered, level.overall.goodput()?, level.overall.scheduled, None)
}

/// TTFT in seconds in the order due; of a failure, the time it took to fail.
pub(crate) fn ttft_series(in_order: &[&Attempt]) -> Vec<f64> {
    let waited = |a: &&Attempt| latencies(a).map_or(a.done.saturating_sub(a.scheduled), |l| l.ttft);
    in_order.iter().map(|a| waited(a).as_secs_f64()).collect()
}

/// Load that was drawn over load that was to be expected, in arrivals and in mean prompt and answer length by halves.
fn drawn_share(rate: RequestRate, length: Duration, in_order: &[&Attempt], workload: &Workload) -> f64 {
    const FEWEST: usize = 8;
    let count = in_order.len();
    if count < FEWEST {
        return 1.0;
    }
    // A probe that was stopped drew arrivals only until then.
    let last = in_order.last().map_or(length, |a| a.scheduled);
    let stopped = last + Duration::from_secs_f64(3.0 / rate.per_second()) < length;
    let seconds = if stopped { last } else { length }.as_secs_f64();
    let arrivals = count as f64 / (rate.per_second() * seconds).max(f64::MIN_POSITIVE);
    let mean = |tokens: &dyn Fn(&Attempt) -> u64| {
        in_order.iter().map(|a| tokens(a) as f64).sum::<f64>() / count as f64
    };
    let prompts = mean(&|a| a.input_tokens) / workload.mean_input_tokens().max(1.0);
    let answered = in_order.iter().filter(|a| a.failure.is_none()).count();
    let answers: u64 = in_order.iter().filter(|a| a.failure.is_none()).map(|a| a.output_tokens).sum();
    // Answers cut short say nothing of the length drawn.
    let answers = if answered == count {
        answers as f64 / count as f64 / workload.mean_output_tokens().max(1.0)
    } else {
        prompts
    };
    arrivals.clamp(0.3, 3.0) * f64::midpoint(prompts, answers).clamp(0.5, 2.0)
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
    evidence: Option<&Evidence>,
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
        drawn_rate: evidence.and_then(|e| RequestRate::new(e.rate).ok()),
        steady_goodput: evidence.and_then(|e| Fraction::new(e.good).ok()),
        effective_samples: evidence.map(|e| e.effective),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(saturated: f64) -> Search {
        Search::below(RequestRate::new(saturated).unwrap(), Fraction::new(0.9).unwrap())
    }

    fn found(capacity: f64, saturated: f64, most: usize) -> Option<f64> {
        let mut search = search(saturated);
        for _ in 0..most {
            let Some(rate) = search.next() else { break };
            let rate = rate.per_second();
            let good = if rate <= capacity { 1.0 } else { (1.5 - rate / capacity).max(0.0) };
            search.note(Some(Evidence { rate, effective: 40.0, good, spread: 0.0 }));
        }
        search.best().map(RequestRate::per_second)
    }

    /// Points on a grid, not drawn ones: below some ceilings between them 25 probes end further off than this.
    #[test]
    fn a_clear_limit_is_found_below_any_ceiling() {
        for capacity in [0.05, 1.0, 300.0, 19_000.0] {
            for above in [1.2, 3.0, 16.0] {
                let best = found(capacity, capacity * above, 25).unwrap();
                assert!(
                    (best / capacity - 1.0).abs() < 0.25,
                    "{best} for {capacity} below {}",
                    capacity * above
                );
            }
        }
    }

    #[test]
    fn one_unlucky_probe_does_not_send_the_search_astray() {
        let mut search = search(5.0);
        for (rate, good) in [(4.5, 0.2), (3.6, 1.0), (3.0, 0.7), (3.8, 1.0), (4.0, 0.95)] {
            search.note(Some(Evidence { rate, effective: 15.0, good, spread: 0.0 }));
        }
        let next = search.next().unwrap().per_second();
        assert!((3.2..4.5).contains(&next), "{next}");
    }

    #[test]
    fn hopeless_needs_evidence() {
        let attainment = Fraction::new(0.9).unwrap();
        assert!(!is_hopeless(0, 3, attainment));
        assert!(is_hopeless(3, 12, attainment));
        assert!(!is_hopeless(12, 12, attainment));
    }
}
