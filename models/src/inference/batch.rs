//! What one step of the decoder works on, and what a decoder is.

use breakeven_kernels::Pool;

use super::load::LoadError;
use crate::spec::DecoderSpec;

/// Consecutive tokens of one sequence inside a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The sequence's KV slot.
    pub slot: usize,
    /// Position of the run's first token; the slot holds all earlier ones.
    pub start: usize,
    /// Tokens, at least one.
    pub count: usize,
    /// Whether the logits after the run's last token are wanted.
    pub wants_logits: bool,
}

/// The tokens of all sequences in one step, run after run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepBatch {
    /// Flattened tokens.
    pub tokens: Vec<u32>,
    /// How they divide among sequences; a slot appears once.
    pub runs: Vec<Run>,
}

impl StepBatch {
    /// Adds consecutive tokens of one sequence.
    pub fn push(&mut self, slot: usize, start: usize, tokens: &[u32], wants_logits: bool) {
        self.tokens.extend_from_slice(tokens);
        self.runs.push(Run { slot, start, count: tokens.len(), wants_logits });
    }

    /// Index in `tokens` of the last token of each run whose logits are wanted.
    pub fn logit_rows(&self) -> Vec<usize> {
        let mut end = 0;
        let mut rows = Vec::new();
        for run in &self.runs {
            end += run.count;
            if run.wants_logits {
                rows.push(end - 1);
            }
        }
        rows
    }

    /// The position of every token in its sequence.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.runs.iter().flat_map(|run| run.start..run.start + run.count)
    }
}

/// Room for running sequences: how many, and how long each may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotShape {
    /// Sequences that run at once.
    pub slots: usize,
    /// Tokens of one sequence, prompt and answer together.
    pub tokens: usize,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The batch does not fit the decoder: a fault of the caller.
    #[error("bad step: {0}")]
    Batch(String),
    /// The tensor library failed.
    #[error("candle failed")]
    Candle(#[from] candle_core::Error),
    /// The kernels refused a product.
    #[error("the kernels failed")]
    Kernel(#[from] breakeven_kernels::KernelError),
}

/// Runs a model one step at a time over its KV slots.
pub trait Decoder: Send {
    /// The architecture.
    fn spec(&self) -> &DecoderSpec;
    /// Its KV slots.
    fn slots(&self) -> SlotShape;
    /// Bytes one token occupies in the KV cache.
    fn kv_bytes_per_token(&self) -> u64;
    /// Runs one step; `logits` receives one row of vocabulary width for each run that wants it.
    ///
    /// A step is the same for a sequence whatever else is in the batch.
    fn step(&mut self, batch: &StepBatch, logits: &mut Vec<f32>) -> Result<(), StepError>;
    /// Copies keys and values of a slot's first tokens to another slot.
    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), StepError>;
    /// Its threads, for what is done between two steps; `None` where it has none of its own.
    fn pool(&self) -> Option<&Pool> {
        None
    }
}

/// Checks a copy against the room there is.
pub(crate) fn check_copy(shape: SlotShape, from: usize, to: usize, tokens: usize) -> Result<(), StepError> {
    if from >= shape.slots || to >= shape.slots || tokens > shape.tokens {
        return Err(StepError::Batch(format!(
            "copy of {tokens} tokens from slot {from} to {to} in {shape:?}"
        )));
    }
    Ok(())
}

impl StepBatch {
    /// Checks a batch against a decoder's limits, so that no index below can be out of range.
    pub(crate) fn check(&self, vocabulary: usize, shape: SlotShape) -> Result<(), StepError> {
        let bad = |fault: String| Err(StepError::Batch(fault));
        if self.tokens.is_empty() || self.runs.iter().any(|run| run.count == 0) {
            return bad("a run without tokens".to_owned());
        }
        if self.runs.iter().map(|run| run.count).sum::<usize>() != self.tokens.len() {
            return bad("runs and tokens differ in number".to_owned());
        }
        for run in &self.runs {
            if run.slot >= shape.slots {
                return bad(format!("slot {} of {}", run.slot, shape.slots));
            }
            if run.start + run.count > shape.tokens {
                return bad(format!("{} tokens in a slot of {}", run.start + run.count, shape.tokens));
            }
        }
        match self.tokens.iter().find(|token| **token as usize >= vocabulary) {
            Some(token) => bad(format!("token {token} in a vocabulary of {vocabulary}")),
            None => Ok(()),
        }
    }
}

