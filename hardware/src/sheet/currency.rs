//! Prices in other currencies, turned into dollars by a dated rate that the file itself gives.

use std::collections::BTreeMap;

use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::error::SheetError;
use super::row::Row;
use super::table::{Columns, TomlSheet};
use crate::money::Usd;

/// Columns of a `[currency.XYZ]` table.
pub(crate) const CURRENCY_COLUMNS: Columns =
    Columns { required: &[], optional: Some(&["usd_per_unit", "rate_date"]) };

/// How a price came to be in dollars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// ISO 4217 code of the price's own currency.
    pub currency: String,
    /// Dollars that one unit of it buys.
    pub usd_per_unit: Decimal,
    /// The day of that rate.
    pub rate_date: Date,
}

impl Conversion {
    /// An amount in the price's own currency, in dollars.
    pub(crate) fn apply(conversion: Option<&Self>, amount: Decimal) -> Usd {
        Usd(conversion.map_or(amount, |rate| amount.saturating_mul(rate.usd_per_unit)))
    }
}

/// The rates that a file gives, by currency.
#[derive(Debug, Default)]
pub(crate) struct Rates(BTreeMap<String, Conversion>);

impl Rates {
    /// Reads the `[currency.XYZ]` tables.
    pub(crate) fn from_toml(sheet: &TomlSheet<'_>) -> Result<Self, SheetError> {
        let mut rates = BTreeMap::new();
        for (currency, row) in sheet.named_rows("currency", CURRENCY_COLUMNS)? {
            rates.insert(currency.to_owned(), rate(&row, currency)?);
        }
        Ok(Self(rates))
    }

    /// The conversion for a row: none for dollars, else by the row's own rate or the file's.
    pub(crate) fn conversion(&self, row: &Row<'_>) -> Result<Option<Conversion>, SheetError> {
        let currency = row.required("currency", "an ISO 4217 code such as USD")?;
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(row.bad("currency", "an ISO 4217 code in capitals, such as USD"));
        }
        if currency == "USD" {
            return Ok(None);
        }
        if row.text("usd_per_unit").is_some() {
            return rate(row, currency).map(Some);
        }
        self.0.get(currency).cloned().map(Some).ok_or_else(|| SheetError::NoRate {
            file: row.file.to_owned(),
            line: row.line,
            currency: currency.to_owned(),
        })
    }
}

fn rate(row: &Row<'_>, currency: &str) -> Result<Conversion, SheetError> {
    let expected = "dollars that one unit of the currency buys, above 0";
    let usd_per_unit = row.price("usd_per_unit")?.ok_or_else(|| row.missing("usd_per_unit", expected))?;
    if usd_per_unit.is_zero() {
        return Err(row.bad("usd_per_unit", expected));
    }
    let rate_date =
        row.day("rate_date")?.ok_or_else(|| row.missing("rate_date", "the day of the rate, YYYY-MM-DD"))?;
    Ok(Conversion { currency: currency.to_owned(), usd_per_unit, rate_date })
}
