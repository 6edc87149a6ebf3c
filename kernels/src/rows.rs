//! What is done to rows of activations between two products, each on its way into the next product's int8: the residual sum with its
//! RMS norm, and the gate.
//!
//! They are short loops over values that lie in a core's own caches; done by one thread, without its vectors and written out in
//! between, they take as long as a tenth of a prompt's products. Sums run in [`LANES`] lanes in the order of the columns, so that
//! every level gives the same bits.

#![expect(unsafe_code, reason = "calls of code for detected instructions; parts of slices for threads")]

use crate::activations::{BlockFacts, QuantizedActivations, quantize_block};
use crate::error::KernelError;
use crate::executor::{Executor, Level};
use crate::format::BLOCK;
use crate::lanes::LANES;
use crate::shared_slice::SharedSlice;

/// Blocks a thread takes at least: fewer are done before another thread has heard of them.
const LEAST_BLOCKS: usize = 64;
/// Parts a thread takes on average.
const PARTS_A_THREAD: usize = 4;

/// RMS norm (Zhang and Sennrich, arXiv:1910.07467): x / sqrt(mean(x²) + ε) · weight.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// One for each column.
    pub weight: &'a [f32],
    /// ε.
    pub epsilon: f32,
}

impl Norm<'_> {
    /// What a row's values are multiplied by, beside their weights.
    #[inline(always)]
    fn scale(&self, row: &[f32]) -> f32 {
        1.0 / (square_sum(row) / row.len() as f32 + self.epsilon).sqrt()
    }
}

/// What a gate does to its values before they multiply the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateActivation {
    /// x · sigmoid(x).
    Silu,
    /// The tanh form of GELU.
    GeluTanh,
}

/// How much of a loop over blocks one part takes: whole multiples of `unit` blocks.
pub(crate) fn blocks_a_part(executor: &Executor, blocks: usize, unit: usize) -> usize {
    let even = blocks.div_ceil(executor.pool().threads() * PARTS_A_THREAD);
    even.max(LEAST_BLOCKS).div_ceil(unit) * unit
}

