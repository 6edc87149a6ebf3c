//! From logits to the next token.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Sampling {
    /// The likeliest token; the lowest id among equals.
    #[default]
    Greedy,
    /// By probability.
    Random {
        /// Divides the logits; must be positive.
        temperature: f32,
        /// Only the likeliest tokens that together reach this probability; 1 keeps all.
        top_p: f32,
    },
}

impl Sampling {
    /// What is wrong with it; `None` when it is sound.
    pub fn defect(&self) -> Option<String> {
        match *self {
            Self::Random { temperature, .. } if !(temperature.is_finite() && temperature > 0.0) => {
                Some(format!("temperature is {temperature}, expected a positive number"))
            }
            Self::Random { top_p, .. } if !(top_p > 0.0 && top_p <= 1.0) => {
                Some(format!("top_p is {top_p}, expected above 0 and at most 1"))
            }
            Self::Greedy | Self::Random { .. } => None,
        }
    }
}

/// Draws tokens for one request; the same seed gives the same tokens.
#[derive(Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
    scratch: Vec<(u32, f32)>,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling, seed: u64) -> Self {
        Self { sampling, rng: ChaCha8Rng::seed_from_u64(seed), scratch: Vec::new() }
    }

    /// The next token; `None` where no logit is a number.
    pub(crate) fn next(&mut self, logits: &[f32]) -> Option<u32> {
        match self.sampling {
            Sampling::Greedy => greedy(logits),
            Sampling::Random { temperature, top_p } => self.draw(logits, temperature, top_p),
        }
    }

    fn draw(&mut self, logits: &[f32], temperature: f32, top_p: f32) -> Option<u32> {
        let highest = highest(logits)?;
        self.scratch.clear();
        for (id, logit) in (0u32..).zip(logits) {
            let weight = ((logit - highest) / temperature).exp();
            if weight > 0.0 {
                self.scratch.push((id, weight));
            }
        }
        let total: f32 = self.scratch.iter().map(|(_, weight)| weight).sum();
        let mut kept = total;
        if top_p < 1.0 {
            // Equal weights keep their order of ids, so that a draw is repeatable.
            self.scratch.sort_by(|a, b| b.1.total_cmp(&a.1));
            let mut reached = 0.0;
            let enough = self.scratch.iter().position(|(_, weight)| {
                reached += weight;
                reached >= top_p * total
            });
            if let Some(last) = enough {
                self.scratch.truncate(last + 1);
                kept = reached;
            }
        }
        let mut aim = self.rng.random::<f32>() * kept;
        for (id, weight) in &self.scratch {
            aim -= weight;
            if aim <= 0.0 {
                return Some(*id);
            }
        }
        self.scratch.last().map(|(id, _)| *id)
    }
}

fn highest(logits: &[f32]) -> Option<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    highest.is_finite().then_some(highest)
}

/// The likeliest token, the lowest id among equals.
#[expect(clippy::float_cmp, reason = "the maximum is one of the values, bit for bit")]
pub fn greedy(logits: &[f32]) -> Option<u32> {
    let highest = highest(logits)?;
    let index = logits.iter().position(|logit| *logit == highest)?;
    u32::try_from(index).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_equals_and_passes_over_nan() {
        assert_eq!(greedy(&[0.0, 3.0, f32::NAN, 3.0]), Some(1));
        assert_eq!(greedy(&[f32::NAN, f32::NEG_INFINITY]), None);
        assert_eq!(greedy(&[]), None);
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed() {
        let sampling = Sampling::Random { temperature: 1.0, top_p: 1.0 };
        let logits = [0.0, 1.0f32.ln(), 2.0f32.ln()];
        let counts = |seed| {
            let mut sampler = Sampler::new(sampling, seed);
            let mut counts = [0u32; 3];
            for _ in 0..4000 {
                counts[sampler.next(&logits).unwrap() as usize] += 1;
            }
            counts
        };
        // Shares 1/4, 1/4, 1/2 of 4000: five standard deviations are 137 and 158.
        let [first, second, third] = counts(7);
        assert!(first.abs_diff(1000) < 137 && second.abs_diff(1000) < 137 && third.abs_diff(2000) < 158);
        assert_eq!(counts(7), counts(7));
        assert_ne!(counts(7), counts(8));
    }

    #[test]
    fn top_p_drops_the_tail() {
        let mut sampler = Sampler::new(Sampling::Random { temperature: 1.0, top_p: 0.7 }, 1);
        let logits = [0.0, 0.0, 4.0];
        assert!((0..100).all(|_| sampler.next(&logits) == Some(2)));
    }

    #[test]
    fn nonsense_is_named() {
        assert!(Sampling::Random { temperature: 0.0, top_p: 1.0 }.defect().unwrap().contains("temperature"));
        assert!(Sampling::Random { temperature: 1.0, top_p: 1.5 }.defect().unwrap().contains("top_p"));
        assert!(Sampling::Random { temperature: f32::NAN, top_p: 1.0 }.defect().is_some());
    }
}
