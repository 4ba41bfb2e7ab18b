//! HTTP in, JSON out; never calls an upstream.
//!
//! Every answer that is no success is a [`problem::Problem`]. Handlers read like the sentence that
//! describes them: check the caller, look up, change, schedule, answer.

mod audit;
pub mod caller;
pub mod connections;
mod cors;
mod description;
mod docs;
pub mod errors;
mod events;
pub mod extract;
pub mod feed;
pub mod idempotency;
mod ids;
pub mod links;
mod notifications;
mod operations;
pub mod outdated;
mod page;
mod polling;
pub mod preflights;
pub mod problem;
pub mod quotas;
mod repositories;
mod status_tokens;

use std::sync::Arc;

use axum::{Router, extract::FromRef, http::HeaderValue, middleware};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tower_http::{catch_panic::CatchPanicLayer, trace::TraceLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    link::{grant::GrantBook, plan::Setup},
    store::StoreError,
    store::bell::Bell,
    upstream::{Instance, UpstreamKind},
    vault::KeyRing,
};
use caller::Authenticator;
use feed::Feed;
use problem::Problem;
use quotas::Quotas;

/// What every handler may use.
#[derive(Clone)]
pub struct Api {
    /// Connections for requests that write.
    pub pool: PgPool,
    /// Connections for requests that only read: however many they are, they hold up nobody else.
    pub reads: PgPool,
    /// Links that readers wait for.
    pub feed: Arc<Feed>,
    /// Wakes workers and readers.
    pub bell: Bell,
    /// Seals credentials.
    pub key_ring: KeyRing,
    /// The upstreams that the operator configured.
    pub instances: Vec<Arc<Instance>>,
    /// What tenants may do with credentials that are not their own.
    pub grants: GrantBook,
    /// How much each tenant may do.
    pub quotas: Arc<Quotas>,
    /// Knows the callers.
    pub authenticator: Arc<Authenticator>,
    /// What the operator has set that changes the plan of links.
    pub setup: Setup,
    /// Web pages that may call from a browser.
    pub cors_origins: Vec<HeaderValue>,
    /// Cancelled when the process begins to drain.
    pub drain: CancellationToken,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
}

impl FromRef<Api> for Arc<Authenticator> {
    fn from_ref(api: &Api) -> Self {
        api.authenticator.clone()
    }
}

impl Api {
    fn netlify(&self) -> Result<&Instance, Problem> {
        let netlify = self
            .instances
            .iter()
            .find(|known| known.kind == UpstreamKind::Netlify);
        netlify
            .map(Arc::as_ref)
            .ok_or_else(|| Problem::internal(anyhow::anyhow!("Netlify is not configured")))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

fn routes() -> (Router<Api>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(description::Base::openapi())
        .merge(links::router())
        .merge(events::router())
        .merge(preflights::router())
        .merge(connections::router())
        .merge(errors::router())
        .merge(status_tokens::router())
        .merge(audit::router())
        .merge(notifications::router())
        .merge(operations::router())
        .split_for_parts();
    description::complete(&mut document);
    (router, document)
}

/// The description of the API, as `openapi.yaml` holds it.
///
/// # Errors
/// When it cannot be written as YAML.
pub fn document() -> Result<String, anyhow::Error> {
    Ok(routes().1.to_yaml()?)
}

/// The whole API as a service.
pub fn router(api: Api) -> Router {
    let router = routes()
        .0
        .merge(docs::router())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn(quotas::tell))
        .layer(middleware::from_fn(extract::read_ahead))
        .layer(CatchPanicLayer::custom(problem::panicked));
    cors::allow(router, &api.cors_origins)
        .layer(middleware::from_fn(problem::identify))
        .layer(TraceLayer::new_for_http().make_span_with(request_span))
        .with_state(api)
}

/// Names the request without its query, which may carry a status token.
fn request_span(request: &axum::extract::Request) -> tracing::Span {
    tracing::info_span!("request", method = %request.method(), path = request.uri().path())
}
