//! Reads GGML's quantised blocks: each 32 weights are small integers q with weight = scale · q + offset.

use candle_core::quantized::GgmlDType;
use half::f16;

use super::activations::BLOCK;

/// 32 weights of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RowBlock {
    /// 0..=15 for the four-bit types, -128..=127 for `Q8_0`.
    pub(crate) quants: [i8; BLOCK],
    pub(crate) scale: f32,
    pub(crate) offset: f32,
}

/// Whether a type's integers are unsigned four-bit ones; `None` for types that are not packed.
pub(crate) fn is_nibble(dtype: GgmlDType) -> Option<bool> {
    match dtype {
        GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q4K => Some(true),
        GgmlDType::Q8_0 => Some(false),
        _ => None,
    }
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    match bytes.get(at..at + 2) {
        Some(&[low, high]) => f16::from_le_bytes([low, high]).to_f32(),
        _ => f32::NAN,
    }
}

fn signed(byte: u8) -> i8 {
    i8::from_le_bytes([byte])
}

/// The row blocks of one stored row.
pub(crate) fn row_blocks(dtype: GgmlDType, row: &[u8]) -> Vec<RowBlock> {
    let blocks = row.chunks_exact(dtype.type_size());
    match dtype {
        GgmlDType::Q4_0 => blocks
            .map(|block| {
                let scale = half_at(block, 0);
                RowBlock { quants: nibbles(block.get(2..).unwrap_or_default()), scale, offset: -8.0 * scale }
            })
            .collect(),
        GgmlDType::Q4_1 => blocks
            .map(|block| RowBlock {
                quants: nibbles(block.get(4..).unwrap_or_default()),
                scale: half_at(block, 0),
                offset: half_at(block, 2),
            })
            .collect(),
        GgmlDType::Q8_0 => blocks
            .map(|block| {
                let mut quants = [0; BLOCK];
                for (quant, byte) in quants.iter_mut().zip(block.get(2..).unwrap_or_default()) {
                    *quant = signed(*byte);
                }
                RowBlock { quants, scale: half_at(block, 0), offset: 0.0 }
            })
            .collect(),
        GgmlDType::Q4K => blocks.flat_map(super_block).collect(),
        _ => Vec::new(),
    }
}

/// 16 bytes: value j in the low half of byte j, value j + 16 in its high half.
fn nibbles(bytes: &[u8]) -> [i8; BLOCK] {
    let mut quants = [0; BLOCK];
    let (low, high) = quants.split_at_mut(BLOCK / 2);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        *low = signed(byte & 15);
        *high = signed(byte >> 4);
    }
    quants
}

/// `Q4_K`: eight blocks of 32 under one scale and one minimum, with six-bit factors for each.
fn super_block(block: &[u8]) -> Vec<RowBlock> {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    let factors = block.get(4..16).unwrap_or_default();
    let quants = block.get(16..).unwrap_or_default();
    (0..8)
        .map(|index| {
            let (factor, offset_factor) = six_bit_factors(index, factors);
            let bytes = quants.get(index / 2 * 32..index / 2 * 32 + 32).unwrap_or_default();
            let mut values = [0; BLOCK];
            for (value, byte) in values.iter_mut().zip(bytes) {
                *value = signed(if index % 2 == 0 { byte & 15 } else { byte >> 4 });
            }
            RowBlock {
                quants: values,
                scale: scale * f32::from(factor),
                offset: -minimum * f32::from(offset_factor),
            }
        })
        .collect()
}

/// ggml's `get_scale_min_k4`.
fn six_bit_factors(index: usize, factors: &[u8]) -> (u8, u8) {
    let at = |place: usize| factors.get(place).copied().unwrap_or(0);
    if index < 4 {
        return (at(index) & 63, at(index + 4) & 63);
    }
    let low = at(index + 4);
    (low & 15 | at(index - 4) >> 6 << 4, low >> 4 | at(index) >> 6 << 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    #[test]
    fn blocks_give_candles_dequantised_values() {
        let values: Vec<f32> = (0..512u16).map(|at| (f32::from(at) * 0.37).sin() * 3.0 - 0.4).collect();
        let tensor = Tensor::from_vec(values, (2, 256), &Device::Cpu).unwrap();
        for dtype in [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q8_0, GgmlDType::Q4K] {
            let quantized = QTensor::quantize(&tensor, dtype).unwrap();
            let expected = quantized.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            let bytes = quantized.data().unwrap();
            for (row, expected) in bytes.chunks(bytes.len() / 2).zip(expected) {
                let ours = row_blocks(dtype, row);
                let ours = ours.iter().flat_map(|block| {
                    block.quants.map(|quant| block.scale * f32::from(quant) + block.offset)
                });
                for (ours, expected) in ours.zip(expected) {
                    assert!((ours - expected).abs() < 1e-4, "{dtype:?}: {ours} for {expected}");
                }
            }
        }
    }
}
