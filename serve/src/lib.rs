//! The in-process engine behind an OpenAI-compatible HTTP interface, so that other people's load generators can check our
//! figures, and ours can measure the same engine over a socket.

mod answer;
mod error;
mod metrics;
mod request;
mod server;

pub use server::{Server, serve};
