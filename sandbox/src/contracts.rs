//! Compares every call with the vendors' own API descriptions (`sandbox/contracts/`).
//!
//! A request that the description forbids is a fault of the client, an answer that it forbids a fault of the sandbox; both are
//! recorded as [`Violation`]s and logged, and never change what happens.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::{request, response};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::description::{Description, Operation};
use crate::recorder::Upstream;

// Each is read when its vendor is first called: most tests meet two of them.
static NETLIFY: LazyLock<Description> =
    LazyLock::new(|| read(include_str!("../contracts/netlify.json")));
static GITHUB: LazyLock<Description> =
    LazyLock::new(|| read(include_str!("../contracts/github.json")));
static GITLAB: LazyLock<Description> =
    LazyLock::new(|| read(include_str!("../contracts/gitlab.json")));
static BITBUCKET: LazyLock<Description> =
    LazyLock::new(|| read(include_str!("../contracts/bitbucket.json")));
static AZURE_DEVOPS: LazyLock<Description> =
    LazyLock::new(|| read(include_str!("../contracts/azure_devops.json")));

/// The vendors that have a description.
const DESCRIBED: [Upstream; 5] = [
    Upstream::Netlify,
    Upstream::Github,
    Upstream::Gitlab,
    Upstream::Bitbucket,
    Upstream::AzureDevops,
];

/// Which half of a call is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Request,
    Answer,
}

/// Something that the vendor's description forbids.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Violation {
    pub upstream: Upstream,
    pub side: Side,
    pub method: String,
    /// Path below the vendor's base address.
    pub path: String,
    pub message: String,
}

/// The request half of a call, kept for the check of its answer.
#[derive(Debug)]
pub struct Exchange {
    upstream: Upstream,
    method: String,
    /// Path below the vendor's base address.
    path: String,
    query: String,
    content_type: Option<String>,
    body: Bytes,
}

impl Exchange {
    pub fn new(upstream: Upstream, parts: &request::Parts, body: &Bytes) -> Self {
        let path = parts.uri.path();
        let base = match upstream {
            Upstream::Netlify => "/netlify/api/v1",
            Upstream::Github => "/github",
            Upstream::Gitlab => "/gitlab/api/v4",
            Upstream::Gitea => "/gitea/api/v1",
            Upstream::Bitbucket => "/bitbucket/2.0",
            Upstream::AzureDevops => "/azure",
            Upstream::NetlifyHooks => "/netlify",
        };
        let content_type = parts.headers.get("content-type");
        Self {
            upstream,
            method: parts.method.to_string(),
            path: path.strip_prefix(base).unwrap_or(path).to_owned(),
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
    /// Compiles the descriptions now, so that no first call pays for it; takes some tenths of a second of a CPU.
    pub fn warm_up() {
        for description in DESCRIBED.into_iter().filter_map(description) {
            description.warm_up();
        }
    }

    /// Checks path, query and body.
    pub fn check_request(&self, exchange: &Exchange) {
        let Some(description) = description(exchange.upstream) else {
            return;
        };
        let problems = match description.find(&exchange.method, &exchange.path) {
            None => vec!["the vendor's description has no such operation".to_owned()],
            Some(operation) => request_problems(operation, description, exchange),
        };
        self.record(exchange, Side::Request, problems);
    }

    /// Checks status and body of an answer that the sandbox made itself.
    pub fn check_answer(&self, exchange: &Exchange, answer: &response::Parts, body: &Bytes) {
        let Some(description) = description(exchange.upstream) else {
            return;
        };
        if let Some(operation) = description.find(&exchange.method, &exchange.path) {
            let problems = operation.answer_problems(description, answer.status, body);
            self.record(exchange, Side::Answer, problems);
        }
    }

    /// Records what a handler found wrong with a request, beyond what a schema can say; `operation` is `METHOD /path`.
    pub fn note(&self, upstream: Upstream, operation: &str, message: String) {
        let (method, path) = operation.split_once(' ').unwrap_or(("", operation));
        self.add(Violation {
            upstream,
            side: Side::Request,
            method: method.to_owned(),
            path: path.to_owned(),
            message,
        });
    }

    /// Everything found so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.violations.lock().clone()
    }

    /// Forgets what was found.
    pub fn clear(&self) {
        self.violations.lock().clear();
    }

    fn record(&self, exchange: &Exchange, side: Side, problems: Vec<String>) {
        for message in problems {
            self.add(Violation {
                upstream: exchange.upstream,
                side,
                method: exchange.method.clone(),
                path: exchange.path.clone(),
                message,
            });
        }
    }

    fn add(&self, violation: Violation) {
        tracing::warn!(?violation, "the vendor's description forbids this");
        self.violations.lock().push(violation);
    }
}

fn request_problems(
    operation: &Operation,
    description: &Description,
    exchange: &Exchange,
) -> Vec<String> {
    let mut problems = operation.query_problems(&exchange.query);
    let content_type = exchange.content_type.as_deref();
    problems.extend(operation.body_problems(description, content_type, &exchange.body));
    problems
}

/// The description of a vendor that has one.
fn description(upstream: Upstream) -> Option<&'static Description> {
    match upstream {
        Upstream::Netlify => Some(&NETLIFY),
        Upstream::Github => Some(&GITHUB),
        Upstream::Gitlab => Some(&GITLAB),
        Upstream::Bitbucket => Some(&BITBUCKET),
        Upstream::AzureDevops => Some(&AZURE_DEVOPS),
        // Webhooks have no description; the providers' own tests check what they send. Gitea's was not at hand.
        Upstream::NetlifyHooks | Upstream::Gitea => None,
    }
}

fn read(extract: &str) -> Description {
    Description::parse(extract).expect("the extracts are compiled in, and a test reads them all")
}

#[cfg(test)]
mod tests {
    use super::Contracts;

    #[test]
    fn all_extracts_can_be_read() {
        Contracts::warm_up();
    }
}
