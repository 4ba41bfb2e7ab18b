//! Reads requests: what does not fit is answered with a [`Problem`] that points at the place.
//!
//! The texts never repeat a value of the request: it may be a secret in the wrong field.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::Segment;
use tokio::time::timeout;

use crate::json_object::Object;

use super::problem::{Problem, ProblemCode};

/// Most bytes of a request's body.
pub const BODY_LIMIT: usize = 64 * 1024;

/// Most bytes that are read of what is too large, and thrown away.
const DISCARD_LIMIT: usize = 16 * BODY_LIMIT;
/// How long that may take.
const DISCARD_FOR: Duration = Duration::from_secs(2);

/// A JSON body, in and out.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = json_bytes(request).await?;
        from_json(&bytes).map(Self)
    }
}

/// Reads the body before anything is decided about the request. A connection whose request was answered while its body was
/// not read yet is closed, and a caller that still sends, or sends the next request, sees that in place of the answer.
pub async fn read_ahead(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match read_body(body).await {
        Ok(bytes) => next.run(Request::from_parts(parts, bytes.into())).await,
        Err(problem) => problem.into_response(),
    }
}

/// The body of a request that says it is JSON.
pub(super) async fn json_bytes(request: Request) -> Result<Bytes, Problem> {
    match is_json(request.headers()) {
        true => read_body(request.into_body()).await,
        false => Err(Problem::new(ProblemCode::UnsupportedMediaType)),
    }
}

/// `application/json`, or a type that says it is JSON underneath.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The whole body, if it keeps to [`BODY_LIMIT`].
///
/// # Errors
/// `body_too_large`, or `invalid_body` when it breaks off.
pub async fn read_body(mut body: Body) -> Result<Bytes, Problem> {
    match Limited::new(&mut body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(why) if why.is::<LengthLimitError>() => {
            discard(body).await;
            // Some may be left, so the connection cannot serve another request: callers that keep
            // connections have to know.
            Err(Problem::new(ProblemCode::BodyTooLarge)
                .header(header::CONNECTION, HeaderValue::from_static("close")))
        }
        Err(_) => Err(Problem::new(ProblemCode::InvalidBody).detail("the body breaks off")),
    }
}

/// Lets the caller send on for a while: one whose connection closes while it sends may never read the refusal (RFC 9112, 9.6).
async fn discard(body: Body) {
    let mut rest = Limited::new(body, DISCARD_LIMIT);
    let all = async { while let Some(Ok(_)) = rest.frame().await {} };
    // What comes too late is as good as refused.
    timeout(DISCARD_FOR, all).await.ok();
}

/// Reads a JSON body; what does not fit is pointed at.
pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(ProblemCode::InvalidBody).detail("the body is empty"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(unfit)?;
    json.end().map_err(|why| broken(&why))?;
    Ok(value)
}

fn unfit(why: serde_path_to_error::Error<serde_json::Error>) -> Problem {
    if why.inner().classify() != Category::Data {
        return broken(why.inner());
    }
    let message = why.inner().to_string();
    // The place in the text is not of interest when there is a pointer.
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(text, _)| text);
    let pointer = pointer(why.path(), named_field(message));
    Problem::new(ProblemCode::InvalidRequest).error(pointer, without_values(message))
}

fn broken(why: &serde_json::Error) -> Problem {
    let (line, column) = (why.line(), why.column());
    let detail = match why.classify() {
        Category::Eof => format!("the JSON ends too early, at line {line} column {column}"),
        _ => format!("the JSON breaks at line {line} column {column}"),
    };
    Problem::new(ProblemCode::InvalidBody).detail(detail)
}

/// The JSON pointer (RFC 6901) of a path, and of a field there.
fn pointer(path: &serde_path_to_error::Path, field: Option<&str>) -> String {
    let segments = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        // A variant is no place of its own, and behind an unknown one nothing is known.
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    let segments = segments.chain(field.map(str::to_owned));
    segments.fold(String::new(), |pointer, segment| {
        pointer + "/" + &segment.replace('~', "~0").replace('/', "~1")
    })
}

/// The field that serde names in its message while its path ends at the object around it.
fn named_field(message: &str) -> Option<&str> {
    let kinds = ["missing field `", "duplicate field `"];
    let name = kinds.iter().find_map(|kind| message.strip_prefix(kind));
    name?.strip_suffix('`')
}

/// Serde's message without the value that it quotes: `invalid type: string "…", expected u8`
/// becomes `expected u8, found string`.
fn without_values(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let found = found
        .split(['`', '"'])
        .next()
        .unwrap_or_default()
        .trim_end();
    match found.split_once(": ") {
        Some((_, kind)) => format!("expected {expected}, found {kind}"),
        None => format!("{found}, expected {expected}"),
    }
}

/// The query string. A NUL is refused, because Postgres has no text with one.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        from_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads a query string; what does not fit is named.
pub(super) fn from_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    // Postgres has no text with this character.
    if let Some((name, _)) = pairs.clone().find(|(_, value)| value.contains('\0')) {
        let problem = Problem::new(ProblemCode::InvalidQuery);
        return Err(problem.parameter(name, "the character NUL is not allowed"));
    }
    let values = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(values).map_err(|why| {
        let message = why.inner().to_string();
        let pointer = pointer(why.path(), named_field(&message));
        let name = pointer.trim_start_matches('/');
        Problem::new(ProblemCode::InvalidQuery).parameter(name, without_values(&message))
    })
}

/// The parameters in the path. What cannot be an id is the id of nothing: `not_found`.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Problem::new(ProblemCode::NotFound))
    }
}

#[cfg(test)]
mod tests;
