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
}

/// Room for one draw, shared by all requests: a vocabulary's weights are hundreds of kilobytes.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    weights: Vec<f32>,
    sums: Vec<f32>,
    likeliest: Vec<(u32, f32)>,
}

/// Values that a loop over logits takes at once: several vector registers of any processor.
const LANES: usize = 16;
/// Weights whose sum is kept, so that a draw need not walk through all of them.
const BLOCK: usize = 256;
/// The same, as ids count.
const BLOCK_IDS: u32 = 256;
/// How much lower the next bound is when the tokens above a bound do not reach `top_p`.
const BOUND_STEP: f32 = 1.0 / 16.0;
/// `exp` below this is less than the smallest normal number; such tokens are never drawn.
const LOWEST_EXPONENT: f32 = -87.0;

impl Sampler {
    pub(crate) fn new(sampling: Sampling, seed: u64) -> Self {
        Self { sampling, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The next token; `None` where no logit is a number.
    pub(crate) fn next(&mut self, logits: &[f32], scratch: &mut Scratch) -> Option<u32> {
        match self.sampling {
            Sampling::Greedy => greedy(logits),
            Sampling::Random { temperature, top_p } => {
                scratch.weigh(logits, highest(logits)?, temperature);
                let share = self.rng.random::<f32>();
                if top_p < 1.0 { scratch.draw_likeliest(share, top_p) } else { scratch.draw(share) }
            }
        }
    }
}

impl Scratch {
    /// Each token's weight: 1 for the likeliest, 0 for what is no number.
    fn weigh(&mut self, logits: &[f32], highest: f32, temperature: f32) {
        let per_degree = 1.0 / temperature;
        self.weights.clear();
        self.weights.extend(logits.iter().map(|logit| exp((logit - highest) * per_degree)));
        self.sums.clear();
        self.sums.extend(self.weights.chunks(BLOCK).map(sum));
    }

    /// A token of all, `share` of the way through their weights.
    fn draw(&self, share: f32) -> Option<u32> {
        let mut aim = share * self.sums.iter().sum::<f32>();
        let mut last = None;
        for (block, (weights, sum)) in self.weights.chunks(BLOCK).zip(&self.sums).enumerate() {
            if *sum <= 0.0 {
                continue;
            }
            if aim <= *sum || last.is_none() {
                for (at, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                    last = Some(block * BLOCK + at);
                    aim -= weight;
                    if aim <= 0.0 {
                        return u32::try_from(block * BLOCK + at).ok();
                    }
                }
            } else {
                aim -= sum;
            }
        }
        // Rounding may leave a little of the aim after the last one.
        u32::try_from(last?).ok()
    }

    /// A token of the likeliest that together reach `top_p` of all weight.
    fn draw_likeliest(&mut self, share: f32, top_p: f32) -> Option<u32> {
        let enough = top_p * self.sums.iter().sum::<f32>();
        // Only what may be among them is sorted: tokens above a bound, lowered until they reach.
        let mut bound = BOUND_STEP;
        loop {
            self.likeliest.clear();
            let mut first = 0;
            for (weights, sum) in self.weights.chunks(BLOCK).zip(&self.sums) {
                // No weight is above the sum of all in its block: most blocks are passed over.
                if *sum >= bound {
                    let candidates = (first..).zip(weights).filter(|(_, weight)| **weight >= bound);
                    self.likeliest.extend(candidates.map(|(id, weight)| (id, *weight)));
                }
                first += BLOCK_IDS;
            }
            let reached: f32 = self.likeliest.iter().map(|(_, weight)| weight).sum();
            if reached >= enough || bound < f32::MIN_POSITIVE {
                break;
            }
            bound *= BOUND_STEP;
        }
        self.likeliest.retain(|(_, weight)| *weight > 0.0);
        // Equal weights keep their order of ids, so that a draw is repeatable.
        self.likeliest.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut reached = 0.0;
        let last = self.likeliest.iter().position(|(_, weight)| {
            reached += weight;
            reached >= enough
        });
        self.likeliest.truncate(last.map_or(self.likeliest.len(), |last| last + 1));
        let mut aim = share * reached;
        let drawn = self.likeliest.iter().find(|(_, weight)| {
            aim -= weight;
            aim <= 0.0
        });
        drawn.or(self.likeliest.last()).map(|(id, _)| *id)
    }
}

fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().chain(rest).sum()
}

/// `e` to the power of a number of at most 0, in steps that compilers turn into vector code (Cephes' `expf`, relative error
/// below 3·10⁻⁷); 0 where the power is too small for a normal number or no number.
fn exp(power: f32) -> f32 {
    /// Added and taken away, it rounds to a whole number, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = power * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = power - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let series = 1.987_569_1e-4;
    let series = series * rest + 1.398_2e-3;
    let series = series * rest + 8.333_452e-3;
    let series = series * rest + 4.166_579_6e-2;
    let series = series * rest + 1.666_666_5e-1;
    let series = series * rest + 0.5;
    let fraction = series * rest * rest + rest + 1.0;
    let two_to_whole = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if power > LOWEST_EXPONENT { fraction * two_to_whole } else { 0.0 }
}

/// The highest of those that are numbers; `None` where there is none or it is infinite.
fn highest(logits: &[f32]) -> Option<f32> {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = logits.as_chunks::<LANES>();
    for chunk in whole {
        // Written so that it is one vector instruction: a comparison with what is no number is false.
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, value)| *lane = if *value > *lane { *value } else { *lane });
    }
    let highest = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    highest.is_finite().then_some(highest)
}

