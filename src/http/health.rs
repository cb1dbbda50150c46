use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::any,
};
use serde::Serialize;

use super::JSON_HEADERS;
use crate::{
    health::{Health, HealthReport},
    metrics::{Metrics, Probe},
};

/// `/healthz`, `/livez` and `/readyz`: 200 or 503, with the reason as JSON (section 6.1).
pub fn health_routes(health: Health, metrics: Metrics) -> Router {
    let (for_livez, for_readyz) = (health.clone(), health.clone());
    let livez_metrics = metrics.clone();
    Router::new()
        .route("/healthz", any(async move || probed(Probe::Healthz, &health.healthz(), &metrics)))
        .route("/livez", any(async move || probed(Probe::Livez, &for_livez.livez(), &livez_metrics)))
        .route(
            "/readyz",
            any(async move || {
                let report = for_readyz.readyz();
                json(yes_or_no(report.ready), &report)
            }),
        )
}

fn probed(probe: Probe, report: &HealthReport, metrics: &Metrics) -> Response {
    let code = yes_or_no(report.is_ok());
    metrics.probed(probe, code.as_u16());
    json(code, report)
}

/// The code for a probe's answer.
pub(super) fn yes_or_no(yes: bool) -> StatusCode {
    if yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// A JSON answer with the headers that load balancers expect.
pub(super) fn json(code: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => (code, JSON_HEADERS, text + "\n").into_response(),
        Err(failure) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{failure}\n")).into_response(),
    }
}
