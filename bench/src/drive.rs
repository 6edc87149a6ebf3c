//! Sending a schedule, open loop, and timing what comes back. Nothing is skipped: a late arrival is sent late and its
//! latency still counts from when it was due.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use breakeven_measurement::FailureCause;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    nanoseconds,
    requests::Request,
    send::{Lanes, Message, Sending},
    target::Target,
};

/// How the sender waits for an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// tokio's timer alone: millisecond steps, and the only choice in paused time.
    Timer,
    /// A thread of its own that sleeps until shortly before, then spins: microsecond sends for real runs.
    Precise,
}

/// One attempt, in time since the start of its schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Request number.
    pub id: u64,
    /// Index of the segment.
    pub segment: usize,
    /// When it was due.
    #[serde(rename = "scheduled_ns", with = "nanoseconds")]
    pub scheduled: Duration,
    /// When it was handed to the target.
    #[serde(rename = "sent_ns", with = "nanoseconds")]
    pub sent: Duration,
    /// First token of any kind, reasoning included.
    #[serde(rename = "first_token_ns", with = "nanoseconds::optional")]
    pub first_token: Option<Duration>,
    /// First token that a user sees.
    #[serde(
        rename = "first_visible_ns",
        with = "nanoseconds::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub first_visible: Option<Duration>,
    /// Last token.
    #[serde(rename = "last_token_ns", with = "nanoseconds::optional")]
    pub last_token: Option<Duration>,
    /// When its end was known.
    #[serde(rename = "done_ns", with = "nanoseconds")]
    pub done: Duration,
    /// Prompt tokens asked.
    pub input_tokens: u64,
    /// Of these, read from a prefix cache.
    pub cached_tokens: u64,
    /// Answer tokens seen.
    pub output_tokens: u64,
    /// Who counted them.
    pub token_source: Option<breakeven_measurement::level::TokenSource>,
    /// Answer tokens by our tokenizer, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer_tokens: Option<u64>,
    /// Gaps between chunks.
    #[serde(rename = "chunk_gaps_ns", with = "nanoseconds::list")]
    pub chunk_gaps: Vec<Duration>,
    /// Why it failed; absent where it completed.
    pub failure: Option<FailureCause>,
    /// What the target said of the failure.
    pub detail: Option<String>,
    /// HTTP status, where an HTTP server answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// How long the server asked to wait before another try.
    #[serde(
        rename = "retry_after_ns",
        with = "nanoseconds::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_after: Option<Duration>,
    /// Why generation ended, in the target's word (`stop`, `length`, `tool_calls`…).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Why earlier tries of the same request failed, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retries: Vec<FailureCause>,
    /// Tokens, in and out, that those tries spent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retried_tokens: u64,
    /// Whether the fallback was asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fell_back: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How far a schedule is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Arrivals of the schedule.
    pub scheduled: u64,
    /// Handed to the target.
    pub sent: u64,
    /// Completed.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Go,
    /// Send nothing more and cut off what is in flight.
    Stop,
}

/// What a drive needs besides its schedule.
#[derive(Debug, Clone)]
pub struct DriveSettings {
    /// Longest life of an attempt, from when it was due.
    pub timeout: Duration,
    /// Longest wait after the last arrival; `None` waits for every attempt's own timeout.
    pub drain: Option<Duration>,
    /// How the sender waits.
    pub pacing: Pacing,
    /// Most attempts at once; an arrival over it waits its turn and is still timed from when it was due. `None` has no cap.
    pub most_in_flight: Option<NonZeroUsize>,
    /// Turns true on Ctrl-C.
    pub cancel: watch::Receiver<bool>,
}

/// What came of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Driven {
    /// Zero of the schedule and of all times in the attempts.
    pub start: Instant,
    /// Every attempt that was sent, in the order they ended.
    pub attempts: Vec<Attempt>,
    /// Arrivals never sent, because the drive was stopped.
    pub unsent: u64,
    /// Whether the cancel signal ended it.
    pub cancelled: bool,
}

/// Drives `target` through a schedule of due times and requests.
///
/// `on_attempt` sees each attempt as it ends, and may stop the drive. Ends when all attempts have.
pub async fn drive(
    target: &Arc<dyn Target>,
    schedule: Vec<(Duration, Request)>,
    settings: &DriveSettings,
    on_attempt: &mut (dyn FnMut(Option<&Attempt>, Progress) -> Next + Send),
) -> Driven {
    let start = Instant::now();
    let mut progress = Progress { scheduled: schedule.len() as u64, ..Progress::default() };
    let last_due = schedule.last().map_or(Duration::ZERO, |(due, _)| *due);
    let mut driven =
        Driven { start, attempts: Vec::with_capacity(schedule.len()), unsent: 0, cancelled: false };
    let (messages, mut arriving) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(None);
    let lanes = Lanes {
        target: Arc::clone(target),
        start,
        last_due,
        timeout: settings.timeout,
        most_in_flight: settings.most_in_flight.map_or(usize::MAX, NonZeroUsize::get),
        stop: stopped,
        messages,
        state: Mutex::default(),
    };
    let sending = Sending::start(lanes, schedule, settings.pacing, stop);
    let mut cancel = settings.cancel.clone();
    let drain_end = settings.drain.map(|drain| start + last_due + drain);
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            () = cancelled(&mut cancel), if !stopping => {
                driven.cancelled = true;
                stopping = true;
                sending.stop(FailureCause::Interrupted);
            }
            message = arriving.recv() => {
                let ended = match message {
                    // The sender and every attempt have ended.
                    None => break,
                    Some(Message::Scheduled) => {
                        progress.scheduled += 1;
                        None
                    }
                    Some(Message::Sent) => {
                        progress.sent += 1;
                        None
                    }
                    Some(Message::Ended(attempt)) => {
                        count(&mut progress, &attempt);
                        Some(*attempt)
                    }
                };
                if on_attempt(ended.as_ref(), progress) == Next::Stop && !stopping {
                    stopping = true;
                    sending.stop(FailureCause::Timeout);
                }
                driven.attempts.extend(ended);
            }
            () = sleep_until(drain_end.unwrap_or(start)), if drain_end.is_some() && !stopping => {
                stopping = true;
                sending.stop(FailureCause::Timeout);
            }
        }
    }
    driven.unsent = progress.scheduled - progress.sent;
    driven
}

async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        // Nobody can cancel any more.
        std::future::pending::<()>().await;
    }
}

fn count(progress: &mut Progress, attempt: &Attempt) {
    if attempt.failure.is_some() {
        progress.failed += 1;
    } else {
        progress.completed += 1;
    }
}