/// The likeliest token, the lowest id among equals.
#[expect(clippy::float_cmp, reason = "the maximum is one of the values, bit for bit")]
#[expect(clippy::needless_bitwise_bool, reason = "the lazy operator is no vector code")]
pub fn greedy(logits: &[f32]) -> Option<u32> {
    let highest = highest(logits)?;
    // Block by block, since a search that may end at any value is no vector code.
    let holds = |block: &[f32]| block.iter().fold(false, |found, logit| found | (*logit == highest));
    let block = logits.chunks(BLOCK).position(holds)?;
    let rest = logits.get(block * BLOCK..)?;
    let at = rest.iter().position(|logit| *logit == highest)?;
    u32::try_from(block * BLOCK + at).ok()
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
            let mut scratch = Scratch::default();
            let mut counts = [0u32; 3];
            for _ in 0..4000 {
                counts[sampler.next(&logits, &mut scratch).unwrap() as usize] += 1;
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
        let mut scratch = Scratch::default();
        assert!((0..100).all(|_| sampler.next(&logits, &mut scratch) == Some(2)));
    }

    #[test]
    fn the_power_of_e_is_that_of_the_library() {
        for step in 0..=110_000u32 {
            let power = -(step as f32) / 1_250.0;
            let (ours, exact) = (f64::from(exp(power)), f64::from(power).exp());
            assert!(
                power <= LOWEST_EXPONENT || (ours - exact).abs() <= 3e-7 * exact,
                "{power}: {ours}, {exact}"
            );
        }
        let ends = [0.0, -88.0, f32::NEG_INFINITY, f32::NAN].map(|power| exp(power).to_bits());
        assert_eq!(ends, [1.0_f32, 0.0, 0.0, 0.0].map(f32::to_bits));
    }

    /// The definition: all tokens sorted by weight, the first that reach `top_p`, and the one at `share` of these.
    fn by_definition(logits: &[f32], share: f32, top_p: f32) -> Option<u32> {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut all: Vec<(u32, f64)> =
            (0u32..).zip(logits).map(|(id, logit)| (id, f64::from(exp(logit - highest)))).collect();
        all.retain(|(_, weight)| *weight > 0.0);
        if top_p < 1.0 {
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            let enough = f64::from(top_p) * all.iter().map(|(_, weight)| weight).sum::<f64>();
            let mut reached = 0.0;
            let within = |(_, weight): &&(u32, f64)| {
                let before = reached;
                reached += weight;
                before < enough
            };
            let count = all.iter().take_while(within).count();
            all.truncate(count);
        }
        let mut aim = f64::from(share) * all.iter().map(|(_, weight)| weight).sum::<f64>();
        let found = all.iter().find(|(_, weight)| {
            aim -= weight;
            aim <= 0.0
        });
        found.or(all.last()).map(|(id, _)| *id)
    }

    #[test]
    fn draws_are_their_definition() {
        use rand::{Rng, SeedableRng};
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (mut scratch, mut same) = (Scratch::default(), 0);
        for round in 0..600usize {
            let count = 1 + round * 3;
            let spread = [0.0, 1.0, 8.0, 60.0][round % 4];
            let logits: Vec<f32> = (0..count).map(|_| (rng.random::<f32>() * spread).round()).collect();
            let top_p = [1.0, 0.5, 0.95][round % 3];
            let share = rng.random::<f32>();
            let highest = highest(&logits).unwrap();
            assert_eq!(highest.to_bits(), logits.iter().copied().fold(f32::NEG_INFINITY, f32::max).to_bits());
            scratch.weigh(&logits, highest, 1.0);
            let drawn = if top_p < 1.0 { scratch.draw_likeliest(share, top_p) } else { scratch.draw(share) };
            same += usize::from(drawn == by_definition(&logits, share, top_p));
        }
        // Sums of f32 and of f64 part where the aim falls on a border.
        assert!(same >= 590, "{same} of 600");
    }

    #[test]
    fn nonsense_is_named() {
        assert!(Sampling::Random { temperature: 0.0, top_p: 1.0 }.defect().unwrap().contains("temperature"));
        assert!(Sampling::Random { temperature: 1.0, top_p: 1.5 }.defect().unwrap().contains("top_p"));
        assert!(Sampling::Random { temperature: f32::NAN, top_p: 1.0 }.defect().is_some());
    }
}
