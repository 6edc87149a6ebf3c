//! A text file in blocks that end where a row ends, so that each can be read by itself.

use std::io::{self, Read};

use crate::error::UsageError;

/// Longest row: a longer one is no row.
const LONGEST_ROW: usize = 64 << 20;

/// A block of whole rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    /// Its place in the file.
    pub(crate) number: u64,
    /// Line that it begins with, counted from 1.
    pub(crate) first_line: u64,
    /// Whether the file ends with it, and with more than blanks after the last row's end.
    pub(crate) open_ended: bool,
}

/// Reads blocks. With `quotes`, a line's end between quotation marks ends no row.
pub(crate) struct Blocks<R> {
    file: String,
    reader: R,
    size: usize,
    quotes: bool,
    carry: Vec<u8>,
    ended: bool,
    number: u64,
    line: u64,
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(file: &str, reader: R, size: usize, quotes: bool) -> Self {
        let (file, carry) = (file.to_owned(), Vec::new());
        Self { file, reader, size: size.max(1), quotes, carry, ended: false, number: 0, line: 1 }
    }

    /// The first bytes, which stay to be read.
    pub(crate) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.carry.len() < count && !self.ended {
            self.fill(count)?;
        }
        Ok(self.carry.get(..count.min(self.carry.len())).unwrap_or_default())
    }

    /// From here on a line's end always ends a row.
    pub(crate) fn plain_lines(&mut self) {
        self.quotes = false;
    }

    /// Leaves out the next bytes.
    pub(crate) fn skip(&mut self, count: usize) {
        self.carry.drain(..count.min(self.carry.len()));
    }

    /// The next line, without its end, left out of the blocks. `None` at the end of the file.
    pub(crate) fn take_line(&mut self) -> Result<Option<Vec<u8>>, UsageError> {
        let mut from = 0;
        loop {
            let rest = self.carry.get(from..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', rest) {
                let mut line: Vec<u8> = self.carry.drain(..=from + at).collect();
                while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                    line.pop();
                }
                self.line += 1;
                return Ok(Some(line));
            }
            if self.ended {
                let line = std::mem::take(&mut self.carry);
                return Ok((!line.is_empty()).then_some(line));
            }
            from = self.carry.len();
            self.fill(self.size.max(4096)).map_err(|error| self.io(error))?;
            self.bounded(self.carry.len())?;
        }
    }

    /// The next block, into `block`. `None` at the end of the file.
    pub(crate) fn next(&mut self, block: &mut Vec<u8>) -> Result<Option<Block>, UsageError> {
        block.clear();
        block.append(&mut self.carry);
        let mut want = self.size;
        let cut = loop {
            while block.len() < want && !self.ended {
                self.fill_into(block, want - block.len()).map_err(|error| self.io(error))?;
            }
            if self.ended {
                break block.len();
            }
            if let Some(cut) = last_row_end(block, self.quotes) {
                break cut;
            }
            self.bounded(block.len())?;
            want = block.len() * 2;
        };
        if block.is_empty() {
            return Ok(None);
        }
        self.carry.extend_from_slice(block.get(cut..).unwrap_or_default());
        block.truncate(cut);
        let found = Block {
            number: self.number,
            first_line: self.line,
            open_ended: self.ended && self.carry.is_empty() && has_open_end(block),
        };
        self.number += 1;
        self.line += memchr::memchr_iter(b'\n', block).count() as u64;
        Ok(Some(found))
    }

    fn bounded(&self, length: usize) -> Result<(), UsageError> {
        if length <= LONGEST_ROW {
            return Ok(());
        }
        let quotes = if self.quotes { ", every quotation mark closed" } else { "" };
        Err(UsageError::Unreadable {
            file: format!("{}:{}", self.file, self.line),
            found: "a row longer than 64 MiB".to_owned(),
            expected: format!("a row a line{quotes}"),
        })
    }

    fn io(&self, source: io::Error) -> UsageError {
        UsageError::Io { file: self.file.clone().into(), source }
    }

    fn fill(&mut self, count: usize) -> io::Result<()> {
        let mut carry = std::mem::take(&mut self.carry);
        let filled = self.fill_into(&mut carry, count);
        self.carry = carry;
        filled
    }

    fn fill_into(&mut self, buffer: &mut Vec<u8>, count: usize) -> io::Result<()> {
        let got = self.reader.by_ref().take(count as u64).read_to_end(buffer)?;
        self.ended |= got == 0;
        Ok(())
    }
}

