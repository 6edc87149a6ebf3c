//! What can be wrong with the sizes a caller passes.

use crate::executor::Level;
use crate::format::WeightType;

/// Sizes that do not belong together, or a dispatch level this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Rows must be whole blocks.
    #[error("row of {columns} columns is not a positive multiple of {block}")]
    Columns {
        /// Columns given.
        columns: usize,
        /// Values in a block.
        block: usize,
    },
    /// Weight bytes do not make up the rows stated.
    #[error("{weight_type:?} weights of {rows} rows by {columns} columns have {actual} bytes")]
    WeightBytes {
        /// Type of the weights.
        weight_type: WeightType,
        /// Rows stated.
        rows: usize,
        /// Columns stated.
        columns: usize,
        /// Bytes given.
        actual: usize,
    },
    /// A matrix of no rows, or one whose size overflows.
    #[error("{rows} rows by {columns} columns cannot be packed")]
    Size {
        /// Rows in all parts.
        rows: usize,
        /// Columns stated.
        columns: usize,
    },
    /// A buffer has the wrong length.
    #[error("{what} has {actual} values, expected {expected}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Values given.
        actual: usize,
        /// Values needed.
        expected: usize,
    },
    /// A row outside the matrix.
    #[error("row {row} of a matrix with {rows} rows")]
    Row {
        /// Row asked for.
        row: usize,
        /// Rows there are.
        rows: usize,
    },
    /// Heads, widths or spans of attention that contradict each other.
    #[error("attention {what}")]
    Attention {
        /// What does not hold.
        what: &'static str,
    },
    /// The processor does not have the instructions of a level.
    #[error("processor lacks the instructions of {0:?}")]
    Level(Level),
}
