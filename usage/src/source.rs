//! What was read, and what was not used of it.

use std::fmt;

use serde::Serialize;

/// Bad rows that are named.
pub(crate) const NAMED: usize = 5;
/// Characters of a value that are shown.
const SHOWN: usize = 80;

/// The shape of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// A JSON object a line: spans, OTLP exports, LiteLLM spend logs.
    JsonLines,
    /// Parquet.
    Parquet,
}

/// A row that was not used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BadRow {
    /// Line of the file, or row of a Parquet file, counted from 1.
    pub line: u64,
    /// Number of the span in the line, counted from 1; 0 where a line is a row.
    pub span: u64,
    /// The file.
    pub file: String,
    /// Which field; absent where the row as a whole is wrong.
    pub field: Option<String>,
    /// The value, shortened.
    pub value: String,
    /// What was expected.
    pub expected: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if self.span > 0 {
            write!(f, "span {}: ", self.span)?;
        }
        match &self.field {
            Some(field) if self.value.is_empty() => write!(f, "`{field}` is missing")?,
            Some(field) => write!(f, "`{field}` is `{}`", self.value)?,
            None => write!(f, "`{}`", self.value)?,
        }
        write!(f, ", expected {}", self.expected)
    }
}

/// A value short enough for a message, without what would move a terminal's cursor.
pub(crate) fn shortened(value: &str) -> String {
    let mut text: String =
        value.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if value.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}

/// What was read. `read` is always `used` + `refused` + `passed_over`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The file.
    pub file: String,
    /// Its shape.
    pub format: Format,
    /// Rows, or spans, read.
    pub read: u64,
    /// Rows that count.
    pub used: u64,
    /// Rows that are wrong.
    pub refused: u64,
    /// Spans that are no model call: tools, agents, HTTP.
    pub passed_over: u64,
    /// The first wrong rows.
    pub first_refused: Vec<BadRow>,
    /// Whether the last line has no end and was wrong: the file was cut off.
    pub cut_off: bool,
    /// What a reader should know beside.
    pub notes: Vec<String>,
}
