//! A benchmark started from the page and watched as it runs: server-sent events.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use breakeven_measurement::Measurement;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::page::{Assumptions, refused};

/// Events kept for a reader that falls behind.
const KEPT: usize = 1_024;

/// What a running benchmark tells.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum BenchmarkEvent {
    /// A line for a reader.
    Line {
        /// The text.
        text: String,
    },
    /// Where the present phase stands.
    Progress {
        /// Which phase.
        phase: String,
        /// Requests scheduled in it.
        scheduled: u64,
        /// Completed so far.
        completed: u64,
        /// Failed so far.
        failed: u64,
        /// Within the SLO so far.
        within_slo: u64,
        /// TTFT of the last that completed.
        ttft_seconds: Option<f64>,
        /// Its TPOT.
        tpot_seconds: Option<f64>,
    },
    /// The end.
    Finished {
        /// The measurement's run id; absent where it failed.
        run_id: Option<String>,
        /// Why it failed.
        error: Option<String>,
    },
}

/// Measures a product. Implemented by the binary, which owns the load generator.
pub trait Benchmark: Send + Sync {
    /// Runs to its end on the calling thread, telling what happens; `stop` turns true where the reader wants it to end.
    ///
    /// # Errors
    /// In words for the page.
    fn run(
        &self,
        product: &str,
        quick: bool,
        stop: &AtomicBool,
        tell: &mut (dyn FnMut(BenchmarkEvent) + Send),
    ) -> Result<Measurement, String>;
}

/// The benchmark that runs, and who watches.
pub(super) struct Live {
    running: Mutex<Option<Arc<AtomicBool>>>,
    events: broadcast::Sender<BenchmarkEvent>,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { running: Mutex::new(None), events: broadcast::channel(KEPT).0 }
    }

    /// Whether a benchmark runs: a page opened meanwhile watches it.
    pub(super) fn is_running(&self) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// How to measure.
#[derive(Debug, Deserialize)]
pub(super) struct Start {
    quick: bool,
}

/// Starts a benchmark of the product with the query's assumptions: what is measured is what the page shows.
pub(super) async fn start(
    State(state): State<Arc<super::State>>,
    Query(query): Assumptions,
    Json(start): Json<Start>,
) -> Response {
    let product = match state.session.text(&query) {
        Ok(product) => product,
        Err(error) => return refused(&error),
    };
    let stop = Arc::new(AtomicBool::new(false));
    {
        let mut running = state.live.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return (StatusCode::CONFLICT, "a benchmark is running: two would disturb one another\n")
                .into_response();
        }
        *running = Some(Arc::clone(&stop));
    }
    let shared = Arc::clone(&state);
    // A thread of its own: a benchmark brings its own runtime and blocks for minutes.
    std::thread::spawn(move || {
        let events = shared.live.events.clone();
        // Nobody need be watching.
        let outcome =
            shared.benchmark.run(&product, start.quick, &stop, &mut |event| drop(events.send(event)));
        let last = match outcome {
            Ok(measurement) => {
                let run_id = Some(measurement.run_id.clone());
                shared.session.add(measurement);
                BenchmarkEvent::Finished { run_id, error: None }
            }
            Err(error) => BenchmarkEvent::Finished { run_id: None, error: Some(error) },
        };
        *shared.live.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        drop(shared.live.events.send(last));
    });
    StatusCode::ACCEPTED.into_response()
}

pub(super) async fn stop(State(state): State<Arc<super::State>>) -> Response {
    let running = state.live.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match running {
        Some(stop) => {
            stop.store(true, Ordering::Relaxed);
            StatusCode::ACCEPTED.into_response()
        }
        None => (StatusCode::CONFLICT, "no benchmark is running\n").into_response(),
    }
}

pub(super) async fn events(State(state): State<Arc<super::State>>) -> impl axum::response::IntoResponse {
    let receiver = state.live.events.subscribe();
    let events = stream::unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(event) => {
                    let Ok(event) = Event::default().json_data(&event) else { continue };
                    return Some((Ok::<_, Infallible>(event), receiver));
                }
                // The next are newer anyway.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
