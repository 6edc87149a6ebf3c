//! What a model is: architecture facts and sizes, and, behind the feature `inference`,
//! weights, tokenizer and the batched candle decoder.

pub mod config_json;
pub mod facts;
#[cfg(feature = "inference")]
pub mod inference;
pub mod quantization;
pub mod registry;
pub mod spec;

pub use config_json::spec_from_config_json;
pub use facts::{ModelRecord, Tokens, WeightsOrigin};
pub use quantization::Quantization;
pub use spec::DecoderSpec;
