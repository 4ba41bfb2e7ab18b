//! A sandbox with a private project in nested groups, a client, and waiting with a deadline.

use std::time::{Duration, Instant};

use linkbroker_sandbox::forge::{self, NewToken};
use linkbroker_sandbox::git::{KeyPair, NewCommit};
use linkbroker_sandbox::{
    GITLAB_TOKEN, NETLIFY_TOKEN, NewRepository, Options, Place, Provider, Sandbox,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

/// Path of the project that is there from the start.
pub const PATH: &str = "acme/web/docs";
/// The same, as a part of a path.
pub const ENCODED: &str = "acme%2Fweb%2Fdocs";

pub struct Stage {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
    /// The project's id.
    pub id: u64,
}

impl Stage {
    pub async fn new() -> Self {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let id = project(&sandbox, "acme/web", "docs").await;
        Self { sandbox, http, id }
    }

    /// A call with the default token; `path` without the base address.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        self.call_as(GITLAB_TOKEN, method, path, body).await
    }

    pub async fn call_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        let url = format!("{}{path}", self.sandbox.gitlab_url());
        let mut request = self
            .http
            .request(method, url)
            .header("private-token", token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Reply::read(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn netlify(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let url = format!("{}{path}", self.sandbox.netlify_url());
        let mut request = self.http.request(method, url).bearer_auth(NETLIFY_TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Reply::read(request.send().await.unwrap()).await
    }

    /// Path of the project's part of the API.
    pub fn project(&self, rest: &str) -> String {
        format!("/projects/{}{rest}", self.id)
    }

    /// Adds a token of a person with this access to the project.
    pub fn token(&self, token: &str, access: forge::Access, scopes: &[&str]) {
        let new = NewToken {
            token: token.to_owned(),
            login: format!("owner-of-{token}"),
            scopes: Some(scopes.iter().map(|s| (*s).to_owned()).collect()),
            permissions: [(PATH.to_owned(), access)].into(),
            ..NewToken::default()
        };
        let world = self.sandbox.world();
        forge::add_token(world, &world.forges.gitlab, new).unwrap();
    }

    pub fn switch(&self, patch: Value) {
        self.sandbox
            .patch_switches(&json!({"gitlab": patch}))
            .unwrap();
    }

    /// Commits to the project and delivers the push.
    pub async fn push(&self, text: &str) -> Value {
        let new = NewCommit {
            message: format!("Say {text}"),
            files: [("content/text.txt".to_owned(), format!("{text}\n"))].into(),
            ..NewCommit::default()
        };
        let at: Place = (Provider::Gitlab, PATH).into();
        self.sandbox.commit(at, new).await.unwrap()
    }

    /// Nothing happened that GitLab's description forbids.
    pub fn assert_lawful(&self) {
        let violations = self.sandbox.violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

/// Makes a private project with the template's site and gives its id.
pub async fn project(sandbox: &Sandbox, group: &str, name: &str) -> u64 {
    let new = NewRepository {
        provider: Provider::Gitlab,
        owner: group.to_owned(),
        name: name.to_owned(),
        template: Some("site".to_owned()),
        ..NewRepository::default()
    };
    let made = sandbox.create_repository(new).await.unwrap();
    made["id"].as_u64().unwrap()
}

pub async fn public_key() -> String {
    KeyPair::generate().await.unwrap().public_line().to_owned()
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Reply {
    async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self {
            status,
            headers,
            body,
        }
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }
}

/// Tries again until there is a value, for at most 30 seconds.
pub async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
