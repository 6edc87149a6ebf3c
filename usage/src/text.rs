//! CSV and JSON lines, block by block.

use std::{
    borrow::Cow,
    io::Read,
    sync::{Mutex, PoisonError},
};

use crate::{
    blocks::{Block, Blocks},
    error::UsageError,
    field::{Field, Names},
    json, otlp,
    row::{RawRow, Value},
    worker::Worker,
};

/// How the rows of a text file are told apart.
#[derive(Debug)]
pub(crate) enum Rows {
    /// A JSON object a line.
    Json,
    /// Comma-separated, with the field of each column.
    Csv(Vec<Option<Field>>),
}

/// Reads blocks until there are no more.
pub(crate) fn work<R: Read>(
    blocks: &Mutex<Blocks<R>>,
    rows: &Rows,
    worker: &mut Worker<'_, '_>,
) -> Result<(), UsageError> {
    let mut bytes = Vec::new();
    loop {
        let next = blocks.lock().unwrap_or_else(PoisonError::into_inner).next(&mut bytes)?;
        let Some(block) = next else { return Ok(()) };
        match rows {
            Rows::Json => json_block(&bytes, block, worker),
            Rows::Csv(columns) => csv_block(&bytes, block, columns, worker),
        }
        worker.counts.cut_off |= block.open_ended && worker.last_row_broken();
        worker.end_part(block.number);
    }
}

fn json_block(bytes: &[u8], block: Block, worker: &mut Worker<'_, '_>) {
    let rules = worker.rules;
    let (mut line_number, mut rest) = (block.first_line, bytes);
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        if line.iter().all(u8::is_ascii_whitespace) {
            line_number += 1;
            continue;
        }
        worker.begin_line();
        if otlp::is_export(line) {
            match otlp::Export::parse(line) {
                Ok(export) => {
                    let mut span = 0;
                    export.rows(&rules.names, |row| {
                        span += 1;
                        worker.row(line_number, span, row);
                    });
                }
                Err(error) => worker.broken(line_number, line, expected(&error, "an OTLP/JSON export")),
            }
        } else {
            let mut row = RawRow::new();
            match json::read(line, &rules.names, &mut row) {
                Ok(()) => worker.row(line_number, 0, &row),
                Err(error) => worker.broken(line_number, line, expected(&error, "one JSON object a line")),
            }
        }
        line_number += 1;
    }
}

fn expected(error: &serde_json::Error, what: &str) -> String {
    format!("{what} ({error})")
}

/// Read before each block, for the `csv` crate drops a byte order mark where it begins to read. A blank line is no record.
const BEFORE_BLOCK: &[u8] = b"\n";

/// Lines of a block before a record. The reader's position lies behind the `\r` of the record before, with the `\n` and blank
/// lines still to skip; it counts [`BEFORE_BLOCK`].
fn lines_before(bytes: &[u8], at: &csv::Position) -> u64 {
    let start = usize::try_from(at.byte()).unwrap_or(usize::MAX);
    let (before, from) = match start.checked_sub(BEFORE_BLOCK.len()) {
        Some(from) => (at.line().saturating_sub(2), from),
        None => (0, 0),
    };
    let skipped =
        bytes.get(from..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    before + skipped.filter(|byte| **byte == b'\n').count() as u64
}

fn csv_block(bytes: &[u8], block: Block, columns: &[Option<Field>], worker: &mut Worker<'_, '_>) {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(BEFORE_BLOCK.chain(bytes));
    let mut record = csv::ByteRecord::new();
    // Reading from memory into bytes cannot fail: there is no I/O, no text and no fixed number of fields.
    while reader.read_byte_record(&mut record).unwrap_or(false) {
        let line = block.first_line + record.position().map_or(0, |at| lines_before(bytes, at));
        if record.len() != columns.len() {
            let found = format!("{} fields as in the header, found {}", columns.len(), record.len());
            let text = record.iter().collect::<Vec<_>>().join(&b","[..]);
            worker.broken(line, &text, found);
            continue;
        }
        let mut row = RawRow::new();
        let mut wrong = None;
        for (field, column) in record.iter().zip(columns) {
            let Some(column) = column else { continue };
            match std::str::from_utf8(field) {
                Ok(text) => row.set(*column, Value::Text(Cow::Borrowed(text.trim()))),
                Err(_) => wrong = Some(field),
            }
        }
        match wrong {
            None => worker.row(line, 0, &row),
            Some(field) => worker.broken(line, field, "UTF-8 text".to_owned()),
        }
    }
}

/// The columns of a header. An error where there is no time, or nothing to count.
pub(crate) fn columns(file: &str, header: &[u8], names: &Names) -> Result<Vec<Option<Field>>, UsageError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(header);
    let mut record = csv::StringRecord::new();
    let read = reader.read_record(&mut record);
    let shown = crate::source::shortened(&String::from_utf8_lossy(header));
    let wrong = |expected: &str| UsageError::Unreadable {
        file: format!("{file}:1"),
        found: format!("the header `{shown}`"),
        expected: expected.to_owned(),
    };
    if !matches!(read, Ok(true)) {
        return Err(wrong("a line of comma-separated column names"));
    }
    let columns: Vec<Option<Field>> = record.iter().map(|name| names.get(name.trim())).collect();
    check_columns(&columns).map_err(|expected| wrong(&expected))?;
    Ok(columns)
}

/// What is missing among the fields of a table, for a reader.
pub(crate) fn check_columns(columns: &[Option<Field>]) -> Result<(), String> {
    let has = |fields: &[Field]| columns.iter().flatten().any(|field| fields.contains(field));
    if !has(&[Field::Time]) {
        return Err("comma-separated columns with `time` among them, or `--column time=NAME`".to_owned());
    }
    if !has(&[Field::Model, Field::RequestedModel, Field::InputTokens, Field::Cost, Field::Spend]) {
        return Err("a column `model`, `input_tokens` or `cost_usd`, or `--column model=NAME`".to_owned());
    }
    Ok(())
}