/// cos and sin of every position: `positions` rows of `dimensions / 2` values.
pub(crate) struct RopeTable {
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
    /// Pairs a position has.
    pub(crate) half: usize,
}

impl RopeTable {
    /// Angles position · theta^(-2i/d), each frequency divided by its factor where the model has factors
    /// (Llama 3.1's long-context scaling, GGUF tensor `rope_freqs.weight`).
    pub(crate) fn new(theta: f32, dimensions: usize, positions: usize, factors: Option<&[f32]>) -> Self {
        let frequencies: Vec<f32> = (0..dimensions / 2)
            .map(|pair| {
                let factor = factors.and_then(|factors| factors.get(pair)).copied().unwrap_or(1.0);
                1.0 / theta.powf((2 * pair) as f32 / dimensions as f32) / factor
            })
            .collect();
        let angles = (0..positions)
            .flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency));
        let (cos, sin) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Self { cos, sin, half: dimensions / 2 }
    }
}

/// What each frequency is divided by, where the model says so: a tensor of factors, one factor for all, or both.
pub(crate) fn rope_factors(
    spec: &DecoderSpec,
    tensors: &mut dyn super::tensors::TensorSource,
) -> Result<Option<Vec<f32>>, LoadError> {
    const NAME: &str = "rope_freqs.weight";
    let mut factors = if tensors.has(NAME) { Some(tensors.read(NAME)?.into_f32(NAME)?) } else { None };
    if let Some(linear) = spec.rope.linear_factor {
        let factors = factors.get_or_insert_with(|| vec![1.0; spec.rope.dimensions / 2]);
        for factor in factors.iter_mut() {
            *factor *= linear;
        }
    }
    Ok(factors)
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;

    #[test]
    fn logit_rows_are_the_last_tokens_of_the_runs_that_want_them() {
        let mut batch = StepBatch::default();
        batch.push(0, 0, &[1, 2, 3], false);
        batch.push(1, 7, &[4], true);
        batch.push(2, 0, &[5, 6], true);
        assert_eq!(batch.logit_rows(), [3, 5]);
        assert_eq!(batch.positions().collect::<Vec<_>>(), [0, 1, 2, 7, 0, 1]);
    }

    #[test]
    fn a_linear_factor_of_two_halves_positions() {
        let mut spec = crate::registry::find(crate::registry::DEFAULT_MODEL).unwrap().spec;
        spec.rope.linear_factor = Some(2.0);
        let mut tensors = crate::inference::random::NoiseTensors::new(&spec, GgmlDType::Q8_0, 1);
        let factors = rope_factors(&spec, &mut tensors).unwrap();
        let scaled = RopeTable::new(1e4, spec.rope.dimensions, 9, factors.as_deref());
        let plain = RopeTable::new(1e4, spec.rope.dimensions, 5, None);
        for position in 0..5 {
            for pair in 0..plain.half {
                let (ours, theirs) = (2 * position * plain.half + pair, position * plain.half + pair);
                assert!((scaled.cos[ours] - plain.cos[theirs]).abs() < 1e-6);
                assert!((scaled.sin[ours] - plain.sin[theirs]).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn impossible_batches_are_refused() {
        let shape = SlotShape { slots: 2, tokens: 8 };
        for (slot, start, tokens) in [(2, 0, vec![1]), (0, 7, vec![1, 2]), (0, 0, vec![9]), (0, 0, vec![])] {
            let mut batch = StepBatch::default();
            batch.push(slot, start, &tokens, true);
            assert!(batch.check(9, shape).is_err(), "{slot} {start} {tokens:?}");
        }
    }
}
