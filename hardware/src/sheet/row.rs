//! One row of a price sheet, whatever format it came in, and the typed reading of its cells.

use std::str::FromStr;

use jiff::civil::Date;
use rust_decimal::Decimal;

use super::date::AsOf;
use super::error::SheetError;

/// No price or rate in any unit we read is larger; a larger one is a slip of the decimal point.
const LARGEST_PRICE: i64 = 1_000_000_000;

/// A row: its cells by column name, empty cells left out.
#[derive(Debug, Clone)]
pub(crate) struct Row<'a> {
    pub(crate) file: &'a str,
    pub(crate) line: u64,
    pub(crate) cells: Vec<Cell<'a>>,
}

/// One filled cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell<'a> {
    pub(crate) column: &'a str,
    pub(crate) value: String,
    pub(crate) line: u64,
}

impl<'a> Row<'a> {
    fn cell(&self, column: &str) -> Option<&Cell<'a>> {
        self.cells.iter().find(|cell| cell.column == column)
    }

    /// The text of a cell; `None` where it is empty.
    pub(crate) fn text(&self, column: &str) -> Option<&str> {
        self.cell(column).map(|cell| cell.value.as_str())
    }

    /// The text of a cell that must be filled.
    pub(crate) fn required(&self, column: &str, expected: &str) -> Result<&str, SheetError> {
        self.text(column).ok_or_else(|| self.missing(column, expected))
    }

    /// A cell read as something; the error says what was expected.
    pub(crate) fn parsed<T>(
        &self,
        column: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SheetError> {
        match self.cell(column) {
            None => Ok(None),
            Some(cell) => match parse(&cell.value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.bad(column, expected)),
            },
        }
    }

    /// A price: a decimal number, not negative.
    pub(crate) fn price(&self, column: &str) -> Result<Option<Decimal>, SheetError> {
        self.parsed(column, "a price: a decimal number from 0 to 1e9", price)
    }

    /// A count.
    pub(crate) fn count(&self, column: &str) -> Result<Option<u64>, SheetError> {
        self.parsed(column, "a whole number", |text| text.parse().ok())
    }

    /// A date, perhaps only to the month, perhaps `undated`.
    pub(crate) fn as_of(&self, column: &str) -> Result<Option<AsOf>, SheetError> {
        self.parsed(column, "a date: YYYY-MM-DD, YYYY-MM or `undated`", |text| AsOf::from_str(text).ok())
    }

    /// A day.
    pub(crate) fn day(&self, column: &str) -> Result<Option<Date>, SheetError> {
        self.parsed(column, "a date: YYYY-MM-DD", |text| match AsOf::from_str(text) {
            Ok(AsOf::Day(date)) => Some(date),
            _ => None,
        })
    }

    pub(crate) fn bad(&self, column: &str, expected: &str) -> SheetError {
        let cell = self.cell(column);
        SheetError::Value {
            file: self.file.to_owned(),
            line: cell.map_or(self.line, |cell| cell.line),
            column: column.to_owned(),
            value: shortened(cell.map_or("", |cell| cell.value.as_str())),
            expected: expected.to_owned(),
        }
    }

    pub(crate) fn missing(&self, column: &str, expected: &str) -> SheetError {
        SheetError::Missing {
            file: self.file.to_owned(),
            line: self.line,
            column: column.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

/// A price as text, exact; `None` for anything that is not a number from 0 to 1e9 (NaN and infinities are no numbers).
pub(crate) fn price(text: &str) -> Option<Decimal> {
    let value = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()?;
    (!value.is_sign_negative() || value.is_zero())
        .then_some(value)
        .filter(|v| *v <= Decimal::from(LARGEST_PRICE))
}

/// A value short enough for an error message.
pub(crate) fn shortened(value: &str) -> String {
    if value.chars().count() <= 60 {
        return value.to_owned();
    }
    value.chars().take(57).chain("...".chars()).collect()
}
