//! A file, read in one pass by several threads.

use std::{
    fs::File,
    io::Read,
    num::NonZeroUsize,
    path::Path,
    sync::{Mutex, PoisonError, atomic::AtomicUsize},
    thread,
};

use bytes::Bytes;
use parquet::file::{reader::ChunkReader, serialized_reader::SerializedFileReader};

use crate::{
    aggregate::{MOST_CELLS, MOST_VALUES, Whole},
    blocks::Blocks,
    columnar,
    error::UsageError,
    field::Renamed,
    positional::Positional,
    prices::Prices,
    retries::{RETRY_WITHIN_SECONDS, Sequence},
    source::{Format, Source},
    text::{self, Rows},
    usage::{Breakdown, Usage},
    worker::{Counts, Rules, Worker},
};

/// How to read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Names of columns, keys and attributes beside the built-in ones.
    pub renamed: Vec<Renamed>,
    /// Names that a caller asks for and the model that they mean, so that its answering is no fallback.
    pub aliases: Vec<(String, String)>,
    /// Prices for calls whose log records no cost.
    pub prices: Prices,
    /// Largest share of rows that may be refused.
    pub most_refused: f64,
    /// Threads; as many as the machine has cores where absent. The result does not depend on it.
    pub threads: Option<NonZeroUsize>,
    /// Bytes of a block of text. The result does not depend on it.
    pub block_bytes: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            renamed: Vec::new(),
            aliases: Vec::new(),
            prices: Prices::default(),
            most_refused: 0.01,
            threads: None,
            block_bytes: 4 << 20,
        }
    }
}

/// Reads a usage file: Parquet, CSV or JSON lines, told by its first bytes.
///
/// # Errors
/// Where it cannot be read, is none of these, holds no model call, or more of its rows are wrong than `most_refused`.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Usage, UsageError> {
    let io = |source| UsageError::Io { file: path.to_owned(), source };
    let name = path.display().to_string();
    let mut file = File::open(path).map_err(io)?;
    let mut head = [0; 4];
    let got = file.read(&mut head).map_err(io)?;
    if head.get(..got) == Some(b"PAR1") {
        return read_parquet(&name, Positional::new(file).map_err(io)?, options);
    }
    // Not sought back but put before: a pipe has no way back.
    let head = std::io::Cursor::new(head.get(..got).unwrap_or_default().to_vec());
    read_text(&name, head.chain(file), options)
}

/// Reads what is already in memory; `name` is for messages.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(name: &str, bytes: Bytes, options: &ReadOptions) -> Result<Usage, UsageError> {
    if bytes.starts_with(b"PAR1") {
        return read_parquet(name, bytes, options);
    }
    read_text(name, &*bytes, options)
}

fn read_text(name: &str, reader: impl Read + Send, options: &ReadOptions) -> Result<Usage, UsageError> {
    let io = |source| UsageError::Io { file: name.into(), source };
    // Quotation marks matter only in CSV; which of the two it is, its first bytes say.
    let mut blocks = Blocks::new(name, reader, options.block_bytes, true);
    let wrong = |found: &str, expected: &str| UsageError::Unreadable {
        file: name.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    };
    let head = blocks.peek(4).map_err(io)?;
    if let [0x1f, 0x8b, ..] = head {
        return Err(wrong("gzip", "the file unpacked (`gunzip`): compressed text is not read"));
    }
    if let [0x28, 0xb5, 0x2f, 0xfd, ..] = head {
        return Err(wrong("Zstandard", "the file unpacked (`unzstd`): compressed text is not read"));
    }
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = head {
        return Err(wrong("UTF-16 text", "UTF-8 text"));
    }
    if let [0xef, 0xbb, 0xbf, ..] = head {
        blocks.skip(3);
    }
    let mut looked = 64;
    let first = loop {
        let head = blocks.peek(looked).map_err(io)?;
        match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(byte) => break *byte,
            None if head.len() < looked => return Err(wrong("an empty file", "rows")),
            None if looked > 1 << 20 => return Err(wrong("only white space", "rows")),
            None => looked *= 2,
        }
    };
    let rules = Rules::new(name, &options.renamed, &options.aliases, &options.prices);
    let (format, rows) = match first {
        b'{' => {
            blocks.plain_lines();
            (Format::JsonLines, Rows::Json)
        }
        b'[' => return Err(wrong("a JSON list", "one JSON object a line (`jq -c '.[]'` makes it so)")),
        _ => {
            let header = loop {
                match blocks.take_line()? {
                    Some(line) if line.iter().all(u8::is_ascii_whitespace) => {}
                    Some(line) => break line,
                    None => return Err(wrong("no header", "a line of column names")),
                }
            };
            (Format::Csv, Rows::Csv(text::columns(name, &header, &rules.names)?))
        }
    };
    let blocks = Mutex::new(blocks);
    in_threads(&rules, options, format, |worker| text::work(&blocks, &rows, worker))
}

