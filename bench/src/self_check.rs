//! The load generator measured by itself: how many requests it can drive here, how late it sends, how true it stamps.

use std::{collections::HashMap, io, num::NonZeroUsize, sync::Arc, thread, time::Duration};

use breakeven_measurement::{FailureCause, SelfCheck};
use serde_json::Map;
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use crate::{
    drive::{Attempt, DriveSettings, Driven, Next, Pacing, drive},
    requests::Request,
    target::{
        Target,
        http::{Api, Client, Endpoint, HttpTarget, Sending},
        null::{NullServer, NullTarget, Script, Truth, TruthLog},
    },
};

/// Requests in flight in the closed loops.
const CONCURRENCY: u32 = 64;
/// Tokens of each answer.
const TOKENS: u32 = 16;
/// Rate of the open-loop part: a request every 5 ms, some 20 in flight.
const PACED_PER_SECOND: u32 = 200;
/// Script of the open-loop part: 16 tokens within 100 ms.
const PACED: Script =
    Script { ttft: Duration::from_millis(25), itl: Duration::from_millis(5), tokens: TOKENS, stall: None };

/// How thorough to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Under a second, before every measurement.
    Short,
    /// Some seconds, for `--self-check`.
    Full,
}

/// Why the check could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfCheckError {
    /// No loopback server.
    #[error("cannot start a server on the loopback interface")]
    Server(#[from] io::Error),
    /// Requests failed that cannot fail.
    #[error("{failed} of {all} requests to the null target failed: {first}")]
    Failures {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
        /// What the first one met.
        first: String,
    },
}

/// A null server on a thread of its own; stops when dropped.
#[derive(Debug)]
pub struct Beside {
    /// Base address.
    pub base: String,
    /// Its log.
    pub log: TruthLog,
    /// Start of its script.
    pub start: Instant,
    _stop: oneshot::Sender<()>,
}

/// Starts a null server on a thread of its own.
pub fn serve_beside(script: Script) -> io::Result<Beside> {
    let (ready, started) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    thread::Builder::new().name("null-server".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        runtime.block_on(async {
            match NullServer::bind(script).await {
                Err(error) => drop(ready.send(Err(error))),
                Ok(server) => {
                    drop(ready.send(Ok((server.base(), server.log(), server.start()))));
                    tokio::select! {
                        () = server.serve() => {}
                        _ = stopped => {}
                    }
                }
            }
        });
    })?;
    let started = started.recv().map_err(|_| io::Error::other("its thread ended"))?;
    let (base, log, start) = started?;
    Ok(Beside { base, log, start, _stop: stop })
}

/// A target over an address of ours.
pub fn http_target(base: &str) -> io::Result<Arc<dyn Target>> {
    let endpoint = Endpoint::parse(base).map_err(io::Error::other)?;
    let client = Client::new(endpoint, None).map_err(io::Error::other)?;
    let sending = Sending { api: Api::Chat, model: "null".to_owned(), extra_body: Map::new() };
    Ok(Arc::new(HttpTarget::new(client, sending, Arc::new(|_| "ping".to_owned()))))
}

/// `count` requests, due `gap` apart.
pub fn schedule(count: u32, gap: Duration, tokens: u32) -> Vec<(Duration, Request)> {
    let request =
        |id: u32| Request { id: id.into(), input_tokens: 1, output_tokens: tokens, ..Request::default() };
    (0..count).map(|id| (gap * id, request(id))).collect()
}

/// Drives a target through a schedule, with or without a cap, and for at most `limit`.
pub async fn drive_for(
    target: &Arc<dyn Target>,
    schedule: Vec<(Duration, Request)>,
    most_in_flight: Option<u32>,
    limit: Option<Duration>,
) -> Driven {
    let (_, cancel) = watch::channel(false);
    let settings = DriveSettings {
        timeout: Duration::from_secs(300),
        drain: None,
        pacing: Pacing::Precise,
        most_in_flight: most_in_flight.and_then(|most| NonZeroUsize::new(most as usize)),
        cancel,
    };
    let began = Instant::now();
    let over = |now: Instant| limit.is_some_and(|limit| now.saturating_duration_since(began) > limit);
    drive(target, schedule, &settings, &mut |attempt, _| {
        if attempt.is_some() && over(Instant::now()) { Next::Stop } else { Next::Go }
    })
    .await
}

