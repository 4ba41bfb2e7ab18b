//! The HTTP API as typed calls, for the commands that people use.
//!
//! Reads are repeated a few times when nobody answers; writes never are, because their fate is not
//! known then.

use std::time::Duration;

use anyhow::Context;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION};
use reqwest::{Method, RequestBuilder, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

use super::exit::UsageError;
use crate::api::connections::{Connection, ConnectionPage};
use crate::api::links::builds::BuildPage;
use crate::api::links::view::{Link, LinkPage};
use crate::api::preflights::Preflight;
use crate::api::problem::{ProblemCode, ProblemDocument};
use crate::config::is_loopback;
use crate::link::drift::{DriftKind, DriftPolicy};
use crate::link::request::LinkRequest;
use crate::link::status::LinkStatus;
use crate::upstream::{Credential, UpstreamKind};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the service holds a question for news back, in seconds; less than a call may take.
const NEWS_WAIT_SECONDS: &str = "10";
/// Longest time for a question for news: whoever waits is told that nobody answers, and the question is asked again.
const NEWS_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the service holds a preflight back whose reads are under way; less than a call may take.
const PREFLIGHT_WAIT: &str = "wait=10";
/// Longest time for a whole call, body included.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses between the tries of a read; one try more than pauses.
const READ_PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_millis(1000),
];
/// Most links or connections in one page of the API.
pub const PAGE_MAX: usize = 100;

/// A service that answers to an access token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is nothing to prove with who is calling.
    #[error("there is no access token for {url}")]
    NoToken {
        /// The service.
        url: Url,
    },
    /// Nobody answers.
    #[error("{url} cannot be reached")]
    Unreachable {
        /// The service.
        url: Url,
        /// Why not.
        source: reqwest::Error,
    },
    /// Somebody else answers.
    #[error("{url} answered {status}, and not as linkbroker does: {why}")]
    Foreign {
        /// The service.
        url: Url,
        /// The answer's status.
        status: StatusCode,
        /// What is strange about its body.
        why: serde_json::Error,
    },
    /// Nothing has this name.
    #[error("there is no {what} `{name}`")]
    NoSuch {
        /// What kind of thing, e.g. `connection`.
        what: &'static str,
        /// As the caller wrote it.
        name: String,
    },
    /// The service said no.
    #[error("{}", problem.title)]
    Refused {
        /// What it said.
        problem: Box<ProblemDocument>,
        /// The object that is in the way, when it named one.
        location: Option<String>,
    },
}

impl ClientError {
    /// Whether the same call may well succeed in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Foreign { status, .. } => matches!(status.as_u16(), 502..=504),
            Self::Refused { problem, .. } => matches!(
                problem.code,
                ProblemCode::Unavailable | ProblemCode::RateLimited
            ),
            Self::NoToken { .. } | Self::NoSuch { .. } => false,
        }
    }

    /// Whether the service said no with this code.
    pub fn is_problem(&self, code: ProblemCode) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.code == code)
    }
}

/// Which links to list.
#[derive(Debug, Clone, Default)]
pub struct LinkFilter {
    /// Only in this status.
    pub status: Option<LinkStatus>,
    /// Only with this name of the caller's.
    pub reference: Option<String>,
    /// Only of the site with this name.
    pub site: Option<String>,
}

/// A connection to be made.
#[derive(Debug)]
pub struct NewConnection {
    /// Its name.
    pub name: String,
    /// Which vendor's API it speaks.
    pub kind: UpstreamKind,
    /// Host of the instance; absent: the vendor's public one.
    pub host: Option<String>,
    /// The secret.
    pub credential: Credential,
}

