//! Why a file is not read.

use std::{io, path::PathBuf};

use crate::source::BadRow;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// It cannot be opened or read.
    #[error("cannot read `{}`", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no usage file, or none that this version reads.
    #[error("{file}: {found}; expected {expected}")]
    Unreadable {
        /// File, with a line where there is one.
        file: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// Too many rows are wrong for what is left to be believed.
    #[error(
        "{file}: {refused} of {read} rows cannot be used, over the limit of {limit_percent} %:\n{}",
        named(rows)
    )]
    TooManyRefused {
        /// The file.
        file: String,
        /// Rows refused.
        refused: u64,
        /// Rows read.
        read: u64,
        /// The limit, per cent.
        limit_percent: f64,
        /// The first of them.
        rows: Vec<BadRow>,
    },
    /// Nothing in it is a model call.
    #[error(
        "{file}: no model calls in {read} rows; expected spans with `gen_ai.*` attributes, LiteLLM spend logs, or rows with a model and tokens"
    )]
    Empty {
        /// The file.
        file: String,
        /// Rows read.
        read: u64,
    },
}

fn named(rows: &[BadRow]) -> String {
    rows.iter().map(|row| format!("  {row}")).collect::<Vec<_>>().join("\n")
}
