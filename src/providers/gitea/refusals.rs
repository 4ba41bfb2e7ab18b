//! What Gitea and Forgejo mean when they say no: the only place that knows their status codes and words.

use reqwest::StatusCode;
use serde::Deserialize;

use crate::{
    link::failure::FailureCode,
    redact,
    upstream::{Answer, Class, UpstreamError},
};

#[derive(Default, Deserialize)]
struct Body {
    message: Option<String>,
}

fn reason(answer: &Answer) -> String {
    let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = body.message.unwrap_or_default();
    match message.trim().trim_end_matches('.') {
        "" => "it gives no reason".to_owned(),
        message => redact::excerpt(message),
    }
}

/// The only place that knows what Gitea's status codes mean.
pub(super) fn classify(answer: &Answer) -> UpstreamError {
    let reason = reason(answer);
    match answer.status {
        StatusCode::UNAUTHORIZED => {
            let detail = format!("Gitea refuses the credential: {reason}.");
            answer.refused(FailureCode::CredentialRefused, detail)
        }
        StatusCode::FORBIDDEN if reason.contains("scope") => {
            let detail = format!(
                "The token lacks a scope: {reason}. Linking needs `write:repository`, its check `read:user`."
            );
            answer.refused(FailureCode::ScopeMissing, detail)
        }
        StatusCode::FORBIDDEN => {
            let detail = format!("Gitea does not permit it: {reason}.");
            answer.refused(FailureCode::AdminRequired, detail)
        }
        StatusCode::NOT_FOUND => not_found(answer),
        StatusCode::LOCKED => {
            let detail = format!("Gitea refuses to write: {reason}.");
            answer.refused(FailureCode::RepositoryArchived, detail)
        }
        StatusCode::UNPROCESSABLE_ENTITY => invalid(answer, &reason),
        StatusCode::TOO_MANY_REQUESTS => answer.rate_limited(),
        StatusCode::REQUEST_TIMEOUT => answer.unavailable(),
        status if status.is_server_error() => answer.unavailable(),
        status if status.is_client_error() => {
            let status = status.as_u16();
            let detail = format!("Gitea refuses the request ({status}): {reason}.");
            answer.refused(FailureCode::RequestRefused, detail)
        }
        _ => answer.contract_changed("has an unexpected status"),
    }
}

/// 404 is "absent" and "not yours" alike.
fn not_found(answer: &Answer) -> UpstreamError {
    let path = answer.url.path();
    let (code, detail) = if path.contains("/keys") || path.contains("/hooks") {
        let detail = "Gitea does not show the repository's deploy keys or webhooks to this credential, or the object is gone.";
        (FailureCode::AdminRequired, detail)
    } else {
        let detail = "Gitea knows no such repository, or does not show it to this credential.";
        (FailureCode::RepositoryNotFoundOrNoAccess, detail)
    };
    answer.error(code, Class::NotFound, detail)
}

/// 422: the words decide. Those about a "non-deploy key" mean a key in somebody's profile.
fn invalid(answer: &Answer, reason: &str) -> UpstreamError {
    let path = answer.url.path();
    let says = |text: &str| reason.contains(text);
    let code = if says("non-deploy key") {
        FailureCode::KeyInProfileNotProject
    } else if path.contains("/keys") && says("already") {
        FailureCode::KeyInUseElsewhere
    } else if says("SSH is disabled") {
        FailureCode::DeployKeysDisabled
    } else if path.contains("/keys") {
        FailureCode::KeyRefused
    } else if path.contains("/hooks") {
        FailureCode::WebhookRefused
    } else {
        FailureCode::RequestRefused
    };
    answer.refused(code, format!("Gitea refuses: {reason}."))
}
