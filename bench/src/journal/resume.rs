//! What a half-finished run has already measured, and whether another run may go on from it.

use std::path::{Path, PathBuf};

use breakeven_measurement::{LevelName, LevelResult, SweepPoint};
use serde_json::Value;

use crate::{
    bootstrap::{RequestFigures, figures_of},
    requests::BESIDE,
    run::CALIBRATION,
};

use super::{Entries, Entry, Header, JournalError, ReadError, Searched};

/// Differences that a refusal names.
const NAMED: usize = 4;

/// What a resumed run need not repeat.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// The search, where it ended.
    pub searched: Option<Searched>,
    /// Runs of levels that reached the end of their schedules, in the order they did.
    pub levels: Vec<KeptLevel>,
    /// Steps of the sweep that ran to their end.
    pub sweep: Vec<SweepPoint>,
    /// Requests drawn for the sweep so far.
    pub requests_beside: u64,
    /// Requests drawn so far: the next prompt must be none that the target has seen.
    pub requests: u64,
    /// Phases begun so far: the next schedule must be none that was run.
    pub phases: u64,
}

/// A run of a level that reached its end.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptLevel {
    /// What it found.
    pub result: LevelResult,
    /// The requests of its window.
    pub figures: Vec<RequestFigures>,
}

impl Kept {
    /// A run of the level of that name, counted from 0, where it reached its end.
    pub fn level(&self, name: LevelName, run: u32) -> Option<&KeptLevel> {
        self.levels.iter().filter(|level| level.result.name == name).nth(usize::try_from(run).ok()?)
    }
}

/// Why a run cannot be resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal cannot be written.
    #[error(transparent)]
    Write(#[from] JournalError),
    /// Its run was asked for something else.
    #[error(
        "`{path}` is the journal of another run: {differences}; give what that run was given, or start anew without --resume"
    )]
    Differs {
        /// The journal.
        path: PathBuf,
        /// What differs: the setting, then, now.
        differences: String,
    },
}

/// Reads what is kept, the earlier run's header, and where its last whole line ends.
pub(super) fn resume(path: &Path, header: &Header) -> Result<(Kept, Header, u64), ResumeError> {
    let (earlier, mut entries) = Entries::open(path)?;
    let mut differences = Vec::new();
    // Through text and back, as the journal's own went: a number may lose its last bit on the way.
    let now = serde_json::from_str(&header.settings.to_string()).unwrap_or_else(|_| header.settings.clone());
    differ("", &earlier.settings, &now, &mut differences);
    if !differences.is_empty() {
        let more = differences.len().saturating_sub(NAMED);
        let mut named = differences.into_iter().take(NAMED).collect::<Vec<_>>().join("; ");
        if more > 0 {
            named = format!("{named}; and {more} more");
        }
        return Err(ResumeError::Differs { path: path.to_owned(), differences: named });
    }
    let mut kept = Kept::default();
    let mut phase = String::new();
    let mut attempts = Vec::new();
    for entry in &mut entries {
        match entry? {
            Entry::Attempt(line) => {
                match line.record.id.checked_sub(BESIDE) {
                    None => kept.requests = kept.requests.max(line.record.id + 1),
                    // Calibration is run again, from its own first request.
                    Some(_) if line.phase == CALIBRATION => {}
                    Some(id) => kept.requests_beside = kept.requests_beside.max(id.saturating_add(1)),
                }
                if line.phase != phase {
                    kept.phases += 1;
                    phase = line.phase;
                    attempts.clear();
                }
                attempts.push(line.record);
            }
            Entry::Searched(searched) => kept.searched = Some(searched),
            Entry::Level(level) => {
                let figures = figures_of(&attempts, level.warmup);
                kept.levels.push(KeptLevel { result: *level, figures });
            }
            Entry::Swept(point) => kept.sweep.push(*point),
            Entry::Header(_) | Entry::Resumed { .. } => {
                phase.clear();
                attempts.clear();
            }
        }
    }
    Ok((kept, earlier, entries.whole_bytes()))
}

/// The places where two values differ, each with both values.
fn differ(at: &str, then: &Value, now: &Value, found: &mut Vec<String>) {
    let join = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match (then, now) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                differ(&join(key), value, b.get(key).unwrap_or(&Value::Null), found);
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                differ(&join(key), &Value::Null, value, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{at}[{index}]"), a, b, found);
            }
        }
        _ if then == now => {}
        _ => found.push(format!("{at} was {then}, now {now}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_with_both_values() {
        let then = json!({"plan": {"seed": 7, "rates": [1.0, 2.0]}, "same": true});
        let now = json!({"plan": {"seed": 8, "rates": [1.0, 3.0]}, "same": true, "shard": "0/2"});
        let mut found = Vec::new();
        differ("", &then, &now, &mut found);
        assert_eq!(
            found,
            ["plan.rates[1] was 2.0, now 3.0", "plan.seed was 7, now 8", "shard was null, now \"0/2\""]
        );
    }
}
