//! What Bitbucket means when it says no: the only place that knows its status codes and words.

use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    link::failure::FailureCode,
    redact,
    upstream::{Answer, Class, UpstreamError},
};

/// Bitbucket's error body, which comes in two shapes: `{"type": "error", "error": {"message", "detail", "fields"}}`, and for
/// access keys the bare fields, `{"key": [{"message"}]}`.
struct Body(Value);

impl Body {
    fn read(answer: &Answer) -> Self {
        Self(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// The fields that Bitbucket objects to, with its objections.
    fn fields(&self) -> &Value {
        match self.0.get("error") {
            Some(error) => &error["fields"],
            None => &self.0,
        }
    }

    fn objects_to(&self, field: &str) -> bool {
        self.fields().get(field).is_some()
    }

    /// Scopes that the call wanted.
    fn required_scopes(&self) -> Option<String> {
        let required = self.0["error"]["detail"]["required"].as_array()?;
        let names: Vec<_> = required.iter().filter_map(Value::as_str).collect();
        (!names.is_empty()).then(|| names.join("`, `"))
    }

    /// All that Bitbucket says, in one line.
    fn reason(&self) -> String {
        let error = &self.0["error"];
        let mut parts: Vec<&str> = Vec::new();
        parts.extend(
            [&error["message"], &error["detail"]]
                .map(Value::as_str)
                .into_iter()
                .flatten(),
        );
        collect(self.fields(), &mut parts);
        match parts.is_empty() {
            true => "it gives no reason".to_owned(),
            false => redact::excerpt(parts.join(": ").trim_end_matches('.')),
        }
    }
}

/// Every text in the objections to fields, however deep.
fn collect<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The only place that knows what Bitbucket's status codes mean.
pub(super) fn classify(answer: &Answer) -> UpstreamError {
    let body = Body::read(answer);
    let reason = body.reason();
    match answer.status {
        StatusCode::UNAUTHORIZED => {
            let detail = format!(
                "Bitbucket refuses the credential: {reason}. It takes API tokens with the account's e-mail address, and access tokens; app passwords no longer work."
            );
            answer.refused(FailureCode::CredentialRefused, detail)
        }
        StatusCode::FORBIDDEN => forbidden(answer, &body, &reason),
        StatusCode::NOT_FOUND => {
            let detail = "Bitbucket knows no such object, or does not show it to this credential.";
            answer.error(
                FailureCode::RepositoryNotFoundOrNoAccess,
                Class::NotFound,
                detail,
            )
        }
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT => invalid(answer, &body, &reason),
        StatusCode::TOO_MANY_REQUESTS => answer.rate_limited(),
        StatusCode::REQUEST_TIMEOUT => answer.unavailable(),
        status if status.is_server_error() => answer.unavailable(),
        status if status.is_client_error() => {
            let detail = format!(
                "Bitbucket refuses the request ({}): {reason}.",
                status.as_u16()
            );
            answer.refused(FailureCode::RequestRefused, detail)
        }
        _ => answer.contract_changed("has an unexpected status"),
    }
}

/// Without a scope, without admin rights, or without any access at all: the place decides between the last two.
fn forbidden(answer: &Answer, body: &Body, reason: &str) -> UpstreamError {
    let (code, detail) = if let Some(scopes) = body.required_scopes() {
        (
            FailureCode::ScopeMissing,
            format!("The token needs the scopes `{scopes}`."),
        )
    } else if reason.contains("privilege scopes") || answer.url.path().ends_with("/user") {
        (
            FailureCode::ScopeMissing,
            format!("The token lacks a scope: {reason}."),
        )
    } else if is_about(answer, "deploy-keys") || is_about(answer, "hooks") {
        (
            FailureCode::AdminRequired,
            format!("Bitbucket shows access keys and webhooks to admins only: {reason}."),
        )
    } else {
        (
            FailureCode::RepositoryNotFoundOrNoAccess,
            format!("Bitbucket gives this credential no access: {reason}."),
        )
    };
    answer.refused(code, detail)
}

/// 400: the words decide, and never that "it is there already": only the list tells that.
fn invalid(answer: &Answer, body: &Body, reason: &str) -> UpstreamError {
    let says = |text: &str| reason.to_ascii_lowercase().contains(text);
    let code = if is_about(answer, "deploy-keys") {
        match body.objects_to("key") && says("already") {
            true => FailureCode::KeyInUseElsewhere,
            false => FailureCode::KeyRefused,
        }
    } else if is_about(answer, "hooks") {
        match says("limit") || says("maximum") || says("too many") {
            true => FailureCode::WebhookLimitReached,
            false => FailureCode::WebhookRefused,
        }
    } else {
        FailureCode::RequestRefused
    };
    answer.refused(code, format!("Bitbucket refuses: {reason}."))
}

/// Whether the call was about a collection of a repository, e.g. `hooks`. A repository may have that name too, hence the
/// place in the path.
fn is_about(answer: &Answer, collection: &str) -> bool {
    let segments = answer.url.path().split('/');
    segments
        .skip_while(|segment| *segment != "repositories")
        .nth(3)
        == Some(collection)
}
