//! Production usage: logs of model calls, read in one pass and added up.
//!
//! | file | holds |
//! |---|---|
//! | [`read`] | a file to its sums: which format, how many threads, what is refused |
//! | `blocks`, `text` | text cut into whole rows; CSV and JSON lines |
//! | `columnar`, `positional` | Parquet; a file that several threads read at places of their own |
//! | `json`, `otlp` | a line of flat spans, spend logs or plain columns; a line of `resourceSpans` |
//! | [`field`] | what columns, keys and attributes are called |
//! | [`row`] | a row as the file has it, and the call that it says, checked |
//! | [`money`], `instant`, `model_name` | costs of single calls, exactly; times; whether two names mean one model |
//! | [`prices`] | prices for calls whose log records no cost |
//! | `aggregate`, `retries` | groups of a thread, and of all; which attempts repeat a failed one |
//! | [`sums`], [`usage`], [`source`] | what comes out |
//!
//! Memory depends on the number of groups and threads, never on the number of rows.

mod aggregate;
mod blocks;
mod columnar;
mod error;
pub mod field;
mod hash;
mod instant;
mod json;
mod model_name;
pub mod money;
mod otlp;
mod positional;
pub mod prices;
mod read;
mod retries;
pub mod row;
pub mod source;
pub mod sums;
mod text;
pub mod usage;
mod worker;

pub use error::UsageError;
pub use model_name::same_model;
pub use prices::{ModelPrice, Prices};
pub use read::{ReadOptions, read, read_bytes};
pub use retries::RETRY_WITHIN_SECONDS;
pub use sums::Sums;
pub use usage::{Breakdown, Dimension, Usage};
