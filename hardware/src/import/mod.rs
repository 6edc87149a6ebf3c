//! Imports the price lists people already have into our own rows, and reports what was taken, skipped and why.
//!
//! An import is all or nothing: a file with one bad value yields an error and no rows. It holds no state, so importing the
//! same file twice and laying both over a book changes nothing the second time.

mod aws;
mod azure;
mod gpuhunt;
mod json;
mod litellm;
mod openrouter;
mod skypilot;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::sheet::{AsOf, ComputePrice, Origin, PriceBook, SheetError};

/// Formats that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportFormat {
    /// `model_prices_and_context_window.json` of LiteLLM.
    Litellm,
    /// `vms.csv` of the SkyPilot catalogue.
    Skypilot,
    /// A provider's CSV of the gpuhunt catalogue.
    Gpuhunt,
    /// A page of the Azure Retail Prices API.
    AzureRetail,
    /// The offer file of the AWS price list, CSV form.
    AwsOffer,
    /// The models list of OpenRouter.
    Openrouter,
}

impl ImportFormat {
    /// Every format.
    pub const ALL: [Self; 6] =
        [Self::Litellm, Self::Skypilot, Self::Gpuhunt, Self::AzureRetail, Self::AwsOffer, Self::Openrouter];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Litellm => "litellm",
            Self::Skypilot => "skypilot",
            Self::Gpuhunt => "gpuhunt",
            Self::AzureRetail => "azure-retail",
            Self::AwsOffer => "aws-offer",
            Self::Openrouter => "openrouter",
        }
    }
}

impl fmt::Display for ImportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Text that names no import format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an import format, expected one of: litellm, skypilot, gpuhunt, azure-retail, aws-offer, openrouter"
)]
pub struct UnknownImportFormat(String);

impl FromStr for ImportFormat {
    type Err = UnknownImportFormat;

    fn from_str(text: &str) -> Result<Self, UnknownImportFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| UnknownImportFormat(text.to_owned()))
    }
}

/// What the file itself does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSource<'a> {
    /// File as the user named it.
    pub file: &'a str,
    /// The day it was read at its source, where the rows carry no date of their own.
    pub as_of: AsOf,
    /// The provider, for formats that hold one provider a file and do not name it (SkyPilot).
    pub provider: Option<&'a str>,
}

/// An imported file.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The rows.
    pub book: PriceBook,
    /// What became of the file's rows.
    pub report: ImportReport,
}

/// What became of a file's rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImportReport {
    /// Rows or entries in the file.
    pub rows: u64,
    /// Those that became prices.
    pub taken: u64,
    /// The others, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Prices inside taken rows that we do not model, by name.
    pub ignored_prices: BTreeMap<String, u64>,
}

impl ImportReport {
    fn skip(&mut self, reason: impl Into<String>) {
        *self.skipped.entry(reason.into()).or_default() += 1;
    }

    fn ignore(&mut self, name: impl Into<String>) {
        *self.ignored_prices.entry(name.into()).or_default() += 1;
    }

    /// Rows that became no prices.
    pub fn skipped_rows(&self) -> u64 {
        self.skipped.values().sum()
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {} rows taken", self.taken, self.rows)?;
        for (reason, count) in &self.skipped {
            writeln!(f, "{count:>7} skipped: {reason}")?;
        }
        for (name, count) in &self.ignored_prices {
            writeln!(f, "{count:>7} prices ignored: {name}")?;
        }
        Ok(())
    }
}

/// Imports a file.
///
/// # Errors
/// The first thing wrong with the file, with line, value and expectation; then nothing is imported.
pub fn import(format: ImportFormat, source: &ImportSource<'_>, bytes: &[u8]) -> Result<Imported, SheetError> {
    let imported = match format {
        ImportFormat::Litellm => litellm::import(source, bytes),
        ImportFormat::Skypilot => skypilot::import(source, bytes),
        ImportFormat::Gpuhunt => gpuhunt::import(source, bytes),
        ImportFormat::AzureRetail => azure::import(source, bytes),
        ImportFormat::AwsOffer => aws::import(source, bytes),
        ImportFormat::Openrouter => openrouter::import(source, bytes),
    }?;
    if imported.report.rows == 0 {
        return Err(SheetError::Empty { file: source.file.to_owned() });
    }
    Ok(imported)
}

impl ImportSource<'_> {
    fn origin(&self, line: u64, dataset: &str, source_url: Option<String>) -> Origin {
        Origin {
            file: self.file.to_owned(),
            line,
            as_of: self.as_of,
            source_url,
            dataset: Some(dataset.to_owned()),
        }
    }
}

/// Gathers compute prices; a file that lists the same thing at two prices keeps the first and counts the rest.
#[derive(Debug, Default)]
struct ComputeTaken {
    by_key: BTreeMap<String, ComputePrice>,
}

impl ComputeTaken {
    fn take(&mut self, price: ComputePrice, report: &mut ImportReport) {
        match self.by_key.entry(price.key()) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(price);
                report.taken += 1;
            }
            std::collections::btree_map::Entry::Occupied(first)
                if first.get().usd_per_hour == price.usd_per_hour =>
            {
                report.skip("repeats a row before it");
            }
            std::collections::btree_map::Entry::Occupied(_) => {
                report.skip("another price for what a row before it prices");
            }
        }
    }

    fn finish(self, report: ImportReport) -> Imported {
        let book = PriceBook { compute: self.by_key.into_values().collect(), api: Vec::new() };
        Imported { book, report }
    }
}

#[cfg(test)]
mod tests;
