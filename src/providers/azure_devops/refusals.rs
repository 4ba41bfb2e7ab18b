//! What Azure DevOps means when it says no: the only place that knows its status codes and words.

use reqwest::StatusCode;
use serde::Deserialize;

use crate::{
    link::failure::FailureCode,
    redact,
    upstream::{Answer, Class, UpstreamError},
};

/// Azure's error body. `typeKey` is what lasts; the texts begin with a number (`TF401019`) and may be translated.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    message: Option<String>,
    type_key: Option<String>,
}

impl Body {
    fn read(answer: &Answer) -> Self {
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    fn is(&self, type_key: &str) -> bool {
        self.type_key.as_deref() == Some(type_key)
    }

    fn says(&self, text: &str) -> bool {
        let message = self.message.as_deref().unwrap_or_default();
        message
            .to_ascii_lowercase()
            .contains(&text.to_ascii_lowercase())
    }

    fn reason(&self) -> String {
        match self.message.as_deref() {
            None | Some("") => "it gives no reason".to_owned(),
            Some(message) => redact::excerpt(message.trim_end_matches('.')),
        }
    }
}

/// The only place that knows what Azure's status codes mean.
pub(super) fn classify(answer: &Answer) -> UpstreamError {
    let body = Body::read(answer);
    let reason = body.reason();
    match answer.status {
        // Without the right header, and behind some gateways with it, "sign in" comes as 203, as any success with a page, or
        // as a redirect.
        status if status.is_success() || status == StatusCode::FOUND => signed_out(answer),
        StatusCode::UNAUTHORIZED => {
            let detail = format!("Azure DevOps refuses the credential: {reason}. {HINT}");
            answer.refused(FailureCode::CredentialRefused, detail)
        }
        StatusCode::FORBIDDEN => forbidden(answer, &reason),
        StatusCode::NOT_FOUND => missing(answer, &reason),
        // A project that is not there.
        StatusCode::BAD_REQUEST if body.says("VS800075") => missing(answer, &reason),
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT => invalid(answer, &body, &reason),
        StatusCode::TOO_MANY_REQUESTS => answer.rate_limited(),
        StatusCode::REQUEST_TIMEOUT => answer.unavailable(),
        // "Request blocked": the budget of five minutes is used up.
        StatusCode::SERVICE_UNAVAILABLE if body.says("TF400733") => answer.rate_limited(),
        status if status.is_server_error() => answer.unavailable(),
        status if status.is_client_error() => {
            let detail = format!(
                "Azure DevOps refuses the request ({}): {reason}.",
                status.as_u16()
            );
            answer.refused(FailureCode::RequestRefused, detail)
        }
        _ => answer.contract_changed("has an unexpected status"),
    }
}

const HINT: &str = "A personal access token is sent as `basic`, one of Microsoft Entra as `token`; either may have expired, and the organisation's policy may forbid it.";

/// Azure wants somebody to sign in.
pub(super) fn signed_out(answer: &Answer) -> UpstreamError {
    let detail = format!("Azure DevOps wants somebody to sign in. {HINT}");
    answer.refused(FailureCode::CredentialRefused, detail)
}

fn forbidden(answer: &Answer, reason: &str) -> UpstreamError {
    let (code, needed) = if is_about(answer, "hooks") {
        let needed = "subscriptions need the project permissions `View subscriptions` and `Edit subscriptions`";
        (FailureCode::AdminRequired, needed)
    } else if is_about(answer, "git") {
        let needed = "the token needs `Code: Read`, and its owner to be a reader of the project";
        (FailureCode::ScopeMissing, needed)
    } else {
        let needed = "SSH keys are managed with a token of full scope of the account that has them";
        (FailureCode::ScopeMissing, needed)
    };
    answer.refused(
        code,
        format!("Azure DevOps does not permit it: {needed} ({reason})."),
    )
}

/// Absent or not ours; an unknown organisation is answered with a page.
fn missing(answer: &Answer, reason: &str) -> UpstreamError {
    let detail = format!(
        "Azure DevOps knows no such organisation, project, repository or object, or does not show it to this credential: {reason}."
    );
    answer.error(
        FailureCode::RepositoryNotFoundOrNoAccess,
        Class::NotFound,
        detail,
    )
}

fn invalid(answer: &Answer, body: &Body, reason: &str) -> UpstreamError {
    let code = if body.is("GitRepositoryNotFoundException") {
        return missing(answer, reason);
    } else if is_about(answer, "hooks") {
        match body.says("limit") || body.says("maximum") {
            true => FailureCode::WebhookLimitReached,
            false => FailureCode::WebhookRefused,
        }
    } else {
        FailureCode::RequestRefused
    };
    answer.refused(code, format!("Azure DevOps refuses: {reason}."))
}

/// Whether the call went to an area of the API, e.g. `hooks`; projects may have that name too.
fn is_about(answer: &Answer, area: &str) -> bool {
    let segments = answer.url.path().split('/');
    segments.skip_while(|segment| *segment != "_apis").nth(1) == Some(area)
}