/// A lone `\r` ends a row too; blanks after the last end are no row.
fn has_open_end(block: &[u8]) -> bool {
    let mut tail = block.iter().rev().take_while(|byte| !matches!(byte, b'\n' | b'\r'));
    tail.any(|byte| !byte.is_ascii_whitespace())
}

/// Bytes up to the end of the last whole row. A quotation mark opens a field only at its beginning, as the `csv` crate has it.
fn last_row_end(block: &[u8], quotes: bool) -> Option<usize> {
    let end = |slice: &[u8]| memchr::memrchr(b'\n', slice);
    if !quotes {
        return end(block).map(|at| at + 1);
    }
    let (mut last, mut from, mut open) = (None, 0, false);
    let mut marks = memchr::memchr_iter(b'"', block).peekable();
    while let Some(at) = marks.next() {
        if open {
            if marks.peek() == Some(&(at + 1)) {
                marks.next();
            } else {
                (open, from) = (false, at + 1);
            }
        } else if at == 0 || block.get(at - 1).is_some_and(|byte| matches!(byte, b',' | b'\n' | b'\r')) {
            if let Some(found) = end(block.get(from..at)?) {
                last = Some(from + found + 1);
            }
            open = true;
        }
    }
    if open {
        return last;
    }
    end(block.get(from..)?).map(|found| from + found + 1).or(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &[u8], size: usize, quotes: bool) -> Vec<(u64, Vec<u8>)> {
        let (mut blocks, mut block, mut all) = (Blocks::new("t", text, size, quotes), Vec::new(), Vec::new());
        while let Some(found) = blocks.next(&mut block).unwrap() {
            all.push((found.first_line, block.clone()));
        }
        all
    }

    #[test]
    fn a_line_end_between_quotation_marks_ends_no_row() {
        let text = b"a,\"b\nc\"\nd,\"e\"\"\n\"\n\"f\",g\n";
        for size in 1..40 {
            let rows: Vec<Vec<u8>> = cut(text, size, true).into_iter().map(|(_, block)| block).collect();
            assert_eq!(rows.concat(), text);
            for block in &rows {
                let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(block.as_slice());
                assert!(reader.byte_records().all(|row| row.unwrap().len() == 2), "{size}: {rows:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_lines_are_counted(text in "[ab\n]{0,200}", size in 1_usize..50) {
            let all = cut(text.as_bytes(), size, false);
            let whole: Vec<u8> = all.iter().flat_map(|(_, block)| block.clone()).collect();
            prop_assert_eq!(&whole, text.as_bytes());
            let mut line = 1;
            for (first, block) in all {
                prop_assert_eq!(first, line);
                line += memchr::memchr_iter(b'\n', &block).count() as u64;
            }
        }

        /// Quoted CSV cut into blocks reads as the whole does, whatever is in it.
        #[test]
        fn quoted_rows_read_the_same_in_blocks(fields in proptest::collection::vec("[ab\",\n\r]{0,6}", 0..40), size in 1_usize..60) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            for pair in fields.chunks_exact(2) {
                writer.write_record(pair).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let read = |bytes: &[u8]| -> Vec<csv::StringRecord> {
                csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes).records().map(Result::unwrap).collect()
            };
            let parts: Vec<csv::StringRecord> = cut(&text, size, true).iter().flat_map(|(_, block)| read(block)).collect();
            prop_assert_eq!(parts, read(&text));
        }
    }
}
