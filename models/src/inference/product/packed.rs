//! Weights laid out for vector units: eight rows side by side, block by block, so that one register holds
//! the same columns of eight rows and their sums need no adding across lanes.

use rayon::prelude::*;

use super::activations::{Activations, BLOCK, TileBlock};
use super::blocks::{RowBlock, is_nibble, row_blocks};
use super::portable;
use crate::inference::tensors::RawTensor;

/// Rows side by side.
pub(crate) const LANES: usize = 8;

/// Groups that one thread takes at a time: less would be lost in handing out work.
const LEAST_GROUPS: usize = 4;

/// Four-bit integers of eight rows and 32 columns. Byte 32·v + 4·row + i holds column 8·v + i in its low
/// half and column 8·v + 4 + i in its high half.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NibbleBlock {
    pub(crate) quants: [[u8; 32]; 4],
    pub(crate) scales: [f32; LANES],
    pub(crate) offsets: [f32; LANES],
}

/// Eight-bit integers of eight rows and 32 columns. Byte 32·v + 4·row + i holds column 4·v + i.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByteBlock {
    pub(crate) quants: [[i8; 32]; 8],
    pub(crate) scales: [f32; LANES],
}

#[derive(Debug)]
enum Blocks {
    Nibbles(Vec<NibbleBlock>),
    Bytes(Vec<ByteBlock>),
}

/// A packed matrix.
#[derive(Debug)]
pub(crate) struct PackedMatrix {
    rows: usize,
    /// Blocks of a row.
    width: usize,
    blocks: Blocks,
}

impl PackedMatrix {
    /// Packs tensors one below the other; `None` where types or shapes are not of the packable kind.
    pub(crate) fn new(parts: &[RawTensor]) -> Option<Self> {
        let (first, rest) = parts.split_first()?;
        let &[_, columns] = first.dims.as_slice() else { return None };
        let nibbles = is_nibble(first.dtype)?;
        let alike =
            |part: &RawTensor| part.dims.last() == Some(&columns) && is_nibble(part.dtype) == Some(nibbles);
        if !columns.is_multiple_of(BLOCK) || columns == 0 || !rest.iter().all(alike) {
            return None;
        }
        let width = columns / BLOCK;
        let stored: Vec<(&RawTensor, &[u8])> = parts
            .iter()
            .flat_map(|part| {
                let row_bytes = columns / part.dtype.block_size() * part.dtype.type_size();
                part.bytes.chunks_exact(row_bytes).map(move |row| (part, row))
            })
            .collect();
        let rows = stored.len();
        let groups = stored.par_chunks(LANES).map(|group| {
            group.iter().map(|(part, row)| row_blocks(part.dtype, row)).collect::<Vec<Vec<RowBlock>>>()
        });
        let blocks = if nibbles {
            Blocks::Nibbles(
                groups.flat_map_iter(|group| (0..width).map(move |at| nibble_block(&group, at))).collect(),
            )
        } else {
            Blocks::Bytes(
                groups.flat_map_iter(|group| (0..width).map(move |at| byte_block(&group, at))).collect(),
            )
        };
        Some(Self { rows, width, blocks })
    }

    /// `output` becomes activations · weightsᵀ: [tokens, rows]; `tiles` is scratch.
    pub(crate) fn multiply(&self, activations: &Activations, tiles: &mut Vec<f32>, output: &mut Vec<f32>) {
        let tokens = activations.tokens;
        let group_values = tokens * LANES;
        tiles.resize(self.rows.div_ceil(LANES) * group_values, 0.0);
        let chunks = tiles.par_chunks_mut(group_values).with_min_len(LEAST_GROUPS);
        match &self.blocks {
            Blocks::Nibbles(blocks) => chunks
                .zip(blocks.par_chunks(self.width))
                .for_each(|(output, group)| multiply_group(&Group::Nibbles(group), activations, output)),
            Blocks::Bytes(blocks) => chunks
                .zip(blocks.par_chunks(self.width))
                .for_each(|(output, group)| multiply_group(&Group::Bytes(group), activations, output)),
        }
        output.resize(tokens * self.rows, 0.0);
        output.par_chunks_mut(self.rows).with_min_len(8).enumerate().for_each(|(token, row)| {
            for (values, group) in row.chunks_mut(LANES).zip(tiles.chunks_exact(group_values)) {
                let from = group.get(token * LANES..token * LANES + values.len());
                values.copy_from_slice(from.unwrap_or_default());
            }
        });
    }

