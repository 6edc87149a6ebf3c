//! The step model from an engine's step log: non-negative least squares, with its doubt, or a refusal.
//!
//! A step's noise grows with its length, and short decode steps, of which TPOT is made, must not drown in long prefill steps:
//! rows are weighted by 1 / (predicted seconds)². The prediction comes from the fit before (iteratively reweighted); weighting by
//! the measured time would favour whatever was measured too short. Of the residuals the model reports what a reader would check: R² and the median
//! and 90th percentile of |predicted / measured − 1|.

use serde::{Deserialize, Serialize};

use crate::{
    least_squares::Sums,
    step_model::{StepModel, StepModelError},
};

/// One step of an engine, as its step log has it; or a stretch of several, with the sums over them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepRow {
    /// Steps: 1 in a step log.
    pub steps: f64,
    /// Tokens of prompts worked on.
    pub prefill_tokens: f64,
    /// Sequences that went on by one token.
    pub decoding_sequences: f64,
    /// Tokens in the KV memory of the step's sequences after it.
    pub context_tokens: f64,
    /// How long it took.
    pub seconds: f64,
}

/// A fitted step model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepFit {
    /// The model.
    pub model: StepModel,
    /// Half-width of each coefficient's 95 % interval in the formula's order, seconds; absent where the coefficient is held at
    /// zero, which the data would have had below it.
    pub half_widths: [Option<f64>; 4],
    /// Rows fitted.
    pub rows: usize,
    /// Share of the variance of step seconds that the model explains.
    pub r_squared: f64,
    /// Median of |predicted / measured − 1|.
    pub median_error: f64,
    /// 90th percentile of the same.
    pub p90_error: f64,
}

/// What a fit must reach to be believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitLimits {
    /// Fewest rows.
    pub rows: usize,
    /// Least R². Not asked where all steps take about the same time, since there is then nothing to explain.
    pub r_squared: f64,
    /// Largest median of |predicted / measured − 1|.
    pub median_error: f64,
}

impl Default for FitLimits {
    fn default() -> Self {
        Self { rows: 50, r_squared: 0.8, median_error: 0.15 }
    }
}

/// Why there is no step model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepFitError {
    /// Too little to fit on.
    #[error("the step log has {found} usable steps, expected at least {expected}; measure for longer")]
    TooFew {
        /// Rows of the log that have a time.
        found: usize,
        /// Rows needed.
        expected: usize,
    },
    /// The log does not follow the formula.
    #[error(
        "the step model does not explain the step log: R² {r_squared:.3} (expected {least_r_squared}), median error {median_error:.3} \
         (at most {largest_error}); the machine was disturbed, or its engine works in another way: measure again on a quiet machine"
    )]
    Unexplained {
        /// As reached.
        r_squared: f64,
        /// As required.
        least_r_squared: f64,
        /// As reached.
        median_error: f64,
        /// As allowed.
        largest_error: f64,
    },
    /// No coefficient is above zero.
    #[error("failed to fit a step model")]
    Model(#[from] StepModelError),
}

/// Normal deviate of a 95 % interval; the rows are many.
const Z_95: f64 = 1.959_964;
/// Variation of step seconds (standard deviation / mean) below which there is nothing to explain.
const FLAT: f64 = 0.05;

/// Fits, each weighted by the one before.
const REWEIGHTINGS: usize = 6;

fn predict(model: &StepModel, row: &StepRow) -> f64 {
    let [base, prefill, decoding, context] = model.coefficients();
    base * row.steps
        + prefill * row.prefill_tokens
        + decoding * row.decoding_sequences
        + context * row.context_tokens
}

