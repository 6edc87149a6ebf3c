//! Reads CSV and TOML text into rows, with the line of every cell; knows nothing of prices.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::SheetError;
use super::row::{Cell, Row};

/// A price sheet is text someone reads; the largest known (a cloud's whole offer file) stays below this.
const CSV_LIMIT_BYTES: usize = 512 << 20;
/// The largest known price map is 3 MB.
pub(crate) const TEXT_LIMIT_BYTES: usize = 32 << 20;

/// Columns a sheet may and must have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    /// Columns that the header must name.
    pub(crate) required: &'static [&'static str],
    /// Columns that it may name besides; `None` lets any other column pass unread (files that others write).
    pub(crate) optional: Option<&'static [&'static str]>,
}

impl Columns {
    fn check_known(&self, file: &str, line: u64, column: &str) -> Result<(), SheetError> {
        let Some(optional) = self.optional else { return Ok(()) };
        if self.required.contains(&column) || optional.contains(&column) {
            return Ok(());
        }
        let expected: Vec<&str> = self.required.iter().chain(optional).copied().collect();
        Err(SheetError::UnknownColumn {
            file: file.to_owned(),
            line,
            column: super::row::shortened(column),
            expected: expected.join(", "),
        })
    }
}

/// The text of a file, without a byte-order mark.
pub(crate) fn text<'a>(file: &str, bytes: &'a [u8], limit: usize) -> Result<&'a str, SheetError> {
    if bytes.len() > limit {
        return Err(SheetError::TooLarge { file: file.to_owned(), bytes: bytes.len(), limit });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| SheetError::NotUtf8 {
        file: file.to_owned(),
        line: line_at(bytes, error.valid_up_to()),
        byte: error.valid_up_to(),
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The line (from 1) that holds a byte offset.
pub(crate) fn line_at(bytes: &[u8], offset: usize) -> u64 {
    let before = bytes.get(..offset).unwrap_or(bytes);
    1 + before.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>()
}

/// Calls `each` with every row of a CSV file. `skip_preamble` drops lines before the header (AWS writes five).
pub(crate) fn each_csv_row(
    file: &str,
    bytes: &[u8],
    columns: Columns,
    skip_preamble: usize,
    mut each: impl FnMut(&Row<'_>) -> Result<(), SheetError>,
) -> Result<(), SheetError> {
    let text = text(file, bytes, CSV_LIMIT_BYTES)?;
    if let Some(line) = open_quote(text) {
        return Err(SheetError::OpenQuote { file: file.to_owned(), line });
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let syntax = |error: &csv::Error| SheetError::Syntax {
        file: file.to_owned(),
        line: error.position().map_or(1, csv::Position::line),
        message: error.to_string(),
        expected: "CSV".to_owned(),
    };
    let mut header: Option<csv::StringRecord> = None;
    let mut skipped = 0;
    while reader.read_record(&mut record).map_err(|error| syntax(&error))? {
        let line = record.position().map_or(1, csv::Position::line);
        if skipped < skip_preamble {
            skipped += 1;
            continue;
        }
        let Some(header) = &header else {
            check_header(file, line, &record, columns)?;
            header = Some(record.clone());
            continue;
        };
        if record.len() != header.len() {
            let (found, expected) = (record.len(), header.len());
            return Err(SheetError::ColumnCount { file: file.to_owned(), line, found, expected });
        }
        let cells = header
            .iter()
            .zip(record.iter())
            .filter(|(_, value)| !value.is_empty())
            .map(|(column, value)| Cell { column, value: value.to_owned(), line })
            .collect();
        each(&Row { file, line, cells })?;
    }
    if header.is_none() {
        return Err(SheetError::Empty { file: file.to_owned() });
    }
    Ok(())
}

fn check_header(
    file: &str,
    line: u64,
    header: &csv::StringRecord,
    columns: Columns,
) -> Result<(), SheetError> {
    for (index, column) in header.iter().enumerate() {
        columns.check_known(file, line, column)?;
        if columns.optional.is_some() && header.iter().take(index).any(|earlier| earlier == column) {
            let key = format!("column `{column}`");
            return Err(SheetError::Duplicate { file: file.to_owned(), line, key, first_line: line });
        }
    }
    match columns.required.iter().find(|needed| !header.iter().any(|column| column == **needed)) {
        Some(missing) => Err(SheetError::NoColumn { file: file.to_owned(), column: (*missing).to_owned() }),
        None => Ok(()),
    }
}

/// The line where a quoted field opens that the file never closes. The csv crate takes such a file silently, swallowing rows.
fn open_quote(text: &str) -> Option<u64> {
    #[derive(PartialEq)]
    enum At {
        FieldStart,
        Plain,
        Quoted { since: u64 },
        QuoteInQuoted { since: u64 },
    }
    let (mut at, mut line) = (At::FieldStart, 1);
    for byte in text.bytes() {
        at = match (at, byte) {
            (At::Quoted { since }, b'"') => At::QuoteInQuoted { since },
            (At::Quoted { since }, _) | (At::QuoteInQuoted { since }, b'"') => At::Quoted { since },
            (At::FieldStart, b'"') => At::Quoted { since: line },
            (_, b',' | b'\n' | b'\r') => At::FieldStart,
            _ => At::Plain,
        };
        line += u64::from(byte == b'\n');
    }
    match at {
        At::Quoted { since } => Some(since),
        _ => None,
    }
}

/// A parsed TOML document with what is needed to tell lines.
pub(crate) struct TomlSheet<'a> {
    file: &'a str,
    text: &'a str,
    table: DeTable<'a>,
}

impl<'a> TomlSheet<'a> {
    /// Parses TOML text.
    pub(crate) fn parse(file: &'a str, bytes: &'a [u8]) -> Result<Self, SheetError> {
        let text = text(file, bytes, TEXT_LIMIT_BYTES)?;
        let table = DeTable::parse(text).map_err(|error| SheetError::Syntax {
            file: file.to_owned(),
            line: line_at(text.as_bytes(), error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
            expected: "TOML".to_owned(),
        })?;
        Ok(Self { file, text, table: table.into_inner() })
    }

    fn line<T>(&self, at: &Spanned<T>) -> u64 {
        line_at(self.text.as_bytes(), at.span().start)
    }

    /// The top-level keys with their lines.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&str, u64)> {
        self.table.keys().map(|key| (key.get_ref().as_ref(), self.line(key)))
    }

    /// The rows of `[[name]]`.
    pub(crate) fn rows<'s>(&'s self, name: &str, columns: Columns) -> Result<Vec<Row<'s>>, SheetError> {
        let Some(value) = self.table.get(name) else { return Ok(Vec::new()) };
        let DeValue::Array(items) = value.get_ref() else {
            return Err(self.wrong(value, name, "tables headed [[..]]"));
        };
        items.iter().map(|item| self.row(item, name, columns)).collect()
    }

    /// The rows of `[name.key]`, by key.
    pub(crate) fn named_rows<'s>(
        &'s self,
        name: &str,
        columns: Columns,
    ) -> Result<Vec<(&'s str, Row<'s>)>, SheetError> {
        let Some(value) = self.table.get(name) else { return Ok(Vec::new()) };
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong(value, name, "tables headed [..]"));
        };
        table.iter().map(|(key, item)| Ok((key.get_ref().as_ref(), self.row(item, name, columns)?))).collect()
    }

    fn row<'s>(
        &'s self,
        item: &'s Spanned<DeValue<'a>>,
        name: &str,
        columns: Columns,
    ) -> Result<Row<'s>, SheetError> {
        let DeValue::Table(table) = item.get_ref() else {
            return Err(self.wrong(item, name, "a table"));
        };
        let mut cells = Vec::new();
        for (key, value) in table {
            let (column, line) = (key.get_ref().as_ref(), self.line(key));
            columns.check_known(self.file, line, column)?;
            let value = self.scalar(value, column)?;
            // As in CSV: an empty cell is a cell left out.
            if !value.is_empty() {
                cells.push(Cell { column, value, line });
            }
        }
        // The span of an array-of-tables item is its header, the line a reader looks for.
        Ok(Row { file: self.file, line: self.line(item), cells })
    }

    /// A value as it is written, so that decimals stay exact.
    fn scalar(&self, value: &Spanned<DeValue<'_>>, column: &str) -> Result<String, SheetError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.as_ref().trim().to_owned()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Ok(flag.to_string()),
            DeValue::Datetime(date) => Ok(date.to_string()),
            DeValue::Integer(_) | DeValue::Array(_) | DeValue::Table(_) => {
                Err(self.wrong(value, column, "text, a decimal number or a date"))
            }
        }
    }

    fn wrong<T>(&self, at: &Spanned<T>, column: &str, expected: &str) -> SheetError {
        let written = self.text.get(at.span()).unwrap_or("");
        SheetError::Value {
            file: self.file.to_owned(),
            line: self.line(at),
            column: column.to_owned(),
            value: super::row::shortened(written),
            expected: expected.to_owned(),
        }
    }
}
