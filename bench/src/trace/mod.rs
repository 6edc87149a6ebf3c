//! Arrivals and lengths of real services, from published traces.
//!
//! | format | recognised by | time | licence of the published data |
//! |---|---|---|---|
//! | Azure LLM inference 2023 | `TIMESTAMP,ContextTokens,GeneratedTokens` | date and time | CC-BY-4.0 |
//! | `BurstGPT` | `Timestamp,…,Request tokens,Response tokens,…` | seconds | CC-BY-4.0 |
//! | Mooncake | JSON lines with `timestamp`, `input_length`, `output_length`, `hash_ids` | milliseconds | Apache-2.0 |
//! | plain CSV | a column `arrival_seconds`, and perhaps `input_tokens`, `output_tokens` | seconds | yours |

mod parse;

use std::{collections::HashSet, path::Path, time::Duration};

use breakeven_measurement::{Fraction, RequestRate};

pub use parse::TraceError;

/// One request of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When it came, from the first of the trace.
    pub at: Duration,
    /// Its lengths, where the trace has them.
    pub lengths: Option<TokenLengths>,
    /// Hashes of its prompt's blocks, where the trace has them: equal beginnings are shared prefixes.
    pub blocks: Vec<u64>,
}

/// Prompt and answer length of one request, in tokens; at least one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLengths {
    /// Prompt.
    pub input: u32,
    /// Answer.
    pub output: u32,
}

/// A trace in the order of its arrivals; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The file's name.
    pub name: String,
    /// Its requests.
    pub rows: Vec<Row>,
    /// Requests that the trace gives no answer to (length 0): they are sent all the same, with one token asked.
    pub unanswered: u64,
}

impl Trace {
    /// Reads a trace file, telling its format by its first line.
    ///
    /// # Errors
    /// File, line, value and what was expected.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| TraceError::Read { file: name.clone(), source })?;
        Self::parse(&text, &name)
    }

    /// Parses a trace of that name.
    ///
    /// # Errors
    /// File, line, value and what was expected.
    pub fn parse(text: &str, name: &str) -> Result<Self, TraceError> {
        let (mut rows, unanswered) = parse::rows(text, name)?;
        // Logs merged from several servers may be out of order by a little; no arrival is dropped for it.
        rows.sort_by_key(|row| row.at);
        let first = rows.first().map_or(Duration::ZERO, |row| row.at);
        for row in &mut rows {
            row.at = row.at.saturating_sub(first);
        }
        if rows.len() < 2 {
            return Err(TraceError::TooShort { file: name.to_owned(), rows: rows.len() });
        }
        Ok(Self { name: name.to_owned(), rows, unanswered })
    }

    /// Multiplies all lengths; each stays at least one token.
    #[must_use]
    pub fn with_lengths_scaled(mut self, input: f64, output: f64) -> Self {
        let scaled = |tokens: u32, factor: f64| {
            let tokens = (f64::from(tokens) * factor).round().clamp(1.0, f64::from(u32::MAX));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a u32")]
            let tokens = tokens as u32;
            tokens
        };
        for lengths in self.rows.iter_mut().filter_map(|row| row.lengths.as_mut()) {
            *lengths =
                TokenLengths { input: scaled(lengths.input, input), output: scaled(lengths.output, output) };
        }
        self
    }

    /// Mean arrivals per second of the whole trace; `None` where all came at once.
    pub fn rate(&self) -> Option<RequestRate> {
        let span = self.rows.last()?.at.as_secs_f64();
        RequestRate::new((self.rows.len() - 1) as f64 / span).ok()
    }

    /// Squared coefficient of variation of the gaps between arrivals: 1 for Poisson, more for bursts.
    pub fn gap_variation(&self) -> f64 {
        let gaps: Vec<f64> = self
            .rows
            .windows(2)
            .filter_map(|pair| Some(pair.last()?.at.saturating_sub(pair.first()?.at).as_secs_f64()))
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len().max(1) as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len().max(1) as f64;
        if mean > 0.0 { variance / (mean * mean) } else { 1.0 }
    }

    /// Consecutive requests from number `first` on, in time scaled so that they come at `rate` on average over `length`.
    ///
    /// Gaps keep their proportions, so bursts stay bursts. A trace too short begins again, one mean gap after its end.
    pub fn replay(&self, rate: RequestRate, length: Duration, first: usize) -> Vec<(Duration, &Row)> {
        let wanted = (rate.per_second() * length.as_secs_f64()).round().max(0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of arrivals")]
        let wanted = wanted as usize;
        let turn = self.rows.last().map_or(0.0, |row| row.at.as_secs_f64())
            + self.rate().map_or(0.0, |rate| 1.0 / rate.per_second());
        let mut taken: Vec<(f64, &Row)> = self
            .rows
            .iter()
            .cycle()
            .skip(first % self.rows.len())
            .zip(first % self.rows.len()..)
            .take(wanted)
            .map(|(row, number)| {
                let turns = (number / self.rows.len()) as f64;
                (turns * turn + row.at.as_secs_f64(), row)
            })
            .collect();
        let begin = taken.first().map_or(0.0, |(at, _)| *at);
        let span = taken.last().map_or(0.0, |(at, _)| at - begin);
        // n arrivals span n − 1 gaps: the schedule ends one mean gap after the last.
        let factor = if span > 0.0 {
            length.as_secs_f64() * (wanted as f64 - 1.0) / wanted as f64 / span
        } else {
            0.0
        };
        taken.drain(..).map(|(at, row)| (Duration::from_secs_f64((at - begin) * factor), row)).collect()
    }

    /// Share of prompt blocks that an unlimited prefix cache would answer: blocks whose whole beginning came before.
    /// `None` where the trace has no hashes.
    pub fn prefix_hit_share(&self) -> Option<Fraction> {
        let mut seen: HashSet<&[u64]> = HashSet::new();
        let (mut hits, mut blocks) = (0u64, 0u64);
        for row in &self.rows {
            let mut hit = true;
            for end in 1..=row.blocks.len() {
                let beginning = row.blocks.get(..end).unwrap_or_default();
                hit = hit && seen.contains(beginning);
                hits += u64::from(hit);
                blocks += 1;
                seen.insert(beginning);
            }
        }
        Fraction::of(hits, blocks)
    }
}
