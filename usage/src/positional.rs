//! A file that several threads read at places of their own.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};

/// A file read by offset. The library's reading of a `File` seeks in a clone of it, and clones share one position: of two
/// threads each could read where the other had sought.
pub(crate) struct Positional {
    file: Arc<File>,
    bytes: u64,
}

impl Positional {
    /// # Errors
    /// Where the file's length cannot be told.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), bytes })
    }
}

impl Length for Positional {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Positional {
    type T = BufReader<Reading>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(Reading { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut buffer = Vec::new();
        // Not taken at once: the length is the file's own word.
        let read = self.get_read(start)?.take(length as u64).read_to_end(&mut buffer)?;
        if read == length {
            return Ok(buffer.into());
        }
        Err(ParquetError::EOF(format!("{length} bytes are said to be at {start}, {read} are")))
    }
}

/// A reader of a [`Positional`] file with a position of its own.
pub(crate) struct Reading {
    file: Arc<File>,
    at: u64,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = read_at(&self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, at)
}
