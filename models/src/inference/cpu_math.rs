//! The parts of a decoder between the matrix products, on plain f32 rows: norms, rotation, attention, gate.
//!
//! Every row is worked on by itself in a fixed order, so that it does not matter who else is in the batch.

use rayon::prelude::*;

use super::batch::RopeTable;
use crate::spec::{Activation, RopePairing};

/// Sums run in this many lanes, whatever the machine's vectors are, so that results are the same everywhere.
const LANES: usize = 16;

/// Scalar product of two rows of the same length.
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (left_whole, left_rest) = left.as_chunks::<LANES>();
    let (right_whole, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left_whole.iter().zip(right_whole) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}

/// RMS norm of each row (Zhang and Sennrich, arXiv:1910.07467): x / sqrt(mean(x²) + ε) · weight.
pub(crate) fn rms_norm(input: &[f32], weight: &[f32], epsilon: f32, output: &mut Vec<f32>) {
    output.resize(input.len(), 0.0);
    for (input, output) in input.chunks_exact(weight.len()).zip(output.chunks_exact_mut(weight.len())) {
        let scale = 1.0 / (dot(input, input) / weight.len() as f32 + epsilon).sqrt();
        for ((output, input), weight) in output.iter_mut().zip(input).zip(weight) {
            *output = input * scale * weight;
        }
    }
}

/// The same, in place.
pub(crate) fn rms_norm_in_place(rows: &mut [f32], weight: &[f32], epsilon: f32) {
    for row in rows.chunks_exact_mut(weight.len()) {
        let scale = 1.0 / (dot(row, row) / weight.len() as f32 + epsilon).sqrt();
        for (value, weight) in row.iter_mut().zip(weight) {
            *value *= scale * weight;
        }
    }
}

/// Rotates the heads of one token at a position.
pub(crate) fn rotate(
    heads: &mut [f32],
    head_dim: usize,
    position: usize,
    rope: &RopeTable,
    pairing: RopePairing,
) {
    let half = rope.half;
    let span = position * half..(position + 1) * half;
    let cos = rope.cos.get(span.clone()).unwrap_or_default();
    let sin = rope.sin.get(span).unwrap_or_default();
    for head in heads.chunks_exact_mut(head_dim) {
        match pairing {
            RopePairing::Interleaved => {
                for ((pair, cos), sin) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
                    let [first, second] = *pair;
                    *pair = [first * cos - second * sin, first * sin + second * cos];
                }
            }
            RopePairing::Halves => {
                let (firsts, rest) = head.split_at_mut(half);
                for (((first, second), cos), sin) in firsts.iter_mut().zip(rest).zip(cos).zip(sin) {
                    (*first, *second) = (*first * cos - *second * sin, *first * sin + *second * cos);
                }
            }
        }
    }
}

/// cap · tanh(x / cap), where there is a cap.
pub(crate) fn softcap(values: &mut [f32], cap: Option<f32>) {
    if let Some(cap) = cap {
        for value in values {
            *value = cap * (*value / cap).tanh();
        }
    }
}

/// Gate and up side by side, [tokens, 2 · width], to their product [tokens, width].
pub(crate) fn gate(gate_up: &[f32], width: usize, activation: Activation, output: &mut Vec<f32>) {
    output.resize(gate_up.len() / 2, 0.0);
    output.par_chunks_mut(width).zip(gate_up.par_chunks(2 * width)).for_each(|(output, row)| {
        let (gate, up) = row.split_at(width);
        for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
            *output = activate(*gate, activation) * up;
        }
    });
}

fn activate(x: f32, activation: Activation) -> f32 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f32::consts::PI).sqrt() * x * (1.0 + 0.044_715 * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}

/// What one token's attention sees: keys and values of its slot, [kv heads, slot tokens, head width] each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) keys: &'a [f32],
    pub(crate) values: &'a [f32],
    /// Tokens from the first visible to the token itself, as positions in the slot.
    pub(crate) first: usize,
    pub(crate) end: usize,
}

