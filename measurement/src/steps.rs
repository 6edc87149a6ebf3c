//! How long a step of the target takes: what was fitted on, what came of it, and enough rows to check it by hand.

use serde::{Deserialize, Serialize};

use crate::{
    level::LevelName,
    step_fit::{FitLimits, StepFit, StepRow, fit_steps},
};

/// Rows kept in the file.
const MOST_SAMPLED: usize = 200;

/// Where the rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepSource {
    /// The engine's own log, a row a step.
    EngineLog,
    /// Time to first token and between tokens of each request, beside what the others in flight did meanwhile: a row for each.
    Requests,
}

/// The step model of a run and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepEvidence {
    /// Where the rows come from.
    pub source: StepSource,
    /// Levels whose rows were fitted. The others are left for the model to be held against.
    pub levels: Vec<LevelName>,
    /// Rows that were fitted.
    pub rows: u64,
    /// Of these, rows of requests sent alone and in bursts before the levels, to a target that keeps no step log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calibration_rows: u64,
    /// The model with its intervals and residuals; absent where it was refused.
    pub fit: Option<StepFit>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Every n-th row, at most 200.
    pub sample: Vec<StepRow>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl StepEvidence {
    /// Fits the model to rows, or says why not. `None` without rows: the target does not tell.
    pub fn of(rows: &[StepRow], source: StepSource, levels: Vec<LevelName>) -> Option<Self> {
        if rows.is_empty() {
            return None;
        }
        let (fit, refused) = match fit_steps(rows, &FitLimits::default()) {
            Ok(fit) => (Some(fit), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let sample = rows.iter().step_by(rows.len().div_ceil(MOST_SAMPLED)).copied().collect();
        let calibration_rows = 0;
        Some(Self { source, levels, rows: rows.len() as u64, calibration_rows, fit, refused, sample })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: u32) -> Vec<StepRow> {
        (0..count)
            .map(|i| {
                let (prefill_tokens, decoding_sequences) = (f64::from(i % 3) * 40.0, f64::from(i % 7));
                let context_tokens = decoding_sequences * f64::from(100 + i % 11);
                let seconds =
                    0.004 + 1e-4 * prefill_tokens + 6e-4 * decoding_sequences + 1e-6 * context_tokens;
                StepRow { steps: 1.0, prefill_tokens, decoding_sequences, context_tokens, seconds }
            })
            .collect()
    }

    #[test]
    fn the_file_keeps_the_fit_and_a_sample_of_bounded_size() {
        let found = StepEvidence::of(&rows(5_000), StepSource::EngineLog, vec![LevelName::Baseline]).unwrap();
        assert_eq!((found.rows, found.sample.len()), (5_000, 200));
        let [base, ..] = found.fit.unwrap().model.coefficients();
        assert!((base - 0.004).abs() < 1e-9, "{base}");
        let text = serde_json::to_string(&found).unwrap();
        // Written numbers may come back a last digit off, by the JSON library's settings.
        let read: StepEvidence = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (read.rows, read.sample.len(), read.levels),
            (found.rows, found.sample.len(), found.levels)
        );
    }

    #[test]
    fn a_refusal_is_kept_with_its_reason_and_nothing_is_nothing() {
        let found = StepEvidence::of(&rows(10), StepSource::EngineLog, vec![]).unwrap();
        assert!(found.fit.is_none() && found.refused.unwrap().contains("10 usable steps"));
        assert_eq!(StepEvidence::of(&[], StepSource::EngineLog, vec![]), None);
    }
}
