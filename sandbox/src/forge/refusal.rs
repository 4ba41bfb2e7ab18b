//! An answer that is not a success, in whatever shape a provider gives it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::World;

/// A refusal; each provider has constructors of its own for its shapes.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    body: Body,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug)]
enum Body {
    Json(Value),
    Text(String),
    Page(String),
}

impl Refusal {
    /// A JSON body.
    pub fn json(status: StatusCode, body: Value) -> Self {
        Self::new(status, Body::Json(body))
    }

    /// A plain text.
    pub fn text(status: StatusCode, text: &str) -> Self {
        Self::new(status, Body::Text(text.to_owned()))
    }

    /// A page for browsers.
    pub fn page(status: StatusCode, html: &str) -> Self {
        Self::new(status, Body::Page(html.to_owned()))
    }

    fn new(status: StatusCode, body: Body) -> Self {
        Self {
            status,
            body,
            headers: Vec::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        insert(&mut self.headers, name, value);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Body::Json(body) => (self.status, Json(body)).into_response(),
            Body::Text(text) => (self.status, text).into_response(),
            Body::Page(html) => (self.status, Html(html)).into_response(),
        };
        response.headers_mut().extend(self.headers);
        response
    }
}

/// A fault of the sandbox itself, said plainly.
impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!(%error, "a provider of the sandbox failed");
        let message = format!("sandbox: {error:#}");
        Self::json(
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({"message": message}),
        )
    }
}

/// Adds a header whose value may come from outside; one that cannot be sent is left out and logged.
pub fn insert(
    headers: &mut impl Extend<(HeaderName, HeaderValue)>,
    name: &'static str,
    value: &str,
) {
    match HeaderValue::from_str(value) {
        Ok(value) => headers.extend([(HeaderName::from_static(name), value)]),
        Err(error) => tracing::warn!(%error, name, "a header was left out"),
    }
}

/// The parameters in the path of a call, decoded; empty when the path cannot be decoded.
pub async fn path_parameters(parts: &mut Parts, world: &Arc<World>) -> HashMap<String, String> {
    match RawPathParams::from_request_parts(parts, world).await {
        Ok(parameters) => parameters
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        Err(error) => {
            tracing::debug!(%error, "a path that cannot be decoded");
            HashMap::new()
        }
    }
}

/// A JSON body; an empty one is an empty object.
///
/// # Errors
/// What is wrong with it, for the provider to put into its own shape.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let body = match body.trim_ascii() {
        b"" => b"{}",
        text => text,
    };
    serde_json::from_slice(body).map_err(|error| error.to_string())
}
