//! Journals and measurements as tables for other tools: CSV, Parquet, and histogram logs.
//!
//! | file | holds |
//! |---|---|
//! | [`table`] | what a column is, and writing rows as CSV |
//! | [`parquet`] | writing rows as Parquet |
//! | [`attempts`] | a journal's attempts, one row each, and their histogram log |
//! | [`summary`] | a measurement's levels, one row a series |

pub mod attempts;
pub mod parquet;
pub mod summary;
pub mod table;

use crate::journal::ReadError;

/// Why a table could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The CSV writer said no.
    #[error("cannot write CSV")]
    Csv(#[from] csv::Error),
    /// The Parquet writer said no.
    #[error("cannot write Parquet")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// The histogram log could not be written.
    #[error(transparent)]
    Hlog(#[from] breakeven_measurement::hlog::HlogError),
}
