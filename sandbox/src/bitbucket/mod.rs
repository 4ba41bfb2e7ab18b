//! Bitbucket Cloud as a stateful local service: REST API 2.0.
//!
//! A request passes `door` (credentials, limit), is matched to a repository by `target`, and handled by the file that has the
//! resource's name. There is no log of deliveries and no test of webhooks, as at the vendor. Facts: Atlassian's API
//! description and support pages, recorded answers.

mod door;
mod hooks;
mod keys;
mod payloads;
mod repositories;
mod shapes;
mod target;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::forge::refusal::Refusal;
use crate::forge::{Hook, Message, Opened, Push, Vendor};
use crate::world::World;

/// What can be turned about Bitbucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Calls an hour below `/repositories` of one user.
    pub calls_per_hour: u64,
    /// Send `Retry-After` with 429; often it is not there.
    pub retry_after: bool,
    /// Send `X-OAuth-Scopes`, `X-Accepted-OAuth-Scopes` and `X-Credential-Type`.
    pub scope_headers: bool,
    /// A former slug redirects with 301; else it is 404. Nobody knows for how long it does.
    pub former_slugs_redirect: bool,
    /// What strangers get for a private repository: 404, or 403.
    pub foreign_status: u16,
    /// Access tokens may ask `/user`; by what is known, only people's tokens may.
    pub access_tokens_have_a_user: bool,
    /// Webhooks that a repository may have.
    pub most_hooks: usize,
    /// How long after a failed delivery the next attempt comes, in milliseconds.
    pub retry_pause_ms: u64,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            calls_per_hour: 1000,
            retry_after: false,
            scope_headers: true,
            former_slugs_redirect: true,
            foreign_status: 404,
            access_tokens_have_a_user: false,
            most_hooks: 50,
            retry_pause_ms: 100,
        }
    }
}

/// Everything below `/bitbucket`.
pub fn router(world: &Arc<World>) -> Router<Arc<World>> {
    let api = Router::new()
        .nest("/repositories/{workspace}/{repo_slug}", repository_router())
        .route("/user", get(users::current))
        .route("/user/permissions/repositories", get(users::permissions))
        .route("/workspaces/{workspace}", get(users::workspace))
        .fallback(|| async { refused(StatusCode::NOT_FOUND, "Resource not found") })
        .layer(axum::middleware::from_fn_with_state(
            world.clone(),
            door::receive,
        ));
    Router::new().nest("/2.0", api)
}

fn repository_router() -> Router<Arc<World>> {
    Router::new()
        .route("/", get(repositories::show))
        .route("/refs/branches", get(repositories::branches))
        .route("/refs/branches/{*branch}", get(repositories::branch))
        .route("/deploy-keys", get(keys::list).post(keys::create))
        .route(
            "/deploy-keys/{key_id}",
            get(keys::show).put(keys::update).delete(keys::remove),
        )
        .route("/hooks", get(hooks::list).post(hooks::create))
        .route(
            "/hooks/{uid}",
            get(hooks::show).put(hooks::update).delete(hooks::remove),
        )
}

/// `{"type": "error", "error": {"message": …}}`
fn refused(status: StatusCode, message: &str) -> Refusal {
    let body = json!({"type": "error", "error": {"message": message}});
    Refusal::json(status, body)
}

/// 400 about one field of a body.
fn bad_field(field: &str, problem: &str) -> Refusal {
    let message = format!("{field}: {problem}");
    let body =
        json!({"type": "error", "error": {"fields": {field: [problem]}, "message": message}});
    Refusal::json(StatusCode::BAD_REQUEST, body)
}

/// Bitbucket where the core acts by itself.
pub struct Bitbucket;

impl Vendor for Bitbucket {
    fn announce(&self, world: &World, hook: &Hook, push: &Push) -> Option<Message> {
        let listens = hook.active && hook.events.contains("repo:push");
        listens.then(|| payloads::push(world, hook, push))
    }

    fn announce_request(&self, world: &World, hook: &Hook, opened: &Opened) -> Option<Message> {
        let listens = hook.active && hook.events.contains("pullrequest:created");
        listens.then(|| payloads::pull_request(world, hook, opened))
    }

    /// Three attempts in all (support page on webhooks).
    fn retries(&self, world: &World) -> Vec<Duration> {
        let pause = world.switches.read().bitbucket.retry_pause_ms;
        vec![Duration::from_millis(pause); 2]
    }

    fn not_found(&self, _: &str) -> String {
        "The requested repository either does not exist or you do not have access. If you believe this repository exists \
         and you have access, make sure you're authenticated."
            .to_owned()
    }

    fn read_only(&self, _: &str) -> String {
        "Unauthorized\nrepository access denied. access via a deployment key is read-only."
            .to_owned()
    }
}
