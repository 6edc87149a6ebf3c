//! The cheapest of thousands of fleets: every candidate in closed form, the cheapest that pass then simulated.
//!
//! A replica at λ requests a second spends w = b·in + c·out + d·out·(in + out/2) seconds of a request's own work and `base`
//! seconds a step, so that a step takes T = base / (1 − λ·w): TPOT. Prompts queue for the steps (M/G/1, Kimura), requests for a
//! place in the batch (M/G/c). What closed forms leave out, the simulation that follows finds.

use breakeven_measurement::{Slo, Workload};

use super::replica::{SimulatedReplica, meets};
use crate::{queueing::kimura::Mgc, simulator::SimulationError, step_model::StepModel};

/// A hardware type, or another way to run the model on it.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetType {
    /// Its name.
    pub name: String,
    /// The simulated replica.
    pub replica: SimulatedReplica,
    /// Price of a replica-hour.
    pub usd_per_hour: f64,
}

/// A fleet that was looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Which of the types.
    pub of_type: usize,
    /// How many.
    pub replicas: u32,
    /// Price of the fleet for an hour.
    pub usd_per_hour: f64,
    /// Estimated TPOT, seconds.
    pub tpot_seconds: f64,
    /// Estimated TTFT that the SLO's share of requests stays within, seconds.
    pub ttft_seconds: f64,
}

/// Means and variability of the requests, computed once.
#[derive(Debug, Clone, Copy)]
struct Mix {
    input: f64,
    output: f64,
    input_scv: f64,
    output_scv: f64,
}

impl Mix {
    fn of(workload: &Workload) -> Self {
        let shares = workload.shares();
        let moments =
            |lengths: &dyn Fn(&breakeven_measurement::Segment) -> breakeven_measurement::Lengths| {
                let (mut mean, mut square) = (0.0, 0.0);
                for (segment, share) in workload.segments.iter().zip(&shares) {
                    // At the middles of forty equal shares of the distribution.
                    for step in 0..40_u32 {
                        let z = deviate((f64::from(step) + 0.5) / 40.0);
                        let tokens = f64::from(lengths(segment).at_deviate(z));
                        mean += share * tokens / 40.0;
                        square += share * tokens * tokens / 40.0;
                    }
                }
                (mean, (square / (mean * mean) - 1.0).max(0.0))
            };
        let ((input, input_scv), (output, output_scv)) =
            (moments(&|s| s.input_tokens), moments(&|s| s.output_tokens));
        Self { input, output, input_scv, output_scv }
    }
}

