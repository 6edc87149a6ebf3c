//! Plain text tables: the one module that knows the table library.

use std::ops::Range;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle};

use crate::terminal::plain;

/// A table with one rule under its heads; more lines would cost the reader's ten seconds.
pub(crate) fn new_table() -> Table {
    let mut table = Table::new();
    let head = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(head));
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Sets numbers flush right.
pub(crate) fn align_right(table: &mut Table, columns: Range<usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
            // A number broken over two lines is another number.
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// A table as text, a line a row and the columns in `numbers` flush right.
///
/// With a `width` in columns long cells wrap to fit it; without one, every row stays one line, so that it can be searched.
pub fn text_table(
    heads: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    numbers: Range<usize>,
    width: Option<usize>,
) -> String {
    let mut table = new_table();
    table.set_header(heads.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)).collect::<Vec<_>>());
    }
    align_right(&mut table, numbers);
    match width {
        Some(width) => {
            table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stays_a_line_without_a_width_and_wraps_within_one() {
        let rows = || vec![vec!["a long cell that goes on".to_owned(), "7".to_owned()]];
        let whole = text_table(&["text", "n"], rows(), 1..2, None);
        assert_eq!(whole.lines().count(), 3);
        assert!(
            whole.lines().any(|line| line.contains("a long cell that goes on") && line.ends_with('7')),
            "{whole}"
        );
        let wrapped = text_table(&["text", "n"], rows(), 1..2, Some(20));
        assert!(wrapped.lines().all(|line| line.chars().count() <= 20), "{wrapped}");
    }
}
