//! Sending a schedule, open loop, and timing what comes back. Nothing is skipped: a late arrival is sent late and its
//! latency still counts from when it was due.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use breakeven_measurement::FailureCause;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    requests::Request,
    target::{Outcome, Target, Trace, Usage},
};

/// How the sender waits for an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// tokio's timer alone: millisecond steps, and the only choice in paused time.
    Timer,
    /// The timer until shortly before, then a spin: microsecond sends for real runs.
    Precise,
}

/// How long before an arrival the precise sender leaves the timer: on a machine whose cores all compute, a sleeper may
/// wake milliseconds late.
const LONGEST_SPIN: Duration = Duration::from_millis(4);
/// The same at high rates, where the sender is awake anyway.
const SHORTEST_SPIN: Duration = Duration::from_micros(200);
/// Share of the mean gap between arrivals that may be spun away.
const SPIN_SHARE: f64 = 0.05;

/// One attempt, in time since the start of its schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Request number.
    pub id: u64,
    /// Index of the segment.
    pub segment: usize,
    /// When it was due.
    pub scheduled: Duration,
    /// When it was handed to the target.
    pub sent: Duration,
    /// First token of any kind.
    pub first_token: Option<Duration>,
    /// Last token.
    pub last_token: Option<Duration>,
    /// When its end was known.
    pub done: Duration,
    /// Prompt tokens asked.
    pub input_tokens: u64,
    /// Of these, read from a prefix cache.
    pub cached_tokens: u64,
    /// Answer tokens seen.
    pub output_tokens: u64,
    /// Who counted them.
    pub token_source: Option<breakeven_measurement::level::TokenSource>,
    /// Gaps between chunks.
    pub chunk_gaps: Vec<Duration>,
    /// Why it failed; absent where it completed.
    pub failure: Option<FailureCause>,
    /// What the target said of the failure.
    pub detail: Option<String>,
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
    /// Turns true on Ctrl-C.
    pub cancel: watch::Receiver<bool>,
}

/// What came of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Driven {
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
    let mut waiting: VecDeque<_> = schedule.into();
    let mut driven = Driven { attempts: Vec::with_capacity(waiting.len()), unsent: 0, cancelled: false };
    let (finished, mut finishing) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(None);
    let mut cancel = settings.cancel.clone();
    let drain_end = settings.drain.map(|drain| start + last_due + drain);
    let mut stopping = false;
    let mut in_flight = 0u64;
    let mean_gap = last_due.as_secs_f64() / (progress.scheduled.max(1) as f64);
    let spin = Duration::from_secs_f64(mean_gap * SPIN_SHARE).clamp(SHORTEST_SPIN, LONGEST_SPIN);

    while in_flight > 0 || !waiting.is_empty() {
        let next_due = waiting.front().map(|(due, _)| start + *due);
        let wake = match settings.pacing {
            Pacing::Timer => next_due,
            Pacing::Precise => next_due.map(|due| due.checked_sub(spin).unwrap_or(due)),
        };
        tokio::select! {
            biased;
            () = cancelled(&mut cancel), if !stopping => {
                driven.cancelled = true;
                stopping = true;
                stop.send_replace(Some(FailureCause::Interrupted));
            }
            Some(attempt) = finishing.recv() => {
                in_flight -= 1;
                count(&mut progress, &attempt);
                if on_attempt(Some(&attempt), progress) == Next::Stop && !stopping {
                    stopping = true;
                    stop.send_replace(Some(FailureCause::Timeout));
                }
                driven.attempts.push(attempt);
            }
            () = sleep_until(wake.unwrap_or(start)), if next_due.is_some() && !stopping => {
                let Some((due, request)) = waiting.pop_front() else { continue };
                if settings.pacing == Pacing::Precise {
                    while Instant::now() < start + due {
                        std::hint::spin_loop();
                    }
                }
                in_flight += 1;
                progress.sent += 1;
                let life = Life { start, due, deadline: start + due + settings.timeout, stopped: stopped.clone() };
                tokio::spawn(attempt(Arc::clone(target), request, life, finished.clone()));
                if on_attempt(None, progress) == Next::Stop {
                    stopping = true;
                    stop.send_replace(Some(FailureCause::Timeout));
                }
            }
            () = sleep_until(drain_end.unwrap_or(start)),
                if drain_end.is_some() && waiting.is_empty() && !stopping =>
            {
                stopping = true;
                stop.send_replace(Some(FailureCause::Timeout));
            }
        }
        if stopping {
            driven.unsent += waiting.len() as u64;
            waiting.clear();
        }
    }
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

struct Life {
    start: Instant,
    due: Duration,
    deadline: Instant,
    stopped: watch::Receiver<Option<FailureCause>>,
}

async fn attempt(
    target: Arc<dyn Target>,
    request: Request,
    mut life: Life,
    finished: mpsc::UnboundedSender<Attempt>,
) {
    let sent = Instant::now();
    let mut trace = Trace::default();
    let cut = |cause: FailureCause| Outcome::Failed { cause, detail: "cut off".to_owned() };
    let outcome = tokio::select! {
        biased;
        outcome = target.attempt(&request, &mut trace) => outcome,
        () = sleep_until(life.deadline) => cut(FailureCause::Timeout),
        stopped = life.stopped.wait_for(Option::is_some) =>
            cut(stopped.ok().and_then(|cause| *cause).unwrap_or(FailureCause::Interrupted)),
    };
    let since = |at: Instant| at.saturating_duration_since(life.start);
    let (usage, failure, detail) = match outcome {
        Outcome::Completed(usage) => (Some(usage), None, None),
        Outcome::Failed { cause, detail } => (None, Some(cause), Some(detail)),
    };
    let record = Attempt {
        id: request.id,
        segment: request.segment,
        scheduled: life.due,
        sent: since(sent),
        first_token: trace.first_token.map(since),
        last_token: trace.last_token.map(since),
        done: since(Instant::now()),
        input_tokens: usage.map_or(request.input_tokens.into(), |u: Usage| u.input_tokens),
        cached_tokens: usage.map_or(0, |u| u.cached_tokens),
        output_tokens: usage.map_or(trace.tokens, |u| u.output_tokens),
        token_source: usage.map(|u| u.source),
        chunk_gaps: trace.chunk_gaps,
        failure,
        detail,
    };
    // The receiver outlives every attempt; were it gone, nobody is left to tell.
    drop(finished.send(record));
}
