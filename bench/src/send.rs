//! The sender: hands each request over at its due time, on a clock of its own, and keeps the cap on requests in flight.
//!
//! A real run sends from a thread of its own, which sleeps until shortly before an arrival and spins the rest: neither the
//! recorder nor a burst of answers can make it late. An arrival that finds the cap met waits its turn, first come first
//! served, and its latency still counts from when it was due.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, Thread},
    time::Duration,
};

use breakeven_measurement::FailureCause;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    drive::{Attempt, Pacing},
    requests::Request,
    target::{Answer, Outcome, Target, Trace, Usage},
};

/// How long before an arrival the precise sender stops sleeping: on a machine whose cores all compute, a sleeper may wake
/// milliseconds late.
const LONGEST_SPIN: Duration = Duration::from_millis(4);
/// The same at high rates, where the sender is awake anyway. Above the kernel's timer slack of 50 µs.
const SHORTEST_SPIN: Duration = Duration::from_micros(100);
/// Share of the mean gap between arrivals that may be spun away.
const SPIN_SHARE: f64 = 0.05;

/// What the sender and the attempts tell the recorder.
#[derive(Debug)]
pub(crate) enum Message {
    /// A conversation goes on with one more request.
    Scheduled,
    /// A request was handed to the target.
    Sent,
    /// An attempt ended.
    Ended(Box<Attempt>),
}

/// Why everything stops, once it does.
pub(crate) type Stop = Option<FailureCause>;

/// What is common to all requests of a drive.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// What is driven.
    pub(crate) target: Arc<dyn Target>,
    /// Zero of the schedule.
    pub(crate) start: Instant,
    /// When the last arrival of the schedule is due: conversations go on until then.
    pub(crate) last_due: Duration,
    /// Longest life of an attempt from when it was due.
    pub(crate) timeout: Duration,
    /// Most attempts at once.
    pub(crate) most_in_flight: usize,
    /// Says when to stop.
    pub(crate) stop: watch::Receiver<Stop>,
    /// To the recorder; closes when the last attempt has ended.
    pub(crate) messages: mpsc::UnboundedSender<Message>,
    /// Attempts under way, and arrivals that wait for one of them to end.
    pub(crate) state: Mutex<State>,
}

/// Attempts under way and arrivals held back by the cap.
#[derive(Debug, Default)]
pub(crate) struct State {
    in_flight: usize,
    held: VecDeque<(Duration, Request)>,
}

/// Keeps the sending thread; stops it when dropped.
#[derive(Debug)]
pub(crate) struct Sending {
    thread: Option<Thread>,
    stop: watch::Sender<Stop>,
}

impl Sending {
    /// Starts sending `schedule`.
    pub(crate) fn start(
        lanes: Lanes,
        schedule: Vec<(Duration, Request)>,
        pacing: Pacing,
        stop: watch::Sender<Stop>,
    ) -> Self {
        let lanes = Arc::new(lanes);
        if pacing == Pacing::Precise {
            let (hand_over, taken) = std::sync::mpsc::channel::<Vec<(Duration, Request)>>();
            let (runtime, of_thread) = (Handle::current(), Arc::clone(&lanes));
            let spawned = thread::Builder::new().name("sender".to_owned()).spawn(move || {
                if let Ok(schedule) = taken.recv() {
                    send_precisely(&of_thread, schedule, &runtime);
                }
            });
            if let Ok(handle) = spawned {
                // The thread waits for exactly this.
                drop(hand_over.send(schedule));
                return Self { thread: Some(handle.thread().clone()), stop };
            }
            // No thread to be had: the timer's millisecond steps show as send lag.
        }
        tokio::spawn(send_by_timer(lanes, schedule));
        Self { thread: None, stop }
    }

    /// Sends nothing more and cuts off what is in flight. The first cause stays.
    pub(crate) fn stop(&self, cause: FailureCause) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(cause);
            first
        });
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop(FailureCause::Interrupted);
    }
}

async fn send_by_timer(lanes: Arc<Lanes>, schedule: Vec<(Duration, Request)>) {
    let mut stop = lanes.stop.clone();
    for (due, request) in schedule {
        tokio::select! {
            biased;
            _ = stop.wait_for(Option::is_some) => return,
            () = sleep_until(lanes.start + due) => deliver(&lanes, due, request, &Handle::current()),
        }
    }
}

fn send_precisely(lanes: &Arc<Lanes>, schedule: Vec<(Duration, Request)>, runtime: &Handle) {
    let last_due = schedule.last().map_or(Duration::ZERO, |(due, _)| *due);
    let mean_gap = last_due.as_secs_f64() / (schedule.len().max(1) as f64);
    let spin = Duration::from_secs_f64(mean_gap * SPIN_SHARE).clamp(SHORTEST_SPIN, LONGEST_SPIN);
    for (due, request) in schedule {
        loop {
            let left = (lanes.start + due).saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if left <= spin {
                std::hint::spin_loop();
                continue;
            }
            // Woken early by `stop`, or for no reason: the loop looks again.
            thread::park_timeout(left.saturating_sub(spin));
            if lanes.stop.borrow().is_some() {
                return;
            }
        }
        if lanes.stop.borrow().is_some() {
            return;
        }
        deliver(lanes, due, request, runtime);
    }
}

