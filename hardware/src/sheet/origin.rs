//! Who says so: where a price row comes from.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::date::AsOf;
use super::error::SheetError;
use super::row::Row;

/// Where a price comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The sheet it was read from.
    pub file: String,
    /// Its line in that sheet.
    pub line: u64,
    /// When the price was read at its source.
    pub as_of: AsOf,
    /// The provider's own page, where the row names one.
    pub source_url: Option<String>,
    /// The collection that carried it, with version and licence, where the row names one.
    pub dataset: Option<String>,
}

impl Origin {
    /// Reads the columns `date`, `source_url` and `dataset`.
    pub(crate) fn from_row(row: &Row<'_>) -> Result<Self, SheetError> {
        let as_of = row.as_of("date")?;
        let url = |text: &str| {
            (text.starts_with("https://") || text.starts_with("http://")).then(|| text.to_owned())
        };
        Ok(Self {
            file: row.file.to_owned(),
            line: row.line,
            as_of: as_of.ok_or_else(|| {
                row.missing("date", "the day the price was read (YYYY-MM-DD), or `undated`")
            })?,
            source_url: row.parsed("source_url", "an address that begins https:// or http://", url)?,
            dataset: row.text("dataset").map(str::to_owned),
        })
    }

    /// The best name of the source: the provider's page, else the collection, else the sheet itself.
    pub fn source(&self) -> &str {
        self.source_url.as_deref().or(self.dataset.as_deref()).unwrap_or(&self.file)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({}, {})", self.file, self.line, self.source(), self.as_of)
    }
}
