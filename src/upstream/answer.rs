//! What an upstream answered, and the failures that can be read from any answer.

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use url::Url;

use super::{Class, UpstreamError, UpstreamKind};
use crate::link::failure::{FailureCode, UpstreamTrace};

/// How long a credential rests when its limit is reached and the upstream names no time (GitHub: at least 60 s).
const DEFAULT_PAUSE: time::Duration = time::Duration::seconds(60);

/// A complete answer. A refusal's body has already lost the credential, should it have held it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Who answered.
    pub upstream: UpstreamKind,
    /// Method of the request.
    pub method: Method,
    /// Address that answered, after redirects.
    pub url: Url,
    /// Whether redirects were followed: the object has moved, and the body knows its new name.
    pub redirected: bool,
    /// Status of the answer.
    pub status: StatusCode,
    /// Headers of the answer.
    pub headers: HeaderMap,
    /// Body, complete.
    pub body: Vec<u8>,
    /// Until when the headers ask for a pause, by our clock.
    pub retry_at: Option<OffsetDateTime>,
}

impl Answer {
    /// The body as `T`.
    ///
    /// # Errors
    /// `upstream_contract_changed`, naming the field that is missing or odd but never its content. For a write
    /// the fate is uncertain then: it probably happened.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, UpstreamError> {
        let reader = &mut serde_json::Deserializer::from_slice(&self.body);
        serde_path_to_error::deserialize(reader)
            .map_err(|error| self.contract_changed(&wrong_field(&error)))
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it is a page for people: no vendor's API answers with one.
    pub fn is_page(&self) -> bool {
        let kind = self.header("content-type").unwrap_or_default();
        kind.trim_start().starts_with("text/html")
    }

    /// The vendor's own id of the request.
    pub fn request_id(&self) -> Option<&str> {
        ["x-request-id", "x-github-request-id", "x-nf-request-id"]
            .iter()
            .find_map(|name| self.header(name))
    }

    /// Address of the next page of a list, from the `Link` header.
    pub fn next_page(&self) -> Option<Url> {
        let link = self.header("link")?.split(',').find(|link| {
            let mut parameters = link.split(';').skip(1);
            parameters.any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"))
        })?;
        let target = link.split(';').next()?.trim();
        self.url
            .join(target.strip_prefix('<')?.strip_suffix('>')?)
            .ok()
    }

    /// Whether the request only read.
    pub fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    /// A failure that this answer shows.
    pub fn error(
        &self,
        code: FailureCode,
        class: Class,
        detail: impl Into<String>,
    ) -> UpstreamError {
        UpstreamError {
            code,
            class,
            detail: detail.into(),
            trace: self.trace(),
        }
    }

    /// The upstream said no.
    pub fn refused(&self, code: FailureCode, detail: impl Into<String>) -> UpstreamError {
        self.error(code, Class::Refused, detail)
    }

    /// The upstream's limit is reached: rest until it says, or for a minute.
    pub fn rate_limited(&self) -> UpstreamError {
        let until = self
            .retry_at
            .unwrap_or_else(|| OffsetDateTime::now_utc() + DEFAULT_PAUSE);
        let detail = format!(
            "The rate limit of {} is used up for this credential.",
            self.upstream
        );
        self.error(
            FailureCode::RateLimited,
            Class::RateLimited { until },
            detail,
        )
    }

    /// The upstream has trouble of its own.
    pub fn unavailable(&self) -> UpstreamError {
        let detail = format!(
            "{} answered with status {}.",
            self.upstream,
            self.status.as_u16()
        );
        self.error(FailureCode::UpstreamUnavailable, self.unsettled(), detail)
    }

    /// The answer is not what the vendor's description promises.
    pub fn contract_changed(&self, what: &str) -> UpstreamError {
        let detail = format!(
            "The answer of {} to {} {} {what}.",
            self.upstream,
            self.method,
            self.url.path()
        );
        self.error(
            FailureCode::UpstreamContractChanged,
            self.unsettled(),
            detail,
        )
    }

    fn unsettled(&self) -> Class {
        if self.is_read() {
            Class::Transient
        } else {
            Class::Uncertain
        }
    }

    pub(super) fn trace(&self) -> UpstreamTrace {
        UpstreamTrace {
            upstream: self.upstream.as_str().to_owned(),
            status: Some(self.status.as_u16()),
            request_id: self.request_id().map(crate::redact::excerpt),
        }
    }
}

/// Names the field; the parser's own text may quote content, except when a field is missing.
fn wrong_field(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let text = error.inner().to_string();
    match text
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        Some(field) => format!("lacks `{field}` in `{}`", error.path()),
        None if error.inner().is_data() => {
            format!("has something unexpected in `{}`", error.path())
        }
        None => "is not JSON".to_owned(),
    }
}
