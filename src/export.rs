//! `breakeven export`: a journal's attempts or a measurement's levels, for other tools.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use breakeven_bench::{
    export::{ExportError, attempts, parquet::write_parquet, summary, table::write_csv},
    journal::Entries,
};
use breakeven_measurement::{file, hlog};

use crate::{
    cli::ExportArguments,
    console::{self, Answer},
};

pub(crate) fn export(arguments: &ExportArguments) -> Result<Answer> {
    if arguments.csv.is_none() && arguments.parquet.is_none() && arguments.hlog.is_none() {
        bail!("nothing to write: expected at least one of --csv, --parquet and --hlog");
    }
    if is_journal(&arguments.file)? {
        journal(arguments)?;
    } else {
        measurement(arguments)?;
    }
    Ok(Answer::Yes)
}

/// A journal's first line is a whole JSON object of one key, `header`; a measurement's is an opening bracket.
fn is_journal(path: &Path) -> Result<bool> {
    let open = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut start = Vec::new();
    BufReader::new(std::io::Read::take(open, 64))
        .read_until(b'\n', &mut start)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(start.starts_with(b"{\"header\""))
}

fn journal(arguments: &ExportArguments) -> Result<()> {
    let entries = || Entries::open(&arguments.file);
    if let Some(path) = &arguments.csv {
        let rows = attempts::rows(entries()?.1);
        written(path, "attempts", whole(path, |out| write_csv(&attempts::COLUMNS, rows, out))?);
    }
    if let Some(path) = &arguments.parquet {
        let rows = attempts::rows(entries()?.1);
        written(path, "attempts", whole(path, |out| write_parquet(&attempts::COLUMNS, rows, out))?);
    }
    if let Some(path) = &arguments.hlog {
        let (header, entries) = entries()?;
        let title = format!("breakeven {}, journal of {}", env!("CARGO_PKG_VERSION"), header.run_id);
        let rows = attempts::rows(entries);
        let count = whole(path, |out| attempts::write_hlog(&title, header.started, rows, out))?;
        written(path, "attempts, by the second", count);
    }
    Ok(())
}

fn measurement(arguments: &ExportArguments) -> Result<()> {
    let measurement = file::read(&arguments.file)?;
    let columns = summary::columns();
    if let Some(path) = &arguments.csv {
        let count = whole(path, |out| write_csv(&columns, summary::rows(&measurement), out))?;
        written(path, "latency series", count);
    }
    if let Some(path) = &arguments.parquet {
        let count = whole(path, |out| write_parquet(&columns, summary::rows(&measurement), out))?;
        written(path, "latency series", count);
    }
    if let Some(path) = &arguments.hlog {
        whole(path, |out| Ok(hlog::write_measurement(&measurement, out)?))?;
        written(path, "levels", measurement.levels.len() as u64);
    }
    Ok(())
}

/// Writes a file under another name and renames it when it is whole.
fn whole<T>(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<T, ExportError>) -> Result<T> {
    let mut name = path.file_name().context("expected a file name to write to")?.to_owned();
    name.push(".part");
    let part: PathBuf = path.with_file_name(name);
    let attempt = || -> Result<T> {
        let mut out = BufWriter::new(File::create(&part)?);
        let value = write(&mut out)?;
        out.flush()?;
        fs::rename(&part, path)?;
        Ok(value)
    };
    attempt().with_context(|| {
        drop(fs::remove_file(&part));
        format!("cannot write `{}`", path.display())
    })
}

fn written(path: &Path, what: &str, count: u64) {
    console::note(&format!("{count} {what} written to {}", path.display()));
}
