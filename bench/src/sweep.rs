//! Closed loop: a number of requests always in flight, for the throughput/latency curve.

use std::{sync::Arc, time::Duration};

use breakeven_measurement::{FailureCause, Slo, SweepPoint, Workload};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    drive::{Attempt, Driven, Next},
    journal::{Journal, JournalError},
    requests::{Request, RequestSource},
    send::{Lanes, Message, attempt},
    steady::fixed_warmup,
    tally::tally,
    target::Target,
};

/// What a sweep runs.
#[derive(Debug, Clone)]
pub struct SweepPlan {
    /// Requests in flight, one step each.
    pub concurrencies: Vec<u32>,
    /// How long each step sends. What is in flight then is waited for.
    pub step: Duration,
    /// Segments and lengths.
    pub workload: Workload,
    /// What counts as good.
    pub slo: Slo,
    /// Longest life of a request.
    pub timeout: Duration,
}

/// Runs a sweep, step by step. Ctrl-C arrives through `cancel`: finished steps are returned. Steps that the journal kept are not run
/// again.
///
/// # Errors
/// Where records cannot be kept.
pub async fn sweep(
    target: &Arc<dyn Target>,
    plan: &SweepPlan,
    source: &mut RequestSource,
    mut journal: Option<&mut Journal>,
    cancel: &watch::Receiver<bool>,
    on_point: &mut (dyn FnMut(&SweepPoint) + Send),
) -> Result<Vec<SweepPoint>, JournalError> {
    let mut points = Vec::new();
    let kept = journal.as_deref().map(|journal| journal.kept().clone()).unwrap_or_default();
    for _ in 0..kept.requests_beside {
        source.draw();
    }
    for concurrency in &plan.concurrencies {
        let of_before = kept.sweep.iter().find(|point| point.concurrency == *concurrency);
        let point = if let Some(point) = of_before {
            point.clone()
        } else {
            let phase = format!("in flight {concurrency}");
            let mut fault = None;
            let mut draw = || source.draw();
            let mut keep = |attempt: &Attempt| match journal.as_deref_mut().map(|j| j.append(&phase, attempt))
            {
                Some(Err(error)) => {
                    fault.get_or_insert(error);
                    Next::Stop
                }
                Some(Ok(())) | None => Next::Go,
            };
            let cancel = cancel.clone();
            let driven =
                drive_closed(target, *concurrency, plan.step, plan.timeout, cancel, &mut draw, &mut keep)
                    .await;
            if let Some(fault) = fault {
                return Err(fault);
            }
            if driven.cancelled {
                break;
            }
            let point = point_of(*concurrency, plan, &driven);
            if let Some(journal) = journal.as_deref_mut() {
                journal.swept(&point)?;
            }
            point
        };
        on_point(&point);
        points.push(point);
    }
    Ok(points)
}

fn point_of(concurrency: u32, plan: &SweepPlan, driven: &Driven) -> SweepPoint {
    let warmup = fixed_warmup(plan.step);
    let window = plan.step.saturating_sub(warmup);
    let (load, _) = tally(&driven.attempts, warmup, &plan.workload, &plan.slo);
    // Ends, not sends, and no more of them than fit: what ends after the last send ends at a lower concurrency.
    let ended =
        driven.attempts.iter().filter(|a| a.failure.is_none() && a.done >= warmup && a.done < plan.step);
    let (count, tokens) = ended.fold((0u64, 0u64), |(n, tokens), a| (n + 1, tokens + a.output_tokens));
    let seconds = window.as_secs_f64().max(f64::MIN_POSITIVE);
    SweepPoint {
        concurrency,
        window,
        achieved_per_second: count as f64 / seconds,
        output_tokens_per_second: tokens as f64 / seconds,
        load,
    }
}

/// Keeps `concurrency` requests in flight for `length`, then waits for the last ones. `on_attempt` sees each as it ends, and may stop it.
pub async fn drive_closed(
    target: &Arc<dyn Target>,
    concurrency: u32,
    length: Duration,
    timeout: Duration,
    mut cancel: watch::Receiver<bool>,
    draw: &mut (dyn FnMut() -> Request + Send),
    on_attempt: &mut (dyn FnMut(&Attempt) -> Next + Send),
) -> Driven {
    let start = Instant::now();
    let (messages, mut arriving) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(None);
    let lanes = Arc::new(Lanes {
        target: Arc::clone(target),
        start,
        last_due: length,
        timeout,
        most_in_flight: usize::MAX,
        stop: stopped,
        messages,
        state: std::sync::Mutex::default(),
    });
    let send = |request: Request| {
        let lanes = Arc::clone(&lanes);
        tokio::spawn(async move {
            let mut stop = lanes.stop.clone();
            // Due when it is sent: a closed loop has no schedule.
            let due = Instant::now().saturating_duration_since(lanes.start);
            let (attempt, _) = attempt(&lanes, due, &request, &mut stop).await;
            // The recorder outlives every attempt; were it gone, nobody is left to tell.
            drop(lanes.messages.send(Message::Ended(Box::new(attempt))));
        });
    };
    let mut driven = Driven { start, attempts: Vec::new(), unsent: 0, cancelled: false };
    let mut in_flight = 0;
    for _ in 0..concurrency {
        send(draw());
        in_flight += 1;
    }
    while in_flight > 0 {
        tokio::select! {
            biased;
            Ok(_) = cancel.wait_for(|cancelled| *cancelled), if !driven.cancelled => {
                driven.cancelled = true;
                stop.send_replace(Some(FailureCause::Interrupted));
            }
            message = arriving.recv() => {
                let Some(message) = message else { break };
                let Message::Ended(attempt) = message else { continue };
                in_flight -= 1;
                if on_attempt(&attempt) == Next::Stop && !driven.cancelled {
                    driven.cancelled = true;
                    stop.send_replace(Some(FailureCause::Interrupted));
                }
                driven.attempts.push(*attempt);
                if !driven.cancelled && Instant::now() < start + length {
                    send(draw());
                    in_flight += 1;
                }
            }
        }
    }
    driven
}
