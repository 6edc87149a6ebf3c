//! The parts of a decoder between the matrix products, on plain f32 rows: norms, rotation, gate.
//!
//! Every row is worked on by itself in a fixed order, so that it does not matter who else is in the batch.

use std::sync::{Mutex, PoisonError};

use breakeven_kernels::{GateActivation, Norm, Pool};

use super::batch::RopeTable;
use crate::spec::RopePairing;

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

/// Joins a block's output to the residual stream, normalised first where the family does so.
pub(crate) fn join(residual: &mut [f32], added: &[f32], norm: Option<Norm<'_>>, scratch: &mut Vec<f32>) {
    let added = match norm {
        Some(norm) => {
            // As the kernels round it (`kernels/src/rows.rs`), so that every kind of weight gives the same bits.
            scratch.clear();
            scratch.extend_from_slice(added);
            rms_norm_in_place(scratch, norm.weight, norm.epsilon);
            scratch.as_slice()
        }
        None => added,
    };
    for (residual, added) in residual.iter_mut().zip(added) {
        *residual += added;
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

/// Rows of the gate that one thread takes at a time.
const GATE_ROWS: usize = 4;

/// Gate and up side by side, [tokens, 2 · width], to their product [tokens, width].
pub(crate) fn gate(
    gate_up: &[f32],
    width: usize,
    activation: GateActivation,
    pool: &Pool,
    output: &mut Vec<f32>,
) {
    output.resize(gate_up.len() / 2, 0.0);
    // A lock a part hands each thread its own rows; no two threads ever want the same.
    let parts: Vec<_> = output
        .chunks_mut(GATE_ROWS * width)
        .zip(gate_up.chunks(GATE_ROWS * 2 * width))
        .map(Mutex::new)
        .collect();
    pool.run(parts.len(), |part| {
        let Some(part) = parts.get(part) else { return };
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        let (output, rows) = &mut *part;
        for (output, row) in output.chunks_exact_mut(width).zip(rows.chunks_exact(2 * width)) {
            let (gate, up) = row.split_at(width);
            for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
                *output = activation.of(*gate) * up;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: f32, right: f32) -> bool {
        (left - right).abs() < 1e-5
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
}
