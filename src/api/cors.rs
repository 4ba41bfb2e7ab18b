//! Which web pages may call from a browser (CORS): the configured origins, without cookies.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{Api, problem::REQUEST_ID};

/// How long browsers may remember a preflight's answer.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// Request headers that the API heeds.
const HEEDED: [HeaderName; 9] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("prefer"),
    REQUEST_ID,
];

/// Answer headers that scripts may read besides those that they always may.
const SHOWN: [HeaderName; 9] = [
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("idempotency-replayed"),
    HeaderName::from_static("preference-applied"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    REQUEST_ID,
];

/// Lets pages of these origins call; with none, no page may, and browsers see to it.
pub fn allow(router: Router<Api>, origins: &[HeaderValue]) -> Router<Api> {
    match origins {
        [] => router,
        some => router.layer(layer(some.to_vec())),
    }
}

fn layer(origins: Vec<HeaderValue>) -> CorsLayer {
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods(methods)
        .allow_headers(HEEDED)
        .expose_headers(SHOWN)
        .max_age(REMEMBERED)
}
