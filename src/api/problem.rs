//! What the API answers when it does not do what was asked: RFC 9457 problem documents with stable
//! codes.
//!
//! The title says what is wrong, the remedy what to do, and neither depends on the request. What a
//! caller may not know (causes, upstream bodies, other tenants) goes to the log instead.

mod documented;

use std::any::Any;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{link::failure::UpstreamTrace, store::is_away};

pub use documented::{
    BodyProblems, CallerProblems, ObjectProblems, RepeatableProblems, documented,
};

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Carries the id of a request, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An error answer: its document, and headers that belong to it.
#[derive(Debug, Clone)]
pub struct Problem {
    document: Box<ProblemDocument>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The body of an error answer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// `/errors/` and the code; describes the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "/errors/not_found")]
    pub kind: String,
    /// What is wrong, the same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable name of the problem: decide on this one.
    pub code: ProblemCode,
    /// What is wrong with this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it.
    pub remedy: String,
    /// Where the request is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The upstream call behind the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamTrace>,
    /// The request's id, as in the `x-request-id` header and in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// One place where a request is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/site/name")]
    pub pointer: Option<String>,
    /// Name of the query parameter or header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong there.
    pub detail: String,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: ProblemCode) -> Self {
        Self {
            document: Box::new(ProblemDocument::new(code)),
            headers: Vec::new(),
        }
    }

    /// [`ProblemCode::Internal`]; the cause is logged here and kept from the caller.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        tracing::error!(cause = format!("{:#}", cause.into()), "request failed");
        Self::new(ProblemCode::Internal)
    }

    /// What kind of problem it is.
    pub fn code(&self) -> ProblemCode {
        self.document.code
    }

    /// Says what is wrong with this request.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.document.detail = Some(detail.into());
        self
    }

    /// Adds a place in the body, by JSON pointer.
    #[must_use]
    pub fn error(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.document.errors.push(FieldError {
            pointer: Some(pointer.into()),
            parameter: None,
            detail: detail.into(),
        });
        self
    }

    /// Adds a query parameter or header that is wrong.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, detail: impl Into<String>) -> Self {
        self.document.errors.push(FieldError {
            pointer: None,
            parameter: Some(name.into()),
            detail: detail.into(),
        });
        self
    }

    /// Names the upstream call behind the problem.
    #[must_use]
    pub fn upstream(mut self, trace: UpstreamTrace) -> Self {
        self.document.upstream = Some(trace);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says in how many seconds the request may be sent again.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    fn body(&self) -> Vec<u8> {
        // Only maps with keys that are no strings fail to serialise; there are none.
        serde_json::to_vec(&self.document).unwrap_or_default()
    }
}

