//! A journal's attempts as rows, and as a histogram log of one-second stretches.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use breakeven_measurement::{LatencySeries, LoadResult, Slo, hlog};
use jiff::Timestamp;

use super::{
    ExportError,
    table::{Column, Value, count, integer, nanoseconds, text},
};
use crate::{
    drive::Attempt,
    journal::{Entries, Entry},
    tally::{self, latencies},
};

/// One attempt and what it was part of.
#[derive(Debug)]
pub struct AttemptRow {
    /// How often the run had been resumed: an unfinished level that was begun anew is in the journal twice.
    pub resumed: u32,
    /// Its phase.
    pub phase: String,
    /// What came of it.
    pub attempt: Attempt,
}

/// The columns of a table of attempts. Times are nanoseconds from the start of the phase's schedule.
pub const COLUMNS: [Column<AttemptRow>; 27] = [
    integer("resumed", |r| Some(r.resumed.into())),
    text("phase", |r| Some(Arc::from(r.phase.as_str()))),
    integer("id", |r| count(r.attempt.id)),
    integer("segment", |r| count(r.attempt.segment as u64)),
    integer("scheduled_ns", |r| nanoseconds(r.attempt.scheduled)),
    integer("sent_ns", |r| nanoseconds(r.attempt.sent)),
    integer("first_token_ns", |r| r.attempt.first_token.and_then(nanoseconds)),
    integer("first_visible_ns", |r| r.attempt.first_visible.and_then(nanoseconds)),
    integer("last_token_ns", |r| r.attempt.last_token.and_then(nanoseconds)),
    integer("done_ns", |r| nanoseconds(r.attempt.done)),
    integer("send_lag_ns", |r| nanoseconds(r.attempt.sent.saturating_sub(r.attempt.scheduled))),
    integer("ttft_ns", |r| latencies(&r.attempt).and_then(|l| nanoseconds(l.ttft))),
    integer("service_ttft_ns", |r| {
        latencies(&r.attempt)
            .and(r.attempt.first_token)
            .and_then(|t| nanoseconds(t.saturating_sub(r.attempt.sent)))
    }),
    integer("tpot_ns", |r| latencies(&r.attempt).and_then(|l| l.tpot).and_then(nanoseconds)),
    integer("e2e_ns", |r| latencies(&r.attempt).and_then(|l| nanoseconds(l.e2e))),
    integer("input_tokens", |r| count(r.attempt.input_tokens)),
    integer("cached_tokens", |r| count(r.attempt.cached_tokens)),
    integer("output_tokens", |r| count(r.attempt.output_tokens)),
    integer("tokenizer_tokens", |r| r.attempt.tokenizer_tokens.and_then(count)),
    text("token_source", |r| r.attempt.token_source.and_then(|s| name(&s))),
    integer("chunks", |r| {
        let first = u64::from(r.attempt.first_token.is_some());
        count(r.attempt.chunk_gaps.len() as u64 + first)
    }),
    Column {
        name: "chunk_gaps_ns",
        value: Value::Integers(|r| r.attempt.chunk_gaps.iter().copied().filter_map(nanoseconds).collect()),
    },
    text("failure", |r| r.attempt.failure.and_then(|f| name(&f))),
    text("detail", |r| r.attempt.detail.as_deref().map(Arc::from)),
    integer("http_status", |r| r.attempt.http_status.map(Into::into)),
    integer("retry_after_ns", |r| r.attempt.retry_after.and_then(nanoseconds)),
    text("finish_reason", |r| r.attempt.finish_reason.as_deref().map(Arc::from)),
];

/// The word under which a cause or source is written everywhere else.
fn name(value: &impl serde::Serialize) -> Option<Arc<str>> {
    serde_json::to_value(value).ok()?.as_str().map(Arc::from)
}

/// The attempts of a journal in the order they ended.
pub fn rows<R: Read>(entries: Entries<R>) -> impl Iterator<Item = Result<AttemptRow, ExportError>> {
    let mut resumed = 0;
    entries.filter_map(move |entry| match entry {
        Ok(Entry::Attempt(line)) => Some(Ok(AttemptRow { resumed, phase: line.phase, attempt: line.record })),
        Ok(Entry::Resumed { .. }) => {
            resumed += 1;
            None
        }
        Ok(Entry::Header(_) | Entry::Searched(_) | Entry::Level(_) | Entry::Swept(_)) => None,
        Err(error) => Some(Err(error.into())),
    })
}

/// Writes latencies second by second of each phase's schedule, phases after one another in their order.
///
/// The journal knows no wall clock after its start: phases are laid end to end, without the pauses between.
///
/// # Errors
/// Where a row cannot be read or `out` cannot be written.
pub fn write_hlog(
    title: &str,
    started: Timestamp,
    rows: impl Iterator<Item = Result<AttemptRow, ExportError>>,
    out: impl Write,
) -> Result<u64, ExportError> {
    // Nothing is judged here: only latencies are read from the results.
    let slo = Slo { ttft: None, tpot: None, e2e: None, attainment: breakeven_measurement::Fraction::ZERO };
    let mut phases: Vec<(String, u32, Duration)> = Vec::new();
    let mut seconds: BTreeMap<(usize, u64), LoadResult> = BTreeMap::new();
    let mut written = 0;
    for row in rows {
        let row = row?;
        let known =
            phases.iter().position(|(phase, resumed, _)| *phase == row.phase && *resumed == row.resumed);
        let index = known.unwrap_or_else(|| {
            phases.push((row.phase.clone(), row.resumed, Duration::ZERO));
            phases.len() - 1
        });
        if let Some((_, _, length)) = phases.get_mut(index) {
            *length = (*length).max(row.attempt.done);
        }
        let load = seconds.entry((index, row.attempt.scheduled.as_secs())).or_default();
        tally::add(load, &row.attempt, &slo);
        written += 1;
    }
    let mut starts = vec![Duration::ZERO];
    for (_, _, length) in &phases {
        let whole_seconds = Duration::from_secs(length.as_secs() + 1);
        starts.push(starts.last().copied().unwrap_or_default() + whole_seconds);
    }
    let mut stretches: Vec<hlog::Stretch<'_>> = Vec::new();
    for ((index, second), load) in &seconds {
        let (Some((phase, _, _)), Some(start)) = (phases.get(*index), starts.get(*index)) else { continue };
        let series: [(&str, &LatencySeries); 6] = hlog::series_of(load);
        stretches.extend(series.map(|(name, series)| hlog::Stretch {
            tag: format!("{phase}.{name}"),
            start: *start + Duration::from_secs(*second),
            length: Duration::from_secs(1),
            series,
        }));
    }
    hlog::write(title, started, &stretches, out)?;
    Ok(written)
}
