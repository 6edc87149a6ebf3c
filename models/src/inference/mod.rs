//! Real inference: weights, tokenizer, the batched decoder and the engine thread.
//!
//! A model goes through three hands: [`fetch`] finds its file, [`load`] checks it, [`engine`] runs it.

mod answer;
pub mod batch;
pub mod cache;
pub mod candle_decoder;
pub mod chat;
mod cpu_math;
pub mod decoder;
pub mod device_roofline;
pub mod engine;
pub mod engine_report;
pub mod fetch;
pub mod gguf;
pub mod gguf_spec;
pub mod hub;
mod hub_folder;
pub mod load;
pub mod packed_decoder;
mod product;
mod python_package;
pub mod random;
pub mod request;
mod safetensors;
pub mod sampling;
mod scheduler;
pub mod settings;
pub mod steps;
pub mod tensors;
mod text_stream;
pub mod throughput;
pub mod tokenizer;

pub use candle_core::quantized::GgmlDType;
pub use chat::Message;
pub use engine::{Engine, EngineError, EngineStats};
pub use load::{LoadError, LoadedModel};
pub use request::{Event, EventStream, FinishReason, GenerateRequest, Prompt, RequestError, SubmitError};
pub use sampling::Sampling;
pub use settings::{Backend, DeviceChoice, EngineSettings};
pub use steps::StepRecord;

/// An error and all its causes, on one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
