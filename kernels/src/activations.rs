//! Activations quantised to int8, in ggml's Q8_0 and Q8_1 at once.
//!
//! The same scales, values and sums as candle's `BlockQ8_0::from_float` and `BlockQ8_1::from_float`, so that
//! the integer part of every product is candle's. One set serves all products of the same input.

#![expect(unsafe_code, reason = "calls of code for detected instructions; parts of slices for threads")]

use half::f16;

use crate::error::KernelError;
use crate::executor::{Executor, Level};
use crate::format::BLOCK;
use crate::rows::blocks_a_part;
use crate::shared_slice::SharedSlice;

/// Rows of activations, [tokens, columns], ready for products.
#[derive(Debug, Clone, Default)]
pub struct QuantizedActivations {
    columns: usize,
    values: Vec<[i8; BLOCK]>,
    blocks: Vec<BlockFacts>,
}

/// What goes with 32 values.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlockFacts {
    /// Scale, rounded to 16 bits.
    pub(crate) scale: f32,
    /// Scale times the sum of the values, rounded to 16 bits.
    pub(crate) scaled_sum: f32,
    /// Sum of the values.
    pub(crate) sum: i32,
    /// Sum of the first sixteen.
    pub(crate) first_sum: i32,
}

impl BlockFacts {
    /// Scale times the sum of the values.
    #[inline(always)]
    pub(crate) fn exact_scaled_sum(&self) -> f32 {
        self.scale * self.sum as f32
    }
}

/// One token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActivationRow<'a> {
    pub(crate) values: &'a [[i8; BLOCK]],
    pub(crate) blocks: &'a [BlockFacts],
}

impl QuantizedActivations {
    /// Replaces the contents by the rows of `input`; memory is kept from call to call.
    pub fn quantize(
        &mut self,
        executor: &Executor,
        input: &[f32],
        columns: usize,
    ) -> Result<(), KernelError> {
        self.resize(input.len(), columns)?;
        let (values, facts) = self.shared();
        let (input, _) = input.as_chunks::<BLOCK>();
        let per_part = blocks_a_part(executor, input.len(), 1);
        executor.pool().run(input.len().div_ceil(per_part), |part| {
            let start = part * per_part;
            let input = &input[start..(start + per_part).min(input.len())];
            // SAFETY: every block is in one part, once.
            let (values, facts) =
                unsafe { (values.part(start, input.len()), facts.part(start, input.len())) };
            match executor.level() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an executor of these levels exists only where AVX2 and F16C were detected.
                Level::Avx2 | Level::Avx512Vnni => unsafe { quantize_blocks_avx2(input, values, facts) },
                _ => quantize_blocks(input, values, facts),
            }
        });
        Ok(())
    }

    /// Makes room for this many values, in rows of `columns`; what is in it is left from before.
    pub(crate) fn resize(&mut self, length: usize, columns: usize) -> Result<(), KernelError> {
        if columns == 0 || !columns.is_multiple_of(BLOCK) {
            return Err(KernelError::Columns { columns, block: BLOCK });
        }
        if !length.is_multiple_of(columns) {
            let expected = length / columns * columns;
            return Err(KernelError::Length { what: "input", actual: length, expected });
        }
        self.columns = columns;
        self.values.resize(length / BLOCK, [0; BLOCK]);
        self.blocks.resize(length / BLOCK, BlockFacts::default());
        Ok(())
    }

    /// Values and facts of all blocks, for threads to fill.
    pub(crate) fn shared(&mut self) -> (SharedSlice<'_, [i8; BLOCK]>, SharedSlice<'_, BlockFacts>) {
        (SharedSlice::new(&mut self.values), SharedSlice::new(&mut self.blocks))
    }

    /// Tokens held.
    pub fn tokens(&self) -> usize {
        (self.values.len() * BLOCK).checked_div(self.columns).unwrap_or(0)
    }

    /// Values of one token.
    pub fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn row(&self, token: usize) -> ActivationRow<'_> {
        let blocks = self.columns / BLOCK;
        let span = token * blocks..(token + 1) * blocks;
        ActivationRow { values: &self.values[span.clone()], blocks: &self.blocks[span] }
    }
}

/// The same code, compiled for wider vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn quantize_blocks_avx2(input: &[[f32; BLOCK]], values: &mut [[i8; BLOCK]], blocks: &mut [BlockFacts]) {
    quantize_blocks(input, values, blocks);
}

#[inline(always)]
fn quantize_blocks(input: &[[f32; BLOCK]], values: &mut [[i8; BLOCK]], blocks: &mut [BlockFacts]) {
    for ((input, values), block) in input.iter().zip(values).zip(blocks) {
        *block = quantize_block(input, values);
    }
}

/// One block: its values, and what goes with them.
#[inline(always)]
pub(crate) fn quantize_block(input: &[f32; BLOCK], values: &mut [i8; BLOCK]) -> BlockFacts {
    let mut lanes = [0.0f32; 8];
    for eight in input.as_chunks::<8>().0 {
        for (lane, value) in lanes.iter_mut().zip(eight) {
            let size = value.abs();
            // NaN leaves the lane alone, as `f32::max` does.
            *lane = if size > *lane { size } else { *lane };
        }
    }
    let largest = lanes.into_iter().fold(0.0, f32::max);
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    for (quantized, value) in values.iter_mut().zip(input) {
        // Without the lower bound a subnormal scale, whose inverse is infinite, would give -128, which
        // the kernels' 16-bit sums leave no room for. Its 16-bit scale is zero, so nothing changes.
        let rounded = (value * inverse).round().clamp(-127.0, 127.0);
        *quantized = rounded as i8;
    }
    let (first, second) = values.split_at(BLOCK / 2);
    let first_sum: i32 = first.iter().map(|value| i32::from(*value)).sum();
    let sum = first_sum + second.iter().map(|value| i32::from(*value)).sum::<i32>();
    let scale = f16::from_f32(scale);
    BlockFacts {
        scale: scale.to_f32(),
        scaled_sum: (f16::from_f32(sum as f32) * scale).to_f32(),
        sum,
        first_sum,
    }
}
