//! The local model cache: where it is, and putting a verified file into it in one move.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::registry::WeightsFile;

/// `$BREAKEVEN_CACHE`, else `breakeven/models` under the platform's cache folder.
pub fn directory() -> Option<PathBuf> {
    match std::env::var_os("BREAKEVEN_CACHE") {
        Some(path) if !path.is_empty() => Some(PathBuf::from(path)),
        _ => Some(dirs::cache_dir()?.join("breakeven").join("models")),
    }
}

/// SHA-256 of a file, lower-case hex.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut HashWriter(&mut hasher))?;
    Ok(hex(&hasher.finalize()))
}

/// SHA-256 of a text, lower-case hex.
pub(crate) fn sha256_of_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|half| char::from_digit(half.into(), 16))
        .collect()
}

/// Checks a file against the registry: size first, since that costs nothing.
pub(crate) fn verify(path: &Path, expected: &WeightsFile) -> Result<(), String> {
    let describe = |error: io::Error| format!("{}: {error}", path.display());
    let bytes = fs::metadata(path).map_err(describe)?.len();
    if bytes != expected.bytes {
        return Err(format!("{} has {bytes} bytes, expected {}", path.display(), expected.bytes));
    }
    let hash = sha256_of(path).map_err(describe)?;
    if hash != expected.sha256 {
        return Err(format!("{} has SHA-256 {hash}, expected {}", path.display(), expected.sha256));
    }
    Ok(())
}

/// Copies a stream into the cache: to a temporary file, verified, then renamed into place.
pub(crate) fn store(
    mut content: impl Read,
    expected: &WeightsFile,
    directory: &Path,
    advance: &mut dyn FnMut(u64),
) -> Result<PathBuf, String> {
    let describe = |error: io::Error| format!("cannot write to {}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(describe)?;
    let mut file = NamedTempFile::new_in(directory).map_err(describe)?;
    let mut buffer = vec![0; 1 << 20];
    let mut written: u64 = 0;
    loop {
        let count = content.read(&mut buffer).map_err(|error| format!("the source broke off: {error}"))?;
        if count == 0 {
            break;
        }
        written += count as u64;
        if written > expected.bytes {
            return Err(format!("the source holds more than the expected {} bytes", expected.bytes));
        }
        file.write_all(buffer.get(..count).unwrap_or_default()).map_err(describe)?;
        advance(written);
    }
    file.flush().map_err(describe)?;
    verify(file.path(), expected)?;
    let path = directory.join(expected.name);
    file.persist(&path).map_err(|error| describe(error.error))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: WeightsFile = WeightsFile {
        name: "abc.gguf",
        bytes: 3,
        // FIPS 180-4's own example.
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        remotes: &[],
    };

    #[test]
    fn only_the_right_content_enters_the_cache() {
        let directory = tempfile::tempdir().unwrap();
        let mut last = 0;
        let path = store(&b"abc"[..], &ABC, directory.path(), &mut |bytes| last = bytes).unwrap();
        assert_eq!((fs::read(path).unwrap().as_slice(), last), (&b"abc"[..], 3));
        for (wrong, word) in [(&b"abd"[..], "SHA-256"), (b"ab", "2 bytes"), (b"abcd", "more than")] {
            let other = tempfile::tempdir().unwrap();
            let error = store(wrong, &ABC, other.path(), &mut |_| {}).unwrap_err();
            assert!(error.contains(word), "{error}");
            assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
        }
    }
}
