//! The local page: the report beside its assumptions; change one, and the planner answers.
//!
//! Serves this machine only unless told otherwise, loads nothing from elsewhere, and refuses requests that carry a foreign `Host` or
//! come from another site ([`guard`]). The benchmark is the caller's ([`Benchmark`]): this crate measures nothing.

mod assumption;
mod export;
mod guard;
mod live;
mod page;
mod session;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use tokio::net::TcpListener;

pub use live::{Benchmark, BenchmarkEvent};
pub use session::{Opened, Session, SessionError};

/// What all requests share.
struct State {
    session: Session,
    benchmark: Arc<dyn Benchmark>,
    live: live::Live,
    address: SocketAddr,
}

/// Serves until the future is dropped.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    listener: TcpListener,
    session: Session,
    benchmark: Arc<dyn Benchmark>,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let state = Arc::new(State { session, benchmark, live: live::Live::new(), address });
    axum::serve(listener, router(state)).await
}

fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/ui.js", get(page::script))
        .route("/ui.css", get(page::style))
        .route("/api/report", get(page::report))
        .route("/api/draft", get(page::draft))
        .route("/api/open", post(page::open))
        .route("/export/{kind}", get(export::export))
        .route("/api/bench/start", post(live::start))
        .route("/api/bench/stop", post(live::stop))
        .route("/api/bench/events", get(live::events))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), guard::guard))
        // A measurement with its histograms is a few megabytes.
        .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
        .with_state(state)
}