fn read_parquet<R: ChunkReader + 'static>(
    name: &str,
    source: R,
    options: &ReadOptions,
) -> Result<Usage, UsageError> {
    let reader = SerializedFileReader::new(source).map_err(|error| UsageError::Unreadable {
        file: name.to_owned(),
        found: format!("damaged Parquet: {error}"),
        expected: "a whole Parquet file".to_owned(),
    })?;
    let rules = Rules::new(name, &options.renamed, &options.aliases, &options.prices);
    let columns = columnar::columns(name, &reader, &rules.names)?;
    let next = AtomicUsize::new(0);
    in_threads(&rules, options, Format::Parquet, |worker| columnar::work(&reader, &columns, &next, worker))
}

/// Runs a worker on every thread and adds up what they found.
fn in_threads(
    rules: &Rules<'_>,
    options: &ReadOptions,
    format: Format,
    work: impl Fn(&mut Worker<'_, '_>) -> Result<(), UsageError> + Sync,
) -> Result<Usage, UsageError> {
    let threads =
        options.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let sequence = Sequence::new(threads);
    let done = Mutex::new(Vec::new());
    let mut failure: Option<UsageError> = None;
    thread::scope(|scope| {
        let (sequence, done, work) = (&sequence, &done, &work);
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut worker = Worker::new(rules, sequence, thread);
                    work(&mut worker)?;
                    let finished = (thread, worker.partial, worker.counts);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(finished);
                    Ok::<(), UsageError>(())
                })
            })
            .collect();
        for thread in running {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failure = failure.take().or(Some(error)),
                // A library that reads the file broke on it.
                Err(_) => {
                    failure = failure.take().or_else(|| {
                        Some(UsageError::Unreadable {
                            file: rules.file.to_owned(),
                            found: "contents that break the reader".to_owned(),
                            expected: "a whole file".to_owned(),
                        })
                    });
                }
            }
        }
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    let (found, forgotten) = sequence.finish();
    let (mut whole, mut counts) = (Whole::default(), Counts::default());
    for (thread, mut partial, part) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        if let Some(found) = found.get(thread) {
            partial.add_retries(found);
        }
        whole.merge(partial);
        counts.merge(part);
    }
    finish(rules.file, format, whole, counts, forgotten, options.most_refused)
}

fn finish(
    file: &str,
    format: Format,
    whole: Whole,
    counts: Counts,
    forgotten: u64,
    most_refused: f64,
) -> Result<Usage, UsageError> {
    if counts.refused as f64 > most_refused * counts.read as f64 {
        return Err(UsageError::TooManyRefused {
            file: file.to_owned(),
            refused: counts.refused,
            read: counts.read,
            limit_percent: most_refused * 100.0,
            rows: counts.first_refused,
        });
    }
    let Some(found) = whole.finish() else {
        return Err(UsageError::Empty { file: file.to_owned(), read: counts.read });
    };
    let mut total = crate::Sums::default();
    found.days.values().for_each(|day| total.merge(day));
    let mut notes = Vec::new();
    for (dimension, breakdown) in &found.by {
        if *breakdown == Breakdown::TooMany {
            notes.push(format!(
                "{} has more than {MOST_VALUES} values, or {MOST_CELLS} of value and day: an id rather than a label; not broken down by it",
                dimension.name()
            ));
        }
    }
    for (counts, what) in [(&found.causes, "causes of failure"), (&found.fallbacks, "pairs of models")] {
        if counts.is_none() {
            notes.push(format!("more than {MOST_VALUES} {what}; not listed"));
        }
    }
    if found.zero_cost_recorded > 0 {
        notes.push(format!(
            "{} calls record a spend of 0 for tokens that no cache answered: read as not priced, since LiteLLM writes 0 where it knows no price",
            found.zero_cost_recorded
        ));
    }
    if forgotten > 0 {
        notes.push(format!(
            "{forgotten} failures were too many within {RETRY_WITHIN_SECONDS} s to be remembered: retries of them are counted as requests"
        ));
    }
    if counts.cut_off {
        notes.push(
            "the last line is cut off: the file was copied while it was written, or not whole".to_owned(),
        );
    }
    Ok(Usage {
        source: Source {
            file: file.to_owned(),
            format,
            read: counts.read,
            used: counts.used,
            refused: counts.refused,
            passed_over: counts.passed_over,
            first_refused: counts.first_refused,
            cut_off: counts.cut_off,
            notes,
        },
        span: found.span,
        total,
        days: found.days,
        by: found.by,
        busiest_hour_attempts: found.busiest_hour_attempts,
        causes: found.causes,
        fallbacks: found.fallbacks,
        latency: found.latency,
        timed: found.timed,
        zero_cost_recorded: found.zero_cost_recorded,
    })
}
