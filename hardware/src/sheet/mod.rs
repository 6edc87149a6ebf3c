//! Price sheets: reading them, the built-in catalogue, and a user's own sheets laid over it.

mod api;
mod check;
mod compute;
mod currency;
mod date;
mod diff;
mod error;
mod origin;
pub(crate) mod row;
pub(crate) mod table;
mod write;

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use api::{ApiPrice, Schedule, Service, Tier, TokenRates, UnknownService};
pub use check::{PriceDoubt, PriceFinding};
pub use compute::{ComputePrice, ComputeQuery, Term, UnknownTerm};
pub use currency::Conversion;
pub use date::{AsOf, Freshness, NotADate, STALE_AFTER_DAYS};
pub use diff::PriceChange;
pub use error::SheetError;
pub use origin::Origin;

use currency::Rates;
use table::{TomlSheet, each_csv_row};

/// The built-in sheets: what is in `hardware/catalog/`.
const BUILT_IN: [(&str, &str); 2] = [
    ("hardware/catalog/compute_prices.csv", include_str!("../../catalog/compute_prices.csv")),
    ("hardware/catalog/api_prices.csv", include_str!("../../catalog/api_prices.csv")),
];

/// All prices there are to choose from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PriceBook {
    /// Machines by the hour.
    pub compute: Vec<ComputePrice>,
    /// Managed APIs by the token.
    pub api: Vec<ApiPrice>,
}

impl PriceBook {
    /// The built-in catalogue.
    ///
    /// # Errors
    /// None in a released program: a test parses every built-in row.
    pub fn built_in() -> Result<Self, SheetError> {
        let mut book = Self::default();
        for (file, text) in BUILT_IN {
            book.overlay(Self::parse(file, text.as_bytes())?);
        }
        Ok(book)
    }

