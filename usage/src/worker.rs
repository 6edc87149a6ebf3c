//! What one thread does with the rows it is given.

use crate::{
    aggregate::Partial,
    field::{Names, Renamed},
    prices::Prices,
    retries::{Attempt, Sequence},
    row::{self, Checked, RawRow, Refusal},
    source::{BadRow, NAMED, shortened},
};

/// What all threads need to know.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) file: &'a str,
    pub(crate) names: Names,
    pub(crate) aliases: &'a [(String, String)],
    pub(crate) prices: &'a Prices,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(
        file: &'a str,
        renamed: &[Renamed],
        aliases: &'a [(String, String)],
        prices: &'a Prices,
    ) -> Self {
        Self { file, names: Names::new(renamed), aliases, prices }
    }

    fn same(&self, asked: &str, answered: &str) -> bool {
        self.aliases.iter().any(|(a, b)| a == asked && crate::same_model(b, answered))
    }
}

/// Rows read, and what became of them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) read: u64,
    pub(crate) used: u64,
    pub(crate) refused: u64,
    pub(crate) passed_over: u64,
    pub(crate) first_refused: Vec<BadRow>,
    pub(crate) cut_off: bool,
}

impl Counts {
    pub(crate) fn merge(&mut self, other: Self) {
        self.read += other.read;
        self.used += other.used;
        self.refused += other.refused;
        self.passed_over += other.passed_over;
        self.cut_off |= other.cut_off;
        self.first_refused.extend(other.first_refused);
        // Rows of one line (a lone `\r` ends a row, not a line) lie in one block, so they are in order already.
        self.first_refused.sort_by_key(|row| (row.line, row.span));
        self.first_refused.truncate(NAMED);
    }
}

/// One thread's work.
#[derive(Debug)]
pub(crate) struct Worker<'a, 's> {
    pub(crate) rules: &'a Rules<'a>,
    sequence: &'s Sequence,
    thread: usize,
    pub(crate) partial: Partial<'a>,
    pub(crate) counts: Counts,
    attempts: Vec<Attempt>,
    last_broken: bool,
}

impl<'a, 's> Worker<'a, 's> {
    pub(crate) fn new(rules: &'a Rules<'a>, sequence: &'s Sequence, thread: usize) -> Self {
        let partial = Partial::new(rules.prices);
        Self {
            rules,
            sequence,
            thread,
            partial,
            counts: Counts::default(),
            attempts: Vec::new(),
            last_broken: false,
        }
    }

    /// Takes a row; `span` is 0 where a line is a row.
    pub(crate) fn row(&mut self, line: u64, span: u64, raw: &RawRow<'_>) {
        self.counts.read += 1;
        self.last_broken = false;
        match row::check(raw, |asked, answered| self.rules.same(asked, answered)) {
            Ok(Checked::Call(call)) => {
                self.counts.used += 1;
                let attempt = self.partial.add(&call);
                if attempt.matters() {
                    self.attempts.push(attempt);
                }
            }
            Ok(Checked::NotACall) => self.counts.passed_over += 1,
            Err(refusal) => self.refuse(line, span, &refusal),
        }
    }

    /// Takes a row that cannot even be split into fields.
    pub(crate) fn broken(&mut self, line: u64, row: &[u8], expected: String) {
        self.counts.read += 1;
        self.last_broken = true;
        let value = String::from_utf8_lossy(row.get(..row.len().min(400)).unwrap_or_default()).into_owned();
        self.refuse(line, 0, &Refusal { field: None, value, expected });
    }

    fn refuse(&mut self, line: u64, span: u64, refusal: &Refusal) {
        self.counts.refused += 1;
        // Parts come in rising order: the first that a thread sees are its first in the file.
        if self.counts.first_refused.len() < NAMED {
            self.counts.first_refused.push(BadRow {
                line,
                span,
                file: self.rules.file.to_owned(),
                field: refusal.field.map(str::to_owned),
                value: shortened(refusal.value.trim()),
                expected: refusal.expected.clone(),
            });
        }
    }

    /// A line that may hold no row at all: the rows before it say nothing of it.
    pub(crate) fn begin_line(&mut self) {
        self.last_broken = false;
    }

    /// Whether the row before could not be split into fields.
    pub(crate) fn last_row_broken(&self) -> bool {
        self.last_broken
    }

    /// Ends a part of the file.
    pub(crate) fn end_part(&mut self, part: u64) {
        let attempts = std::mem::take(&mut self.attempts);
        self.attempts = self.sequence.hand_over(part, self.thread, attempts);
    }
}
