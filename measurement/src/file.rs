//! Reading and writing measurement files: whole or not at all.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::run::{FORMAT, Measurement};

/// Why a measurement file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file system said no.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: std::io::Error,
    },
    /// Not a measurement, or a damaged one.
    #[error(
        "`{path}`, line {line}, column {column}: {message}; expected a measurement written by `breakeven bench`"
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser found.
        message: String,
    },
    /// Another version's format.
    #[error(
        "`{path}` has format `{found}`, this version reads `{FORMAT}`; measure again or use the version that wrote it"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

#[derive(Deserialize, schemars::JsonSchema)]
struct FormatOnly {
    format: String,
}

/// Reads a measurement.
///
/// # Errors
/// [`FileError`] names the file and, where the text is at fault, line and column.
pub fn read(path: &Path) -> Result<Measurement, FileError> {
    let text = fs::read_to_string(path).map_err(|source| FileError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let parse_error = |error: serde_json::Error| {
        let (line, column, text) = (error.line(), error.column(), error.to_string());
        // serde_json repeats the place at the end of its message; ours already starts with it.
        let message = text.rsplit_once(" at line ").map_or(text.clone(), |(head, _)| head.to_owned());
        FileError::Parse { path: path.to_owned(), line, column, message }
    };
    let format: FormatOnly = serde_json::from_str(&text).map_err(parse_error)?;
    if format.format != FORMAT {
        return Err(FileError::Format { path: path.to_owned(), found: format.format });
    }
    serde_json::from_str(&text).map_err(parse_error)
}

/// Writes a measurement, pretty-printed: to a temporary file beside `path`, then renamed into place.
pub fn write(measurement: &Measurement, path: &Path) -> Result<(), FileError> {
    let json = serde_json::to_vec_pretty(measurement).map_err(|e| FileError::Io {
        action: "encode",
        path: path.to_owned(),
        source: e.into(),
    })?;
    write_atomically(path, &json)
}

/// Writes any file whole or not at all: a temporary file beside it, synced, then renamed into place.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    let io = |action| move |source| FileError::Io { action, path: path.to_owned(), source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(io("create the folder of"))?;
    let mut file =
        tempfile::Builder::new().prefix(".breakeven-").tempfile_in(folder).map_err(io("write beside"))?;
    file.write_all(contents).map_err(io("write"))?;
    file.as_file().sync_all().map_err(io("write"))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Temporary files are private; a result is an ordinary file.
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(io("write"))?;
    }
    file.persist(path).map_err(|e| FileError::Io {
        action: "write",
        path: path.to_owned(),
        source: e.error,
    })?;
    Ok(())
}
