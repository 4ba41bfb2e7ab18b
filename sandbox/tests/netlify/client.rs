//! A client of the sandbox, and the world it acts in.

use std::time::{Duration, Instant};

use linkbroker_sandbox::github::NewRepository;
use linkbroker_sandbox::{ACCOUNT, GITHUB_TOKEN, NETLIFY_TOKEN, Options, Sandbox};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// How long anything in these tests may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A sandbox of its own and a client with the default tokens.
pub struct World {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

/// A repository that is linked to a site in the recommended order.
pub struct Linked {
    pub full_name: String,
    pub repo_id: Value,
    /// The site as the attach answered it.
    pub site: Value,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }
}

impl Linked {
    pub fn site_id(&self) -> &str {
        text(&self.site, "id")
    }

    pub fn site_name(&self) -> &str {
        text(&self.site, "name")
    }
}

impl World {
    pub async fn start() -> Self {
        let sandbox = Sandbox::start(Options::default())
            .await
            .expect("the sandbox starts");
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Self { sandbox, http }
    }

    pub async fn with_switches(patch: Value) -> Self {
        let world = Self::start().await;
        world
            .sandbox
            .patch_switches(&patch)
            .expect("known switches");
        world
    }

    pub async fn netlify(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let url = format!("{}{path}", self.sandbox.netlify_url());
        self.call(method, &url, NETLIFY_TOKEN, body).await
    }

    pub async fn github(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let url = format!("{}{path}", self.sandbox.github_url());
        self.call(method, &url, GITHUB_TOKEN, body).await
    }

    pub async fn call(&self, method: Method, url: &str, token: &str, body: Option<Value>) -> Reply {
        let mut request = self
            .http
            .request(method, url)
            .bearer_auth(token)
            .header("user-agent", "tests");
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await.expect("an answer")).await
    }

    pub async fn get(&self, path: &str) -> Value {
        self.netlify(Method::GET, path, None).await.expect(200)
    }

    /// Makes `acme/NAME` with the small site in it.
    pub async fn repository(&self, name: &str) -> Value {
        let new = NewRepository {
            name: name.to_owned(),
            template: Some("site".to_owned()),
            text: "first text".to_owned(),
            ..NewRepository::default()
        };
        self.sandbox
            .create_repository(new)
            .await
            .expect("a repository")
    }

    pub async fn deploy_key(&self) -> Value {
        self.netlify(Method::POST, "/deploy_keys", None)
            .await
            .expect(201)
    }

    pub async fn bare_site(&self, name: &str) -> Value {
        let path = format!("/{ACCOUNT}/sites");
        self.netlify(Method::POST, &path, Some(json!({"name": name})))
            .await
            .expect(201)
    }

    /// Key, webhook and bare site, then the attach with `repo` on top of the usual fields.
    pub async fn link(&self, name: &str, repo: Value) -> Linked {
        let repository = self.repository(name).await;
        let full_name = text(&repository, "full_name").to_owned();
        let key = self.deploy_key().await;
        let installed = json!({"title": "Netlify", "key": key["public_key"], "read_only": true});
        self.github(
            Method::POST,
            &format!("/repos/{full_name}/keys"),
            Some(installed),
        )
        .await
        .expect(201);
        self.webhook(&full_name, "json").await;
        let site = self.bare_site(name).await;
        let mut link = json!({
            "provider": "github", "id": repository["id"], "repo_id": repository["id"], "repo_path": full_name,
            "repo": full_name, "repo_branch": "main", "branch": "main", "deploy_key_id": key["id"],
            "private": true, "public_repo": false, "allowed_branches": ["main"], "cmd": "sh build.sh", "dir": "dist",
        });
        merge(&mut link, &repo);
        let path = format!("/sites/{}", text(&site, "id"));
        let site = self
            .netlify(Method::PATCH, &path, Some(json!({"repo": link})))
            .await
            .expect(200);
        Linked {
            full_name,
            repo_id: repository["id"].clone(),
            site,
        }
    }

    pub async fn webhook(&self, full_name: &str, content_type: &str) -> Value {
        let origin = self.sandbox.netlify_url().replace("/api/v1", "");
        let hook = json!({
            "name": "web", "active": true, "events": ["push", "pull_request", "delete"],
            "config": {"url": format!("{origin}/hooks/github"), "content_type": content_type, "insecure_ssl": "0"},
        });
        self.github(
            Method::POST,
            &format!("/repos/{full_name}/hooks"),
            Some(hook),
        )
        .await
        .expect(201)
    }

    /// All deploys of a site, newest first.
    pub async fn deploys(&self, site_id: &str) -> Vec<Value> {
        let deploys = self.get(&format!("/sites/{site_id}/deploys")).await;
        deploys.as_array().cloned().expect("a list")
    }

    /// Waits until the site has so many deploys and all of them have ended; newest first.
    pub async fn settled(&self, site_id: &str, count: usize) -> Vec<Value> {
        let ended = |d: &Value| d["state"] == "ready" || d["state"] == "error";
        let mut deploys = Vec::new();
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            deploys = self.deploys(site_id).await;
            if deploys.len() >= count && deploys.iter().all(ended) {
                assert_eq!(deploys.len(), count, "{deploys:#?}");
                return deploys;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no {count} ended deploys: {deploys:#?}");
    }

    /// Waits until a condition holds.
    pub async fn until<F: AsyncFn() -> bool>(&self, what: &str, condition: F) {
        let deadline = Instant::now() + DEADLINE;
        while !condition().await {
            assert!(Instant::now() < deadline, "never happened: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The text of the log of a deploy.
    pub async fn log(&self, deploy_id: &str) -> String {
        let lines = self.get(&format!("/deploys/{deploy_id}/log")).await;
        let lines = lines.as_array().expect("a list of lines").iter();
        lines
            .map(|l| text(l, "message"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// A served page.
    pub async fn page(&self, site_name: &str, path: &str) -> Reply {
        let url = format!("{}/sites/{site_name}/{path}", self.sandbox.world().origin());
        read(self.http.get(url).send().await.expect("a page")).await
    }

    /// Fails the test when anything went against the vendors' descriptions.
    pub fn assert_lawful(&self) {
        let violations = self.sandbox.violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

pub async fn read(response: reqwest::Response) -> Reply {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a whole body");
    Reply {
        status,
        headers,
        text,
    }
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no text {field} in {value}"))
}

fn merge(target: &mut Value, patch: &Value) {
    for (field, value) in patch.as_object().into_iter().flatten() {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(field);
        } else {
            target[field] = value.clone();
        }
    }
}
