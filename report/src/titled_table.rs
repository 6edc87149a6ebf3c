//! A table with a title above and remarks below, for a terminal and for a pull request.

use std::{fmt::Write as _, ops::Range};

use crate::{
    markdown::{inline, row},
    table::text_table,
};

/// A table before it is set.
pub(crate) struct TitledTable {
    pub(crate) title: String,
    pub(crate) heads: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Columns of numbers.
    pub(crate) numbers: Range<usize>,
    /// Remarks.
    pub(crate) after: Vec<String>,
}

impl TitledTable {
    /// For a terminal of `width` columns.
    pub(crate) fn text(self, width: usize) -> String {
        let mut out = format!("\n{}\n", self.title);
        out.push_str(&text_table(&self.heads, self.rows, self.numbers, Some(width)));
        for line in self.after {
            let _ = writeln!(out, "{line}");
        }
        out
    }

    /// As GitHub-flavoured markdown, line by line.
    pub(crate) fn markdown(&self, out: &mut Vec<String>) {
        out.extend([String::new(), format!("**{}**", inline(&self.title)), String::new()]);
        row(out, &self.heads);
        let rule = (0..self.heads.len()).map(|at| if self.numbers.contains(&at) { "---:" } else { "---" });
        out.push(format!("|{}|", rule.collect::<Vec<_>>().join("|")));
        for cells in &self.rows {
            row(out, cells.iter().map(|cell| inline(cell)));
        }
        for line in &self.after {
            out.extend([String::new(), inline(line)]);
        }
    }
}
