//! The weight formats: ggml's blocks, and how sixteen rows of them are interleaved.
//!
//! Block layouts: ggml-common.h (`block_q4_0`, `block_q4_1`, `block_q8_0`, `block_q4_K`, `block_q6_K`).

/// Rows interleaved in a tile: one 32-bit lane of a 512-bit vector each.
pub(crate) const TILE: usize = 16;
/// Values of an activation that share a scale, and what the kernels work on at a time.
pub(crate) const BLOCK: usize = 32;
/// Values of a K-quant's block, which share its 16-bit factors.
pub(crate) const K_BLOCK: usize = 256;

/// How weights are stored, by their GGUF names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WeightType {
    /// Sixteen-bit scale, 4-bit values from -8.
    Q4_0,
    /// Sixteen-bit scale and minimum, 4-bit values from 0.
    Q4_1,
    /// Sixteen-bit scale, 8-bit values.
    Q8_0,
    /// 256 values: 16-bit scale and minimum, a 6-bit share of each for every 32 values, 4-bit values from 0.
    Q4K,
    /// 256 values: 16-bit scale, an 8-bit share of it for every 16 values, 6-bit values from -32.
    Q6K,
}

impl WeightType {
    /// Values of a stored block.
    pub fn block(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q8_0 => BLOCK,
            Self::Q4K | Self::Q6K => K_BLOCK,
        }
    }

    /// Bytes of a stored block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q6K => 210,
        }
    }

    /// How the values are packed.
    pub(crate) fn layout(self) -> Layout {
        let layout = |lines, factors, shares| Layout { lines, factors, shares };
        match self {
            Self::Q4_0 => layout(Q4Zero::LINES, Q4Zero::FACTORS, Q4Zero::SHARES),
            Self::Q4_1 => layout(Q4One::LINES, Q4One::FACTORS, Q4One::SHARES),
            Self::Q8_0 => layout(Q8Zero::LINES, Q8Zero::FACTORS, Q8Zero::SHARES),
            Self::Q4K => layout(Q4K::LINES, Q4K::FACTORS, Q4K::SHARES),
            Self::Q6K => layout(Q6K::LINES, Q6K::FACTORS, Q6K::SHARES),
        }
    }

    /// Bytes of a row of `columns` weights; `None` if that is not whole blocks.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        columns
            .is_multiple_of(self.block())
            .then(|| (columns / self.block()).checked_mul(self.block_bytes()))
            .flatten()
    }
}

/// Sizes of a tile's parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// 64-byte lines of values for 32 columns.
    pub(crate) lines: usize,
    /// 16-bit factors of a stored block.
    pub(crate) factors: usize,
    /// 8-bit shares of the factors for 32 columns.
    pub(crate) shares: usize,
}

/// A format as the kernels see it, resolved when they are compiled.
pub(crate) trait Format {
    /// 64-byte lines of values for 32 columns of a tile.
    const LINES: usize;
    /// Whether a minimum is added.
    const MINIMUM: bool;
    /// What 4-bit and 6-bit values are shifted by; 0 for 8-bit values.
    const SHIFT: i32;
    /// 16-bit factors of a stored block of a tile.
    const FACTORS: usize = if Self::MINIMUM { 2 * TILE } else { TILE };
    /// Stretches of 32 columns that share the 16-bit factors.
    const STRETCHES: usize = 1;
    /// 8-bit shares of the factors for 32 columns of a tile: none, or two for each row.
    const SHARES: usize = 0;
    /// Whether two more bits of each value lie in two lines after the 4-bit ones, and the two halves of the 32
    /// columns have scales of their own.
    const SIX_BITS: bool = false;
}

pub(crate) struct Q4Zero;
pub(crate) struct Q4One;
pub(crate) struct Q8Zero;
pub(crate) struct Q4K;
pub(crate) struct Q6K;

impl Format for Q4Zero {
    const LINES: usize = 4;
    const MINIMUM: bool = false;
    const SHIFT: i32 = 8;
}
impl Format for Q4One {
    const LINES: usize = 4;
    const MINIMUM: bool = true;
    const SHIFT: i32 = 0;
}
impl Format for Q8Zero {
    const LINES: usize = 8;
    const MINIMUM: bool = false;
    const SHIFT: i32 = 0;
}
impl Format for Q4K {
    const LINES: usize = 4;
    const MINIMUM: bool = true;
    const SHIFT: i32 = 0;
    const STRETCHES: usize = K_BLOCK / BLOCK;
    const SHARES: usize = 2 * TILE;
}
impl Format for Q6K {
    const LINES: usize = 6;
    const MINIMUM: bool = false;
    const SHIFT: i32 = 32;
    const STRETCHES: usize = K_BLOCK / BLOCK;
    const SHARES: usize = 2 * TILE;
    const SIX_BITS: bool = true;
}
