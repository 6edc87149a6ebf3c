//! Tests of the engine as its users see it, on the real weights and on small models made on the spot.

#![cfg(feature = "inference")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what went wrong by panicking")]

mod common;
mod decoders;
mod families;
mod golden_tokens;
mod hostile;
mod hub;
mod hub_models;
mod hub_server;
mod llama_cpp;
mod memory;
mod safetensors;
mod schedules;
mod service;
mod small;
mod text;
