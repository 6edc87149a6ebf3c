//! Rows for the step model from a target that keeps no step log: what each request waited for, beside what the others in flight
//! did meanwhile.
//!
//! A decoding request makes one token a step. Between its first and its last token there were as many steps as it made tokens, and in
//! them the other requests in flight made theirs and had their prompts worked on: the sums over those steps are a row, its
//! seconds the time between the two tokens. The time to the first token is another row, of its own prompt. How much of another
//! request falls into a stretch is taken in proportion to the time, its prompt's from when its turn came: servers take prompts in order of
//! arrival, and one that waits for the prompts before it is not worked on. Neighbouring rows share steps: their residuals are not
//! independent, and the intervals of a fit on them are too narrow.

use std::{cmp::Ordering, time::Duration};

use breakeven_measurement::{FailureCause, step_fit::StepRow};

use crate::drive::Attempt;

/// Requests that rows are made of; the others in flight are counted beside them in any case.
const MOST_SUBJECTS: usize = 600;

/// Two first tokens this share of a usual step apart or nearer are of one step.
const SAME_STEP: f64 = 0.5;
/// First tokens looked through for the one before a prompt's turn: servers that take prompts in order need one or two.
const MOST_LOOKED_AT: usize = 256;

/// A completed request, in seconds of its schedule.
#[derive(Debug, Clone, Copy)]
struct Life {
    sent: f64,
    /// When its prompt's turn came.
    turn: f64,
    first: f64,
    last: f64,
    prompt: f64,
    answer: f64,
}

impl Life {
    fn of(attempt: &Attempt) -> Option<Self> {
        let seconds = |time: Option<Duration>| time.map(|t| t.as_secs_f64());
        // An answer that failed its check took as long as any; the time of a retried one holds waits and another try's work.
        let answered = matches!(attempt.failure, None | Some(FailureCause::FailedValidation));
        let retried = !attempt.retries.is_empty() || attempt.fell_back;
        if !answered || retried || attempt.output_tokens == 0 {
            return None;
        }
        let prompt = attempt.input_tokens.saturating_sub(attempt.cached_tokens) as f64;
        let (first, last) = (seconds(attempt.first_token)?, seconds(attempt.last_token)?);
        let sent = attempt.sent.as_secs_f64();
        let answer = attempt.output_tokens as f64;
        (sent <= first && first <= last).then_some(Self { sent, turn: sent, first, last, prompt, answer })
    }

    /// Adds what this request did between two times; returns the tokens that it made.
    fn work(&self, from: f64, to: f64, row: &mut StepRow) -> f64 {
        let share = |a: f64, b: f64| if b > a { ((b.min(to) - a.max(from)) / (b - a)).max(0.0) } else { 0.0 };
        let prefill = share(self.turn, self.first) * self.prompt;
        row.prefill_tokens += prefill;
        row.context_tokens += prefill;
        let decoded = share(self.first, self.last) * (self.answer - 1.0);
        if decoded > 0.0 {
            let middle = f64::midpoint(self.first.max(from), self.last.min(to));
            let made = 1.0 + (middle - self.first) / (self.last - self.first) * (self.answer - 1.0);
            row.decoding_sequences += decoded;
            row.context_tokens += decoded * (self.prompt + made);
        }
        decoded
    }
}

/// A prompt's turn comes with the latest first token, of another step, among the requests sent no later. Without gaps between
/// chunks nothing tells two steps apart, and every prompt is taken as worked on since it was sent.
fn take_turns(lives: &mut [Life], step: f64) {
    if step <= 0.0 {
        return;
    }
    let mut by_first: Vec<usize> = (0..lives.len()).collect();
    let of = |lives: &[Life], index: usize| lives.get(index).copied();
    by_first.sort_by(|a, b| {
        of(lives, *a).map(|l| l.first).partial_cmp(&of(lives, *b).map(|l| l.first)).unwrap_or(Ordering::Equal)
    });
    for (place, index) in by_first.iter().enumerate() {
        let Some(own) = of(lives, *index) else { continue };
        let earlier = by_first.iter().take(place).rev().filter_map(|other| of(lives, *other));
        let before = earlier
            .take_while(|other| other.first > own.sent)
            .take(MOST_LOOKED_AT)
            .find(|other| other.sent <= own.sent && other.first < own.first - step * SAME_STEP);
        if let (Some(before), Some(life)) = (before, lives.get_mut(*index)) {
            life.turn = before.first;
        }
    }
}

