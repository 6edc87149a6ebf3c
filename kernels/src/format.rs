//! The weight formats: ggml's blocks of 32 values, and how sixteen rows of them are interleaved.
//!
//! Block layouts: ggml-common.h (`block_q4_0`, `block_q4_1`, `block_q8_0`).

/// Rows interleaved in a tile: one 32-bit lane of a 512-bit vector each.
pub(crate) const TILE: usize = 16;
/// Values that share a scale.
pub(crate) const BLOCK: usize = 32;

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
}

impl WeightType {
    /// Bytes of the 16-bit factors before the values of a block.
    pub(crate) fn factor_bytes(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q8_0 => 2,
            Self::Q4_1 => 4,
        }
    }

    /// Bytes of the values of a block.
    pub(crate) fn value_bytes(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 => BLOCK / 2,
            Self::Q8_0 => BLOCK,
        }
    }

    /// Bytes of a row of `columns` weights; `None` if that is not whole blocks.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        columns
            .is_multiple_of(BLOCK)
            .then(|| (columns / BLOCK).checked_mul(self.factor_bytes() + self.value_bytes()))
            .flatten()
    }
}

/// A format as the kernels see it, resolved when they are compiled.
pub(crate) trait Format {
    /// 64-byte lines of values in a block of a tile.
    const LINES: usize;
    /// Whether a minimum is added.
    const MINIMUM: bool;
    /// What 4-bit values are shifted by; 0 for 8-bit values.
    const SHIFT: i32;
    /// 16-bit factors of a block of a tile.
    const FACTORS: usize = if Self::MINIMUM { 2 * TILE } else { TILE };
}

pub(crate) struct Q4Zero;
pub(crate) struct Q4One;
pub(crate) struct Q8Zero;

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