/// Fits the step model to a step log.
///
/// # Errors
/// Where there are too few rows, or the model does not explain them.
pub fn fit_steps(rows: &[StepRow], limits: &FitLimits) -> Result<StepFit, StepFitError> {
    let usable = |row: &&StepRow| {
        let all = [row.steps, row.prefill_tokens, row.decoding_sequences, row.context_tokens];
        row.seconds.is_finite() && row.seconds > 0.0 && all.iter().all(|v| v.is_finite() && *v >= 0.0)
    };
    let rows: Vec<&StepRow> = rows.iter().filter(usable).collect();
    if rows.len() < limits.rows.max(5) {
        return Err(StepFitError::TooFew { found: rows.len(), expected: limits.rows.max(5) });
    }
    let columns = |r: &StepRow| [r.steps, r.prefill_tokens, r.decoding_sequences, r.context_tokens];
    let mut before: Option<StepModel> = None;
    let weight = |before: Option<&StepModel>, r: &StepRow| match before {
        None => 1.0 / r.seconds,
        Some(model) => predict(model, r).max(f64::MIN_POSITIVE).powi(-2),
    };
    let mut solved = None;
    for _ in 0..REWEIGHTINGS {
        let mut sums = Sums::default();
        for row in &rows {
            sums.add(columns(row), row.seconds, weight(before.as_ref(), row));
        }
        let fit = sums.solve().ok_or(StepModelError::Timeless)?;
        let [base, prefill, decode, context] = fit.coefficients;
        let model = StepModel::new(base, prefill, decode, context)?;
        solved = Some((fit, model, before.replace(model)));
    }
    let (fit, model, before) = solved.ok_or(StepModelError::Timeless)?;
    let predicted = |r: &StepRow| predict(&model, r);
    let n = rows.len() as f64;
    let mean = rows.iter().map(|r| r.seconds).sum::<f64>() / n;
    let total: f64 = rows.iter().map(|r| (r.seconds - mean).powi(2)).sum();
    let left: f64 = rows.iter().map(|r| (r.seconds - predicted(r)).powi(2)).sum();
    let weighted_left: f64 =
        rows.iter().map(|r| weight(before.as_ref(), r) * (r.seconds - predicted(r)).powi(2)).sum();
    let mut errors: Vec<f64> = rows.iter().map(|r| (predicted(r) / r.seconds - 1.0).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank of at most the rows"
        )]
        let rank = ((share * n).ceil() as usize).clamp(1, errors.len());
        errors.get(rank - 1).copied().unwrap_or(f64::INFINITY)
    };
    let flat = (total / n).sqrt() < FLAT * mean;
    let r_squared = if total > 0.0 { 1.0 - left / total } else { 1.0 };
    let (median_error, p90_error) = (at(0.5), at(0.9));
    if (r_squared < limits.r_squared && !flat) || median_error > limits.median_error {
        return Err(StepFitError::Unexplained {
            r_squared,
            least_r_squared: limits.r_squared,
            median_error,
            largest_error: limits.median_error,
        });
    }
    let noise = weighted_left / (n - fit.used as f64);
    let half_widths =
        fit.variance_factors.map(|factor| (factor > 0.0).then(|| Z_95 * (noise * factor).sqrt()));
    Ok(StepFit { model, half_widths, rows: rows.len(), r_squared, median_error, p90_error })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    fn log(model: &StepModel, noise: f64, rows: usize, seed: u64) -> Vec<StepRow> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..rows)
            .map(|_| {
                let decoding_sequences = f64::from(rng.random_range(0..32_u32));
                let prefill_tokens =
                    if rng.random_bool(0.4) { f64::from(rng.random_range(1..512_u32)) } else { 0.0 };
                let context_tokens =
                    decoding_sequences * f64::from(rng.random_range(50..900_u32)) + prefill_tokens;
                let z: f64 = StandardNormal.sample(&mut rng);
                let seconds =
                    model.seconds(prefill_tokens, decoding_sequences, context_tokens) * (noise * z).exp();
                StepRow { steps: 1.0, prefill_tokens, decoding_sequences, context_tokens, seconds }
            })
            .collect()
    }

    #[test]
    fn an_exact_log_gives_its_model_back() {
        let model = StepModel::new(0.004, 1.2e-4, 6e-4, 3e-7).unwrap();
        let fit = fit_steps(&log(&model, 0.0, 400, 1), &FitLimits::default()).unwrap();
        for (found, true_value) in fit.model.coefficients().into_iter().zip(model.coefficients()) {
            assert!((found / true_value - 1.0).abs() < 1e-6, "{found} for {true_value}");
        }
        assert!(fit.r_squared > 0.999_999 && fit.p90_error < 1e-6);
    }

    #[test]
    fn intervals_hold_the_truth_about_as_often_as_they_claim() {
        let model = StepModel::new(0.004, 1.2e-4, 6e-4, 3e-7).unwrap();
        let mut held = 0;
        for seed in 0..200 {
            let fit = fit_steps(&log(&model, 0.05, 400, seed), &FitLimits::default()).unwrap();
            let prefill = fit.model.coefficients()[1];
            held += u32::from((prefill - 1.2e-4).abs() <= fit.half_widths[1].unwrap());
        }
        // 95 % of 200 is 190; four standard deviations are 12.
        assert!((178..=200).contains(&held), "{held} of 200");
    }

    #[test]
    fn a_coefficient_that_would_be_negative_is_zero_and_says_so() {
        let model = StepModel::new(0.004, 1e-4, 0.0, 0.0).unwrap();
        let mut rows = log(&model, 0.0, 200, 2);
        for row in &mut rows {
            // Time falls with context: nothing a step model may say.
            row.seconds -= 1e-8 * row.context_tokens;
        }
        let fit = fit_steps(&rows, &FitLimits::default()).unwrap();
        assert!(fit.model.coefficients()[3].abs() < 1e-15 && fit.half_widths[3].is_none());
    }

    #[test]
    fn noise_is_refused_and_so_is_too_little() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let model = StepModel::new(0.004, 1.2e-4, 6e-4, 3e-7).unwrap();
        let mut rows = log(&model, 0.0, 300, 3);
        for row in &mut rows {
            row.seconds = rng.random_range(0.001..0.2);
        }
        let error = fit_steps(&rows, &FitLimits::default()).unwrap_err();
        assert!(error.to_string().contains("does not explain"), "{error}");
        assert!(matches!(
            fit_steps(&rows[..20], &FitLimits::default()),
            Err(StepFitError::TooFew { found: 20, .. })
        ));
    }

    proptest! {
        #[test]
        fn no_neighbour_fits_better(seed in any::<u64>(), column in 0usize..4, factor in prop_oneof![Just(0.9), Just(1.1)]) {
            let model = StepModel::new(0.003, 1e-4, 5e-4, 1e-7).unwrap();
            let rows = log(&model, 0.1, 120, seed);
            let fit = fit_steps(&rows, &FitLimits::default()).unwrap();
            // What was measured above the prediction weighs as the fit weighed it.
            let loss = |c: [f64; 4]| -> f64 {
                let error = |r: &StepRow| {
                    let y = c[0] + c[1] * r.prefill_tokens + c[2] * r.decoding_sequences + c[3] * r.context_tokens;
                    ((r.seconds - y) / predict(&fit.model, r)).powi(2)
                };
                rows.iter().map(error).sum()
            };
            let best = fit.model.coefficients();
            let mut other = best;
            other[column] = if best[column] > 0.0 { best[column] * factor } else { 1e-7 };
            prop_assert!(loss(best) <= loss(other) * (1.0 + 1e-6));
        }
    }
}
