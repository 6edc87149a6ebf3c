//! What a model is: architecture facts and sizes, and, behind the feature `inference`,
//! weights, tokenizer and the batched candle decoder.

pub mod facts;
#[cfg(feature = "inference")]
pub mod inference;
pub mod registry;
pub mod spec;

pub use facts::{ModelRecord, Tokens, WeightsOrigin};
pub use spec::DecoderSpec;
