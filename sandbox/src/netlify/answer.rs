//! Netlify's answers: the four shapes of errors, and pages.

use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::http::{HeaderValue, StatusCode, Uri, header, request};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

/// An error in one of the shapes that clients must know.
#[derive(Debug)]
pub enum ApiError {
    /// `{"code": 404, "message": "Not Found"}`
    Plain(StatusCode, &'static str),
    /// 422 `{"errors": {"subdomain": ["must be unique"]}}`
    Fields(&'static str, String),
    /// 401 as text/plain; some of the vendor's gates answer like this.
    Text(StatusCode, &'static str),
}

pub type Answer = Result<Response, ApiError>;

impl ApiError {
    /// Absent, or not the caller's: Netlify does not tell them apart.
    pub const NOT_FOUND: Self = Self::Plain(StatusCode::NOT_FOUND, "Not Found");
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Plain(status, message) => {
                let body = json!({"code": status.as_u16(), "message": message});
                (status, Json(body)).into_response()
            }
            Self::Fields(field, problem) => {
                let body = json!({"errors": {field: [problem]}});
                (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
            }
            Self::Text(status, text) => (status, text).into_response(),
        }
    }
}

/// A text 404 means that the route does not exist, a JSON one that the resource does not.
pub async fn no_such_route() -> Response {
    (StatusCode::NOT_FOUND, "Not Found").into_response()
}

/// 201 with a body.
pub fn created(body: Value) -> Answer {
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// 200 with a body.
pub fn ok(body: Value) -> Answer {
    Ok(Json(body).into_response())
}

/// 204.
pub fn no_content() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `page` (from 1) and `per_page` (at most and by default 100) of a list request, with its address for the `Link` header.
#[derive(Debug)]
pub struct Page {
    number: usize,
    size: usize,
    uri: Uri,
}

#[derive(Deserialize)]
struct PageQuery {
    page: Option<usize>,
    per_page: Option<usize>,
}

impl<S: Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, ApiError> {
        let Query(query) = Query::<PageQuery>::try_from_uri(&parts.uri)
            .map_err(|_| ApiError::Plain(StatusCode::BAD_REQUEST, "Invalid page"))?;
        let original = parts.extensions.get::<axum::extract::OriginalUri>();
        Ok(Self {
            number: query.page.unwrap_or(1).max(1),
            size: query.per_page.unwrap_or(100).clamp(1, 100),
            uri: original.map_or_else(|| parts.uri.clone(), |o| o.0.clone()),
        })
    }
}

impl Page {
    /// The wanted slice of a whole list, with `Link` relations `next` and `last`.
    pub fn of(&self, items: Vec<Value>, origin: &str) -> Answer {
        let last = items.len().div_ceil(self.size).max(1);
        let slice: Vec<Value> = items
            .into_iter()
            .skip((self.number - 1) * self.size)
            .take(self.size)
            .collect();
        let mut response = Json(slice).into_response();
        if self.number < last {
            let link = format!(
                "<{}>; rel=\"next\", <{}>; rel=\"last\"",
                self.address(origin, self.number + 1),
                self.address(origin, last)
            );
            if let Ok(link) = HeaderValue::try_from(link) {
                response.headers_mut().insert(header::LINK, link);
            }
        }
        Ok(response)
    }

    fn address(&self, origin: &str, number: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let old = self.uri.query().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(old.as_bytes()) {
            if name != "page" && name != "per_page" {
                query.append_pair(&name, &value);
            }
        }
        query.append_pair("page", &number.to_string());
        query.append_pair("per_page", &self.size.to_string());
        format!("{origin}{}?{}", self.uri.path(), query.finish())
    }
}
