//! What can be wrong with a price sheet: always the file, the line, the value and what was expected.

/// Why a price sheet or import file was refused. Nothing of a refused file is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SheetError {
    /// A cell that says something impossible or unreadable.
    #[error("{file}:{line}: {column} is `{value}`, expected {expected}")]
    Value {
        /// File as the user named it.
        file: String,
        /// Line, counted from 1.
        line: u64,
        /// Column or key.
        column: String,
        /// What it says.
        value: String,
        /// What would have been right.
        expected: String,
    },
    /// A cell that must be filled and is not.
    #[error("{file}:{line}: {column} is empty, expected {expected}")]
    Missing {
        /// File as the user named it.
        file: String,
        /// Line, counted from 1.
        line: u64,
        /// Column or key.
        column: String,
        /// What would have been right.
        expected: String,
    },
    /// A row with too few or too many columns.
    #[error("{file}:{line}: row has {found} columns, expected {expected} as the header")]
    ColumnCount {
        /// File as the user named it.
        file: String,
        /// Line, counted from 1.
        line: u64,
        /// Columns in this row.
        found: usize,
        /// Columns in the header.
        expected: usize,
    },
    /// The header lacks a column that every sheet of this kind has.
    #[error("{file}:1: no column `{column}`, expected one that is named with its unit exactly so")]
    NoColumn {
        /// File as the user named it.
        file: String,
        /// The missing column.
        column: String,
    },
    /// A column or key nobody reads, most often a spelling or a missing unit.
    #[error("{file}:{line}: unknown column `{column}`, expected one of: {expected}")]
    UnknownColumn {
        /// File as the user named it.
        file: String,
        /// Line, counted from 1.
        line: u64,
        /// The column as spelled.
        column: String,
        /// The columns there are.
        expected: String,
    },
    /// The same thing priced twice.
    #[error("{file}:{line}: prices {key} again, expected one row a price (the first is line {first_line})")]
    Duplicate {
        /// File as the user named it.
        file: String,
        /// Line, counted from 1.
        line: u64,
        /// What is priced.
        key: String,
        /// Where it was priced before.
        first_line: u64,
    },
    /// A price in a currency that the file gives no rate for.
    #[error(
        "{file}:{line}: currency is `{currency}`, expected USD or a currency with a dated rate in this file \
         (columns usd_per_unit and rate_date, or a [currency.{currency}] table)"
    )]
    NoRate {
        /// File as the user named it.
        file: String,
        /// Line, counted from 1.
        line: u64,
        /// The currency as written.
        currency: String,
    },
    /// A quoted field that never ends.
    #[error("{file}:{line}: quote is never closed, expected a closing `\"`")]
    OpenQuote {
        /// File as the user named it.
        file: String,
        /// Line where the quote opens.
        line: u64,
    },
    /// Bytes that are not text.
    #[error("{file}:{line}: byte {byte} of the file is not UTF-8, expected text in UTF-8")]
    NotUtf8 {
        /// File as the user named it.
        file: String,
        /// Line of the first such byte.
        line: u64,
        /// Its offset from the start.
        byte: usize,
    },
    /// A file nobody means to be a price sheet.
    #[error("{file}:1: file has {bytes} bytes, expected at most {limit}")]
    TooLarge {
        /// File as the user named it.
        file: String,
        /// Its size.
        bytes: usize,
        /// The most that is read.
        limit: usize,
    },
    /// A file with a header at most.
    #[error("{file}:1: file holds no prices, expected at least one row")]
    Empty {
        /// File as the user named it.
        file: String,
    },
    /// Text that is not the JSON, TOML or CSV it should be.
    #[error("{file}:{line}: {message}, expected {expected}")]
    Syntax {
        /// File as the user named it.
        file: String,
        /// Line, counted from 1.
        line: u64,
        /// The parser's complaint.
        message: String,
        /// The format.
        expected: String,
    },
    /// A file ending nobody knows.
    #[error("{file}:1: file is neither .csv nor .toml, expected one of them")]
    UnknownFormat {
        /// File as the user named it.
        file: String,
    },
}