/// The standard normal deviate of a share, by bisection of the logistic-free error function of Abramowitz and Stegun 7.1.26.
fn deviate(share: f64) -> f64 {
    let cumulative = |x: f64| {
        let t = 1.0 / (1.0 + 0.327_591_1 * (x.abs() / std::f64::consts::SQRT_2));
        let poly = t
            * (0.254_829_592
                + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
        let erf = 1.0 - poly * (-x * x / 2.0).exp();
        0.5 * (1.0 + erf * x.signum())
    };
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if cumulative(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// TPOT and the TTFT that a share of requests stays within; `None` above saturation.
fn estimate(
    step: &StepModel,
    replica: &SimulatedReplica,
    mix: &Mix,
    rate: f64,
    share: f64,
) -> Option<(f64, f64)> {
    let [base, by_prompt, by_sequence, by_context] = step.coefficients();
    let context = mix.input + mix.output / 2.0;
    let own = by_sequence + by_context * context;
    let work = by_prompt * mix.input + own * mix.output;
    if rate * work >= 1.0 {
        return None;
    }
    let tpot = (base / (1.0 - rate * work)).max(base + own);
    let running = rate * mix.output * tpot;
    let slots = f64::from(replica.settings.max_sequences);
    if running >= slots {
        return None;
    }
    let chunk = (f64::from(replica.settings.token_budget) - running).max(1.0);
    let steps = (mix.input / chunk).ceil().max(1.0);
    let prefill = steps * (base + own * running) + by_prompt * mix.input;
    let prompts = Mgc::new(1, rate, prefill, mix.input_scv).ok()?;
    let service = prefill + mix.output * tpot;
    let places = Mgc::new(replica.settings.max_sequences, rate, service, mix.output_scv).ok()?;
    let wait = prompts.wait_quantile_seconds(share).ok()?.max(places.wait_quantile_seconds(share).ok()?);
    Some((tpot, tpot / 2.0 + prefill * (1.0 + mix.input_scv).sqrt() + wait))
}

/// Every fleet of 1 to `most_replicas` of each type that meets the SLO at `rate` in closed form with `lost` replicas down,
/// cheapest first.
pub fn candidates(
    types: &[FleetType],
    most_replicas: u32,
    workload: &Workload,
    slo: &Slo,
    rate: f64,
    lost: u32,
) -> Vec<Candidate> {
    let mix = Mix::of(workload);
    let limit = |target: Option<std::time::Duration>| target.map_or(f64::INFINITY, |t| t.as_secs_f64());
    let (ttft_limit, tpot_limit, e2e_limit) = (limit(slo.ttft), limit(slo.tpot), limit(slo.e2e));
    let share = slo.attainment.get().min(0.999_9);
    let mut found = Vec::new();
    for (of_type, kind) in types.iter().enumerate() {
        for replicas in lost + 1..=most_replicas {
            let each = rate / f64::from(replicas - lost);
            let step = &kind.replica.fit.model;
            let Some((tpot, ttft)) = estimate(step, &kind.replica, &mix, each, share) else { continue };
            if tpot <= tpot_limit && ttft <= ttft_limit && ttft + mix.output * tpot <= e2e_limit {
                found.push(Candidate {
                    of_type,
                    replicas,
                    usd_per_hour: kind.usd_per_hour * f64::from(replicas),
                    tpot_seconds: tpot,
                    ttft_seconds: ttft,
                });
            }
        }
    }
    found.sort_by(|a, b| a.usd_per_hour.total_cmp(&b.usd_per_hour));
    found
}

/// The cheapest candidate that the simulation confirms; each type's fleets that a smaller or equal one of it has failed are
/// passed over in steps of a tenth. `None` where none of `most_simulated` holds.
///
/// # Errors
/// Where a type's settings make no sense.
pub fn cheapest_that_holds(
    types: &[FleetType],
    found: &[Candidate],
    workload: &Workload,
    slo: &Slo,
    (rate, lost): (f64, u32),
    most_simulated: u32,
) -> Result<Option<Candidate>, SimulationError> {
    let mut least: Vec<u32> = vec![0; types.len()];
    let mut simulated = 0;
    for candidate in found {
        let (Some(kind), Some(needed)) = (types.get(candidate.of_type), least.get_mut(candidate.of_type))
        else {
            continue;
        };
        if candidate.replicas < *needed {
            continue;
        }
        if simulated == most_simulated {
            return Ok(None);
        }
        simulated += 1;
        let left = candidate.replicas - lost;
        let count = u64::from(left).saturating_mul(200).clamp(2_000, 20_000);
        let outcome = kind.replica.at_rate(left, workload, slo, rate, count)?;
        if meets(outcome.goodput(), slo) {
            return Ok(Some(*candidate));
        }
        *needed = candidate.replicas + candidate.replicas.div_ceil(10);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use breakeven_measurement::{Fraction, Lengths, Segment, step_fit::StepFit};

    use super::*;
    use crate::simulator::ReplicaSettings;

    pub(super) fn kind(base: f64, usd_per_hour: f64) -> FleetType {
        let model = StepModel::new(base, base / 120.0, base / 120.0, base * 1e-5).unwrap();
        let fit = StepFit {
            model,
            half_widths: [None; 4],
            rows: 100,
            r_squared: 1.0,
            median_error: 0.0,
            p90_error: 0.0,
        };
        let settings = ReplicaSettings {
            max_sequences: 256,
            token_budget: 2_048,
            chunked_prefill: true,
            kv_tokens: None,
            prefix_cache_tokens: 0,
        };
        FleetType { name: format!("{base}"), replica: SimulatedReplica { fit, settings }, usd_per_hour }
    }

    fn workload() -> Workload {
        Workload {
            segments: vec![Segment {
                name: "chat".to_owned(),
                weight: 1.0,
                input_tokens: Lengths::new(500, 1_200, None).unwrap(),
                output_tokens: Lengths::new(150, 300, None).unwrap(),
                shared_prefix: Fraction::ZERO,
                prefix_pool: 1,
                session: None,
                text: breakeven_measurement::PromptText::default(),
            }],
        }
    }

    fn slo() -> Slo {
        Slo {
            ttft: Some(Duration::from_secs(2)),
            tpot: Some(Duration::from_millis(50)),
            e2e: None,
            attainment: Fraction::new(0.9).unwrap(),
        }
    }

    #[test]
    fn deviates_are_those_of_the_tables() {
        for (share, z) in [(0.5, 0.0), (0.9, 1.281_552), (0.025, -1.959_964)] {
            assert!((deviate(share) - z).abs() < 1e-4, "{share}: {}", deviate(share));
        }
    }

    #[test]
    fn the_cheapest_that_the_simulation_confirms_is_close_to_the_closed_form_s() {
        let types = [kind(0.006, 2.0), kind(0.012, 1.2)];
        let found = candidates(&types, 40, &workload(), &slo(), 20.0, 1);
        assert!(!found.is_empty() && found.windows(2).all(|w| w[0].usd_per_hour <= w[1].usd_per_hour));
        let best = cheapest_that_holds(&types, &found, &workload(), &slo(), (20.0, 1), 20).unwrap().unwrap();
        assert!(best.usd_per_hour <= found[0].usd_per_hour * 1.5, "{best:?} {:?}", found[0]);
        // One replica fewer than the least that is found in closed form must not be far from failing.
        let fewer = types[best.of_type].replica;
        let outcome =
            fewer.at_rate((best.replicas - 1).div_ceil(2), &workload(), &slo(), 20.0, 4_000).unwrap();
        assert!(!meets(outcome.goodput(), &slo()), "half of it does as well: {best:?}");
    }
}
