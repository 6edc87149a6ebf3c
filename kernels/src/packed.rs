//! Weight matrices packed for the kernels.
//!
//! Sixteen rows make a tile. For every 32 columns a tile holds lines of 64 bytes: in line `j`, bytes
//! `4 r .. 4 r + 4` are row `r`'s columns `4 j .. 4 j + 4`; 4-bit formats hold columns `16 + 4 j ..` in the high
//! halves, as ggml's blocks do, and 6-bit ones two more lines with the upper bits. The factors of a stored block
//! are sixteen scales, then sixteen minima; K-quants have shares of them for every 32 columns, a byte each
//! (`Q4_K`, whose file has them in 6 bits, grows by 3 %). Else nothing is added to the file's own size but rows
//! that fill the last tile.

use half::f16;

use crate::error::KernelError;
use crate::format::{BLOCK, TILE, WeightType};
use crate::k_quants::KBlock;
use crate::large_pages::in_large_pages;

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
    shares: Vec<[u8; TILE]>,
}

/// Lines of zeros, in large pages where the system has them.
fn zeroed_lines(count: usize) -> Vec<Line> {
    let mut lines = Vec::with_capacity(count);
    // Before the first write, which is when a page's size is decided.
    in_large_pages(lines.spare_capacity_mut());
    lines.resize(count, Line([0; 64]));
    lines
}

/// Sixteen rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a> {
    pub(crate) lines: &'a [Line],
    pub(crate) factors: &'a [f16],
    /// Two for every 32 columns, or none.
    pub(crate) shares: &'a [[u8; TILE]],
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
            .ok_or(KernelError::Columns { columns, block: weight_type.block() })?;
        for &(bytes, rows) in parts {
            if rows.checked_mul(row_bytes) != Some(bytes.len()) {
                let actual = bytes.len();
                return Err(KernelError::WeightBytes { weight_type, rows, columns, actual });
            }
        }
        // Each part's bytes exist, so their rows sum without overflow unless a part was passed many times.
        let rows = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.1));
        let size = KernelError::Size { rows, columns };
        let layout = weight_type.layout();
        let stretches = columns / BLOCK;
        let tile_stretches = rows.div_ceil(TILE).checked_mul(stretches).ok_or_else(|| size.clone())?;
        let line_count = tile_stretches.checked_mul(layout.lines).filter(|count| *count > 0).ok_or(size)?;
        let factor_count = tile_stretches / (weight_type.block() / BLOCK) * layout.factors;
        let mut packed = Self {
            weight_type,
            rows,
            columns,
            lines: zeroed_lines(line_count),
            factors: vec![f16::ZERO; factor_count],
            shares: vec![[0; TILE]; tile_stretches * layout.shares / TILE],
        };
        let blocks = columns / weight_type.block();
        let source = parts.iter().flat_map(|(bytes, _)| bytes.chunks_exact(row_bytes));
        for (row, bytes) in source.enumerate() {
            for (block, bytes) in bytes.chunks_exact(weight_type.block_bytes()).enumerate() {
                packed.place(row / TILE * blocks + block, row % TILE, bytes);
            }
        }
        Ok(packed)
    }

    /// Puts one row's stored block into its tile.
    fn place(&mut self, at: usize, lane: usize, bytes: &[u8]) {
        let layout = self.weight_type.layout();
        let factors = self.factors[at * layout.factors..][..layout.factors].as_chunks_mut::<TILE>().0;
        let k_block = KBlock::read(self.weight_type, bytes);
        let Some(block) = k_block else {
            let (block_factors, values) = bytes.split_at(layout.factors / TILE * 2);
            for (factors, factor) in factors.iter_mut().zip(block_factors.as_chunks::<2>().0) {
                factors[lane] = f16::from_le_bytes(*factor);
            }
            let lines = &mut self.lines[at * layout.lines..][..layout.lines];
            for (line, four) in lines.iter_mut().zip(values.as_chunks::<4>().0) {
                line.0.as_chunks_mut::<4>().0[lane] = *four;
            }
            return;
        };
        for (factors, factor) in factors.iter_mut().zip(block.factors) {
            factors[lane] = factor;
        }
        let stretches = self.weight_type.block() / BLOCK;
        for (stretch, block_shares) in block.shares.iter().enumerate() {
            let stretch_at = at * stretches + stretch;
            for (shares, share) in self.shares[stretch_at * 2..].iter_mut().zip(block_shares) {
                shares[lane] = *share;
            }
            let (nibbles, high) = (block.nibbles(stretch), block.high_bits(stretch));
            let fours = nibbles.as_chunks::<4>().0.iter().chain(high.as_chunks::<4>().0);
            let lines = &mut self.lines[stretch_at * layout.lines..][..layout.lines];
            for (line, four) in lines.iter_mut().zip(fours) {
                line.0.as_chunks_mut::<4>().0[lane] = *four;
            }
        }
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
        size_of_val(self.lines.as_slice())
            + size_of_val(self.factors.as_slice())
            + size_of_val(self.shares.as_slice())
    }

    pub(crate) fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE)
    }

    /// Panics past the last tile, which callers inside the crate do not pass.
    pub(crate) fn tile(&self, index: usize) -> Tile<'_> {
        let lines = self.lines.len() / self.tiles();
        let factors = self.factors.len() / self.tiles();
        let shares = self.shares.len() / self.tiles();
        Tile {
            lines: &self.lines[index * lines..(index + 1) * lines],
            factors: &self.factors[index * factors..(index + 1) * factors],
            shares: &self.shares[index * shares..(index + 1) * shares],
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
        let layout = self.weight_type.layout();
        let stretches = self.weight_type.block() / BLOCK;
        let (outputs, _) = output.as_chunks_mut::<BLOCK>();
        for (index, (output, lines)) in
            outputs.iter_mut().zip(tile.lines.chunks_exact(layout.lines)).enumerate()
        {
            let factors = &tile.factors[index / stretches * layout.factors..][..layout.factors];
            let scale = factors[lane].to_f32();
            let share = |which: usize| tile.shares[2 * index + which][lane];
            let four = |line: usize| lines[line].0.as_chunks::<4>().0[lane];
            if self.weight_type == WeightType::Q8_0 {
                let bytes = (0..layout.lines).flat_map(four);
                for (output, byte) in output.iter_mut().zip(bytes) {
                    *output = f32::from(byte.cast_signed()) * scale;
                }
                continue;
            }
            for (column, output) in output.iter_mut().enumerate() {
                let (upper, column_in_half) = (column >= BLOCK / 2, column % (BLOCK / 2));
                let byte = four(column_in_half / 4)[column_in_half % 4];
                let nibble = if upper { byte >> 4 } else { byte & 15 };
                *output = match self.weight_type {
                    WeightType::Q4_0 => (f32::from(nibble) - 8.0) * scale,
                    WeightType::Q4_1 => f32::from(nibble) * scale + factors[TILE + lane].to_f32(),
                    WeightType::Q4K => {
                        let minimum = factors[TILE + lane].to_f32() * f32::from(share(1));
                        scale * f32::from(share(0)) * f32::from(nibble) + minimum
                    }
                    WeightType::Q6K => {
                        let high = four(4 + column_in_half / 8)[column_in_half % 4];
                        let shift = 2 * u32::from(upper) + if column_in_half % 8 >= 4 { 4 } else { 0 };
                        let value = nibble | (((high >> shift) & 3) << 4);
                        let share = f32::from(share(usize::from(upper)).cast_signed());
                        scale * share * (f32::from(value) - 32.0)
                    }
                    WeightType::Q8_0 => 0.0,
                };
            }
        }
        Ok(())
    }
}
