//! Parquet: columns by name, batch by batch, so that a row group need not fit into memory.

use std::{borrow::Cow, sync::atomic::AtomicUsize, sync::atomic::Ordering};

use parquet::{
    basic::{Compression, ConvertedType, LogicalType, TimeUnit},
    column::reader::ColumnReader,
    data_type::{ByteArray, FixedLenByteArray, Int96},
    errors::ParquetError,
    file::reader::FileReader,
    schema::types::ColumnDescriptor,
};

use crate::{
    error::UsageError,
    field::{Field, Names},
    row::{RawRow, Value},
    text::check_columns,
    worker::Worker,
};

/// Rows decoded at once.
const BATCH: usize = 8_192;

/// A column that we read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    index: usize,
    field: Field,
    kind: Kind,
    present: i16,
}

/// What its numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Decimal(i32),
    /// Nanoseconds of its unit.
    Instant(i64),
}

/// The columns of a file that have a meaning here; said where one cannot be read.
pub(crate) fn columns(file: &str, reader: &dyn FileReader, names: &Names) -> Result<Vec<Column>, UsageError> {
    let wrong = |found: String, expected: &str| UsageError::Unreadable {
        file: file.to_owned(),
        found,
        expected: expected.to_owned(),
    };
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let mut columns = Vec::new();
    for (index, column) in schema.columns().iter().enumerate() {
        let name = column.path().string();
        let Some(field) = names.get(&name) else { continue };
        if column.max_rep_level() > 0 {
            return Err(wrong(format!("column `{name}` holds lists"), "one value a row"));
        }
        columns.push(Column { index, field, kind: kind(column), present: column.max_def_level() });
    }
    let found: Vec<Option<Field>> = columns.iter().map(|column| Some(column.field)).collect();
    let all = || schema.columns().iter().map(|column| column.path().string()).collect::<Vec<_>>().join(", ");
    check_columns(&found)
        .map_err(|expected| wrong(format!("columns {}", crate::source::shortened(&all())), &expected))?;
    for group in metadata.row_groups() {
        for column in &columns {
            let Some(chunk) = group.columns().get(column.index) else { continue };
            let codec = chunk.compression();
            if !matches!(codec, Compression::UNCOMPRESSED | Compression::SNAPPY) {
                let name = chunk.column_path().string();
                return Err(wrong(
                    format!("column `{name}` is compressed by {codec}"),
                    "SNAPPY or no compression, which this version reads",
                ));
            }
        }
    }
    Ok(columns)
}

fn kind(column: &ColumnDescriptor) -> Kind {
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Decimal(decimal)), _) => Kind::Decimal(decimal.scale),
        (Some(LogicalType::Timestamp(time)), _) => Kind::Instant(match time.unit {
            TimeUnit::MILLIS => 1_000_000,
            TimeUnit::MICROS => 1_000,
            TimeUnit::NANOS => 1,
        }),
        (None, ConvertedType::DECIMAL) => Kind::Decimal(column.type_scale()),
        (None, ConvertedType::TIMESTAMP_MILLIS) => Kind::Instant(1_000_000),
        (None, ConvertedType::TIMESTAMP_MICROS) => Kind::Instant(1_000),
        _ => Kind::Plain,
    }
}

/// Reads row groups until there are no more.
pub(crate) fn work(
    reader: &dyn FileReader,
    columns: &[Column],
    next: &AtomicUsize,
    worker: &mut Worker<'_, '_>,
) -> Result<(), UsageError> {
    let file = worker.rules.file;
    let damaged = |error: &dyn std::fmt::Display| UsageError::Unreadable {
        file: file.to_owned(),
        found: format!("damaged Parquet: {error}"),
        expected: "a whole Parquet file".to_owned(),
    };
    loop {
        let part = next.fetch_add(1, Ordering::Relaxed);
        let Some(group) = reader.metadata().row_groups().get(part) else { return Ok(()) };
        let before: i64 = reader
            .metadata()
            .row_groups()
            .iter()
            .take(part)
            .map(parquet::file::metadata::RowGroupMetaData::num_rows)
            .sum();
        let first = u64::try_from(before).unwrap_or(0) + 1;
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        read_group(reader, part, rows, first, columns, worker).map_err(|error| damaged(&error))?;
        worker.end_part(part as u64);
    }
}

fn read_group(
    reader: &dyn FileReader,
    part: usize,
    rows: usize,
    first: u64,
    columns: &[Column],
    worker: &mut Worker<'_, '_>,
) -> Result<(), ParquetError> {
    let group = reader.get_row_group(part)?;
    let mut open = Vec::with_capacity(columns.len());
    for column in columns {
        open.push(Decoded::new(group.get_column_reader(column.index)?, *column));
    }
    let mut done = 0;
    while done < rows {
        let want = BATCH.min(rows - done);
        for column in &mut open {
            column.read(want)?;
        }
        for row in 0..want {
            let mut raw = RawRow::new();
            let mut broken = false;
            for column in &mut open {
                let field = column.column.field;
                match column.next(row) {
                    Ok(Some(value)) => raw.set(field, value),
                    Ok(None) => {}
                    Err(NotText) => broken = true,
                }
            }
            let line = first + (done + row) as u64;
            if broken {
                worker.broken(line, b"", "UTF-8 text in every column".to_owned());
            } else {
                worker.row(line, 0, &raw);
            }
        }
        done += want;
    }
    Ok(())
}

/// A text that is none.
struct NotText;

