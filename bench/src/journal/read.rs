//! Reading a journal line by line, however its run ended.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{Entry, FORMAT, Header};

/// A line longer than this is not one of ours.
const LONGEST_LINE_BYTES: u64 = 256 << 20;

/// Why a journal could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file system said no.
    #[error("cannot read the journal `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// A whole line that is none of ours.
    #[error("`{path}`, line {line}: {message}; expected a journal written by `breakeven bench`")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What the parser found.
        message: String,
    },
    /// Another version's format.
    #[error("`{path}` has format `{found}`, this version reads `{FORMAT}`; use the version that wrote it")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

/// The entries of a journal after its header.
///
/// The last line may be cut off by whatever ended the run: without its newline it is no record, and is passed over.
#[derive(Debug)]
pub struct Entries<R = File> {
    reader: BufReader<R>,
    path: PathBuf,
    line: u64,
    whole_bytes: u64,
    cut_bytes: u64,
    buffer: Vec<u8>,
}

impl Entries {
    /// Opens a journal and reads its header.
    pub fn open(path: &Path) -> Result<(Header, Self), ReadError> {
        let file = File::open(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        Self::of(file, path)
    }
}

impl<R: Read> Entries<R> {
    /// Reads a header from anything; `path` is for messages.
    pub fn of(reader: R, path: &Path) -> Result<(Header, Self), ReadError> {
        let mut entries = Self {
            reader: BufReader::new(reader),
            path: path.to_owned(),
            line: 0,
            whole_bytes: 0,
            cut_bytes: 0,
            buffer: Vec::new(),
        };
        match entries.next_entry()? {
            Some(Entry::Header(header)) if header.format == FORMAT => Ok((header, entries)),
            Some(Entry::Header(header)) => {
                Err(ReadError::Format { path: path.to_owned(), found: header.format })
            }
            Some(_) => Err(entries.parse_error("no header".to_owned())),
            None => Err(entries.parse_error("empty".to_owned())),
        }
    }

    /// Bytes up to the end of the last whole line read.
    pub fn whole_bytes(&self) -> u64 {
        self.whole_bytes
    }

    /// Bytes of a last line that was cut off; known at the end.
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        self.buffer.clear();
        let mut limited = Read::take(&mut self.reader, LONGEST_LINE_BYTES);
        let read = limited
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| ReadError::Io { path: self.path.clone(), source })?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if self.buffer.last() != Some(&b'\n') {
            if read as u64 == LONGEST_LINE_BYTES {
                return Err(self.parse_error(format!("a line over {LONGEST_LINE_BYTES} bytes")));
            }
            self.cut_bytes = read as u64;
            return Ok(None);
        }
        match serde_json::from_slice(&self.buffer) {
            Ok(entry) => {
                self.whole_bytes += read as u64;
                Ok(Some(entry))
            }
            Err(error) => Err(self.parse_error(error.to_string())),
        }
    }

    fn parse_error(&self, message: String) -> ReadError {
        ReadError::Parse { path: self.path.clone(), line: self.line.max(1), message }
    }
}

impl<R: Read> Iterator for Entries<R> {
    type Item = Result<Entry, ReadError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}
