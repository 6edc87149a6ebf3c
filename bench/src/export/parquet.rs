//! Rows as Parquet, Snappy-compressed, without Arrow: the format's own column writers suffice for flat tables.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::Type,
};

use super::{
    ExportError,
    table::{Column, Value},
};

/// Rows kept in memory at once.
const ROW_GROUP: usize = 65_536;

/// Writes rows as Parquet. Lists are repeated fields.
///
/// # Errors
/// Where a row cannot be read or `out` cannot be written.
pub fn write_parquet<R>(
    columns: &[Column<R>],
    mut rows: impl Iterator<Item = Result<R, ExportError>>,
    out: impl Write + Send,
) -> Result<u64, ExportError> {
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let schema = Type::group_type_builder("row").with_fields(fields).build()?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("breakeven {}", env!("CARGO_PKG_VERSION")))
        .build();
    let mut writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
    let mut written = 0;
    loop {
        let group = rows.by_ref().take(ROW_GROUP).collect::<Result<Vec<R>, _>>()?;
        if group.is_empty() {
            break;
        }
        written += group.len() as u64;
        let mut group_writer = writer.next_row_group()?;
        for column in columns {
            let Some(mut column_writer) = group_writer.next_column()? else { break };
            write_column(column, &group, &mut column_writer)?;
            column_writer.close()?;
        }
        group_writer.close()?;
    }
    writer.close()?;
    Ok(written)
}

fn field<R>(column: &Column<R>) -> Result<Arc<Type>, ParquetError> {
    let (physical, repetition, logical) = match column.value {
        Value::Integer(_) => (Physical::INT64, Repetition::OPTIONAL, None),
        Value::Number(_) => (Physical::DOUBLE, Repetition::OPTIONAL, None),
        Value::Text(_) => (Physical::BYTE_ARRAY, Repetition::OPTIONAL, Some(LogicalType::String)),
        Value::Integers(_) => (Physical::INT64, Repetition::REPEATED, None),
    };
    let field = Type::primitive_type_builder(column.name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical)
        .build()?;
    Ok(Arc::new(field))
}

fn write_column<R>(
    column: &Column<R>,
    rows: &[R],
    writer: &mut SerializedColumnWriter<'_>,
) -> Result<(), ParquetError> {
    match column.value {
        Value::Integer(value) => {
            let (values, present) = optional(rows, value);
            writer.typed::<Int64Type>().write_batch(&values, Some(&present), None)?;
        }
        Value::Number(value) => {
            let (values, present) = optional(rows, value);
            writer.typed::<DoubleType>().write_batch(&values, Some(&present), None)?;
        }
        Value::Text(value) => {
            let (values, present) =
                optional(rows, |row| value(row).map(|text| ByteArray::from(text.as_ref())));
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&present), None)?;
        }
        Value::Integers(value) => {
            // Definition 0 is an empty list; repetition 0 starts a row, 1 goes on with it.
            let (mut values, mut present, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
            for list in rows.iter().map(value) {
                if list.is_empty() {
                    present.push(0);
                    repeated.push(0);
                }
                for (index, element) in list.into_iter().enumerate() {
                    values.push(element);
                    present.push(1);
                    repeated.push(i16::from(index > 0));
                }
            }
            writer.typed::<Int64Type>().write_batch(&values, Some(&present), Some(&repeated))?;
        }
    }
    Ok(())
}

/// The values that are there, and for each row whether one is.
fn optional<R, T>(rows: &[R], value: impl Fn(&R) -> Option<T>) -> (Vec<T>, Vec<i16>) {
    let (mut values, mut present) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        let cell = value(row);
        present.push(i16::from(cell.is_some()));
        values.extend(cell);
    }
    (values, present)
}
