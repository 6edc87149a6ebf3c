//! How many bytes a model's weights take in each number format: block sizes only, no arithmetic on weights.

use std::fmt;
use std::str::FromStr;

use crate::spec::{DecoderSpec, TensorSpec};

/// A format that weights are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quantization {
    /// Name, as GGUF writes it, upper case (`Q4_K`, `F16`…).
    pub name: &'static str,
    /// Values in one block.
    pub block_values: u64,
    /// Bytes of one block.
    pub block_bytes: u64,
    /// Whether vectors (norms, biases) and matrices whose rows the blocks do not divide stay as they are, as in GGUF files.
    block_scaled: bool,
}

const fn plain(name: &'static str, bytes: u64) -> Quantization {
    Quantization { name, block_values: 1, block_bytes: bytes, block_scaled: false }
}

const fn blocks(name: &'static str, block_values: u64, block_bytes: u64) -> Quantization {
    Quantization { name, block_values, block_bytes, block_scaled: true }
}

/// Every format, widest first. Block layouts: ggml's `ggml-common.h` (MIT), the definition of the GGUF types.
pub const QUANTIZATIONS: [Quantization; 15] = [
    plain("F32", 4),
    plain("F16", 2),
    plain("BF16", 2),
    plain("FP8", 1),
    plain("INT8", 1),
    blocks("Q8_0", 32, 34),
    blocks("Q6_K", 256, 210),
    blocks("Q5_K", 256, 176),
    blocks("Q5_1", 32, 24),
    blocks("Q5_0", 32, 22),
    blocks("Q4_K", 256, 144),
    blocks("Q4_1", 32, 20),
    blocks("Q4_0", 32, 18),
    blocks("Q3_K", 256, 110),
    blocks("Q2_K", 256, 84),
];

impl Quantization {
    /// 16-bit brain float: what most models are published in.
    pub const BF16: Self = plain("BF16", 2);

    const F32: Self = plain("F32", 4);
    const Q8_0: Self = blocks("Q8_0", 32, 34);

    /// Bytes of one tensor. Vectors of a block format are f32; rows that its blocks do not divide are `Q8_0`, and failing
    /// that f32: what llama.cpp's quantiser and our own writer do.
    pub fn tensor_bytes(self, tensor: &TensorSpec) -> u64 {
        let columns = tensor.columns as u64;
        let stored = if !self.block_scaled {
            self
        } else if tensor.rows.is_none() {
            Self::F32
        } else {
            let fits = |format: &Self| columns.is_multiple_of(format.block_values);
            [self, Self::Q8_0].into_iter().find(fits).unwrap_or(Self::F32)
        };
        tensor.elements() / stored.block_values * stored.block_bytes
    }

    /// Bytes of all weights of a model.
    pub fn weight_bytes(self, spec: &DecoderSpec) -> u64 {
        spec.tensors().iter().map(|tensor| self.tensor_bytes(tensor)).sum()
    }

    /// Bytes read for one decoded token: all weights, less an embedding table of its own, of which one row is read.
    pub fn active_weight_bytes(self, spec: &DecoderSpec) -> u64 {
        let embedding = spec.tensors().first().map_or(0, |tensor| self.tensor_bytes(tensor));
        self.weight_bytes(spec) - if spec.tied_head { 0 } else { embedding }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

/// Text that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no weight format, expected one of: {known}", known = names().join(", "))]
pub struct UnknownQuantization {
    found: String,
}

fn names() -> Vec<&'static str> {
    QUANTIZATIONS.iter().map(|format| format.name).collect()
}

impl FromStr for Quantization {
    type Err = UnknownQuantization;

    fn from_str(text: &str) -> Result<Self, UnknownQuantization> {
        let found = QUANTIZATIONS.into_iter().find(|format| format.name.eq_ignore_ascii_case(text));
        found.ok_or_else(|| UnknownQuantization { found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    fn spec(name: &str) -> DecoderSpec {
        registry::find(name).unwrap().spec
    }

    /// Parameters times two bytes, parameters from the models' own cards.
    #[test]
    fn sixteen_bits_are_two_bytes_a_parameter() {
        for (name, bytes) in [
            ("llama-3.2-1b", 2_471_628_800),
            ("llama-3.1-8b", 16_060_522_496),
            ("qwen3-8b", 16_381_470_720),
            ("mistral-7b", 14_496_047_104),
            ("llama-3.1-70b", 141_107_412_992),
        ] {
            assert_eq!(Quantization::BF16.weight_bytes(&spec(name)), bytes, "{name}");
        }
    }

    /// By hand from the block sizes: matrices 134,479,872 values, vectors 35,136.
    #[test]
    fn block_formats_count_blocks_and_keep_vectors_whole() {
        let q4_1: Quantization = "q4_1".parse().unwrap();
        assert_eq!(q4_1.weight_bytes(&spec("smollm2-135m-instruct")), 134_479_872 / 32 * 20 + 35_136 * 4);
        // 576 columns are no multiple of 256: K formats fall back to Q8_0 there; 1,536 columns are one.
        let q4_k: Quantization = "Q4_K".parse().unwrap();
        let down = 30 * 576 * 1_536;
        let rest = 134_479_872 - down;
        let expected = rest / 32 * 34 + down / 256 * 144 + 35_136 * 4;
        assert_eq!(q4_k.weight_bytes(&spec("smollm2-135m-instruct")), expected);
    }

    #[test]
    fn an_untied_embedding_is_not_read_whole_for_a_token() {
        let model = spec("llama-3.1-8b");
        let embedding = 128_256 * 4_096 * 2;
        assert_eq!(Quantization::BF16.active_weight_bytes(&model), 16_060_522_496 - embedding);
        let tied = spec("llama-3.2-1b");
        assert_eq!(Quantization::BF16.active_weight_bytes(&tied), 2_471_628_800);
    }

    #[test]
    fn an_unknown_format_names_the_known() {
        let said = "q9".parse::<Quantization>().unwrap_err().to_string();
        assert!(said.starts_with("`q9` is no weight format, expected one of: F32, F16"), "{said}");
    }
}
