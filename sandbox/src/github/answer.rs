//! GitHub's way of saying no: one JSON shape for all refusals, and how bodies are read.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

const DOCUMENTATION: &str = "https://docs.github.com/rest";

/// An answer that is not a success.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    body: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// `{message, documentation_url, status}`.
    pub fn new(status: StatusCode, message: &str) -> Self {
        let mut body = Map::new();
        body.insert("message".to_owned(), message.into());
        body.insert("documentation_url".to_owned(), DOCUMENTATION.into());
        body.insert("status".to_owned(), status.as_str().into());
        Self {
            status,
            body,
            headers: Vec::new(),
        }
    }

    /// Absent, or present and not yours.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    /// 403 with a reason.
    pub fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 422 `Validation Failed` with one entry per broken rule.
    pub fn invalid(errors: Vec<Value>) -> Self {
        let mut refusal = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed");
        refusal.body.insert("errors".to_owned(), errors.into());
        refusal
    }

    /// 422 in the words of GitHub's schema check, which comes before its rules.
    pub fn malformed(detail: &str) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            &format!("Invalid request.\n\n{detail}"),
        )
    }

    /// A fault of the sandbox itself, said plainly.
    pub fn internal(error: &anyhow::Error) -> Self {
        tracing::error!(%error, "the sandbox's GitHub failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("sandbox: {error:#}"),
        )
    }

    /// The repository has another name now; `location` keeps the rest of the path. GET follows with 301, others with 307.
    pub fn moved(get: bool, location: &str) -> Self {
        let (status, message) = if get {
            (StatusCode::MOVED_PERMANENTLY, "Moved Permanently")
        } else {
            (StatusCode::TEMPORARY_REDIRECT, "Temporary Redirect")
        };
        let mut refusal = Self::new(status, message);
        refusal.body.insert("url".to_owned(), location.into());
        refusal.body.remove("status");
        refusal.with(header::LOCATION, location)
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => self.headers.push((name, value)),
            Err(error) => tracing::warn!(%error, %name, "a header value was left out"),
        }
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}

/// One entry of a validation error.
pub fn custom(resource: &str, field: Option<&str>, message: &str) -> Value {
    let mut error = json!({"resource": resource, "code": "custom", "message": message});
    if let Some(field) = field {
        error["field"] = field.into();
    }
    error
}

/// The members of a request body; an empty body has none. GitHub does not look at the content type.
pub fn members(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "Body should be a JSON object",
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "Problems parsing JSON",
        )),
    }
}

/// A text member.
pub fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong_type(name, other, "string")),
    }
}

/// A yes-or-no member.
pub fn flag(members: &Map<String, Value>, name: &str) -> Result<Option<bool>, Refusal> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(wrong_type(name, other, "boolean")),
    }
}

/// A list of texts.
pub fn texts(members: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, Refusal> {
    let Some(value) = members.get(name) else {
        return Ok(None);
    };
    serde_json::from_value(value.clone())
        .map(Some)
        .map_err(|_| wrong_type(name, value, "array of strings"))
}

/// An object member.
pub fn object(
    members: &Map<String, Value>,
    name: &str,
) -> Result<Option<Map<String, Value>>, Refusal> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object.clone())),
        Some(other) => Err(wrong_type(name, other, "object")),
    }
}

fn wrong_type(name: &str, value: &Value, wanted: &str) -> Refusal {
    Refusal::malformed(&format!(
        "For 'properties/{name}', {value} is not a {wanted}."
    ))
}
