//! Weight matrices packed for the kernels.
//!
//! Sixteen rows make a tile. For every block of 32 columns a tile holds lines of 64 bytes: in line `j`, bytes
//! `4 r .. 4 r + 4` are row `r`'s columns `4 j .. 4 j + 4`; 4-bit formats hold columns `16 + 4 j ..` in the high
//! halves, as ggml's blocks do. The factors of a block are sixteen scales, then sixteen minima. Nothing is
//! added to the file's own size but rows that fill the last tile.

use half::f16;

use crate::error::KernelError;
use crate::format::{BLOCK, TILE, WeightType};

/// One cache line of values.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// Quantised weights of one matrix product, [rows, columns].
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    weight_type: WeightType,
    rows: usize,
    columns: usize,
    lines: Vec<Line>,
    factors: Vec<f16>,
}

/// Sixteen rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a> {
    pub(crate) lines: &'a [Line],
    pub(crate) factors: &'a [f16],
}

impl PackedMatrix {
    /// Packs the rows of one or more tensors in GGUF layout, one below the other: `(bytes, rows)` each.
    pub fn pack(
        weight_type: WeightType,
        parts: &[(&[u8], usize)],
        columns: usize,
    ) -> Result<Self, KernelError> {
        let row_bytes = weight_type
            .row_bytes(columns)
            .filter(|bytes| *bytes > 0)
            .ok_or(KernelError::Columns { columns, block: BLOCK })?;
        for &(bytes, rows) in parts {
            if rows.checked_mul(row_bytes) != Some(bytes.len()) {
                let actual = bytes.len();
                return Err(KernelError::WeightBytes { weight_type, rows, columns, actual });
            }
        }
        // Each part's bytes exist, so their rows sum without overflow unless a part was passed many times.
        let rows = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.1));
        let blocks = columns / BLOCK;
        let size = KernelError::Size { rows, columns };
        let tile_blocks = rows.div_ceil(TILE).checked_mul(blocks).ok_or_else(|| size.clone())?;
        let lines_a_block = weight_type.value_bytes() / 4;
        let factors_a_block = weight_type.factor_bytes() / 2 * TILE;
        let line_count = tile_blocks.checked_mul(lines_a_block).filter(|count| *count > 0).ok_or(size)?;
        let mut lines = vec![Line([0; 64]); line_count];
        let mut factors = vec![f16::ZERO; tile_blocks * factors_a_block];

        let block_bytes = weight_type.factor_bytes() + weight_type.value_bytes();
        let source = parts.iter().flat_map(|(bytes, _)| bytes.chunks_exact(row_bytes));
        for (row, bytes) in source.enumerate() {
            let (tile, lane) = (row / TILE, row % TILE);
            for (block, bytes) in bytes.chunks_exact(block_bytes).enumerate() {
                let at = tile * blocks + block;
                let (block_factors, values) = bytes.split_at(weight_type.factor_bytes());
                let packed = factors[at * factors_a_block..].chunks_exact_mut(TILE);
                for (packed, factor) in packed.zip(block_factors.as_chunks::<2>().0) {
                    packed[lane] = f16::from_le_bytes(*factor);
                }
                let packed = &mut lines[at * lines_a_block..(at + 1) * lines_a_block];
                for (line, four) in packed.iter_mut().zip(values.as_chunks::<4>().0) {
                    line.0.as_chunks_mut::<4>().0[lane] = *four;
                }
            }
        }
        Ok(Self { weight_type, rows, columns, lines, factors })
    }

    /// How the weights are stored.
    pub fn weight_type(&self) -> WeightType {
        self.weight_type
    }

    /// Rows: values a product gives for one token.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: values a product takes for one token.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes of memory taken, and read by one product.
    pub fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice()) + size_of_val(self.factors.as_slice())
    }

    pub(crate) fn blocks(&self) -> usize {
        self.columns / BLOCK
    }

    pub(crate) fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE)
    }

    /// Panics past the last tile, which callers inside the crate do not pass.
    pub(crate) fn tile(&self, index: usize) -> Tile<'_> {
        let lines = self.lines.len() / self.tiles();
        let factors = self.factors.len() / self.tiles();
        Tile {
            lines: &self.lines[index * lines..(index + 1) * lines],
            factors: &self.factors[index * factors..(index + 1) * factors],
        }
    }

    /// One row as f32, for looking up embeddings in a table that is also the output head.
    pub fn dequantize_row(&self, row: usize, output: &mut [f32]) -> Result<(), KernelError> {
        if row >= self.rows {
            return Err(KernelError::Row { row, rows: self.rows });
        }
        if output.len() != self.columns {
            let actual = output.len();
            return Err(KernelError::Length { what: "row", actual, expected: self.columns });
        }
        let (tile, lane) = (self.tile(row / TILE), row % TILE);
        let lines_a_block = tile.lines.len() / self.blocks();
        let factors_a_block = tile.factors.len() / self.blocks();
        let (outputs, _) = output.as_chunks_mut::<BLOCK>();
        let blocks = tile.lines.chunks_exact(lines_a_block).zip(tile.factors.chunks_exact(factors_a_block));
        for (output, (lines, factors)) in outputs.iter_mut().zip(blocks) {
            let scale = factors[lane].to_f32();
            let (low, high) = output.split_at_mut(BLOCK / 2);
            let bytes = lines.iter().flat_map(|line| line.0.as_chunks::<4>().0[lane]);
            match self.weight_type {
                WeightType::Q4_0 => {
                    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
                        *low = (f32::from(byte & 15) - 8.0) * scale;
                        *high = (f32::from(byte >> 4) - 8.0) * scale;
                    }
                }
                WeightType::Q4_1 => {
                    let minimum = factors[TILE + lane].to_f32();
                    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
                        *low = f32::from(byte & 15) * scale + minimum;
                        *high = f32::from(byte >> 4) * scale + minimum;
                    }
                }
                WeightType::Q8_0 => {
                    for (output, byte) in output.iter_mut().zip(bytes) {
                        *output = f32::from(byte.cast_signed()) * scale;
                    }
                }
            }
        }
        Ok(())
    }
}