impl ProblemDocument {
    /// The document of a problem of this kind, without anything that depends on the request.
    pub fn new(code: ProblemCode) -> Self {
        Self {
            kind: format!("/errors/{code}"),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            code,
            detail: None,
            remedy: code.remedy().to_owned(),
            errors: Vec::new(),
            upstream: None,
            request_id: None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let media_type = [(header::CONTENT_TYPE, PROBLEM_JSON)];
        let mut response = (self.document.code.status(), media_type, self.body()).into_response();
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        // For `identify`, which knows the request's id.
        response.extensions_mut().insert(self);
        response
    }
}

/// A database that cannot work right now is [`ProblemCode::Unavailable`], everything else internal.
impl From<sqlx::Error> for Problem {
    fn from(cause: sqlx::Error) -> Self {
        if is_away(&cause) {
            tracing::warn!(%cause, "the database cannot work right now");
            return Self::new(ProblemCode::Unavailable)
                .detail("The database does not answer.")
                .retry_after(2);
        }
        Self::internal(cause)
    }
}

/// The id of the request at hand, among its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Middleware: gives each request an id (its own `x-request-id` when that is a reasonable one) and
/// says it in the answer's header and in its problem document.
pub async fn identify(mut request: Request, next: Next) -> Response {
    let sent = request.headers().get(REQUEST_ID).and_then(reasonable_id);
    let id = sent.unwrap_or_else(|| Uuid::now_v7().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
        problem.document.request_id = Some(id.clone());
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = problem.body().into();
    }
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn reasonable_id(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let reasonable = (1..=128).contains(&text.len()) && text.chars().all(is_plain);
    reasonable.then(|| text.to_owned())
}

/// The answer to a path that does not exist.
pub async fn not_found() -> Problem {
    Problem::new(ProblemCode::NotFound)
}

/// The answer to a method that the path does not have; axum adds `Allow`.
pub async fn method_not_allowed() -> Problem {
    Problem::new(ProblemCode::MethodNotAllowed)
}

/// The answer when a handler panicked, for `tower_http::catch_panic::CatchPanicLayer::custom`. The
/// panic's text goes to the log by the panic hook; it may hold anything, so nobody else sees it.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal(anyhow::anyhow!("a handler panicked")).into_response()
}

macro_rules! catalogue {
    ($($variant:ident $code:tt $status:ident $title:literal $remedy:literal;)*) => {
        /// Stable name of a problem; the text form is part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum ProblemCode {
            $(#[doc = $title] #[serde(rename = $code)] $variant,)*
        }

        impl ProblemCode {
            /// Every code, in catalogue order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable text form.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $code,)* } }
            /// The HTTP status that it is answered with.
            pub const fn status(self) -> StatusCode { match self { $(Self::$variant => StatusCode::$status,)* } }
            /// What is wrong, for people.
            pub const fn title(self) -> &'static str { match self { $(Self::$variant => $title,)* } }
            /// What to do about it, for people.
            pub const fn remedy(self) -> &'static str { match self { $(Self::$variant => $remedy,)* } }
        }
    };
}

catalogue! {
    InvalidBody "invalid_body" BAD_REQUEST
        "The body is not JSON"
        "Send one JSON value; the detail says where it breaks.";
    InvalidQuery "invalid_query" BAD_REQUEST
        "The query string is not valid"
        "Correct or remove the parameters named in `errors`.";
    InvalidHeader "invalid_header" BAD_REQUEST
        "A header is not valid"
        "Correct or remove the headers named in `errors`.";
    Unauthorized "unauthorized" UNAUTHORIZED
        "The request carries no valid access token"
        "Send `Authorization: Bearer <token>` with a current token of a configured issuer.";
    Forbidden "forbidden" FORBIDDEN
        "The access token does not allow this"
        "Use a token with the scope named in the `WWW-Authenticate` header.";
    InstallationNotGranted "installation_not_granted" FORBIDDEN
        "The operator has not granted the tenant this installation of Netlify's GitHub App"
        "Ask the operator for a grant of the installation for this repository and team, or leave `access` out.";
    NotFound "not_found" NOT_FOUND
        "There is no such thing, or it is not yours"
        "Check the path and the id.";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED
        "The path does not have this method"
        "Use one of the methods in the `Allow` header.";
    LinkExists "link_exists" CONFLICT
        "A link for this repository and site already exists"
        "Use the existing link, or unlink it first.";
    ConnectionExists "connection_exists" CONFLICT
        "A connection with this name already exists"
        "Choose another name, or delete the existing connection first.";
    IllegalTransition "illegal_transition" CONFLICT
        "The link's status does not allow this"
        "Read the link, and wait or choose an action that fits its status.";
    ConnectionInUse "connection_in_use" CONFLICT
        "The connection is used by links"
        "Unlink them first.";
    IdempotencyInProgress "idempotency_in_progress" CONFLICT
        "A request with this idempotency key is being done"
        "Wait for the seconds in `Retry-After`, then send the same request again.";
    PreconditionFailed "precondition_failed" PRECONDITION_FAILED
        "The link has changed since it was read"
        "Read it again and repeat the request with its new ETag.";
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE
        "The body is larger than 64 KiB"
        "Send a smaller body.";
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE
        "The body's content type is not JSON"
        "Send `Content-Type: application/json`.";
    InvalidRequest "invalid_request" UNPROCESSABLE_ENTITY
        "The request is not valid"
        "Correct the places named in `errors`.";
    IdempotencyConflict "idempotency_conflict" UNPROCESSABLE_ENTITY
        "The idempotency key belongs to another request"
        "Use a new key for a new request, or send the first request unchanged.";
    PreconditionRequired "precondition_required" PRECONDITION_REQUIRED
        "The request must say which version of the link it means"
        "Send `If-Match` with the link's ETag.";
    RateLimited "rate_limited" TOO_MANY_REQUESTS
        "Too many requests"
        "Wait for the seconds in `Retry-After`; `RateLimit-Policy` names the quota that is used up.";
    Internal "internal" INTERNAL_SERVER_ERROR
        "linkbroker failed"
        "Try again; if it stays so, report the request's id to the operator.";
    Unavailable "unavailable" SERVICE_UNAVAILABLE
        "linkbroker cannot work right now"
        "Wait for the seconds in `Retry-After`, then try again.";
}

impl std::fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
