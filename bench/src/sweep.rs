//! Closed loop: a number of requests always in flight, for the throughput/latency curve.

use std::{sync::Arc, time::Duration};

use breakeven_measurement::{FailureCause, Slo, SweepPoint, Workload};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    drive::Driven,
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

/// Runs a sweep, step by step. Ctrl-C arrives through `cancel`: finished steps are returned.
pub async fn sweep(
    target: &Arc<dyn Target>,
    plan: &SweepPlan,
    source: &mut RequestSource,
    cancel: &watch::Receiver<bool>,
    on_point: &mut (dyn FnMut(&SweepPoint) + Send),
) -> Vec<SweepPoint> {
    let mut points = Vec::new();
    for concurrency in &plan.concurrencies {
        let mut draw = || source.draw();
        let driven =
            drive_closed(target, *concurrency, plan.step, plan.timeout, cancel.clone(), &mut draw).await;
        if driven.cancelled {
            break;
        }
        let point = point_of(*concurrency, plan, &driven);
        on_point(&point);
        points.push(point);
    }
    points
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

/// Keeps `concurrency` requests in flight for `length`, then waits for the last ones.
pub async fn drive_closed(
    target: &Arc<dyn Target>,
    concurrency: u32,
    length: Duration,
    timeout: Duration,
    mut cancel: watch::Receiver<bool>,
    draw: &mut (dyn FnMut() -> Request + Send),
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
