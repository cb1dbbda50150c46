use axum::{Router, http::header, response::IntoResponse, routing::get};

use super::JSON_HEADERS;
use crate::metrics::{CONTENT_TYPE, Metrics, Refresh};

/// What `/proxyMode` says; some tools look at it to learn which rules to expect.
const PROXY_MODE: &str = "nftables";

/// `/metrics`, `/proxyMode`, `/healthz` (which only says that the server runs) and `/configz`, which shows `config`: the
/// configuration in effect (section 6.3).
pub fn metrics_routes(metrics: Metrics, refresh: Refresh, config: &serde_json::Value) -> Router {
    let config = format!("{config:#}\n");
    Router::new()
        .route(
            "/metrics",
            get(async move || {
                refresh.ask().await;
                ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render()).into_response()
            }),
        )
        .route("/proxyMode", get(async || PROXY_MODE))
        .route("/healthz", get(async || "ok"))
        .route("/configz", get(async move || (JSON_HEADERS, config.clone()).into_response()))
}
