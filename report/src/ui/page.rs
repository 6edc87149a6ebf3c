//! The page, its script, and the report that follows its fields.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use breakeven_planner::Plan;
use minijinja::{
    context,
    value::{Serde, Value},
};
use serde::Deserialize;
use serde_json::json;

use super::session::{Planned, SessionError};
use crate::html::{self, HtmlError};

type Shared = State<Arc<super::State>>;
pub(super) type Assumptions = Query<Vec<(String, String)>>;

/// The whole page, already with the link's assumptions: it reads without a script too.
pub(super) async fn page(State(state): Shared, Query(query): Assumptions) -> Response {
    let planned = state.session.plan(&query);
    let (report, problem) = match &planned {
        Ok(planned) => (html::fragment(&planned.plan).map_err(|error| error.to_string()), None),
        Err(error) => (Ok(String::new()), Some(error.to_string())),
    };
    let base = state.session.fields();
    let fields = planned.as_ref().map_or_else(|_| base.clone(), |planned| planned.fields.clone());
    // A field keeps the slider that the file's own value gives it.
    let fields: Vec<_> = base
        .into_iter()
        .map(|mut field| {
            let opened = field.value.to_string();
            if let Some(now) = fields.iter().find(|now| now.path == field.path) {
                field.value = now.value;
            }
            let now = field.value.to_string();
            context! { opened, now, field => Value::from(Serde(&field)) }
        })
        .collect();
    let (measurements, chosen, product) = planned.map_or_else(
        |_| (Vec::new(), String::new(), "breakeven".to_owned()),
        |planned| (planned.measurements, planned.chosen, planned.plan.product),
    );
    let rendered = report.and_then(|report| {
        let environment = html::environment().map_err(|error| error.to_string())?;
        let page = environment.render_named_str(
            "ui.html",
            include_str!("ui.html"),
            context! {
                report, fields, problem, measurements, chosen, product, css => html::CSS,
                running => state.live.is_running(),
            },
        );
        page.map_err(|error| error.to_string())
    });
    match rendered {
        Ok(page) => Html(page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}

pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("ui.js"))
}

pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("ui.css"))
}

/// The report with other assumptions, and how long it took.
pub(super) async fn report(State(state): Shared, Query(query): Assumptions) -> Response {
    let began = Instant::now();
    answer(state.session.plan(&query), html::fragment, began)
}

/// The same of fewer draws and without the trees, to keep up with a slider.
pub(super) async fn draft(State(state): Shared, Query(query): Assumptions) -> Response {
    let began = Instant::now();
    answer(state.session.draft(&query), html::draft, began)
}

fn answer(
    planned: Result<Planned, SessionError>,
    render: impl FnOnce(&Plan) -> Result<String, HtmlError>,
    began: Instant,
) -> Response {
    let planned = match planned {
        Ok(planned) => planned,
        Err(error) => return refused(&error),
    };
    match render(&planned.plan) {
        Ok(report) => Json(json!({
            "report": report,
            "choice": planned.plan.decision.choice,
            "milliseconds": began.elapsed().as_secs_f64() * 1e3,
        }))
        .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// A mistake in what was typed or opened, in words.
pub(super) fn refused(error: &SessionError) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response()
}

/// Files chosen in the page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Files {
    product: Option<String>,
    measurement: Option<String>,
    measurement_name: Option<String>,
}

pub(super) async fn open(State(state): Shared, Json(files): Json<Files>) -> Response {
    let name = files.measurement_name.unwrap_or_else(|| "measurement".to_owned());
    let measurement = files.measurement.as_deref().map(|text| (name, text));
    match state.session.replace(files.product, measurement) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(&error),
    }
}
