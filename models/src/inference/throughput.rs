//! Raw speed of the decoder in llama-batched-bench's terms: B sequences of P prompt tokens are prefilled,
//! then all B decode T tokens together; no sampling, no queue. `prefill` is B·P over the first time (its
//! `S_PP`), `decode` B·T over the second (`S_TG`). With B = 1 these are llama-bench's `pp` and `tg`.

use std::time::{Duration, Instant};

use breakeven_kernels::Executor;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::batch::{Decoder, StepBatch, StepError};
use super::decoder::build_decoder;
use super::load::{LoadError, LoadedModel};
use super::settings::EngineSettings;

/// Why a throughput run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThroughputError {
    /// The weights could not be placed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The decoder has no room for the point.
    #[error("{batch} sequences of {tokens} tokens do not fit {slots} slots of {room}")]
    TooLarge {
        /// Of the point.
        batch: usize,
        /// Prompt and answer together.
        tokens: usize,
        /// Of the decoder.
        slots: usize,
        /// Of each slot.
        room: usize,
    },
}

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Sequences side by side.
    pub batch: usize,
    /// Prompt tokens of each.
    pub prompt_tokens: usize,
    /// Tokens decoded by each.
    pub decode_tokens: usize,
}

/// One measured point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// What was measured.
    pub point: Point,
    /// Seconds until all prompts were in.
    pub prefill_seconds: f64,
    /// Seconds for all decoded tokens.
    pub decode_seconds: f64,
    /// Prompt tokens a second, over all sequences.
    pub prefill_tokens_per_second: f64,
    /// Decoded tokens a second, over all sequences.
    pub decode_tokens_per_second: f64,
}

/// What some steps must at least do, whoever does them. Attention's own arithmetic, norms and sampling are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Weights once a step, and the keys and values that are seen (decode) or written (prefill).
    pub bytes: u64,
    /// Two for every weight and token.
    pub int8_operations: u64,
}

/// A decoder without engine, for measuring.
pub struct ThroughputBench {
    decoder: Box<dyn Decoder>,
    settings: EngineSettings,
    rng: ChaCha8Rng,
    weight_bytes: u64,
}

impl std::fmt::Debug for ThroughputBench {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ThroughputBench").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ThroughputBench {
    /// Places the weights.
    pub fn new(model: LoadedModel, settings: &EngineSettings) -> Result<Self, ThroughputError> {
        let weight_bytes = model.weight_bytes();
        let LoadedModel { spec, mut tensors, .. } = model;
        let settings = settings.fitted_to(&spec, spec.kv_bytes_per_token(4))?;
        let decoder = build_decoder(&spec, tensors.as_mut(), &settings)?;
        Ok(Self { decoder, settings, rng: ChaCha8Rng::seed_from_u64(0), weight_bytes })
    }

    /// The settings in force.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Bytes of all weights as stored: what a decode step must at least read.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// What a point must at least read and compute, for a roofline.
    pub fn work(&self, point: Point) -> (Work, Work) {
        let spec = self.decoder.spec();
        let head = spec.head_macs();
        let layers = spec.projection_macs_per_token() - head;
        let (batch, prompt) = (point.batch as u64, point.prompt_tokens as u64);
        let decode = point.decode_tokens as u64;
        let kv = self.decoder.kv_bytes_per_token();
        // An untied embedding is looked up, not read through.
        let embedding = if spec.tied_head { 0 } else { self.weight_bytes * head / spec.parameters().max(1) };
        let weights = self.weight_bytes - embedding;
        // Positions seen by all decode steps of one sequence: P + 1 … P + T.
        let seen = decode * prompt + decode * (decode + 1) / 2;
        let steps = (batch * prompt).div_ceil(self.settings.token_budget as u64);
        let prefill = Work {
            bytes: steps * weights + batch * prompt * kv,
            int8_operations: 2 * batch * (prompt * layers + head),
        };
        let decode = Work {
            bytes: decode * weights + batch * seen * kv,
            int8_operations: 2 * batch * decode * (layers + head),
        };
        (prefill, decode)
    }

    /// int8 operations a second these kernels' instructions can do on registers alone; `None` where the level has none.
    pub fn int8_peak(&self, budget: Duration) -> Option<f64> {
        Executor::new(self.settings.threads).int8_peak(budget)
    }

    /// The bytes of the KV cache that one token takes.
    pub fn kv_bytes_per_token(&self) -> u64 {
        self.decoder.kv_bytes_per_token()
    }

    fn random_tokens(&mut self, count: usize) -> Vec<u32> {
        let vocabulary = u32::try_from(self.decoder.spec().vocabulary).unwrap_or(u32::MAX);
        (0..count).map(|_| self.rng.random_range(0..vocabulary)).collect()
    }

    /// Measures one point.
    pub fn run(&mut self, point: Point) -> Result<Throughput, ThroughputError> {
        let Point { batch, prompt_tokens, decode_tokens } = point;
        let shape = self.decoder.slots();
        let tokens = prompt_tokens + decode_tokens;
        if batch == 0 || batch > shape.slots || prompt_tokens == 0 || tokens > shape.tokens {
            return Err(ThroughputError::TooLarge { batch, tokens, slots: shape.slots, room: shape.tokens });
        }
        let prompts: Vec<Vec<u32>> = (0..batch).map(|_| self.random_tokens(prompt_tokens)).collect();
        let answers: Vec<Vec<u32>> = (0..decode_tokens).map(|_| self.random_tokens(batch)).collect();
        let mut logits = Vec::new();
        let mut step = StepBatch::default();

        let started = Instant::now();
        for (slot, prompt) in prompts.iter().enumerate() {
            let mut at = 0;
            for chunk in prompt.chunks(self.settings.token_budget) {
                // Prompts share a step where the budget has room, as in the engine.
                if step.tokens.len() + chunk.len() > self.settings.token_budget {
                    self.take_step(&mut step, &mut logits)?;
                }
                step.push(slot, at, chunk, at + chunk.len() == prompt_tokens);
                at += chunk.len();
                if at < prompt_tokens {
                    self.take_step(&mut step, &mut logits)?;
                }
            }
        }
        self.take_step(&mut step, &mut logits)?;
        let prefill_seconds = started.elapsed().as_secs_f64();

        let started = Instant::now();
        for (index, tokens) in answers.iter().enumerate() {
            for (slot, token) in tokens.iter().enumerate() {
                step.push(slot, prompt_tokens + index, &[*token], true);
            }
            self.take_step(&mut step, &mut logits)?;
        }
        let decode_seconds = started.elapsed().as_secs_f64();
        Ok(Throughput {
            point,
            prefill_seconds,
            decode_seconds,
            prefill_tokens_per_second: (batch * prompt_tokens) as f64 / prefill_seconds,
            decode_tokens_per_second: (batch * decode_tokens) as f64 / decode_seconds,
        })
    }

    fn take_step(&mut self, step: &mut StepBatch, logits: &mut Vec<f32>) -> Result<(), StepError> {
        if step.runs.is_empty() {
            return Ok(());
        }
        self.decoder.step(step, logits)?;
        step.tokens.clear();
        step.runs.clear();
        Ok(())
    }
}
