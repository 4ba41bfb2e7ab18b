//! What GitLab means when it says no: the only place that knows its status codes and words.

use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    link::failure::FailureCode,
    redact,
    upstream::{Answer, Class, UpstreamError},
};

/// All that GitLab says, in one line. Its errors come as `message` with text, as `message` with texts by field, as
/// `error` with or without a description, as plain text, and as a page of a proxy in front of it.
fn reason(answer: &Answer) -> String {
    let text = match serde_json::from_slice(&answer.body) {
        Ok(body) => said(&body),
        Err(_) => plain(&String::from_utf8_lossy(&answer.body)),
    };
    match text.trim_end_matches('.') {
        "" => "it gives no reason".to_owned(),
        text => redact::excerpt(text),
    }
}

fn said(body: &Value) -> String {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    match body.get("message") {
        Some(Value::String(message)) => message.clone(),
        Some(Value::Object(fields)) => {
            let each = fields
                .iter()
                .map(|(field, texts)| format!("{field} {}", joined(texts)));
            each.collect::<Vec<_>>().join("; ")
        }
        _ => [text("error"), text("error_description")]
            .join(" ")
            .trim()
            .to_owned(),
    }
}

fn joined(texts: &Value) -> String {
    match texts {
        Value::Array(texts) => texts.iter().map(joined).collect::<Vec<_>>().join(", "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One line of plain text says something; a page does not.
fn plain(text: &str) -> String {
    match text.trim_start().starts_with('<') {
        true => String::new(),
        false => text.trim().to_owned(),
    }
}

/// The only place that knows what GitLab's status codes mean.
pub(super) fn classify(answer: &Answer) -> UpstreamError {
    let reason = reason(answer);
    match answer.status {
        StatusCode::UNAUTHORIZED => {
            let detail = format!("GitLab refuses the credential: {reason}.");
            answer.refused(FailureCode::CredentialRefused, detail)
        }
        StatusCode::FORBIDDEN => forbidden(answer, &reason),
        StatusCode::NOT_FOUND => not_found(answer),
        StatusCode::METHOD_NOT_ALLOWED if reason.contains("moved") => {
            let detail = "The project has another path by now, and GitLab takes no changes under the old one.";
            answer.refused(FailureCode::RequestRefused, detail)
        }
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => invalid(answer, &reason),
        StatusCode::TOO_MANY_REQUESTS => answer.rate_limited(),
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => answer.unavailable(),
        status if status.is_server_error() => answer.unavailable(),
        status if status.is_client_error() => {
            let status = status.as_u16();
            let detail = format!("GitLab refuses the request ({status}): {reason}.");
            answer.refused(FailureCode::RequestRefused, detail)
        }
        _ => answer.contract_changed("has an unexpected status"),
    }
}

fn forbidden(answer: &Answer, reason: &str) -> UpstreamError {
    let says = |text: &str| reason.to_ascii_lowercase().contains(text);
    let (code, detail) = if answer.retry_at.is_some() {
        return answer.rate_limited();
    } else if says("insufficient_scope") {
        let detail =
            "The token needs the scope `api`: no narrower one covers deploy keys and webhooks.";
        (FailureCode::ScopeMissing, detail.to_owned())
    } else if says("archived") {
        let detail = format!("GitLab refuses to write: {reason}.");
        (FailureCode::RepositoryArchived, detail)
    } else if says("blocked") {
        let detail = format!("GitLab refuses the credential: {reason}.");
        (FailureCode::CredentialRefused, detail)
    } else {
        let detail = format!("GitLab does not permit it: {reason}. It needs the role Maintainer.");
        (FailureCode::AdminRequired, detail)
    };
    answer.refused(code, detail)
}

/// 404 is "absent" and "not yours" alike. Keys and webhooks are shown to Maintainers only.
fn not_found(answer: &Answer) -> UpstreamError {
    let path = answer.url.path();
    let (code, detail) = if path.contains("/deploy_keys") || path.contains("/hooks") {
        let detail = "GitLab does not show the project's deploy keys or webhooks to this credential, which needs the role Maintainer; or the object is gone.";
        (FailureCode::AdminRequired, detail)
    } else {
        let detail = "GitLab knows no such project, or does not show it to this credential.";
        (FailureCode::RepositoryNotFoundOrNoAccess, detail)
    };
    answer.error(code, Class::NotFound, detail)
}

/// 400 and 422: the words decide.
fn invalid(answer: &Answer, reason: &str) -> UpstreamError {
    let path = answer.url.path();
    let says = |text: &str| reason.contains(text);
    let code = if path.contains("/deploy_keys") {
        match says("has already been taken") {
            true => FailureCode::KeyInUseElsewhere,
            false => FailureCode::KeyRefused,
        }
    } else if path.contains("/test/") {
        return undelivered(answer, reason);
    } else if path.contains("/hooks") {
        match says("Maximum number") {
            true => FailureCode::WebhookLimitReached,
            false => FailureCode::WebhookRefused,
        }
    } else {
        FailureCode::RequestRefused
    };
    answer.refused(code, format!("GitLab refuses: {reason}."))
}

/// A test of a webhook is answered only when the delivery has ended.
fn undelivered(answer: &Answer, reason: &str) -> UpstreamError {
    if reason.contains("at least one commit") {
        let detail = "The repository has no commits yet.";
        return answer.refused(FailureCode::RepositoryEmpty, detail);
    }
    let detail = format!("GitLab could not deliver its latest push to Netlify: {reason}.");
    answer.refused(FailureCode::WebhookNotDelivered, detail)
}
