//! The formats of traces, each to rows.

use std::time::Duration;

use csv::StringRecord;
use jiff::civil::DateTime;
use serde::Deserialize;

use super::{Row, TokenLengths};

/// Why a trace could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file system said no.
    #[error("cannot read the trace `{file}`")]
    Read {
        /// The file.
        file: String,
        /// Its answer.
        #[source]
        source: std::io::Error,
    },
    /// None of the formats.
    #[error(
        "`{file}`, line 1: `{found}` is the head of no trace format; expected `TIMESTAMP,ContextTokens,GeneratedTokens` \
         (Azure), `Timestamp,...,Request tokens,Response tokens` (BurstGPT), JSON lines with `timestamp` and \
         `input_length` (Mooncake), or a CSV with a column `arrival_seconds`"
    )]
    Format {
        /// The file.
        file: String,
        /// Its first line.
        found: String,
    },
    /// A value that is not what its column holds.
    #[error("`{file}`, line {line}: expected {expected}, found `{found}`")]
    Value {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Nothing to replay.
    #[error("`{file}` has {rows} requests, expected at least two")]
    TooShort {
        /// The file.
        file: String,
        /// How many.
        rows: usize,
    },
}

const SECONDS: &str = "seconds, 0 or more";
const TOKENS: &str = "a number of tokens";

/// How a CSV writes its times.
#[derive(Clone, Copy)]
enum Clock {
    Seconds,
    Date,
}

/// Where a CSV has what.
struct Columns {
    time: usize,
    clock: Clock,
    input: Option<usize>,
    output: Option<usize>,
}

impl Columns {
    fn of(header: &StringRecord) -> Option<Self> {
        let column = |name: &str| header.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
        if let Some(time) = column("arrival_seconds") {
            let (input, output) = (column("input_tokens"), column("output_tokens"));
            // One length without the other is no request.
            return (input.is_some() == output.is_some()).then_some(Self {
                time,
                clock: Clock::Seconds,
                input,
                output,
            });
        }
        let time = column("timestamp")?;
        if let (Some(input), Some(output)) = (column("ContextTokens"), column("GeneratedTokens")) {
            return Some(Self { time, clock: Clock::Date, input: Some(input), output: Some(output) });
        }
        let (input, output) = (column("Request tokens")?, column("Response tokens")?);
        Some(Self { time, clock: Clock::Seconds, input: Some(input), output: Some(output) })
    }
}

/// The rows of a trace in the file's order, and how many have no answer.
pub(super) fn rows(text: &str, file: &str) -> Result<(Vec<Row>, u64), TraceError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') { mooncake(text, file) } else { csv_rows(text, file) }
}

fn csv_rows(text: &str, file: &str) -> Result<(Vec<Row>, u64), TraceError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let unknown = || TraceError::Format {
        file: file.to_owned(),
        found: text.lines().next().unwrap_or_default().chars().take(120).collect(),
    };
    let columns = reader.headers().ok().and_then(Columns::of).ok_or_else(unknown)?;
    let (mut rows, mut unanswered) = (Vec::new(), 0);
    for record in reader.records() {
        let record = record.map_err(|error| TraceError::Value {
            file: file.to_owned(),
            line: error.position().map_or(0, csv::Position::line),
            expected: "as many columns as the head has",
            found: error.to_string(),
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |expected, found: &str| TraceError::Value {
            file: file.to_owned(),
            line,
            expected,
            found: found.to_owned(),
        };
        let cell = |index: usize| record.get(index).unwrap_or_default();
        let at = match columns.clock {
            Clock::Seconds => seconds(cell(columns.time)),
            Clock::Date => date(cell(columns.time)),
        };
        let expected = match columns.clock {
            Clock::Seconds => SECONDS,
            Clock::Date => "a date and time such as 2023-11-16 18:15:46.68",
        };
        let at = at.ok_or_else(|| wrong(expected, cell(columns.time)))?;
        let tokens = |index: Option<usize>| {
            index.map(|i| cell(i).parse::<u32>().map_err(|_| wrong(TOKENS, cell(i)))).transpose()
        };
        let (input, output) = (tokens(columns.input)?, tokens(columns.output)?);
        unanswered += u64::from(output == Some(0));
        let lengths = input.zip(output).map(|(input, output)| at_least_one(input, output));
        rows.push(Row { at, lengths, blocks: Vec::new() });
    }
    Ok((rows, unanswered))
}

#[derive(Deserialize)]
struct MooncakeLine {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

fn mooncake(text: &str, file: &str) -> Result<(Vec<Row>, u64), TraceError> {
    let (mut rows, mut unanswered) = (Vec::new(), 0);
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let read: MooncakeLine = serde_json::from_str(text).map_err(|_| TraceError::Value {
            file: file.to_owned(),
            line,
            expected: "a JSON object with whole numbers `timestamp` (ms), `input_length` and `output_length`",
            found: text.chars().take(120).collect(),
        })?;
        unanswered += u64::from(read.output_length == 0);
        let lengths = at_least_one(read.input_length, read.output_length);
        let at = Duration::from_millis(read.timestamp);
        rows.push(Row { at, lengths: Some(lengths), blocks: read.hash_ids });
    }
    Ok((rows, unanswered))
}

fn at_least_one(input: u32, output: u32) -> TokenLengths {
    TokenLengths { input: input.max(1), output: output.max(1) }
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Seconds since 1970 of a date without a zone: only differences matter.
fn date(text: &str) -> Option<Duration> {
    let at: DateTime = text.parse().ok()?;
    let at = jiff::tz::TimeZone::UTC.to_timestamp(at).ok()?;
    let nanoseconds = u64::try_from(at.as_nanosecond()).ok()?;
    Some(Duration::from_nanos(nanoseconds))
}
