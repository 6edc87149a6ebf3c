//! The definition of a tile's product, in plain code: the other levels give the same bits.
//!
//! For every 32 columns: `sum(weight · value) · weight scale · scale + minimum · scaled sum`, added in the
//! order of the columns; no fused multiply-add, since not every machine has one. This is candle's
//! `vec_dot_unopt` for Q4_0, Q4_1 and Q8_0. K-quants multiply their 16-bit factors by the shares of the 32 columns
//! first; Q6_K multiplies whole numbers by its two shares and adds them before anything is rounded. ggml rounds activations for K-quants over 256 values, here it
//! is 32 for all, which is closer.

use crate::activations::{ActivationRow, BlockFacts};
use crate::format::{BLOCK, Format, TILE};
use crate::packed::{Line, Tile};

/// Sixteen results for each of `T` tokens.
pub(crate) fn tile<F: Format, const T: usize>(
    tile: Tile<'_>,
    rows: [ActivationRow<'_>; T],
) -> [[f32; TILE]; T] {
    let mut totals = [[0.0f32; TILE]; T];
    for (index, lines) in tile.lines.chunks_exact(F::LINES).enumerate() {
        let factors = &tile.factors[index / F::STRETCHES * F::FACTORS..][..F::FACTORS];
        for (totals, row) in totals.iter_mut().zip(&rows) {
            let (values, facts) = (&row.values[index], row.blocks[index]);
            for (lane, total) in totals.iter_mut().enumerate() {
                let [first, second] = sums::<F>(lines, lane, values, facts);
                let scale = factors[lane].to_f32();
                let share = |which: usize| tile.shares[2 * index + which][lane];
                let minimum = || factors[TILE + lane].to_f32();
                *total += if F::SIX_BITS {
                    // Below 2²⁴: |value| <= 127 and |weight| <= 32 in 2 · 16 columns, |share| <= 128.
                    let shared = |sum: i32, which| sum * i32::from(share(which).cast_signed());
                    (shared(first, 0) + shared(second, 1)) as f32 * scale * facts.scale
                } else if F::SHARES > 0 {
                    let scaled = (first + second) as f32 * (scale * f32::from(share(0))) * facts.scale;
                    scaled + minimum() * f32::from(share(1)) * facts.exact_scaled_sum()
                } else {
                    let scaled = (first + second) as f32 * scale * facts.scale;
                    if F::MINIMUM { scaled + minimum() * facts.scaled_sum } else { scaled }
                };
            }
        }
    }
    totals
}

/// Sums over the first and the second sixteen of 32 columns, for 8-bit values over all and none.
fn sums<F: Format>(lines: &[Line], lane: usize, values: &[i8; BLOCK], facts: BlockFacts) -> [i32; 2] {
    let [mut first, mut second] = [facts.first_sum, facts.sum - facts.first_sum].map(|sum| -F::SHIFT * sum);
    let four = |line: usize| lines[line].0.as_chunks::<4>().0[lane];
    let value = |column: usize| i32::from(values[column]);
    if F::LINES == 8 {
        let bytes = (0..8).flat_map(four);
        return [bytes.enumerate().map(|(at, byte)| i32::from(byte.cast_signed()) * value(at)).sum(), 0];
    }
    for j in 0..4 {
        let high = if F::SIX_BITS { four(4 + j / 2).map(|byte| byte >> (j % 2 * 4)) } else { [0; 4] };
        for (byte, weights) in four(j).into_iter().enumerate() {
            let column = 4 * j + byte;
            first += i32::from(weights & 15 | (high[byte] & 3) << 4) * value(column);
            second += i32::from(weights >> 4 | (high[byte] >> 2 & 3) << 4) * value(BLOCK / 2 + column);
        }
    }
    [first, second]
}
