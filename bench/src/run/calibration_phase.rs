//! Before the levels of a target without a step log: 2, 4, 8… requests at once, then requests alone, of prompt lengths across the workload's.
//!
//! In the levels a prompt is worked on while others decode and the number of sequences hardly changes: their rows alone hardly tell
//! the time of a prompt token from that of a sequence. TTFT against prompt length tells the one, the bursts tell the other.
//!
//! The bursts come first, and both after the search where there is one: a server that was under load is in another state than a fresh one. llama.cpp's
//! attends to all cells of its KV memory in use, and those of finished requests stay in use (docs/ACCURACY.md has the figures).

use std::time::Duration;

use breakeven_measurement::{FailureCause, Workload};
use tokio::time::Instant;

use super::{CALIBRATION, RunError, RunEvent, runner::Runner};
use crate::{
    drive::{Attempt, Next},
    requests::{Request, RequestSource},
    trace::TokenLengths,
};

/// Share of the search's time that the bursts may take, and then the requests alone again; none begins that would end after it.
const SHARE: f64 = 0.5;
/// Prompt lengths of the requests alone.
const LENGTHS: u32 = 5;
/// Most answer tokens of a request: more say nothing new of a step.
const MOST_ANSWER: u32 = 32;
/// Largest burst.
const LARGEST: u32 = 128;
/// A burst that makes less than this share more tokens a second than the one before it is the last: the target batches no wider.
const GROWTH: f64 = 1.1;
/// Bursts up to this size are sent whatever they gain.
const LEAST: u32 = 8;

impl Runner<'_> {
    /// Sends them and keeps their rows for the step model. A failed request ends the bursts: wider ones would fail too.
    pub(super) async fn calibrate(&mut self) -> Result<(), RunError> {
        (self.on_event)(RunEvent::Calibrating);
        let began = Instant::now();
        let budget = self.plan.durations.search.mul_f64(SHARE);
        let mut source = self.source.for_calibration(self.plan.seed.wrapping_add(2));
        let lengths = prompt_lengths(&self.plan.workload);
        let [.., middle, _, _] = lengths;
        let (mut size, mut before, mut took) = (2, 0.0, Duration::ZERO);
        // A burst twice as large takes as long or longer.
        while size <= LARGEST && began.elapsed() + took < budget {
            let sent = Instant::now();
            let Some(rate) = self.burst(&mut source, size, middle).await? else { break };
            if size >= LEAST && rate < before * GROWTH {
                break;
            }
            (before, took) = (rate, sent.elapsed());
            size *= 2;
        }
        for input in lengths {
            if *self.cancel.borrow() || began.elapsed() >= budget * 2 {
                break;
            }
            self.burst(&mut source, 1, input).await?;
        }
        Ok(())
    }

    /// So many requests at once; answer tokens a second, or `None` where one failed, which leaves no rows: the server worked on it too.
    async fn burst(
        &mut self,
        source: &mut RequestSource,
        size: u32,
        input: u32,
    ) -> Result<Option<f64>, RunError> {
        let output = answer_length(&self.plan.workload);
        let requests = (0..size).map(|_| source.draw_of(Some(TokenLengths { input, output })));
        let schedule: Vec<(Duration, Request)> = requests.map(|request| (Duration::ZERO, request)).collect();
        let driven = self.drive(CALIBRATION, schedule, None, &mut |_, _| Next::Go).await?;
        // A check of the answer is not what is measured here, and these answers are short.
        let answered = |attempt: &Attempt| {
            matches!(attempt.failure, None | Some(FailureCause::FailedValidation))
                && attempt.output_tokens > 0
        };
        if driven.cancelled || !driven.attempts.iter().all(answered) {
            return Ok(None);
        }
        self.steps.note_calibration(&driven.attempts);
        let tokens: u64 = driven.attempts.iter().map(|a| a.output_tokens).sum();
        let end = driven.attempts.iter().map(|a| a.done).max().unwrap_or_default();
        Ok(Some(tokens as f64 / end.as_secs_f64().max(f64::MIN_POSITIVE)))
    }
}

/// Prompt lengths in equal ratios, from the tenth percentile of the shortest segment to the 99th of the longest.
fn prompt_lengths(workload: &Workload) -> [u32; LENGTHS as usize] {
    let at = |deviate: f64| workload.segments.iter().map(move |s| s.input_tokens.at_deviate(deviate));
    let (low, high) = (at(-1.281_55).min().unwrap_or(1), at(2.326_35).max().unwrap_or(1));
    let ratio = f64::from(high.max(low)) / f64::from(low.max(1));
    std::array::from_fn(|step| {
        let length = f64::from(low.max(1)) * ratio.powf(step as f64 / f64::from(LENGTHS - 1));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two u32 lengths"
        )]
        let length = length.round() as u32;
        length
    })
}

fn answer_length(workload: &Workload) -> u32 {
    let longest = workload.segments.iter().map(|s| s.output_tokens.median()).max();
    longest.unwrap_or(1).clamp(2, MOST_ANSWER)
}

#[cfg(test)]
mod tests {
    use breakeven_measurement::{Lengths, Segment};

    use super::*;

    #[test]
    fn lengths_span_the_workload_in_equal_ratios() {
        let lengths = |median, p90, max| Lengths::new(median, p90, Some(max)).unwrap();
        let segments = vec![
            Segment::plain("short", 0.7, lengths(32, 48, 64), lengths(16, 24, 32)),
            Segment::plain("long", 0.3, lengths(64, 96, 128), lengths(24, 40, 64)),
        ];
        let workload = Workload { segments };
        // 32² / 48 is the tenth percentile of the short ones; the 99th of the long ones, 134, is cut at their maximum.
        assert_eq!(prompt_lengths(&workload), [21, 33, 52, 81, 128]);
        assert_eq!(answer_length(&workload), 24);
    }

    #[test]
    fn one_length_is_all_there_is_of_a_constant() {
        let one = Lengths::constant(100).unwrap();
        let workload =
            Workload { segments: vec![Segment::plain("all", 1.0, one, Lengths::constant(1).unwrap())] };
        assert_eq!(prompt_lengths(&workload), [100; LENGTHS as usize]);
        assert_eq!(answer_length(&workload), 2);
    }
}