/// Shape of the attention of one layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadShape {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) slot_tokens: usize,
    pub(crate) softcap: Option<f32>,
}

/// Softmax attention of one token's query heads; `scores` is scratch.
pub(crate) fn attend(
    query: &[f32],
    view: View<'_>,
    shape: HeadShape,
    scores: &mut Vec<f32>,
    output: &mut [f32],
) {
    let width = shape.head_dim;
    let group = shape.heads / shape.kv_heads;
    let scale = 1.0 / (width as f32).sqrt();
    let slot = shape.slot_tokens * width;
    let span = view.first * width..view.end * width;
    let heads = query.chunks_exact(width).zip(output.chunks_exact_mut(width)).enumerate();
    for (head, (query, output)) in heads {
        let base = head / group * slot;
        let span = base + span.start..base + span.end;
        let keys = view.keys.get(span.clone()).unwrap_or_default();
        let values = view.values.get(span).unwrap_or_default();
        scores.clear();
        scores.extend(keys.chunks_exact(width).map(|key| dot(query, key) * scale));
        softcap(scores, shape.softcap);
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut total = 0.0;
        for score in scores.iter_mut() {
            *score = (*score - highest).exp();
            total += *score;
        }
        output.fill(0.0);
        for (weight, value) in scores.iter().zip(values.chunks_exact(width)) {
            for (output, value) in output.iter_mut().zip(value) {
                *output += weight * value;
            }
        }
        for output in output.iter_mut() {
            *output /= total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: f32, right: f32) -> bool {
        (left - right).abs() < 1e-5
    }

    #[test]
    fn attention_to_one_token_is_its_value() {
        let shape = HeadShape { heads: 2, kv_heads: 1, head_dim: 2, slot_tokens: 3, softcap: None };
        let keys = [9.0, 9.0, 1.0, 2.0, 9.0, 9.0];
        let values = [9.0, 9.0, 5.0, 7.0, 9.0, 9.0];
        let view = View { keys: &keys, values: &values, first: 1, end: 2 };
        let mut output = [0.0; 4];
        attend(&[1.0, 0.0, 0.0, 1.0], view, shape, &mut Vec::new(), &mut output);
        assert!(output.iter().zip([5.0, 7.0, 5.0, 7.0]).all(|(a, b)| near(*a, b)), "{output:?}");
    }

    #[test]
    fn equal_scores_average_the_values() {
        let shape = HeadShape { heads: 1, kv_heads: 1, head_dim: 2, slot_tokens: 2, softcap: Some(30.0) };
        let view = View { keys: &[1.0, 1.0, 1.0, 1.0], values: &[1.0, 2.0, 3.0, 6.0], first: 0, end: 2 };
        let mut output = [0.0; 2];
        attend(&[0.5, -0.5], view, shape, &mut Vec::new(), &mut output);
        assert!(near(output[0], 2.0) && near(output[1], 4.0));
    }

    #[test]
    fn a_quarter_turn_swaps_a_pair() {
        let rope = RopeTable { cos: vec![1.0, 0.0], sin: vec![0.0, 1.0], half: 1 };
        for pairing in [RopePairing::Interleaved, RopePairing::Halves] {
            let mut heads = [3.0, 4.0];
            rotate(&mut heads, 2, 1, &rope, pairing);
            assert!(near(heads[0], -4.0) && near(heads[1], 3.0));
        }
    }

    #[test]
    fn norm_of_a_constant_row_is_its_weight() {
        let mut output = Vec::new();
        rms_norm(&[3.0; 20], &[2.0; 20], 0.0, &mut output);
        assert!(output.iter().all(|value| near(*value, 2.0)));
    }

    #[test]
    fn activations_have_their_known_values() {
        assert!(near(activate(1.0, Activation::Silu), 0.731_058_6));
        assert!(near(activate(1.0, Activation::GeluTanh), 0.841_192));
        assert!(near(activate(-30.0, Activation::Silu), 0.0));
    }
}