/// A whole answer.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Client {
    /// A client of the service at `base`. Redirects are not followed: they could carry the token away.
    ///
    /// # Errors
    /// When the token cannot stand in a header, or TLS cannot be set up.
    pub fn new(mut base: Url, token: &SecretString) -> anyhow::Result<Self> {
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|_| {
            UsageError("the access token holds characters that no token has".into())
        })?;
        bearer.set_sensitive(true);
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("linkbroker-cli/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT);
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = http.build().context("TLS cannot be set up")?;
        Ok(Self { http, base })
    }

    /// `POST /links`
    pub async fn create_link(&self, request: &LinkRequest) -> Result<Link, ClientError> {
        let call = self.call(Method::POST, &["links"]).json(request);
        self.parsed(self.send(call).await?)
    }

    /// `POST /preflights`, answered when the reads are done if that is soon.
    pub async fn preflight(&self, request: &LinkRequest) -> Result<Preflight, ClientError> {
        let call = self.call(Method::POST, &["preflights"]);
        let call = call.header("prefer", PREFLIGHT_WAIT).json(request);
        self.parsed(self.send(call).await?)
    }

    /// `GET /preflights/{id}`
    pub async fn read_preflight(&self, id: &str) -> Result<Preflight, ClientError> {
        let call = self.call(Method::GET, &["preflights", id]);
        self.parsed(self.read(call).await?)
    }

    /// `GET /links/{id}`
    pub async fn link(&self, id: &str) -> Result<Link, ClientError> {
        self.parsed(self.read(self.call(Method::GET, &["links", id])).await?)
    }

    /// `GET /links/{id}`, absent while it is still in this version. Asked once.
    pub async fn link_after(&self, id: &str, version: i64) -> Result<Option<Link>, ClientError> {
        let call = self
            .call(Method::GET, &["links", id])
            .query(&[("wait", NEWS_WAIT_SECONDS)])
            .header(IF_NONE_MATCH, format!("\"{version}\""))
            .timeout(NEWS_TIMEOUT);
        let answer = self.send(call).await?;
        match answer.status {
            StatusCode::NOT_MODIFIED => Ok(None),
            _ => self.parsed(answer).map(Some),
        }
    }

    /// `GET /links`: one page of at most `limit` links, newest first.
    pub async fn links(
        &self,
        filter: &LinkFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<LinkPage, ClientError> {
        let limit = limit.clamp(1, PAGE_MAX).to_string();
        let query = [
            ("limit", Some(limit.as_str())),
            ("status", filter.status.map(LinkStatus::as_str)),
            ("ref", filter.reference.as_deref()),
            ("site", filter.site.as_deref()),
            ("cursor", cursor),
        ];
        let call = self.call(Method::GET, &["links"]).query(&query);
        self.parsed(self.read(call).await?)
    }

    /// `GET /links/{id}/builds`: one page of at most `limit` builds, newest first.
    pub async fn builds(
        &self,
        id: &str,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<BuildPage, ClientError> {
        let limit = limit.clamp(1, PAGE_MAX).to_string();
        let query = [("limit", Some(limit.as_str())), ("cursor", cursor)];
        let call = self.call(Method::GET, &["links", id, "builds"]);
        self.parsed(self.read(call.query(&query)).await?)
    }

    /// `PATCH /links/{id}/drift`
    pub async fn set_drift_policy(&self, id: &str, policy: DriftPolicy) -> Result<(), ClientError> {
        let call = self.call(Method::PATCH, &["links", id, "drift"]);
        let call = call.json(&json!({ "policy": policy }));
        self.send(call).await.map(drop)
    }

    /// `POST /links/{id}/retry`
    pub async fn retry(&self, id: &str) -> Result<Link, ClientError> {
        let call = self.call(Method::POST, &["links", id, "retry"]);
        self.parsed(self.send(call).await?)
    }

    /// `POST /links/{id}/check`
    pub async fn check(&self, id: &str) -> Result<Link, ClientError> {
        let call = self.call(Method::POST, &["links", id, "check"]);
        self.parsed(self.send(call).await?)
    }

    /// `POST /links/{id}/heal`: these kinds, or all.
    pub async fn heal(&self, id: &str, kinds: &[DriftKind]) -> Result<Link, ClientError> {
        let body = match kinds.is_empty() {
            true => json!({ "drift": "all" }),
            false => json!({ "drift": kinds }),
        };
        let call = self.call(Method::POST, &["links", id, "heal"]).json(&body);
        self.parsed(self.send(call).await?)
    }

    /// `POST /links/{id}/rotate-key`
    pub async fn rotate_key(&self, id: &str) -> Result<Link, ClientError> {
        let call = self.call(Method::POST, &["links", id, "rotate-key"]);
        self.parsed(self.send(call).await?)
    }

    /// `DELETE /links/{id}`
    pub async fn unlink(&self, id: &str, keep_site: bool) -> Result<Link, ClientError> {
        let call = self
            .call(Method::DELETE, &["links", id])
            .query(&[("keep_site", keep_site)]);
        self.parsed(self.send(call).await?)
    }

    /// `POST /connections`
    pub async fn connect(&self, new: &NewConnection) -> Result<Connection, ClientError> {
        let body = json!({
            "name": new.name,
            "kind": new.kind,
            "host": new.host,
            "credential": presented(&new.credential),
        });
        let call = self.call(Method::POST, &["connections"]).json(&body);
        self.parsed(self.send(call).await?)
    }

    /// `PUT /connections/{id}/credential`
    pub async fn replace_credential(
        &self,
        id: &str,
        new: &NewConnection,
    ) -> Result<(), ClientError> {
        let call = self
            .call(Method::PUT, &["connections", id, "credential"])
            .json(&presented(&new.credential));
        self.send(call).await.map(drop)
    }

    /// `GET /connections`, all pages.
    pub async fn connections(&self) -> Result<ConnectionPage, ClientError> {
        let mut all = ConnectionPage {
            connections: Vec::new(),
            next_cursor: None,
        };
        loop {
            let limit = PAGE_MAX.to_string();
            let query = [
                ("limit", Some(limit.as_str())),
                ("cursor", all.next_cursor.as_deref()),
            ];
            let call = self.call(Method::GET, &["connections"]).query(&query);
            let page: ConnectionPage = self.parsed(self.read(call).await?)?;
            all.connections.extend(page.connections);
            all.next_cursor = page.next_cursor;
            if all.next_cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// The connection with this name.
    pub async fn connection_named(&self, name: &str) -> Result<Connection, ClientError> {
        let all = self.connections().await?.connections;
        let found = all.into_iter().find(|connection| connection.name == name);
        found.ok_or_else(|| ClientError::NoSuch {
            what: "connection",
            name: name.to_owned(),
        })
    }

    /// `DELETE /connections/{id}`
    pub async fn disconnect(&self, id: &str) -> Result<(), ClientError> {
        let call = self.call(Method::DELETE, &["connections", id]);
        self.send(call).await.map(drop)
    }

    fn call(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        // Only addresses without a path, e.g. `mailto:`, have no segments; `access` refuses them.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url)
    }

    /// A call without effect, repeated when it fails in passing.
    async fn read(&self, call: RequestBuilder) -> Result<Answer, ClientError> {
        for pause in READ_PAUSES {
            // Only bodies that are streams cannot be cloned; reads have none.
            let Some(copy) = call.try_clone() else { break };
            match self.send(copy).await {
                Err(error) if error.is_passing() => tokio::time::sleep(pause).await,
                done => return done,
            }
        }
        self.send(call).await
    }

    async fn send(&self, call: RequestBuilder) -> Result<Answer, ClientError> {
        let lost = |source: reqwest::Error| ClientError::Unreachable {
            url: self.base.clone(),
            source: source.without_url(),
        };
        let response = call.send().await.map_err(lost)?;
        let status = response.status();
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let body = response.bytes().await.map_err(lost)?.to_vec();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(Answer { status, body });
        }
        Err(match serde_json::from_slice(&body) {
            Ok(problem) => ClientError::Refused { problem, location },
            Err(why) => self.foreign(status, why),
        })
    }

    fn parsed<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, ClientError> {
        serde_json::from_slice(&answer.body).map_err(|why| self.foreign(answer.status, why))
    }

    fn foreign(&self, status: StatusCode, why: serde_json::Error) -> ClientError {
        let url = self.base.clone();
        ClientError::Foreign { url, status, why }
    }
}

fn presented(credential: &Credential) -> serde_json::Value {
    match credential {
        Credential::Anonymous => json!({ "type": "anonymous" }),
        Credential::Token(token) => json!({ "type": "token", "token": token.expose_secret() }),
        Credential::Basic { user, secret } => {
            json!({ "type": "basic", "user": user, "secret": secret.expose_secret() })
        }
        Credential::GithubApp(app) => json!({
            "type": "github_app",
            "app_id": app.app_id,
            "private_key": app.private_key.expose_secret(),
            "installation_id": app.installation_id,
        }),
    }
}
