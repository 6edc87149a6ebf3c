//! What a model is: architecture facts and sizes, and, behind the feature `inference`,
//! weights, tokenizer and the batched candle decoder.

pub mod facts;

pub use facts::{ModelRecord, Tokens, WeightsOrigin};
