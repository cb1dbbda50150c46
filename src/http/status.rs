use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};

use super::health::json;
use crate::{model::ServiceId, status::Status};

/// `/status`: this process as a whole; and `/status/services/NAMESPACE/NAME`: what it has to say of a Service, which need
/// not exist. Both as JSON.
pub fn status_routes(status: Status) -> Router {
    let whole = status.clone();
    Router::new()
        .route("/status", get(async move || json(StatusCode::OK, &whole.summary())))
        .route("/status/services/{namespace}/{name}", get(async move |path| of_service(&status, path)))
}

fn of_service(status: &Status, Path((namespace, name)): Path<(String, String)>) -> Response {
    json(StatusCode::OK, &status.report(&ServiceId::new(&namespace, &name))).into_response()
}
