//! Architecture facts and sizes of a decoder-only transformer: no weights, no candle.

use serde::{Deserialize, Serialize};

/// A number of tokens, in the tokenizer of the model it is said of.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Tokens(pub u64);

/// Where the numbers in a model's tensors came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum WeightsOrigin {
    /// A weights file, by content hash.
    File {
        /// Where it was found: a path, a hub repository, or a package.
        source: String,
        /// SHA-256 of the file, lower-case hex.
        sha256: String,
    },
    /// Seeded noise in the model's shapes: timings are real, texts are not.
    Random {
        /// Seed of the noise.
        seed: u64,
    },
}

/// What a measurement needs to remember of the model it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ModelRecord {
    /// Registry name or file stem.
    pub name: String,
    /// Architecture family, as GGUF's `general.architecture` names it (`llama`, `qwen2`…).
    pub architecture: String,
    /// Parameters, embeddings included.
    pub parameters: u64,
    /// Dominant weight type, as GGUF names it (`Q4_1`, `F16`…).
    pub quantization: String,
    /// Bytes of all tensors as stored.
    pub weight_bytes: u64,
    /// Bytes of KV cache one token occupies in this engine.
    pub kv_bytes_per_token: u64,
    /// Longest context the model was made for.
    pub context_tokens: u64,
    /// Where the weights came from.
    pub weights: WeightsOrigin,
}
