//! Latency series as an HdrHistogram interval log (V2), which the HdrHistogram project's own tools read.
//!
//! Values are nanoseconds. A failed request has no finite latency and so no place in such a log: a comment counts them.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};

use jiff::Timestamp;

use crate::{level::LoadResult, run::Measurement, series::LatencySeries};

/// The log could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the histogram log: {0}")]
pub struct HlogError(String);

/// One line of a log: a series over a stretch of time.
#[derive(Debug)]
pub struct Stretch<'a> {
    /// What it is of, as `expected.ttft`; letters that a tag cannot hold are replaced.
    pub tag: String,
    /// Start of the stretch, from the start of the log.
    pub start: Duration,
    /// Its length.
    pub length: Duration,
    /// The series.
    pub series: &'a LatencySeries,
}

/// The latency series of a result with their names.
pub fn series_of(load: &LoadResult) -> [(&'static str, &LatencySeries); 6] {
    [
        ("ttft", &load.ttft),
        ("service_ttft", &load.service_ttft),
        ("tpot", &load.tpot),
        ("e2e", &load.e2e),
        ("chunk_gap", &load.chunk_gap),
        ("send_lag", &load.send_lag),
    ]
}

/// Writes every series of every level, overall and by segment, one line each. Levels follow one another in time.
///
/// # Errors
/// Where `out` cannot be written.
pub fn write_measurement(measurement: &Measurement, out: impl Write) -> Result<(), HlogError> {
    let mut stretches = Vec::new();
    let mut start = Duration::ZERO;
    for level in &measurement.levels {
        start += level.warmup;
        let overall =
            series_of(&level.overall).map(|(name, series)| (format!("{}.{name}", level.name), series));
        let segments = level.segments.iter().flat_map(|segment| {
            series_of(&segment.load)
                .map(|(name, series)| (format!("{}.{}.{name}", level.name, segment.name), series))
        });
        for (tag, series) in overall.into_iter().chain(segments) {
            stretches.push(Stretch { tag, start, length: level.window, series });
        }
        start += level.window;
    }
    let title = format!("breakeven {}, run {}", measurement.breakeven_version, measurement.run_id);
    write(&title, measurement.started, &stretches, out)
}

/// Writes stretches of time in their order; empty series are left out.
///
/// # Errors
/// Where `out` cannot be written.
pub fn write(
    title: &str,
    started: Timestamp,
    stretches: &[Stretch<'_>],
    mut out: impl Write,
) -> Result<(), HlogError> {
    // The log's clock counts from 1970; a run before that has a broken clock anyway.
    let since_1970 = Duration::from_millis(u64::try_from(started.as_millisecond()).unwrap_or(0));
    let started = SystemTime::UNIX_EPOCH + since_1970;
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    let one_line = |text: &str| text.replace(['\n', '\r'], " ");
    builder
        .add_comment(&one_line(title))
        .add_comment(
            "values are nanoseconds; the third column of each line is its largest value in milliseconds",
        )
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(1e6);
    let mut log =
        builder.begin_log_with(&mut out, &mut serializer).map_err(|e| HlogError(format!("{e:?}")))?;
    for stretch in stretches.iter().filter(|stretch| !stretch.series.is_empty()) {
        let failed = stretch.series.infinite();
        let tag: String = stretch.tag.chars().map(tag_letter).collect();
        if failed > 0 {
            log.write_comment(&format!(
                "{tag}: {failed} failed requests are infinitely slow and not in the line below"
            ))
            .map_err(|e| HlogError(e.to_string()))?;
        }
        log.write_histogram(stretch.series.histogram(), stretch.start, stretch.length, Tag::new(&tag))
            .map_err(|e| HlogError(format!("{e:?}")))?;
    }
    Ok(())
}

/// Commas end a tag, blanks and line ends confuse readers.
fn tag_letter(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_') { letter } else { '_' }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::{
        Histogram,
        serialization::{
            Deserializer,
            interval_log::{IntervalLogIterator, LogEntry},
        },
    };

    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let mut series = LatencySeries::new();
        for i in 1..=100 {
            series.record(Duration::from_millis(i));
        }
        series.record_infinite();
        let empty = LatencySeries::new();
        let stretch = |tag: &str, series| Stretch {
            tag: tag.to_owned(),
            start: Duration::from_secs(3),
            length: Duration::from_secs(27),
            series,
        };
        let mut out = Vec::new();
        let started = "2026-11-23T12:00:00Z".parse().unwrap();
        let stretches = [stretch("expected.edge case, hard.ttft", &series), stretch("none", &empty)];
        write("a\ntitle", started, &stretches, &mut out).unwrap();
        let text = String::from_utf8(out.clone()).unwrap();
        assert!(text.starts_with("#a title\n"), "{text}");
        assert!(text.contains("#expected.edge_case__hard.ttft: 1 failed requests"), "{text}");
        let lines: Vec<_> = IntervalLogIterator::new(&out)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(line) => Some(line),
                _ => None,
            })
            .collect();
        assert_eq!(lines.len(), 1);
        assert_eq!(
            lines[0].tag().map(|t| t.as_str().to_owned()).as_deref(),
            Some("expected.edge_case__hard.ttft")
        );
        let bytes =
            base64::Engine::decode(&base64::prelude::BASE64_STANDARD, lines[0].encoded_histogram()).unwrap();
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!(&read, series.histogram());
    }
}