/// Makes the check. Needs a multi-threaded runtime; takes about 0.8 s where short.
pub async fn self_check(effort: Effort) -> Result<SelfCheck, SelfCheckError> {
    let began = Instant::now();
    let (each, most, paced) = match effort {
        Effort::Short => (Duration::from_millis(200), 20_000, PACED_PER_SECOND / 5 * 2),
        Effort::Full => (Duration::from_secs(2), 200_000, PACED_PER_SECOND * 5),
    };
    let null: Arc<dyn Target> = Arc::new(NullTarget);
    let in_process = closed_loop(&null, most, each).await?;
    let at_once = serve_beside(Script { ttft: Duration::ZERO, itl: Duration::ZERO, ..PACED })?;
    let target = http_target(&at_once.base)?;
    // Connections are opened before the clock counts.
    whole(&drive_for(&target, schedule(CONCURRENCY, Duration::ZERO, TOKENS), None, None).await)?;
    let http = closed_loop(&target, most, each).await?;
    drop(at_once);
    let server = serve_beside(PACED)?;
    let target = http_target(&server.base)?;
    let gap = Duration::from_secs(1) / PACED_PER_SECOND;
    whole(&drive_for(&target, schedule(16, Duration::ZERO, TOKENS), None, None).await)?;
    server.log.take();
    let driven = drive_for(&target, schedule(paced, gap, TOKENS), None, None).await;
    whole(&driven)?;
    let clocks = Clocks::of(&driven, &server.log.take());
    let lags = sorted(driven.attempts.iter().map(|a| a.sent.saturating_sub(a.scheduled).as_secs_f64()));
    Ok(SelfCheck {
        in_process_requests_per_second: in_process,
        http_requests_per_second: http,
        http_events_per_second: http * f64::from(TOKENS),
        concurrency: CONCURRENCY,
        tokens_per_answer: TOKENS,
        paced_requests_per_second: f64::from(PACED_PER_SECOND),
        send_lag_p50_seconds: quantile(&lags, 0.5),
        send_lag_p99_seconds: quantile(&lags, 0.99),
        stamp_error_p50_seconds: quantile(&clocks.stamps, 0.5),
        stamp_error_p99_seconds: quantile(&clocks.stamps, 0.99),
        tpot_error_p99_seconds: quantile(&clocks.tpot, 0.99),
        seconds: Instant::now().saturating_duration_since(began).as_secs_f64(),
    })
}

/// Errors of our stamps against a server's, in seconds, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Clocks {
    /// Ours − the server's, of first and last tokens together. Includes the kernel's way from one to the other.
    pub stamps: Vec<f64>,
    /// Ours − the server's, of first tokens: the error of TTFT.
    pub ttft: Vec<f64>,
    /// |Ours − the server's| of TPOT.
    pub tpot: Vec<f64>,
}

impl Clocks {
    /// Pairs attempts with a server's log by their number.
    pub fn of(driven: &Driven, log: &[Truth]) -> Self {
        let truths: HashMap<u64, &Truth> = log.iter().map(|truth| (truth.id, truth)).collect();
        let (mut first, mut last, mut tpot) = (Vec::new(), Vec::new(), Vec::new());
        for attempt in &driven.attempts {
            let paired = (truths.get(&attempt.id), attempt.first_token, attempt.last_token);
            let (Some(truth), Some(ours_first), Some(ours_last)) = paired else { continue };
            let since = |at: Instant| at.saturating_duration_since(driven.start).as_secs_f64();
            let (true_first, true_last) = (since(truth.first), since(truth.last));
            let (ours_first, ours_last) = (ours_first.as_secs_f64(), ours_last.as_secs_f64());
            first.push(ours_first - true_first);
            last.push(ours_last - true_last);
            if attempt.output_tokens > 1 {
                let gaps = (attempt.output_tokens - 1) as f64;
                tpot.push(((ours_last - ours_first) - (true_last - true_first)).abs() / gaps);
            }
        }
        Self { stamps: sorted(first.iter().chain(&last).copied()), ttft: sorted(first), tpot: sorted(tpot) }
    }
}

/// Requests per second with [`CONCURRENCY`] in flight, over the time from the first answer to the last.
async fn closed_loop(target: &Arc<dyn Target>, most: u32, time: Duration) -> Result<f64, SelfCheckError> {
    let driven =
        drive_for(target, schedule(most, Duration::ZERO, TOKENS), Some(CONCURRENCY), Some(time)).await;
    whole(&driven)?;
    let done = || driven.attempts.iter().filter(|a| a.failure.is_none()).map(|a| a.done);
    let (first, last) = (done().min().unwrap_or_default(), done().max().unwrap_or_default());
    let span = last.saturating_sub(first).as_secs_f64();
    Ok(if span > 0.0 { done().count().saturating_sub(1) as f64 / span } else { 0.0 })
}

/// What was cut off by the end of the time does not count as failed.
fn whole(driven: &Driven) -> Result<(), SelfCheckError> {
    let failed: Vec<&Attempt> = driven
        .attempts
        .iter()
        .filter(|a| a.failure.is_some_and(|cause| cause != FailureCause::Timeout))
        .collect();
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(SelfCheckError::Failures {
            failed: failed.len(),
            all: driven.attempts.len(),
            first: first.detail.clone().unwrap_or_default(),
        }),
    }
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Nearest rank of an ascending list; 0 of nothing.
pub fn quantile(ascending: &[f64], q: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within a list")]
    let rank = (q * ascending.len() as f64).ceil().max(1.0) as usize;
    ascending.get(rank - 1).or(ascending.last()).copied().unwrap_or(0.0)
}
