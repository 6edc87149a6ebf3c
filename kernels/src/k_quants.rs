//! ggml's K-quant blocks taken apart, and put together as the kernels want them: 32 columns at a time, as the
//! simpler formats are.
//!
//! Layouts: ggml-common.h; unpacking: ggml-quants.c, `dequantize_row_q4_K` and `dequantize_row_q6_K`.

use half::f16;

use crate::format::{BLOCK, K_BLOCK, WeightType};

/// One stored block in pieces.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KBlock {
    /// Scale, and the minimum with its sign turned, so that it is added.
    pub(crate) factors: [f16; 2],
    /// For each 32 columns, the shares of scale and minimum (`Q4_K`), or of the scale for each half (`Q6_K`).
    pub(crate) shares: [[u8; 2]; K_BLOCK / BLOCK],
    /// Values before they are shifted or scaled.
    pub(crate) values: [u8; K_BLOCK],
}

impl KBlock {
    /// Takes a block apart; `None` if the bytes are not one of a K-quant's blocks.
    pub(crate) fn read(weight_type: WeightType, bytes: &[u8]) -> Option<Self> {
        match weight_type {
            WeightType::Q4K => bytes.try_into().ok().map(read_q4),
            WeightType::Q6K => bytes.try_into().ok().map(read_q6),
            _ => None,
        }
    }

    /// The low four bits of 32 columns, as `block_q4_1` holds them.
    pub(crate) fn nibbles(&self, stretch: usize) -> [u8; BLOCK / 2] {
        let values = &self.values[stretch * BLOCK..(stretch + 1) * BLOCK];
        std::array::from_fn(|at| (values[at] & 15) | ((values[BLOCK / 2 + at] & 15) << 4))
    }

    /// The bits above: in byte `4 h + k`, from the lowest up, those of columns `8 h + k`, `16 + 8 h + k`,
    /// `8 h + 4 + k` and `16 + 8 h + 4 + k`. So the bits that belong to a line of nibbles are in one place.
    pub(crate) fn high_bits(&self, stretch: usize) -> [u8; BLOCK / 4] {
        let values = &self.values[stretch * BLOCK..(stretch + 1) * BLOCK];
        std::array::from_fn(|at| {
            let column = at / 4 * 8 + at % 4;
            let four = [column, column + 16, column + 4, column + 20].map(|column| values[column] >> 4);
            four[0] | (four[1] << 2) | (four[2] << 4) | (four[3] << 6)
        })
    }
}

fn factor(bytes: &[u8]) -> f16 {
    f16::from_le_bytes([bytes[0], bytes[1]])
}

fn read_q4(bytes: &[u8; 144]) -> KBlock {
    let scales = &bytes[4..16];
    let shares = std::array::from_fn(|j| {
        if j < 4 {
            [scales[j] & 63, scales[j + 4] & 63]
        } else {
            let low = scales[j + 4];
            [(low & 15) | ((scales[j - 4] >> 6) << 4), (low >> 4) | ((scales[j] >> 6) << 4)]
        }
    });
    let values = std::array::from_fn(|at| {
        let byte = bytes[16 + at / 64 * 32 + at % 32];
        if at % 64 < 32 { byte & 15 } else { byte >> 4 }
    });
    KBlock { factors: [factor(bytes), -factor(&bytes[2..])], shares, values }
}

fn read_q6(bytes: &[u8; 210]) -> KBlock {
    let (low, rest) = bytes.split_at(128);
    let (high, rest) = rest.split_at(64);
    let values = std::array::from_fn(|at| {
        let (half, quarter, column) = (at / 128, at % 128 / 32, at % 32);
        let nibbles = low[half * 64 + quarter % 2 * 32 + column];
        let nibble = if quarter < 2 { nibbles & 15 } else { nibbles >> 4 };
        nibble | (((high[half * 32 + column] >> (2 * quarter)) & 3) << 4)
    });
    let shares = std::array::from_fn(|stretch| [rest[2 * stretch], rest[2 * stretch + 1]]);
    KBlock { factors: [factor(&rest[16..]), f16::ZERO], shares, values }
}