    /// Reads one sheet, CSV or TOML by the file's ending; a CSV with a `model` column holds API prices, else compute prices.
    ///
    /// # Errors
    /// The first thing wrong, with file, line, value and expectation. Nothing is half-read.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, SheetError> {
        let ending = file.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        let book = match ending.as_deref() {
            Some("csv") => Self::from_csv(file, bytes)?,
            Some("toml") => Self::from_toml(file, bytes)?,
            _ => return Err(SheetError::UnknownFormat { file: file.to_owned() }),
        };
        if book.compute.is_empty() && book.api.is_empty() {
            return Err(SheetError::Empty { file: file.to_owned() });
        }
        Ok(book)
    }

    fn from_csv(file: &str, bytes: &[u8]) -> Result<Self, SheetError> {
        let rates = Rates::default();
        if names_model_column(bytes) {
            let mut rows = api::ApiRows::default();
            each_csv_row(file, bytes, api::API_COLUMNS, 0, |row| rows.add(row, &rates))?;
            return Ok(Self { compute: Vec::new(), api: rows.finish(file)? });
        }
        let mut compute = ComputeRows::default();
        each_csv_row(file, bytes, compute::COMPUTE_COLUMNS, 0, |row| compute.add(row, &rates))?;
        Ok(Self { compute: compute.prices, api: Vec::new() })
    }

    fn from_toml(file: &str, bytes: &[u8]) -> Result<Self, SheetError> {
        let sheet = TomlSheet::parse(file, bytes)?;
        if let Some((key, line)) = sheet.keys().find(|(key, _)| !["currency", "compute", "api"].contains(key))
        {
            return Err(SheetError::UnknownColumn {
                file: file.to_owned(),
                line,
                column: row::shortened(key),
                expected: "[currency.XYZ], [[compute]], [[api]]".to_owned(),
            });
        }
        let rates = Rates::from_toml(&sheet)?;
        let (mut compute, mut rows) = (ComputeRows::default(), api::ApiRows::default());
        for row in sheet.rows("compute", compute::COMPUTE_COLUMNS)? {
            compute.add(&row, &rates)?;
        }
        for row in sheet.rows("api", api::API_COLUMNS)? {
            rows.add(&row, &rates)?;
        }
        Ok(Self { compute: compute.prices, api: rows.finish(file)? })
    }

    /// Lays another book over this one: its prices replace those they are about and extend the rest.
    ///
    /// A compute row is about the same thing where provider, region, instance, device, count and term agree; spelling, tier
    /// and dataset count only where the new row names them. An API price replaces the model's old price whole.
    pub fn overlay(&mut self, other: Self) {
        let mut newer: BTreeMap<(String, u32, Term), Vec<&ComputePrice>> = BTreeMap::new();
        for price in &other.compute {
            newer.entry(price.rough_key()).or_default().push(price);
        }
        self.compute.retain(|old| {
            let candidates = newer.get(&old.rough_key()).map(Vec::as_slice).unwrap_or_default();
            !candidates.iter().any(|new| new.replaces(old))
        });
        self.compute.extend(other.compute);
        self.compute.sort_by_cached_key(ComputePrice::key);
        let api: BTreeMap<String, ApiPrice> =
            self.api.drain(..).chain(other.api).map(|price| (price.key(), price)).collect();
        self.api = api.into_values().collect();
    }

    /// The compute prices that a query asks for, cheapest device-hour first.
    pub fn find_compute(&self, query: &ComputeQuery) -> Vec<&ComputePrice> {
        let mut found: Vec<&ComputePrice> =
            self.compute.iter().filter(|price| query.matches(price)).collect();
        found.sort_by_key(|price| price.usd_per_device_hour());
        found
    }

    /// The price of a model at a provider. `provider/model` does for `model`; names compare without case.
    pub fn find_api(&self, provider: &str, model: &str) -> Option<&ApiPrice> {
        let bare = match model.split_at_checked(provider.len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case(provider) => {
                rest.strip_prefix('/').unwrap_or(model)
            }
            _ => model,
        };
        let at = |price: &&ApiPrice| price.provider.eq_ignore_ascii_case(provider);
        let named =
            |name: &str| self.api.iter().filter(at).find(|price| price.model.eq_ignore_ascii_case(name));
        named(model).or_else(|| named(bare))
    }

    /// The prices that are stale or undated on a given day, as lines a reader can act on.
    pub fn stale(&self, today: Date) -> Vec<StalePrice<'_>> {
        let origins = self
            .compute
            .iter()
            .map(|price| (price.key(), &price.origin))
            .chain(self.api.iter().map(|price| (price.key(), &price.origin)));
        origins
            .filter(|(_, origin)| origin.as_of.freshness(today) != Freshness::Fresh)
            .map(|(key, origin)| StalePrice { key, age_days: origin.as_of.age_days(today), origin })
            .collect()
    }
}

/// A price that should be read anew.
#[derive(Debug, Clone, PartialEq)]
pub struct StalePrice<'a> {
    /// What is priced.
    pub key: String,
    /// How old it is; `None` where its source carries no date.
    pub age_days: Option<i64>,
    /// Where it comes from.
    pub origin: &'a Origin,
}

/// Gathers compute rows, refusing one that is priced twice.
#[derive(Debug, Default)]
struct ComputeRows {
    prices: Vec<ComputePrice>,
    lines: BTreeMap<String, u64>,
}

impl ComputeRows {
    fn add(&mut self, row: &row::Row<'_>, rates: &Rates) -> Result<(), SheetError> {
        let price = ComputePrice::from_row(row, rates)?;
        let key = price.key();
        if let Some(first_line) = self.lines.insert(key.clone(), row.line) {
            return Err(SheetError::Duplicate { file: row.file.to_owned(), line: row.line, key, first_line });
        }
        self.prices.push(price);
        Ok(())
    }
}

/// Whether a CSV header names the column `model`, which only API sheets have.
fn names_model_column(bytes: &[u8]) -> bool {
    let header = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    header.split(|byte| *byte == b',').any(|column| column.trim_ascii() == b"model")
}

#[cfg(test)]
mod tests;
