//! Paths, and what answers them.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response, sse::Sse},
    routing::{get, post},
    serve::ListenerExt as _,
};
use breakeven_models::inference::Engine;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    answer::{Envelope, Kind, Running, streamed, whole},
    error::ApiError,
    metrics::Metrics,
    request::{self, Asked},
};

/// A prompt of a long-context model in JSON stays well below this.
const BODY_LIMIT_BYTES: usize = 8 << 20;

/// An engine and how it is known to its clients.
#[derive(Debug, Clone)]
pub struct Server {
    engine: Arc<Engine>,
    model: Arc<str>,
    metrics: Arc<Metrics>,
    numbers: Arc<AtomicU64>,
    started: u64,
}

impl Server {
    /// A server of one engine under the model's own name.
    pub fn new(engine: Arc<Engine>) -> Self {
        let model = Arc::from(engine.record().name.as_str());
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let started = since.map_or(0, |since| since.as_secs());
        Self { engine, model, metrics: Arc::new(Metrics::new()), numbers: Arc::default(), started }
    }

    fn router(self) -> Router {
        Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/completions", post(completion))
            .route("/v1/models", get(models))
            .route("/health", get(health))
            .route("/metrics", get(metrics))
            .fallback(async |uri: Uri| ApiError::unknown_path(uri.path()))
            .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
            .with_state(self)
    }

    /// Answers one completion request and counts the answer.
    async fn complete(&self, kind: Kind, arrived: Instant, request: Request) -> Response {
        let response = self.answer(kind, arrived, request).await.unwrap_or_else(ApiError::into_response);
        self.metrics.answered(response.status().as_u16());
        response
    }

    async fn answer(&self, kind: Kind, arrived: Instant, request: Request) -> Result<Response, ApiError> {
        let body = Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(BODY_LIMIT_BYTES),
            _ => ApiError::body(rejection.body_text()),
        })?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let Asked { model, generate, stream, include_usage } = match kind {
            Kind::Chat => request::chat(&body, self.started ^ number.rotate_right(32)),
            Kind::Completion => request::completion(&body, self.started ^ number.rotate_right(32)),
        }?;
        if let Some(asked) = model.filter(|asked| **asked != *self.model) {
            return Err(ApiError::unknown_model(&asked, &self.model));
        }
        let running = Running::new(self.engine.submit(generate)?, Arc::clone(&self.metrics), arrived);
        let envelope = Envelope::new(kind, number, Arc::clone(&self.model));
        if stream {
            return Ok(Sse::new(streamed(envelope, running, include_usage)).into_response());
        }
        Ok(Json(whole(envelope, running).await?).into_response())
    }
}

async fn chat(State(server): State<Server>, request: Request) -> Response {
    server.complete(Kind::Chat, Instant::now(), request).await
}

async fn completion(State(server): State<Server>, request: Request) -> Response {
    server.complete(Kind::Completion, Instant::now(), request).await
}

async fn models(State(server): State<Server>) -> Response {
    let context = server.engine.settings().max_context;
    let model = json!({ "id": &*server.model, "object": "model", "created": server.started, "owned_by": "breakeven",
        "max_model_len": context });
    Json(json!({ "object": "list", "data": [model] })).into_response()
}

async fn health() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

async fn metrics(State(server): State<Server>) -> Response {
    let text = server.metrics.text(server.engine.stats());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}

/// Serves until `stop` resolves; answers under way are then finished.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    server: Server,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    // A token is a small packet: waiting to fill a larger one would show in every gap between tokens.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, server.router()).with_graceful_shutdown(stop).await
}
