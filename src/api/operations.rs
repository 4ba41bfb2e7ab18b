//! `/livez`, `/readyz`, `/metrics`, `/openapi.yaml`: for the people and machines that run the service.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    problem::{Problem, ProblemCode, ProblemDocument},
};

/// The routes for operators; they need no token.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(openapi))
}

/// Is the process alive?
///
/// Answers as long as the process can answer at all; for restarts.
#[utoipa::path(get, path = "/livez", tag = "operations", operation_id = "livez", security(()),
    responses((status = 204, description = "It is")))]
async fn livez() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Can it take requests?
///
/// Whether the database answers and the process is not draining; for load balancers.
#[utoipa::path(get, path = "/readyz", tag = "operations", operation_id = "readyz", security(()),
    responses((status = 204, description = "It can"),
        (status = 503, description = "The database is away, or the process is draining",
         body = ProblemDocument, content_type = "application/problem+json",
         example = json!(ProblemDocument::new(ProblemCode::Unavailable)))))]
async fn readyz(State(api): State<Api>) -> Result<StatusCode, Problem> {
    if api.drain.is_cancelled() {
        return Err(Problem::new(ProblemCode::Unavailable)
            .detail("The process is draining.")
            .retry_after(2));
    }
    sqlx::query("select 1").execute(&api.pool).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Metrics in Prometheus's text form
///
/// Counts and times of the process; nothing of any tenant.
#[utoipa::path(get, path = "/metrics", tag = "operations", operation_id = "metrics", security(()),
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain")))]
async fn metrics(State(api): State<Api>) -> Response {
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (text, api.metrics.render()).into_response()
}

/// This description
///
/// OpenAPI 3.1, the same as `openapi.yaml` in the source. People read it better at `/docs`.
#[utoipa::path(get, path = "/openapi.yaml", tag = "operations", operation_id = "openapi", security(()),
    responses((status = 200, description = "The API's description", body = serde_json::Value, content_type = "application/yaml")))]
async fn openapi() -> Result<Response, Problem> {
    let text = [(header::CONTENT_TYPE, "application/yaml")];
    Ok((text, super::document().map_err(Problem::internal)?).into_response())
}
