//! Compares every call with the vendors' own API descriptions (`sandbox/contracts/`).

use axum::body::Bytes;
use axum::http::{request, response};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::recorder::Upstream;

/// A call, or an answer of the sandbox itself, that the vendor's description forbids.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Violation {
    pub upstream: Upstream,
    pub method: String,
    pub path: String,
    /// `request` or `answer`.
    pub side: String,
    pub message: String,
}

/// The request half of a call, kept for the check of its answer.
#[derive(Debug)]
pub struct Exchange {
    pub upstream: Upstream,
    pub method: String,
    pub path: String,
    pub query: String,
    pub content_type: Option<String>,
    pub body: Bytes,
}

impl Exchange {
    pub fn new(upstream: Upstream, parts: &request::Parts, body: &Bytes) -> Self {
        let content_type = parts.headers.get("content-type");
        Self {
            upstream,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            content_type: content_type
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned),
            body: body.clone(),
        }
    }
}

/// The descriptions, and what was found against them.
#[derive(Debug, Default)]
pub struct Contracts {
    violations: Mutex<Vec<Violation>>,
}

impl Contracts {
    pub fn load() -> anyhow::Result<Self> {
        Ok(Self::default())
    }

    pub fn check_request(&self, _exchange: &Exchange) {}

    pub fn check_answer(&self, _exchange: &Exchange, _answer: &response::Parts, _body: &Bytes) {}

    /// Records something that a handler found wrong with a request, beyond what a schema can say.
    pub fn note(&self, upstream: Upstream, operation: &str, message: String) {
        let (method, path) = operation.split_once(' ').unwrap_or(("", operation));
        self.violations.lock().push(Violation {
            upstream,
            method: method.to_owned(),
            path: path.to_owned(),
            side: "request".to_owned(),
            message,
        });
    }

    /// Everything found so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.violations.lock().clone()
    }

    pub fn clear(&self) {
        self.violations.lock().clear();
    }
}
