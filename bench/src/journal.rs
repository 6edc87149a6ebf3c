//! Every attempt on disk as it finishes, one JSON line each: a crash loses nothing that was done.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::drive::Attempt;

/// A JSON-lines file of attempts. Each line is written whole and at once.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

#[derive(Serialize)]
struct Line<'a> {
    phase: &'a str,
    #[serde(rename = "attempt")]
    attempt: &'a Attempt,
}

/// A journal that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the journal `{path}`; check that its folder exists and has room")]
pub struct JournalError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Journal {
    /// Starts an empty journal.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let error = |source| JournalError { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(error)?;
        }
        Ok(Self { file: File::create(path).map_err(error)?, path: path.to_owned() })
    }

    /// Appends one attempt of a phase (`probe 3`, `expected`).
    pub fn append(&mut self, phase: &str, attempt: &Attempt) -> Result<(), JournalError> {
        let error = |source| JournalError { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&Line { phase, attempt }).map_err(|e| error(e.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(error)
    }
}
