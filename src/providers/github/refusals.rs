//! What GitHub means when it says no: the only place that knows its status codes and words.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::answers::{missing_scope, scopes};
use crate::{
    link::failure::FailureCode,
    redact,
    upstream::{Answer, Class, UpstreamError},
};

/// GitHub's error body.
#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Value>,
}

impl Body {
    fn read(answer: &Answer) -> Self {
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// All that GitHub says, in one line: the general message, then each error's own or its field and code.
    fn reason(&self) -> String {
        let mut parts = vec![self.message.clone()];
        parts.extend(self.errors.iter().map(|error| {
            let text = |key: &str| error.get(key).and_then(Value::as_str);
            match text("message").or(error.as_str()) {
                Some(message) => message.to_owned(),
                None => [text("field"), text("code")]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" "),
            }
        }));
        parts.retain(|part| !part.is_empty());
        match parts.is_empty() {
            true => "it gives no reason".to_owned(),
            false => redact::excerpt(parts.join(": ").trim_end_matches('.')),
        }
    }
}

/// The only place that knows what GitHub's status codes mean.
pub(super) fn classify(answer: &Answer) -> UpstreamError {
    let reason = Body::read(answer).reason();
    match answer.status {
        StatusCode::UNAUTHORIZED => {
            let detail = format!("GitHub refuses the credential: {reason}.");
            answer.refused(FailureCode::CredentialRefused, detail)
        }
        StatusCode::FORBIDDEN => forbidden(answer, &reason),
        StatusCode::NOT_FOUND => not_found(answer),
        StatusCode::CONFLICT if reason.contains("Repository is empty") => {
            let detail = "The repository has no commits yet.";
            answer.refused(FailureCode::RepositoryEmpty, detail)
        }
        StatusCode::UNPROCESSABLE_ENTITY => unprocessable(answer, &reason),
        StatusCode::TOO_MANY_REQUESTS => answer.rate_limited(),
        StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            let detail = format!("GitHub has blocked the repository: {reason}.");
            answer.refused(FailureCode::ProviderRefused, detail)
        }
        StatusCode::REQUEST_TIMEOUT => answer.unavailable(),
        status if status.is_server_error() => answer.unavailable(),
        status if status.is_client_error() => {
            let detail = format!(
                "GitHub refuses the request ({}): {reason}.",
                status.as_u16()
            );
            answer.refused(FailureCode::RequestRefused, detail)
        }
        _ => answer.contract_changed("has an unexpected status"),
    }
}

/// 403 means six things; the order matters, because a limited call may carry the words of another cause.
fn forbidden(answer: &Answer, reason: &str) -> UpstreamError {
    let says = |text: &str| reason.to_ascii_lowercase().contains(text);
    let limited = answer.retry_at.is_some()
        || answer.header("gh-limited-by").is_some()
        || says("secondary rate limit")
        || says("abuse detection");
    if limited {
        return answer.rate_limited();
    }
    let (code, detail) = if let Some(sso) = answer.header("x-github-sso") {
        let place = sso.split_once("url=").map_or(sso, |(_, url)| url);
        let detail = format!(
            "Single sign-on is required; authorise it at {}.",
            redact::excerpt(place)
        );
        (FailureCode::SsoRequired, detail)
    } else if says("installation has been suspended") {
        (
            FailureCode::AppSuspended,
            "The app's installation is suspended.".to_owned(),
        )
    } else if says("archived") {
        (
            FailureCode::RepositoryArchived,
            format!("GitHub refuses to write: {reason}."),
        )
    } else if says("access blocked") {
        (
            FailureCode::ProviderRefused,
            format!("GitHub has blocked the repository: {reason}."),
        )
    } else if says("not accessible by") {
        (
            FailureCode::ScopeMissing,
            missing_permission(answer, reason),
        )
    } else if says("upgrade to github") {
        (
            FailureCode::ProviderRefused,
            format!("The GitHub plan does not include it: {reason}."),
        )
    } else {
        (
            FailureCode::AdminRequired,
            format!("GitHub does not permit it: {reason}."),
        )
    };
    answer.refused(code, detail)
}

/// Fine-grained tokens and apps have permissions instead of scopes; GitHub names the one that was wanted.
fn missing_permission(answer: &Answer, reason: &str) -> String {
    match answer.header("x-accepted-github-permissions") {
        Some(wanted) => format!(
            "The token needs the permission {}.",
            redact::excerpt(wanted)
        ),
        None => format!("The token lacks a permission: {reason}."),
    }
}

/// 404 is "absent" and "not yours" alike. Keys and webhooks are shown to admins only.
fn not_found(answer: &Answer) -> UpstreamError {
    let path = answer.url.path();
    let (code, detail) = if path.contains("/keys") || path.contains("/hooks") {
        let detail = "GitHub does not show the repository's deploy keys or webhooks to this credential, or the object is gone.";
        (FailureCode::AdminRequired, detail)
    } else {
        let sees_public_only = scopes(answer).is_some_and(|s| missing_scope(&s, true).is_some());
        let detail = match sees_public_only {
            true => {
                "GitHub knows no such repository, or hides it: private ones need the token scope `repo`."
            }
            false => "GitHub knows no such repository, or does not show it to this credential.",
        };
        (FailureCode::RepositoryNotFoundOrNoAccess, detail)
    };
    answer.error(code, Class::NotFound, detail)
}

/// 422: the words decide, and never that "it is there already": only the list tells that.
fn unprocessable(answer: &Answer, reason: &str) -> UpstreamError {
    let says = |text: &str| reason.contains(text);
    let path = answer.url.path();
    let code = if says("key is already in use") {
        FailureCode::KeyInUseElsewhere
    } else if says("Deploy keys are disabled") {
        FailureCode::DeployKeysDisabled
    } else if says("cannot have more than") {
        FailureCode::WebhookLimitReached
    } else if path.contains("/keys") {
        FailureCode::KeyRefused
    } else if path.contains("/hooks") {
        FailureCode::WebhookRefused
    } else {
        FailureCode::RequestRefused
    };
    answer.refused(code, format!("GitHub refuses: {reason}."))
}