    /// Appends the values of one row.
    pub(crate) fn push_row(&self, row: usize, output: &mut Vec<f32>) {
        let (group, lane) = (row / LANES * self.width, row % LANES);
        match &self.blocks {
            Blocks::Nibbles(blocks) => {
                for block in blocks.iter().skip(group).take(self.width) {
                    output.extend((0..BLOCK).map(|column| portable::nibble_weight(block, lane, column)));
                }
            }
            Blocks::Bytes(blocks) => {
                for block in blocks.iter().skip(group).take(self.width) {
                    output.extend((0..BLOCK).map(|column| portable::byte_weight(block, lane, column)));
                }
            }
        }
    }
}

/// The blocks of eight rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Group<'a> {
    Nibbles(&'a [NibbleBlock]),
    Bytes(&'a [ByteBlock]),
}

/// All tokens of one group: `output` is [tokens, 8].
fn multiply_group(group: &Group<'_>, activations: &Activations, output: &mut [f32]) {
    let width = activations.blocks;
    let (fours, rest) = output.split_at_mut(activations.tokens / 4 * 4 * LANES);
    for (tile, output) in activations.fours.chunks_exact(width).zip(fours.chunks_exact_mut(4 * LANES)) {
        multiply_tile(group, tile, output);
    }
    let (two, one) = rest.split_at_mut(if activations.two.is_empty() { 0 } else { 2 * LANES });
    if !activations.two.is_empty() {
        multiply_tile(group, &activations.two, two);
    }
    if !activations.one.is_empty() {
        multiply_tile(group, &activations.one, one);
    }
}

fn multiply_tile<const N: usize>(group: &Group<'_>, tile: &[TileBlock<N>], output: &mut [f32]) {
    let mut sums = [[0.0; LANES]; N];
    #[cfg(target_arch = "x86_64")]
    let done = super::x86::multiply(group, tile, &mut sums);
    #[cfg(not(target_arch = "x86_64"))]
    let done = false;
    if !done {
        portable::multiply(group, tile, &mut sums);
    }
    output.copy_from_slice(sums.as_flattened());
}

fn nibble_block(group: &[Vec<RowBlock>], at: usize) -> NibbleBlock {
    let mut packed = NibbleBlock { quants: [[0; 32]; 4], scales: [0.0; LANES], offsets: [0.0; LANES] };
    let lanes = packed.scales.iter_mut().zip(&mut packed.offsets);
    for (lane, ((scale, offset), block)) in lanes.zip(group.iter().filter_map(|row| row.get(at))).enumerate()
    {
        (*scale, *offset) = (block.scale, block.offset);
        for (vector, columns) in packed.quants.iter_mut().zip(block.quants.as_chunks::<8>().0) {
            let (low, high) = columns.split_at(4);
            for ((byte, low), high) in vector.iter_mut().skip(4 * lane).zip(low).zip(high) {
                *byte = low.cast_unsigned() | high.cast_unsigned() << 4;
            }
        }
    }
    packed
}

fn byte_block(group: &[Vec<RowBlock>], at: usize) -> ByteBlock {
    let mut packed = ByteBlock { quants: [[0; 32]; 8], scales: [0.0; LANES] };
    for (lane, (scale, block)) in
        packed.scales.iter_mut().zip(group.iter().filter_map(|row| row.get(at))).enumerate()
    {
        *scale = block.scale;
        for (vector, columns) in packed.quants.iter_mut().zip(block.quants.as_chunks::<4>().0) {
            for (byte, column) in vector.iter_mut().skip(4 * lane).zip(columns) {
                *byte = *column;
            }
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};

    /// Rows that are not a multiple of eight, and any number of tokens, against the plain definition.
    fn check(dtype: GgmlDType, rows: usize, blocks: usize, tokens: usize, seed: u64) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let columns = blocks * BLOCK;
        let mut noise = |count: usize| (0..count).map(|_| rng.random_range(-2.0..2.0f32)).collect::<Vec<_>>();
        let weights = Tensor::from_vec(noise(rows * columns), (rows, columns), &Device::Cpu).unwrap();
        let input = noise(tokens * columns);
        let quantized = QTensor::quantize(&weights, dtype).unwrap();
        let raw =
            RawTensor { dtype, dims: vec![rows, columns], bytes: quantized.data().unwrap().into_owned() };
        let matrix = PackedMatrix::new(&[raw]).unwrap();
        let weights = quantized.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();

        let mut read_back = Vec::new();
        (0..rows).for_each(|row| matrix.push_row(row, &mut read_back));
        assert!(read_back.iter().zip(weights.concat()).all(|(ours, theirs)| (ours - theirs).abs() < 1e-4));

        let mut activations = Activations::default();
        activations.quantize(&input, tokens);
        let (mut tiles, mut output) = (Vec::new(), Vec::new());
        matrix.multiply(&activations, &mut tiles, &mut output);
        assert_eq!(output.len(), tokens * rows);
        for (token, input) in input.chunks(columns).enumerate() {
            // The plain definition over the rounded activations: what is left is the order of adding.
            let rounded: Vec<f32> = input
                .chunks(BLOCK)
                .flat_map(|block| {
                    let largest = block.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                    let scale = largest / 127.0;
                    block.iter().map(move |value| (value / scale).round_ties_even() * scale)
                })
                .collect();
            for (row, weights) in weights.iter().enumerate() {
                let exact: f64 =
                    weights.iter().zip(&rounded).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let ours = f64::from(output[token * rows + row]);
                // One activation on the edge between two steps may be rounded the other way.
                let edge =
                    f64::from(2.0 / 127.0 * weights.iter().fold(0.0f32, |most, value| most.max(value.abs())));
                assert!(
                    (ours - exact).abs() < 1e-3 + edge,
                    "{dtype:?} token {token} row {row}: {ours} for {exact}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn products_follow_the_definition(rows in 1usize..40, blocks in 1usize..5, tokens in 1usize..11, seed: u64) {
            for dtype in [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q8_0] {
                check(dtype, rows, blocks, tokens, seed);
            }
            check(GgmlDType::Q4K, rows, 8, tokens, seed);
        }

        #[test]
        fn a_tokens_result_is_the_same_in_any_company(rows in 1usize..20, tokens in 2usize..11, seed: u64) {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let bytes: Vec<u8> = (0..rows * 2 * 20).map(|at| if at % 20 == 1 { 0x2c } else { rng.random_range(0..100) }).collect();
            let raw = RawTensor { dtype: GgmlDType::Q4_1, dims: vec![rows, 64], bytes };
            let matrix = PackedMatrix::new(&[raw]).unwrap();
            let input: Vec<f32> = (0..tokens * 64).map(|_| rng.random_range(-1.0..1.0)).collect();
            let mut activations = Activations::default();
            let (mut tiles, mut together, mut alone) = (Vec::new(), Vec::new(), Vec::new());
            activations.quantize(&input, tokens);
            matrix.multiply(&activations, &mut tiles, &mut together);
            for (input, together) in input.chunks(64).zip(together.chunks(rows)) {
                activations.quantize(input, 1);
                matrix.multiply(&activations, &mut tiles, &mut alone);
                prop_assert_eq!(
                    alone.iter().map(|value| value.to_bits()).collect::<Vec<_>>(),
                    together.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
                );
            }
        }
    }
}
