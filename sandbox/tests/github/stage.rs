//! What every test needs: a running sandbox, a client, a receiver of webhooks, and waiting with a deadline.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use linkbroker_sandbox::github::{self, NewRepository, NewToken};
use linkbroker_sandbox::{GITHUB_TOKEN, Options, Sandbox};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// A sandbox with a private repository `acme/docs` that holds the template's site.
pub struct Stage {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
}

impl Stage {
    pub async fn new() -> Self {
        let stage = Self {
            sandbox: Sandbox::start(Options::default()).await.unwrap(),
            http: reqwest::Client::builder()
                .user_agent("test")
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
        };
        stage.repository("docs").await;
        stage
    }

    /// Makes a private repository `acme/{name}`.
    pub async fn repository(&self, name: &str) -> Value {
        let new = NewRepository {
            name: name.to_owned(),
            template: Some("site".to_owned()),
            ..NewRepository::default()
        };
        github::create_repository(self.sandbox.world(), new)
            .await
            .unwrap()
    }

    pub fn token(&self, new: NewToken) {
        github::add_token(self.sandbox.world(), new).unwrap();
    }

    /// A call with the default token; `path` without the base address.
    pub fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.call_as(GITHUB_TOKEN, method, path)
    }

    pub fn call_as(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.sandbox.github_url());
        self.http.request(method, url).bearer_auth(token)
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.call(Method::GET, path).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(
            self.call(Method::POST, path)
                .json(&body)
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub async fn delete(&self, path: &str) -> StatusCode {
        self.call(Method::DELETE, path)
            .send()
            .await
            .unwrap()
            .status()
    }

    /// Makes a JSON hook for these events on `acme/docs` and gives its path.
    pub async fn hook(&self, url: &str, events: &[&str]) -> String {
        let body = json!({"name": "web", "events": events, "config": {"url": url, "content_type": "json"}});
        let (status, hook) = self.post("/repos/acme/docs/hooks", body).await;
        assert_eq!(status, 201, "{hook}");
        format!("/repos/acme/docs/hooks/{}", hook["id"])
    }

    /// Waits until a list of deliveries has this length.
    pub async fn deliveries(&self, hook: &str, count: usize) -> Vec<Value> {
        until("the deliveries", async || {
            let (_, list) = self.get(&format!("{hook}/deliveries")).await;
            let list = list.as_array().cloned().unwrap_or_default();
            (list.len() == count).then_some(list)
        })
        .await
    }
}

pub async fn answer(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

/// Tries again until there is a value, for at most 20 seconds.
pub async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A webhook's other end: keeps what it is sent.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    received: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

impl Receiver {
    /// Answers everything with this status.
    pub async fn answering(status: StatusCode) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!("http://{}/hooks/github", listener.local_addr().unwrap()),
            received: Arc::default(),
        };
        let keep = async move |State(list): State<Arc<Mutex<Vec<_>>>>,
                               headers: HeaderMap,
                               body: String| {
            list.lock().await.push((headers, body));
            (status, "thanks")
        };
        let router = Router::new()
            .fallback(keep)
            .with_state(receiver.received.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// Waits for an event of this name, the `nth` (from 1) of its kind.
    pub async fn event(&self, name: &str, nth: usize) -> (HeaderMap, String) {
        until(name, async || {
            let received = self.received.lock().await;
            let of_name = |(headers, _): &&(HeaderMap, String)| headers["x-github-event"] == name;
            received.iter().filter(of_name).nth(nth - 1).cloned()
        })
        .await
    }

    pub async fn count(&self, name: &str) -> usize {
        let received = self.received.lock().await;
        received
            .iter()
            .filter(|(headers, _)| headers["x-github-event"] == name)
            .count()
    }
}

/// A `PATH` with nothing but sh, git and ssh: what a push may need of a machine.
static PLAIN_PATH: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plain-path");
    std::fs::create_dir_all(&folder).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in ["sh", "git", "ssh"] {
        let mut places = std::env::split_paths(&path).map(|place| place.join(program));
        let found = places.find(|place| place.exists()).unwrap();
        let link = folder.join(program);
        if !link.exists() {
            std::os::unix::fs::symlink(found, link).unwrap();
        }
    }
    folder
});

/// Runs plain git and gives success and everything it printed.
pub async fn git(folder: &Path, ssh_command: &str, arguments: &[&str]) -> (bool, String) {
    let output = tokio::process::Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
        .args(arguments)
        .env("PATH", &*PLAIN_PATH)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_SSH_COMMAND", ssh_command)
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}
