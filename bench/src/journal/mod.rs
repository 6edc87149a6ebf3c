//! Every attempt on disk as it finishes, one JSON line each: a crash, Ctrl-C or a full disk loses nothing that was done.
//!
//! A journal is a header (what was asked), then attempts, searches and levels in the order they ended. A line counts once
//! its newline is there. [`Journal`] writes, [`Entries`] reads, [`Kept`] is what a resumed run need not repeat.

mod read;
mod resume;
mod write;

use breakeven_measurement::{LevelResult, RequestRate, SearchRecord, SweepPoint};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::drive::Attempt;

pub use read::{Entries, ReadError};
pub use resume::{Kept, KeptLevel, ResumeError};
pub use write::{Journal, JournalError, Sink};

/// The format this version writes.
pub const FORMAT: &str = "breakeven.journal/1";

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly every entry is an attempt, the largest")]
pub enum Entry {
    /// What was asked; the first line.
    Header(Header),
    /// An attempt ended.
    Attempt(AttemptLine),
    /// The search for the highest rate ended.
    Searched(Searched),
    /// A level ran to the end of its schedule.
    Level(Box<LevelResult>),
    /// A step of the sweep ran to its end.
    Swept(Box<SweepPoint>),
    /// The run was taken up again here.
    Resumed {
        /// When.
        at: Timestamp,
    },
}

/// What a run was asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`] of the version that wrote it.
    pub format: String,
    /// Identifies the run.
    pub run_id: String,
    /// When it began.
    pub started: Timestamp,
    /// Everything that decides what is measured, by name. A run is resumed only where all of it is the same.
    pub settings: Value,
}

/// An attempt and what it was part of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptLine {
    /// `warm-up`, `flat out`, `probe 3`, `expected`…
    pub phase: String,
    /// What came of it.
    pub record: Attempt,
}

/// A finished search and the rate that the levels are shares of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Searched {
    /// Its probes and conclusion.
    pub record: SearchRecord,
    /// The rate.
    pub base_rate: RequestRate,
}
