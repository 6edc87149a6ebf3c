//! The definition of the packed products, for machines without the vector units the fast path needs, and
//! what the fast path is tested against.

use super::activations::{BLOCK, TileBlock};
use super::packed::{ByteBlock, Group, LANES, NibbleBlock};

/// One weight's integer.
fn nibble(block: &NibbleBlock, lane: usize, column: usize) -> u8 {
    let byte = block.quants.get(column / 8).and_then(|vector| vector.get(4 * lane + column % 4));
    let byte = byte.copied().unwrap_or(0);
    if column % 8 < 4 { byte & 15 } else { byte >> 4 }
}

fn byte(block: &ByteBlock, lane: usize, column: usize) -> i8 {
    block.quants.get(column / 4).and_then(|vector| vector.get(4 * lane + column % 4)).copied().unwrap_or(0)
}

fn at(values: &[f32; LANES], lane: usize) -> f32 {
    values.get(lane).copied().unwrap_or(0.0)
}

/// One weight.
pub(crate) fn nibble_weight(block: &NibbleBlock, lane: usize, column: usize) -> f32 {
    at(&block.scales, lane) * f32::from(nibble(block, lane, column)) + at(&block.offsets, lane)
}

/// One weight.
pub(crate) fn byte_weight(block: &ByteBlock, lane: usize, column: usize) -> f32 {
    at(&block.scales, lane) * f32::from(byte(block, lane, column))
}

/// Adds a tile's products to `sums`: [tokens, 8 rows].
pub(crate) fn multiply<const N: usize>(
    group: &Group<'_>,
    tile: &[TileBlock<N>],
    sums: &mut [[f32; LANES]; N],
) {
    match group {
        Group::Nibbles(blocks) => {
            for (block, tile) in blocks.iter().zip(tile) {
                add(tile, sums, &block.scales, &block.offsets, |lane, column| {
                    i32::from(nibble(block, lane, column))
                });
            }
        }
        Group::Bytes(blocks) => {
            for (block, tile) in blocks.iter().zip(tile) {
                add(tile, sums, &block.scales, &[0.0; LANES], |lane, column| {
                    i32::from(byte(block, lane, column))
                });
            }
        }
    }
}

fn add<const N: usize>(
    tile: &TileBlock<N>,
    sums: &mut [[f32; LANES]; N],
    scales: &[f32; LANES],
    offsets: &[f32; LANES],
    weight: impl Fn(usize, usize) -> i32,
) {
    let tokens = tile.quants.iter().zip(&tile.scales).zip(&tile.sums).zip(sums);
    for (((quants, scale), quant_sum), sums) in tokens {
        for (lane, ((sum, row_scale), offset)) in sums.iter_mut().zip(scales).zip(offsets).enumerate() {
            let dot: i32 =
                (0..BLOCK).zip(quants).map(|(column, quant)| weight(lane, column) * i32::from(*quant)).sum();
            *sum += dot as f32 * (row_scale * scale) + offset * quant_sum;
        }
    }
}
