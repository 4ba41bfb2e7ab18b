//! Netlify's API: one file per resource, plain functions over an [`Access`].
//!
//! Netlify's own field names and status codes stay in here; what comes out are the facts of a link.
//! Facts about the vendor are from its two API descriptions and the clients that work in the field.

pub mod accounts;
pub mod builds;
pub mod deploy_keys;
pub mod deploys;
pub mod environment;
pub mod hooks;
pub mod sites;

use std::sync::Arc;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::{
    link::failure::FailureCode,
    redact,
    upstream::{
        Access, Answer, Class, Credential, Dialect, Http, Instance, UpstreamError, UpstreamKind,
    },
};

static DIALECT: Dialect = Dialect {
    accept: "application/json",
    headers: &[],
    classify,
};

/// The way to call Netlify with one token.
///
/// # Errors
/// `internal` when the instance's certificates cannot be loaded.
pub fn access(
    http: &Http,
    instance: Arc<Instance>,
    credential: Credential,
) -> Result<Access, UpstreamError> {
    Access::new(http, instance, credential, &DIALECT)
}

/// Where the provider has to deliver pushes: the API's address without `/api/v1`, then `/hooks/{provider}`.
///
/// Known before the repository is attached; the site's own `deploy_hook` is the truth afterwards
/// ([`sites::Site::attachment`]). Not for `manual`, whose address is different for each site.
pub fn webhook_url(netlify: &Instance, provider: UpstreamKind) -> Url {
    let mut url = netlify.api.clone();
    let base = url.path().trim_end_matches('/');
    let base = base.strip_suffix("/api/v1").unwrap_or(base);
    let path = format!("{base}/hooks/{provider}");
    url.set_path(&path);
    url
}

/// Absent counts as removed; whether there was anything to remove.
fn was_there(result: Result<Answer, UpstreamError>) -> Result<bool, UpstreamError> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Absent and empty text are the same to Netlify.
fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The three JSON shapes of Netlify's errors; the fourth shape is plain text.
#[derive(Deserialize)]
struct Body {
    /// The calls about environment variables say `msg` (netlify-cli).
    #[serde(alias = "msg")]
    message: Option<String>,
    error: Option<String>,
    errors: Option<Value>,
}

impl Body {
    fn read(answer: &Answer) -> Self {
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| Self::plain(answer))
    }

    fn plain(answer: &Answer) -> Self {
        let text = String::from_utf8_lossy(&answer.body);
        let is_text = !text.trim().is_empty() && !text.contains('<');
        Self {
            message: is_text.then(|| text.into_owned()),
            error: None,
            errors: None,
        }
    }

    /// Whether Netlify objects to this field.
    fn objects_to(&self, field: &str) -> bool {
        self.errors
            .as_ref()
            .is_some_and(|errors| errors.get(field).is_some())
    }

    /// Netlify's words, fit to be shown.
    fn reason(&self) -> String {
        let errors = self.errors.as_ref().map(flat);
        [&self.message, &self.error, &errors]
            .into_iter()
            .find_map(|text| text.as_deref())
            .map_or_else(
                || "it gives no reason".to_owned(),
                |text| redact::excerpt(text.trim_end_matches('.')),
            )
    }
}

/// `{"subdomain":["must be unique"]}` as `subdomain must be unique`.
fn flat(errors: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    match errors {
        Value::Object(fields) => {
            let field = |(name, what): (&String, &Value)| format!("{name} {}", flat(what));
            join(fields.iter().map(field).collect())
        }
        Value::Array(items) => join(items.iter().map(flat).collect()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The only place that knows what Netlify's status codes mean.
fn classify(answer: &Answer) -> UpstreamError {
    let body = Body::read(answer);
    let reason = body.reason();
    match answer.status {
        StatusCode::UNAUTHORIZED => {
            let detail = format!("Netlify refuses the credential: {reason}.");
            answer.refused(FailureCode::CredentialRefused, detail)
        }
        StatusCode::FORBIDDEN => {
            let code = match is_about_credits(&reason) {
                true => FailureCode::AccountCannotBuild,
                false => FailureCode::NetlifyForbidden,
            };
            answer.refused(code, format!("Netlify forbids it: {reason}."))
        }
        StatusCode::NOT_FOUND => {
            let detail = format!("Netlify does not know {}: {reason}.", answer.url.path());
            answer.error(FailureCode::RequestRefused, Class::NotFound, detail)
        }
        // Netlify describes this answer for environment variables alone.
        StatusCode::CONFLICT => {
            let detail = format!("Netlify has the environment variable already: {reason}.");
            answer.refused(FailureCode::EnvVariableExists, detail)
        }
        StatusCode::UNPROCESSABLE_ENTITY => unprocessable(answer, &body, &reason),
        StatusCode::TOO_MANY_REQUESTS => answer.rate_limited(),
        StatusCode::REQUEST_TIMEOUT => answer.unavailable(),
        status if status.is_server_error() => answer.unavailable(),
        status if status.is_client_error() => {
            let detail = format!(
                "Netlify refuses the request ({}): {reason}.",
                status.as_u16()
            );
            answer.refused(FailureCode::RequestRefused, detail)
        }
        _ => answer.contract_changed("has an unexpected status"),
    }
}

/// 422 is not always a taken name, as Netlify's CLI believes.
fn unprocessable(answer: &Answer, body: &Body, reason: &str) -> UpstreamError {
    if body.objects_to("subdomain") || body.objects_to("name") {
        let detail = format!("Netlify refuses the site's name: {reason}.");
        return answer.refused(FailureCode::SiteNameTaken, detail);
    }
    if reason.contains("not available on this plan") {
        let detail = format!("Netlify forbids it: {reason}.");
        return answer.refused(FailureCode::NetlifyForbidden, detail);
    }
    let detail = format!("Netlify refuses the request: {reason}.");
    answer.refused(FailureCode::RequestRefused, detail)
}

fn is_about_credits(reason: &str) -> bool {
    reason
        .to_ascii_lowercase()
        .contains("credit usage exceeded")
}

#[cfg(test)]
mod tests;