impl QuantizedActivations {
    /// Adds `added` to the residual rows (its own RMS norm first, where there is `added_norm`), and takes in the RMS norm of the sum.
    pub fn quantize_normed(
        &mut self,
        executor: &Executor,
        residual: &mut [f32],
        added: Option<(&[f32], Option<Norm<'_>>)>,
        norm: Norm<'_>,
    ) -> Result<(), KernelError> {
        let columns = norm.weight.len();
        let length = |what, actual, expected| Err(KernelError::Length { what, actual, expected });
        match added {
            Some((added, _)) if added.len() != residual.len() => {
                return length("added rows", added.len(), residual.len());
            }
            Some((_, Some(other))) if other.weight.len() != columns => {
                return length("norm", other.weight.len(), columns);
            }
            _ => {}
        }
        self.resize(residual.len(), columns)?;
        let (values, facts) = self.shared();
        let (row_blocks, blocks) = (columns / BLOCK, residual.len() / BLOCK);
        let residual = SharedSlice::new(residual);
        let per_part = blocks_a_part(executor, blocks, row_blocks);
        executor.pool().run(blocks.div_ceil(per_part), |part| {
            let end = ((part + 1) * per_part).min(blocks);
            for first in (part * per_part..end).step_by(row_blocks) {
                let start = first * BLOCK;
                let added = added.map(|(added, norm)| (&added[start..start + columns], norm));
                // SAFETY: one row of each, and every row is in one part, once.
                let (row, values, facts) = unsafe {
                    (
                        residual.part(start, columns),
                        values.part(first, row_blocks),
                        facts.part(first, row_blocks),
                    )
                };
                match executor.level() {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: an executor of these levels exists only where AVX2 and F16C were detected.
                    Level::Avx2 | Level::Avx512Vnni => unsafe {
                        normed_avx2(row, added, norm, values, facts);
                    },
                    _ => normed(row, added, norm, values, facts),
                }
            }
        });
        Ok(())
    }

    /// Takes in activation(gate) · up of rows that hold `columns` values of the gate, then as many of the other.
    pub fn quantize_gated(
        &mut self,
        executor: &Executor,
        gate_up: &[f32],
        columns: usize,
        activation: GateActivation,
    ) -> Result<(), KernelError> {
        let width = columns.saturating_mul(2).max(1);
        if !gate_up.len().is_multiple_of(width) {
            let expected = gate_up.len() / width * width;
            return Err(KernelError::Length { what: "gate and up", actual: gate_up.len(), expected });
        }
        self.resize(gate_up.len() / 2, columns)?;
        let (values, facts) = self.shared();
        let (gate_up, _) = gate_up.as_chunks::<BLOCK>();
        let (row_blocks, blocks) = (columns / BLOCK, gate_up.len() / 2);
        let per_part = blocks_a_part(executor, blocks, 1);
        executor.pool().run(blocks.div_ceil(per_part), |part| {
            let mut first = part * per_part;
            let end = (first + per_part).min(blocks);
            while first < end {
                // What is left of this part in one row.
                let (row, column) = (first / row_blocks, first % row_blocks);
                let count = (row_blocks - column).min(end - first);
                let start = 2 * row * row_blocks + column;
                let gate = &gate_up[start..start + count];
                let up = &gate_up[start + row_blocks..start + row_blocks + count];
                // SAFETY: every block is in one part, once.
                let (values, facts) = unsafe { (values.part(first, count), facts.part(first, count)) };
                match executor.level() {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: an executor of these levels exists only where AVX2 and F16C were detected.
                    Level::Avx2 | Level::Avx512Vnni => unsafe {
                        gated_avx2(gate, up, activation, values, facts);
                    },
                    _ => gated(gate, up, activation, values, facts),
                }
                first += count;
            }
        });
        Ok(())
    }
}

/// The same code, compiled for wider vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn normed_avx2(
    row: &mut [f32],
    added: Option<(&[f32], Option<Norm<'_>>)>,
    norm: Norm<'_>,
    values: &mut [[i8; BLOCK]],
    facts: &mut [BlockFacts],
) {
    normed(row, added, norm, values, facts);
}

#[inline(always)]
fn normed(
    row: &mut [f32],
    added: Option<(&[f32], Option<Norm<'_>>)>,
    norm: Norm<'_>,
    values: &mut [[i8; BLOCK]],
    facts: &mut [BlockFacts],
) {
    match added {
        Some((added, Some(norm))) => {
            let scale = norm.scale(added);
            for ((value, added), weight) in row.iter_mut().zip(added).zip(norm.weight) {
                *value += added * (scale * weight);
            }
        }
        Some((added, None)) => row.iter_mut().zip(added).for_each(|(value, added)| *value += added),
        None => {}
    }
    let scale = norm.scale(row);
    let (row, _) = row.as_chunks::<BLOCK>();
    let (weights, _) = norm.weight.as_chunks::<BLOCK>();
    for (((row, weights), values), facts) in row.iter().zip(weights).zip(values).zip(facts) {
        let mut normed = [0.0f32; BLOCK];
        for ((normed, value), weight) in normed.iter_mut().zip(row).zip(weights) {
            *normed = value * scale * weight;
        }
        *facts = quantize_block(&normed, values);
    }
}

/// The same code, compiled for wider vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn gated_avx2(
    gate: &[[f32; BLOCK]],
    up: &[[f32; BLOCK]],
    activation: GateActivation,
    values: &mut [[i8; BLOCK]],
    facts: &mut [BlockFacts],
) {
    gated(gate, up, activation, values, facts);
}

#[inline(always)]
fn gated(
    gate: &[[f32; BLOCK]],
    up: &[[f32; BLOCK]],
    activation: GateActivation,
    values: &mut [[i8; BLOCK]],
    facts: &mut [BlockFacts],
) {
    for (((gate, up), values), facts) in gate.iter().zip(up).zip(values).zip(facts) {
        let mut product = [0.0f32; BLOCK];
        for ((product, gate), up) in product.iter_mut().zip(gate).zip(up) {
            *product = activation.of(*gate) * up;
        }
        *facts = quantize_block(&product, values);
    }
}

/// Sum of squares, in lanes whatever the machine's vectors are.
#[inline(always)]
fn square_sum(row: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for part in whole {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum += value * value;
        }
    }
    let rest: f32 = rest.iter().map(|value| value * value).sum();
    sums.iter().sum::<f32>() + rest
}

impl GateActivation {
    /// The activation of one value.
    #[inline(always)]
    pub fn of(self, x: f32) -> f32 {
        match self {
            Self::Silu => x / (1.0 + exp(-x)),
            Self::GeluTanh => {
                let inner = (2.0 / std::f32::consts::PI).sqrt() * x * (1.0 + 0.044_715 * x * x);
                // tanh(y) = 1 - 2 / (1 + e^2y)
                x * (1.0 - 1.0 / (1.0 + exp(2.0 * inner)))
            }
        }
    }
}

/// e^x to within a few units in the last place, in a form the compiler turns into vector code.
///
/// e^x = 2^n · e^r with |r| ≤ ln 2 / 2; the polynomial is Cephes' `expf`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2^23 leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut series = 1.987_569_1e-4;
    for factor in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        series = series * rest + factor;
    }
    let series = series * rest * rest + rest + 1.0;
    let power = shifted.to_bits().wrapping_add(127).wrapping_shl(23);
    series * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere() {
        for step in (-8700i16..=8800).step_by(if cfg!(miri) { 97 } else { 1 }) {
            let x = f32::from(step) / 100.0;
            let error = (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(error < 5e-7, "e^{x} is off by {error}");
        }
    }

    #[test]
    fn activations_have_their_known_values() {
        let near = |left: f32, right: f32| (left - right).abs() < 1e-5;
        assert!(near(GateActivation::Silu.of(1.0), 0.731_058_6));
        assert!(near(GateActivation::GeluTanh.of(1.0), 0.841_192));
        assert!(near(GateActivation::Silu.of(-30.0), 0.0));
    }
}
