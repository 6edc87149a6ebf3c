//! How long one step of an engine takes: the model that the simulator runs on (DESIGN §3).

use serde::{Deserialize, Serialize};

/// Step seconds = base + b·prefill tokens + c·decoding sequences + d·context tokens. No coefficient is negative.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "RawStepModel")]
pub struct StepModel {
    base_seconds: f64,
    seconds_per_prefill_token: f64,
    seconds_per_decoding_sequence: f64,
    seconds_per_context_token: f64,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawStepModel {
    base_seconds: f64,
    seconds_per_prefill_token: f64,
    seconds_per_decoding_sequence: f64,
    seconds_per_context_token: f64,
}

/// Why coefficients are no step model.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepModelError {
    /// A coefficient below zero, or not finite.
    #[error("expected {name} of the step model to be 0 or more seconds, found {value}")]
    Coefficient {
        /// Which.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A step would take no time.
    #[error("expected a step model in which a step takes time, found only zeros")]
    Timeless,
}

impl StepModel {
    /// Checks and wraps the coefficients, all in seconds.
    pub fn new(
        base_seconds: f64,
        seconds_per_prefill_token: f64,
        seconds_per_decoding_sequence: f64,
        seconds_per_context_token: f64,
    ) -> Result<Self, StepModelError> {
        let named = [
            ("the base", base_seconds),
            ("the prefill coefficient", seconds_per_prefill_token),
            ("the sequence coefficient", seconds_per_decoding_sequence),
            ("the context coefficient", seconds_per_context_token),
        ];
        for (name, value) in named {
            if !(value.is_finite() && value >= 0.0) {
                return Err(StepModelError::Coefficient { name, value });
            }
        }
        if named.iter().map(|(_, value)| value).sum::<f64>() <= 0.0 {
            return Err(StepModelError::Timeless);
        }
        Ok(Self {
            base_seconds,
            seconds_per_prefill_token,
            seconds_per_decoding_sequence,
            seconds_per_context_token,
        })
    }

    /// Seconds of one step.
    pub fn seconds(&self, prefill_tokens: f64, decoding_sequences: f64, context_tokens: f64) -> f64 {
        self.base_seconds
            + self.seconds_per_prefill_token * prefill_tokens
            + self.seconds_per_decoding_sequence * decoding_sequences
            + self.seconds_per_context_token * context_tokens
    }

    /// The coefficients in the formula's order: base, prefill token, decoding sequence, context token.
    pub fn coefficients(&self) -> [f64; 4] {
        [
            self.base_seconds,
            self.seconds_per_prefill_token,
            self.seconds_per_decoding_sequence,
            self.seconds_per_context_token,
        ]
    }
}

impl TryFrom<RawStepModel> for StepModel {
    type Error = StepModelError;
    fn try_from(raw: RawStepModel) -> Result<Self, StepModelError> {
        Self::new(
            raw.base_seconds,
            raw.seconds_per_prefill_token,
            raw.seconds_per_decoding_sequence,
            raw.seconds_per_context_token,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        assert!(StepModel::new(0.0, 0.0, 0.0, 0.0).is_err());
        assert!(StepModel::new(0.01, -1e-9, 0.0, 0.0).is_err());
        assert!(StepModel::new(f64::NAN, 0.0, 0.0, 0.0).is_err());
        assert!((StepModel::new(1.0, 0.1, 0.2, 0.01).unwrap().seconds(3.0, 2.0, 50.0) - 2.2).abs() < 1e-12);
    }
}
