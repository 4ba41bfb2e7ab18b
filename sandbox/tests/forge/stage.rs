//! A sandbox with a private repository at one provider, a client of it and of Netlify, and waiting with a deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use linkbroker_sandbox::git::{KeyPair, NewCommit};
use linkbroker_sandbox::{NETLIFY_TOKEN, NewRepository, Options, Place, Provider, Sandbox};
use parking_lot::Mutex;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

pub struct Stage {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
    pub at: Place,
    /// As the admin door shows it.
    pub repository: Value,
}

impl Stage {
    pub async fn new(provider: Provider, path: &str) -> Self {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            repository: repository(&sandbox, provider, path).await,
            sandbox,
            http,
            at: (provider, path).into(),
        }
    }

    pub async fn netlify(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let url = format!("{}{path}", self.sandbox.netlify_url());
        let request = self.http.request(method, url).bearer_auth(NETLIFY_TOKEN);
        Reply::to(request, body).await
    }

    /// Makes a Netlify key.
    pub async fn deploy_key(&self) -> Value {
        self.netlify(Method::POST, "/deploy_keys", None)
            .await
            .expect(201)
    }

    /// Makes a site and attaches the repository in this form; gives the site.
    pub async fn attach(&self, key: &Value, repo: Value) -> Value {
        let new = json!({"name": "acme-docs"});
        let site = self
            .netlify(Method::POST, "/sites", Some(new))
            .await
            .expect(201);
        let mut link = json!({"private": true, "branch": "main", "repo_branch": "main", "deploy_key_id": key["id"],
            "cmd": "sh build.sh", "dir": "dist"});
        link.as_object_mut()
            .unwrap()
            .extend(repo.as_object().unwrap().clone());
        let path = format!("/sites/{}", site["id"].as_str().unwrap());
        let attach = Some(json!({"repo": link}));
        self.netlify(Method::PATCH, &path, attach).await.expect(200)
    }

    /// Waits until the site has so many deploys and all are over; newest first.
    pub async fn deploys(&self, site: &Value, count: usize) -> Vec<Value> {
        let path = format!("/sites/{}/deploys", site["id"].as_str().unwrap());
        until("deploys to end", async || {
            let list = self.netlify(Method::GET, &path, None).await.expect(200);
            let list = list.as_array().unwrap().clone();
            let over = |d: &Value| d["state"] == "ready" || d["state"] == "error";
            (list.len() == count && list.iter().all(over)).then_some(list)
        })
        .await
    }

    /// Commits to the repository and delivers the push.
    pub async fn push(&self, text: &str) -> Value {
        let new = NewCommit {
            message: format!("Say {text}"),
            files: [("content/text.txt".to_owned(), format!("{text}\n"))].into(),
            ..NewCommit::default()
        };
        self.sandbox.commit(self.at.clone(), new).await.unwrap()
    }

    /// Pushes and sees the site rebuilt from just that commit.
    pub async fn assert_rebuilt_on_push(&self, site: &Value) {
        let first = self.deploys(site, 1).await;
        assert_eq!(first[0]["state"], "ready", "{first:#?}");
        let pushed = self.push("second text").await;
        let both = self.deploys(site, 2).await;
        assert_eq!(both[0]["state"], "ready", "{both:#?}");
        assert_eq!(both[0]["commit_ref"], pushed["sha"]);
        assert_eq!(both[0]["title"], "Say second text");
    }

    /// The deliveries of the repository's first webhook, as soon as there are so many.
    pub async fn deliveries(&self, count: usize) -> Vec<Value> {
        let url = format!("{}/world", self.sandbox.admin_url());
        until("deliveries", async || {
            let world = Reply::to(self.http.get(&url), None).await.expect(200);
            let repository = &world[self.at.provider.word()]["repositories"][0];
            let list = repository["hooks"][0]["deliveries"].as_array()?.clone();
            (list.len() == count).then_some(list)
        })
        .await
    }

    /// Nothing happened that a vendor's description forbids.
    pub fn assert_lawful(&self) {
        let violations = self.sandbox.violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

/// Makes a private repository with the template's site.
pub async fn repository(sandbox: &Sandbox, provider: Provider, path: &str) -> Value {
    let (owner, name) = path.rsplit_once('/').unwrap();
    let new = NewRepository {
        provider,
        owner: owner.to_owned(),
        name: name.to_owned(),
        template: Some("site".to_owned()),
        ..NewRepository::default()
    };
    sandbox.create_repository(new).await.unwrap()
}

pub async fn public_key() -> String {
    KeyPair::generate().await.unwrap().public_line().to_owned()
}

/// A receiver of webhooks whose answer can be changed.
pub async fn receiver(answer: Arc<Mutex<StatusCode>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    let router = Router::new().fallback(async move || *answer.lock());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Reply {
    /// Sends a request, with a JSON body if there is one.
    pub async fn to(request: RequestBuilder, body: Option<Value>) -> Self {
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = request.send().await.unwrap();
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
