//! The definition of a tile's product, in plain code: the other levels give the same bits.
//!
//! For every block of 32: `sum(weight · value) · weight scale · scale + minimum · scaled sum`, added in the
//! order of the columns; no fused multiply-add, since not every machine has one. This is candle's
//! `vec_dot_unopt` for Q4_0, Q4_1 and Q8_0.

use crate::activations::ActivationRow;
use crate::format::{BLOCK, Format, TILE};
use crate::packed::Tile;

/// Sixteen results for each of `T` tokens.
pub(crate) fn tile<F: Format, const T: usize>(
    tile: Tile<'_>,
    rows: [ActivationRow<'_>; T],
) -> [[f32; TILE]; T] {
    let mut totals = [[0.0f32; TILE]; T];
    let blocks = tile.lines.chunks_exact(F::LINES).zip(tile.factors.chunks_exact(F::FACTORS));
    for (index, (lines, factors)) in blocks.enumerate() {
        let (scales, minima) = factors.split_at(TILE);
        for (totals, row) in totals.iter_mut().zip(&rows) {
            let (values, facts) = (&row.values[index], row.blocks[index]);
            let mut sums = [-F::SHIFT * facts.sum; TILE];
            for (j, line) in lines.iter().enumerate() {
                for (sum, weights) in sums.iter_mut().zip(line.0.as_chunks::<4>().0) {
                    for (byte, weight) in weights.iter().enumerate() {
                        let column = 4 * j + byte;
                        *sum += if F::LINES == 8 {
                            i32::from(weight.cast_signed()) * i32::from(values[column])
                        } else {
                            i32::from(weight & 15) * i32::from(values[column])
                                + i32::from(weight >> 4) * i32::from(values[BLOCK / 2 + column])
                        };
                    }
                }
            }
            for lane in 0..TILE {
                let scaled = sums[lane] as f32 * scales[lane].to_f32() * facts.scale;
                totals[lane] +=
                    if F::MINIMUM { scaled + minima[lane].to_f32() * facts.scaled_sum } else { scaled };
            }
        }
    }
    totals
}
