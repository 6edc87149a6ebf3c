//! Columns of rows, whatever the rows are of, and CSV.

use std::{io::Write, sync::Arc, time::Duration};

use super::ExportError;

/// One column: its name with its unit, and how to take its value from a row.
#[derive(Debug, Clone, Copy)]
pub struct Column<R> {
    /// Name, as in the header.
    pub name: &'static str,
    /// Its values.
    pub value: Value<R>,
}

/// How to take a value from a row; `None` is an empty cell, or a null.
#[derive(Debug, Clone, Copy)]
pub enum Value<R> {
    /// A whole number.
    Integer(fn(&R) -> Option<i64>),
    /// A number.
    Number(fn(&R) -> Option<f64>),
    /// Text.
    Text(fn(&R) -> Option<Arc<str>>),
    /// Whole numbers, any number of them.
    Integers(fn(&R) -> Vec<i64>),
}

/// A column of whole numbers.
pub const fn integer<R>(name: &'static str, value: fn(&R) -> Option<i64>) -> Column<R> {
    Column { name, value: Value::Integer(value) }
}

/// A column of numbers.
pub const fn number<R>(name: &'static str, value: fn(&R) -> Option<f64>) -> Column<R> {
    Column { name, value: Value::Number(value) }
}

/// A column of text.
pub const fn text<R>(name: &'static str, value: fn(&R) -> Option<Arc<str>>) -> Column<R> {
    Column { name, value: Value::Text(value) }
}

/// A count as a cell; none where it exceeds the 63 bits of a cell.
pub(super) fn count(value: u64) -> Option<i64> {
    i64::try_from(value).ok()
}

/// A duration as a cell; none where it exceeds 292 years.
pub(super) fn nanoseconds(value: Duration) -> Option<i64> {
    i64::try_from(value.as_nanos()).ok()
}

/// Writes rows as CSV with a header; lists are separated by blanks.
///
/// # Errors
/// Where a row cannot be read or `out` cannot be written.
pub fn write_csv<R>(
    columns: &[Column<R>],
    rows: impl Iterator<Item = Result<R, ExportError>>,
    out: impl Write,
) -> Result<u64, ExportError> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(columns.iter().map(|column| column.name))?;
    let mut written = 0;
    for row in rows {
        let row = row?;
        for column in columns {
            let cell = match column.value {
                Value::Integer(value) => value(&row).map(|v| v.to_string()),
                Value::Number(value) => value(&row).map(|v| v.to_string()),
                Value::Text(value) => value(&row).map(|v| v.as_ref().to_owned()),
                Value::Integers(value) => {
                    Some(value(&row).iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
                }
            };
            writer.write_field(cell.unwrap_or_default())?;
        }
        writer.write_record(None::<&[u8]>)?;
        written += 1;
    }
    writer.flush().map_err(csv::Error::from)?;
    Ok(written)
}