/// Starts a request that is due, or has it wait for a place.
fn deliver(lanes: &Arc<Lanes>, due: Duration, request: Request, runtime: &Handle) {
    {
        let mut state = lanes.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.in_flight >= lanes.most_in_flight {
            state.held.push_back((due, request));
            return;
        }
        state.in_flight += 1;
    }
    runtime.spawn(lane(Arc::clone(lanes), due, request));
}

/// Carries out a request, then those that waited for its place.
async fn lane(lanes: Arc<Lanes>, due: Duration, request: Request) {
    let mut stop = lanes.stop.clone();
    let mut next = Some((due, request));
    while let Some((due, request)) = next {
        // The recorder outlives every attempt; were it gone, nobody is left to tell.
        drop(lanes.messages.send(Message::Sent));
        let (attempt, answer) = attempt(&lanes, due, &request, &mut stop).await;
        if let Some(answer) = answer {
            let (done, tokens) = (attempt.done, attempt.output_tokens);
            go_on(&lanes, done, request, answer, u32::try_from(tokens).unwrap_or(u32::MAX));
        }
        drop(lanes.messages.send(Message::Ended(Box::new(attempt))));
        let mut state = lanes.state.lock().unwrap_or_else(PoisonError::into_inner);
        next = if stop.borrow().is_some() { None } else { state.held.pop_front() };
        if next.is_none() {
            state.in_flight -= 1;
        }
    }
}

/// Has the next turn of a conversation follow its think time after the answer. It takes its place in the cap when it is due.
fn go_on(lanes: &Arc<Lanes>, done: Duration, request: Request, answer: Answer, output_tokens: u32) {
    let due = done.saturating_add(request.think);
    let Some(next) = request.next_turn(answer, output_tokens) else { return };
    let (lanes, mut stop) = (Arc::clone(lanes), lanes.stop.clone());
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = stop.wait_for(Option::is_some) => {}
            () = sleep_until(lanes.start + due), if due < lanes.last_due => {
                drop(lanes.messages.send(Message::Scheduled));
                deliver(&lanes, due, next, &Handle::current());
            }
            // Due after the last arrival: it belongs to no window.
            () = std::future::ready(()), if due >= lanes.last_due => {}
        }
    });
}

/// Carries out one request. The answer comes with it where a conversation goes on.
pub(crate) async fn attempt(
    lanes: &Lanes,
    due: Duration,
    request: &Request,
    stop: &mut watch::Receiver<Stop>,
) -> (Attempt, Option<Answer>) {
    let sent = Instant::now();
    let mut trace = Trace::default();
    if !request.coming.is_empty() {
        trace.answer = Some(Answer::default());
    }
    let cut = |cause: FailureCause| Outcome::Failed { cause, detail: "cut off".to_owned() };
    let outcome = tokio::select! {
        biased;
        outcome = lanes.target.attempt(request, &mut trace) => outcome,
        () = sleep_until(lanes.start + due + lanes.timeout) => cut(FailureCause::Timeout),
        stopped = stop.wait_for(Option::is_some) =>
            cut(stopped.ok().and_then(|cause| *cause).unwrap_or(FailureCause::Interrupted)),
    };
    let since = |at: Instant| at.saturating_duration_since(lanes.start);
    let (usage, failure, detail) = match outcome {
        Outcome::Completed(usage) => (Some(usage), None, None),
        Outcome::Failed { cause, detail } => (None, Some(cause), Some(detail)),
    };
    let answer = trace.answer.take().filter(|_| usage.is_some() && !request.coming.is_empty());
    let attempt = Attempt {
        id: request.id,
        segment: request.segment,
        scheduled: due,
        sent: since(sent),
        first_token: trace.first_token.map(since),
        first_visible: trace.first_visible.map(since),
        last_token: trace.last_token.map(since),
        done: since(Instant::now()),
        input_tokens: usage.map_or(request.input_tokens.into(), |u: Usage| u.input_tokens),
        cached_tokens: usage.map_or(0, |u| u.cached_tokens),
        output_tokens: usage.map_or(trace.tokens, |u| u.output_tokens),
        token_source: usage.map(|u| u.source),
        tokenizer_tokens: trace.tokenizer_tokens,
        chunk_gaps: trace.chunk_gaps,
        failure,
        detail,
        http_status: trace.http_status,
        retry_after: trace.retry_after,
        finish_reason: trace.finish_reason,
        retries: trace.retries,
        retried_tokens: trace.retried_tokens,
        fell_back: trace.fell_back,
    };
    (attempt, answer)
}
