//! GitLab, with a private project in nested groups.

mod keys;
mod linking;
mod projects;
mod webhooks;

use linkbroker_sandbox::forge::{self, NewToken};
use linkbroker_sandbox::{GITLAB_TOKEN, Provider, Sandbox};
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{self, Reply, repository};

/// Path of the project that is there from the start.
pub const PATH: &str = "acme/web/docs";
/// The same, as a part of a path.
pub const ENCODED: &str = "acme%2Fweb%2Fdocs";

pub struct Stage {
    pub stage: stage::Stage,
    /// The project's id.
    pub id: u64,
}

impl std::ops::Deref for Stage {
    type Target = stage::Stage;

    fn deref(&self) -> &stage::Stage {
        &self.stage
    }
}

impl Stage {
    pub async fn new() -> Self {
        let stage = stage::Stage::new(Provider::Gitlab, PATH).await;
        let id = stage.repository["id"].as_u64().unwrap();
        Self { stage, id }
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
        let request = self
            .http
            .request(method, url)
            .header("private-token", token);
        Reply::to(request, body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path, Some(body)).await
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
}

/// Makes one more project and gives its id.
pub async fn project(sandbox: &Sandbox, path: &str) -> u64 {
    let made = repository(sandbox, Provider::Gitlab, path).await;
    made["id"].as_u64().unwrap()
}