/// The median gap between chunks, in seconds; 0 without any.
fn usual_step(attempts: &[Attempt]) -> f64 {
    let mut gaps: Vec<Duration> =
        attempts.iter().flat_map(|attempt| attempt.chunk_gaps.iter().copied()).collect();
    let middle = gaps.len() / 2;
    if gaps.is_empty() { 0.0 } else { gaps.select_nth_unstable(middle).1.as_secs_f64() }
}

/// Two rows a request: from its prompt's turn until its first token, and from then to its last.
pub fn of_attempts(attempts: &[Attempt]) -> Vec<StepRow> {
    let mut lives: Vec<Life> = attempts.iter().filter_map(Life::of).collect();
    take_turns(&mut lives, usual_step(attempts));
    let every = lives.len().div_ceil(MOST_SUBJECTS).max(1);
    let mut rows = Vec::new();
    for (index, own) in lives.iter().enumerate().step_by(every) {
        let stretch = |from: f64, to: f64| {
            let mut row = StepRow {
                steps: 0.0,
                prefill_tokens: 0.0,
                decoding_sequences: 0.0,
                context_tokens: 0.0,
                seconds: to - from,
            };
            // Steps of a stretch are the tokens of whoever made most in it, and at least one.
            let mut most: f64 = 1.0;
            for (_, other) in
                lives.iter().enumerate().filter(|(i, l)| *i != index && l.sent < to && l.last > from)
            {
                most = most.max(other.work(from, to, &mut row));
            }
            let made = own.work(from, to, &mut row);
            row.steps = if made > 0.0 { made } else { most };
            row
        };
        if own.first > own.turn {
            rows.push(stretch(own.turn, own.first));
        }
        if own.answer > 1.0 && own.last > own.first {
            rows.push(stretch(own.first, own.last));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use breakeven_measurement::step_fit::{FitLimits, fit_steps};

    use super::*;

    fn attempt(sent: f64, first: f64, last: f64, prompt: u64, answer: u64) -> Attempt {
        let time = Duration::from_secs_f64;
        Attempt {
            id: 0,
            segment: 0,
            scheduled: time(sent),
            sent: time(sent),
            first_token: Some(time(first)),
            first_visible: None,
            last_token: Some(time(last)),
            done: time(last),
            input_tokens: prompt,
            cached_tokens: 0,
            output_tokens: answer,
            token_source: None,
            tokenizer_tokens: None,
            chunk_gaps: Vec::new(),
            failure: None,
            detail: None,
            http_status: None,
            retry_after: None,
            finish_reason: None,
            retries: Vec::new(),
            retried_tokens: 0,
            fell_back: false,
        }
    }

    #[test]
    fn a_request_alone_is_its_own_two_rows() {
        let rows = of_attempts(&[attempt(1.0, 1.2, 2.2, 100, 11)]);
        assert_eq!(rows.len(), 2);
        assert!((rows[0].prefill_tokens - 100.0).abs() < 1e-9 && (rows[0].seconds - 0.2).abs() < 1e-9);
        assert!((rows[0].steps - 1.0).abs() < 1e-9 && rows[0].decoding_sequences.abs() < 1e-9);
        assert!((rows[1].steps - 10.0).abs() < 1e-9 && (rows[1].decoding_sequences - 10.0).abs() < 1e-9);
        assert!((rows[1].context_tokens - 10.0 * 106.0).abs() < 1e-6, "{:?}", rows[1]);
    }

    #[test]
    fn what_others_did_meanwhile_is_beside_it() {
        let rows = of_attempts(&[attempt(0.0, 0.1, 1.1, 50, 101), attempt(0.5, 0.6, 0.6, 40, 1)]);
        // The second one's prompt fell into the first one's decoding, and of that a tenth into the second's wait.
        assert!((rows[1].prefill_tokens - 40.0).abs() < 1e-9 && (rows[1].steps - 100.0).abs() < 1e-9);
        assert!((rows[2].decoding_sequences - 10.0).abs() < 1e-9 && (rows[2].steps - 10.0).abs() < 1e-9);
    }

    /// Three prompts at once, worked on in order of arrival, each in a step of its own; the first two go on decoding meanwhile.
    #[test]
    fn a_prompt_that_waits_for_others_is_not_worked_on_yet() {
        let mut burst = vec![
            attempt(0.0, 0.1, 1.0, 100, 10),
            attempt(0.0, 0.3, 1.0, 200, 8),
            attempt(0.0, 0.6, 1.0, 300, 5),
        ];
        for attempt in &mut burst {
            attempt.chunk_gaps = vec![Duration::from_millis(100)];
        }
        let rows = of_attempts(&burst);
        let waits: Vec<(f64, f64)> =
            rows.iter().step_by(2).map(|row| (row.prefill_tokens, row.seconds)).collect();
        for ((tokens, seconds), expected) in waits.into_iter().zip([(100.0, 0.1), (200.0, 0.2), (300.0, 0.3)])
        {
            assert!(
                (tokens - expected.0).abs() < 1e-9 && (seconds - expected.1).abs() < 1e-9,
                "{tokens} in {seconds}"
            );
        }
        // First tokens a millisecond apart are of one step: both prompts were in it.
        burst[1].first_token = Some(Duration::from_millis(101));
        let rows = of_attempts(&burst);
        assert!((rows[0].prefill_tokens - 100.0 - 200.0 * 100.0 / 101.0).abs() < 1e-6, "{:?}", rows[0]);
        assert!((rows[2].prefill_tokens - 300.0).abs() < 1e-6, "{:?}", rows[2]);
    }

    /// Answers of one token have no gaps between chunks: two prompts of one step must not read as two microsecond steps.
    #[test]
    fn without_gaps_between_chunks_nothing_takes_turns() {
        let rows = of_attempts(&[attempt(0.0, 0.1, 0.1, 100, 1), attempt(0.0001, 0.10002, 0.10002, 100, 1)]);
        assert!(rows.iter().all(|row| row.seconds > 0.09), "{rows:?}");
    }

    #[test]
    fn answers_that_failed_their_check_count_and_retried_ones_do_not() {
        let mut failed = attempt(0.0, 0.1, 0.5, 100, 5);
        failed.failure = Some(FailureCause::FailedValidation);
        assert_eq!(of_attempts(&[failed.clone()]).len(), 2);
        failed.retries = vec![FailureCause::RateLimited];
        assert_eq!(of_attempts(&[failed]).len(), 0);
        let mut lost = attempt(0.0, 0.1, 0.5, 100, 5);
        lost.failure = Some(FailureCause::Timeout);
        assert_eq!(of_attempts(&[lost]).len(), 0);
    }

    /// Requests one at a time and in pairs, timed by a known step model.
    #[test]
    fn a_known_server_is_found_again() {
        let (base, prefill, decode) = (0.004, 2e-4, 1e-3);
        let mut attempts = Vec::new();
        for i in 0..120_u32 {
            let (start, prompt, answer) =
                (f64::from(i) * 10.0, 50 + u64::from(i % 9) * 30, 20 + u64::from(i % 5) * 10);
            let first = start + base + prefill * prompt as f64;
            let together = if i % 2 == 0 { 1.0 } else { 2.0 };
            let last = first + (answer - 1) as f64 * (base + decode * together);
            attempts.push(attempt(start, first, last, prompt, answer));
            if i % 2 == 1 {
                // Its twin decodes beside it, and had its prompt from a cache.
                attempts.push(attempt(first, first, last, 0, answer));
            }
        }
        let fit = fit_steps(&of_attempts(&attempts), &FitLimits::default()).unwrap();
        let [b, p, d, _] = fit.model.coefficients();
        assert!((b / base - 1.0).abs() < 0.05 && (p / prefill - 1.0).abs() < 0.05, "{fit:?}");
        assert!((d / decode - 1.0).abs() < 0.05, "{fit:?}");
    }
}