/// Values of a batch, of those rows that have one.
enum Values {
    Truth(Vec<bool>),
    Integers32(Vec<i32>),
    Integers64(Vec<i64>),
    Instants(Vec<Int96>),
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Texts(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

struct Decoded {
    column: Column,
    reader: ColumnReader,
    levels: Vec<i16>,
    values: Values,
    at: usize,
}

impl Decoded {
    fn new(reader: ColumnReader, column: Column) -> Self {
        let values = match &reader {
            ColumnReader::BoolColumnReader(_) => Values::Truth(Vec::new()),
            ColumnReader::Int32ColumnReader(_) => Values::Integers32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Integers64(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Instants(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Floats(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Doubles(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Texts(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
        };
        Self { column, reader, levels: Vec::new(), values, at: 0 }
    }

    /// Decodes the next rows; an error where the column ends before.
    fn read(&mut self, want: usize) -> Result<(), ParquetError> {
        self.levels.clear();
        self.at = 0;
        let mut got = 0;
        macro_rules! read_all {
            ($reader:expr, $values:expr) => {{
                $values.clear();
                while got < want {
                    let (records, _, _) =
                        $reader.read_records(want - got, Some(&mut self.levels), None, $values)?;
                    if records == 0 {
                        break;
                    }
                    got += records;
                }
            }};
        }
        match (&mut self.reader, &mut self.values) {
            (ColumnReader::BoolColumnReader(r), Values::Truth(v)) => read_all!(r, v),
            (ColumnReader::Int32ColumnReader(r), Values::Integers32(v)) => read_all!(r, v),
            (ColumnReader::Int64ColumnReader(r), Values::Integers64(v)) => read_all!(r, v),
            (ColumnReader::Int96ColumnReader(r), Values::Instants(v)) => read_all!(r, v),
            (ColumnReader::FloatColumnReader(r), Values::Floats(v)) => read_all!(r, v),
            (ColumnReader::DoubleColumnReader(r), Values::Doubles(v)) => read_all!(r, v),
            (ColumnReader::ByteArrayColumnReader(r), Values::Texts(v)) => read_all!(r, v),
            (ColumnReader::FixedLenByteArrayColumnReader(r), Values::Fixed(v)) => read_all!(r, v),
            _ => {}
        }
        if got == want {
            return Ok(());
        }
        let field = self.column.field.name();
        Err(ParquetError::General(format!("column of `{field}` ends {} rows early", want - got)))
    }

    /// The value of a row; `None` where it has none.
    fn next(&mut self, row: usize) -> Result<Option<Value<'_>>, NotText> {
        if self.column.present > 0 && self.levels.get(row) != Some(&self.column.present) {
            return Ok(None);
        }
        let at = self.at;
        self.at += 1;
        let kind = self.column.kind;
        let whole = |value: i64| match kind {
            Kind::Plain => Value::Integer(value),
            Kind::Decimal(scale) => Value::Decimal(i128::from(value), scale),
            // Out of an i64 is out of every bound, which the row's check says.
            Kind::Instant(unit) => Value::Instant(value.saturating_mul(unit)),
        };
        Ok(match &self.values {
            Values::Truth(values) => {
                values.get(at).map(|value| Value::Text(Cow::Borrowed(if *value { "true" } else { "false" })))
            }
            Values::Integers32(values) => values.get(at).map(|value| whole(i64::from(*value))),
            Values::Integers64(values) => values.get(at).map(|value| whole(*value)),
            Values::Instants(values) => values.get(at).map(|value| Value::Instant(instant(value))),
            // The shortest decimal of the single: 0.1 stays 0.1.
            Values::Floats(values) => match values.get(at) {
                Some(value) if value.is_nan() => None,
                Some(value) => Some(Value::Text(Cow::Owned(value.to_string()))),
                None => None,
            },
            // Tables of other languages write NaN where there is no value.
            Values::Doubles(values) => {
                values.get(at).filter(|value| !value.is_nan()).map(|v| Value::Number(*v))
            }
            Values::Texts(values) => bytes(values.get(at).map(parquet::data_type::AsBytes::as_bytes), kind)?,
            Values::Fixed(values) => bytes(values.get(at).map(parquet::data_type::AsBytes::as_bytes), kind)?,
        })
    }
}

fn bytes(value: Option<&[u8]>, kind: Kind) -> Result<Option<Value<'_>>, NotText> {
    let Some(value) = value else { return Ok(None) };
    if let Kind::Decimal(scale) = kind {
        return big_endian(value).map(|unscaled| Some(Value::Decimal(unscaled, scale))).ok_or(NotText);
    }
    std::str::from_utf8(value).map(|text| Some(Value::Text(Cow::Borrowed(text)))).map_err(|_| NotText)
}

/// A two's complement number, at most 16 bytes.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    (bytes.len() <= 16).then(|| bytes.iter().fold(start, |sum, byte| (sum << 8) | i128::from(*byte)))
}

/// The old way of writing a time: nanoseconds of the day and the Julian day. Computed here, since the library's own may overflow.
fn instant(value: &Int96) -> i64 {
    let [low, high, julian] = match value.data() {
        [low, high, julian] => [*low, *high, *julian],
        _ => return i64::MIN,
    };
    let of_day = (u64::from(high) << 32) | u64::from(low);
    let days = i64::from(julian) - 2_440_588;
    days.checked_mul(crate::instant::DAY)
        .zip(i64::try_from(of_day).ok())
        .and_then(|(days, of_day)| days.checked_add(of_day))
        .unwrap_or(i64::MIN)
}
