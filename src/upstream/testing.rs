//! A vendor for unit tests: answers what it is told, in order, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::{net::TcpListener, task::JoinHandle};
use url::Url;

use super::{Access, AccountKeys, Answer, Credential, Dialect, Http, Instance, UpstreamKind};

/// What the vendor is to answer.
pub(crate) struct Reply {
    place: &'static str,
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl ToString) -> Self {
        Self {
            place: "",
            status,
            headers: Vec::new(),
            body: body.to_string(),
        }
    }

    /// Only for a request whose path and query hold this: for requests that are sent at the same time.
    pub(crate) fn at(mut self, place: &'static str) -> Self {
        self.place = place;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// What the vendor was asked.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Script {
    replies: Mutex<Vec<Reply>>,
    seen: Mutex<Vec<Seen>>,
}

/// A vendor on loopback; gone when dropped.
pub(crate) struct Vendor {
    pub(crate) url: Url,
    script: Arc<Script>,
    server: JoinHandle<()>,
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Vendor {
    pub(crate) async fn start(mut replies: Vec<Reply>) -> Self {
        replies.reverse();
        let script = Arc::new(Script {
            replies: Mutex::new(replies),
            seen: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(answer_next)
            .with_state(Arc::clone(&script));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url: url.parse().unwrap(),
            script,
            server,
        }
    }

    /// Everything it was asked, in order; nothing may be left unasked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        assert!(
            self.script.replies.lock().unwrap().is_empty(),
            "asked less than expected"
        );
        self.script.seen.lock().unwrap().clone()
    }

    /// `METHOD path?query` of everything it was asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        let line = |seen: &Seen| format!("{} {}", seen.method, seen.target);
        self.seen().iter().map(line).collect()
    }

    pub(crate) fn instance(&self, kind: UpstreamKind) -> Arc<Instance> {
        instance(kind, self.url.clone())
    }

    pub(crate) fn access(&self, dialect: &'static Dialect) -> Access {
        let instance = self.instance(UpstreamKind::Netlify);
        Access::new(&Http::new().unwrap(), instance, token("canary"), dialect).unwrap()
    }
}

async fn answer_next(State(script): State<Arc<Script>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let target = parts.uri.to_string();
    let reply = {
        let mut replies = script.replies.lock().unwrap();
        let next = replies
            .iter()
            .rposition(|reply| target.contains(reply.place));
        next.map(|next| replies.remove(next))
    };
    script.seen.lock().unwrap().push(Seen {
        method: parts.method,
        target,
        headers: parts.headers,
        body,
    });
    let reply = reply.unwrap_or_else(|| Reply::new(599, "asked more than expected"));
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    for (name, value) in reply.headers {
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

pub(crate) fn instance(kind: UpstreamKind, api: Url) -> Arc<Instance> {
    Arc::new(Instance {
        kind,
        host: "github.com".into(),
        api,
        ssh_host: "github.com".into(),
        private_network: false,
        ca_file: None,
        account_keys: AccountKeys::default(),
    })
}

pub(crate) fn token(text: &str) -> Credential {
    Credential::Token(text.into())
}

/// An answer without a network.
pub(crate) fn answer(
    method: &str,
    path: &str,
    status: u16,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Answer {
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Answer {
        upstream: UpstreamKind::Github,
        method: method.parse().unwrap(),
        url: format!("https://api.example{path}").parse().unwrap(),
        redirected: false,
        status: reqwest::StatusCode::from_u16(status).unwrap(),
        retry_at: headers
            .iter()
            .any(|(name, _)| *name == "retry-after")
            .then(OffsetDateTime::now_utc),
        headers: pairs.collect(),
        body: body.into(),
    }
}
