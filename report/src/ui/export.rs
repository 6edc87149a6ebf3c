//! Every format of the plan on the page, and the product file with its assumptions.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::page::{Assumptions, refused};
use crate::{focus, html, markdown, xlsx};

pub(super) async fn export(
    State(state): State<Arc<super::State>>,
    Path(kind): Path<String>,
    Query(query): Assumptions,
) -> Response {
    let planned = match state.session.plan(&query) {
        Ok(planned) => planned,
        Err(error) => return refused(&error),
    };
    let plan = &planned.plan;
    let failed = |error: &dyn std::error::Error| {
        (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
    };
    let (kind_of_file, bytes) = match kind.as_str() {
        "product.toml" => ("application/toml", planned.product.into_bytes()),
        "plan.json" => match serde_json::to_vec_pretty(plan) {
            Ok(bytes) => ("application/json", bytes),
            Err(error) => return failed(&error),
        },
        "report.html" => match html::render(plan) {
            Ok(page) => ("text/html; charset=utf-8", page.into_bytes()),
            Err(error) => return failed(&error),
        },
        "report.md" => ("text/markdown; charset=utf-8", markdown::render(plan).into_bytes()),
        "report.xlsx" => match xlsx::render(plan) {
            Ok(bytes) => ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", bytes),
            Err(error) => return failed(&error),
        },
        "focus.csv" => ("text/csv; charset=utf-8", focus::render(plan, focus::MONTHS).into_bytes()),
        _ => return (StatusCode::NOT_FOUND, "no such format\n").into_response(),
    };
    let name = format!("attachment; filename=\"{kind}\"");
    ([(header::CONTENT_TYPE, kind_of_file.to_owned()), (header::CONTENT_DISPOSITION, name)], bytes)
        .into_response()
}
