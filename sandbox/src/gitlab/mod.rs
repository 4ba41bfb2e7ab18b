//! GitLab as a stateful local service: REST API v4 below a path, as a self-managed instance may be installed.
//!
//! A request passes `door` (token, scope, limit), is matched to a project by `target`, and handled by the file that has the
//! resource's name. Facts: GitLab's REST reference, its own specs (`deploy_keys_spec.rb`, `lib/api/helpers.rb`), recorded answers.

mod door;
mod hook_log;
mod hooks;
mod keys;
mod payloads;
mod projects;
mod shapes;
mod target;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::forge::refusal::Refusal;
use crate::forge::{Hook, Message, Opened, Push, Vendor};
use crate::world::World;

/// What can be turned about GitLab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Calls a minute of one user with all his tokens.
    pub calls_per_minute: u64,
    /// `GET /projects/:id` calls a minute of one user.
    pub project_reads_per_minute: u64,
    /// Tests (and, apart from them, resends) of webhooks a minute of one user in one project.
    pub hook_tests_per_minute: u64,
    /// Send `RateLimit-*`; instances of one's own often do not.
    pub rate_limit_headers: bool,
    /// Status of the redirect after a move; nobody recorded whether it is 301 or 302.
    pub moved_status: u16,
    /// Status for members who are not maintainers, at keys and webhooks: 404, or 403.
    pub non_maintainer_status: u16,
    /// The error for a key in use names `deploy_key.fingerprint`, as older servers do, instead of `fingerprint_sha256`.
    pub older_key_error: bool,
    /// The instance refuses shorter RSA keys; 0 takes all.
    pub minimum_rsa_bits: usize,
    /// Whether deliveries can be read (since 17.3).
    pub hook_events: bool,
    /// Whether deliveries can be sent again (since 17.4).
    pub hook_resend: bool,
    /// Webhooks that a project may have.
    pub most_hooks: usize,
    /// Where the instance's pages are said to be; an address that nobody calls.
    pub web_url: String,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            calls_per_minute: 2000,
            project_reads_per_minute: 400,
            hook_tests_per_minute: 5,
            rate_limit_headers: true,
            moved_status: 302,
            non_maintainer_status: 404,
            older_key_error: false,
            minimum_rsa_bits: 0,
            hook_events: true,
            hook_resend: true,
            most_hooks: 100,
            web_url: "https://gitlab.com".to_owned(),
        }
    }
}

/// Everything below `/gitlab`.
pub fn router(world: &Arc<World>) -> Router<Arc<World>> {
    let api = Router::new()
        .nest("/projects/{id}", project_router())
        .route("/user", get(users::current))
        .route("/user/keys", get(users::own_keys))
        .route("/users/{user_id}/project_deploy_keys", get(keys::of_user))
        .route("/namespaces/{id}", get(users::namespace))
        .route("/personal_access_tokens/self", get(users::own_token))
        .route("/version", get(users::version))
        .route("/metadata", get(users::version))
        .fallback(|| async { not_found("") })
        .layer(axum::middleware::from_fn_with_state(
            world.clone(),
            door::receive,
        ));
    Router::new().nest("/api/v4", api)
}

fn project_router() -> Router<Arc<World>> {
    Router::new()
        .route("/", get(projects::show))
        .route("/repository/branches", get(projects::branches))
        .route(
            "/repository/branches/{*branch}",
            get(projects::branch).head(projects::has_branch),
        )
        .route("/deploy_keys", get(keys::list).post(keys::create))
        .route(
            "/deploy_keys/{key_id}",
            get(keys::show).put(keys::update).delete(keys::remove),
        )
        .route("/deploy_keys/{key_id}/enable", post(keys::enable))
        .route("/hooks", get(hooks::list).post(hooks::create))
        .route(
            "/hooks/{hook_id}",
            get(hooks::show).put(hooks::update).delete(hooks::remove),
        )
        .route("/hooks/{hook_id}/test/{trigger}", post(hook_log::test))
        .route("/hooks/{hook_id}/events", get(hook_log::events))
        .route(
            "/hooks/{hook_id}/events/{hook_log_id}/resend",
            post(hook_log::resend),
        )
}

/// `{"message": …}`, the most frequent of GitLab's error shapes.
fn refused(status: StatusCode, message: impl Into<serde_json::Value>) -> Refusal {
    Refusal::json(status, json!({"message": message.into()}))
}

/// `404 Project Not Found`; without a kind, `404 Not Found`.
fn not_found(kind: &str) -> Refusal {
    let words = ["404", kind, "Not Found"]
        .into_iter()
        .filter(|w| !w.is_empty());
    refused(StatusCode::NOT_FOUND, words.collect::<Vec<_>>().join(" "))
}

/// Failed deliveries in a row after which a webhook is suspended for a while.
const SUSPENDED_AFTER: u32 = 4;
/// Failed deliveries in a row after which only a successful test brings it back (merge request 166329).
const DISABLED_AFTER: u32 = 40;

/// GitLab where the core acts by itself.
pub struct Gitlab;

impl Vendor for Gitlab {
    fn announce(&self, world: &World, hook: &Hook, push: &Push) -> Option<Message> {
        let event = payloads::event(push);
        let listens = hook.events.contains(event) && hooks::passes_filter(hook, push);
        (listens && is_executable(hook, world.clock.now()))
            .then(|| payloads::push(world, hook, push))
    }

    fn announce_request(&self, world: &World, hook: &Hook, opened: &Opened) -> Option<Message> {
        let listens = hook.events.contains("merge_requests_events");
        (listens && is_executable(hook, world.clock.now()))
            .then(|| payloads::merge_request(world, hook, opened))
    }

    fn settle(&self, hook: &mut Hook, delivered: bool, now: OffsetDateTime) {
        hook.failures = if delivered { 0 } else { hook.failures + 1 };
        let over = hook.failures.checked_sub(SUSPENDED_AFTER);
        // A minute at first, twice as long each time, a day at most.
        let pause = over.map(|over| Duration::minutes(1 << over.min(11)).min(Duration::days(1)));
        hook.suspended_until = pause.map(|pause| now + pause);
    }

    fn not_found(&self, _: &str) -> String {
        "remote: ERROR: The project you were looking for could not be found or you don't have permission to view it."
            .to_owned()
    }

    fn read_only(&self, _: &str) -> String {
        "remote: ERROR: This deploy key does not have write access to this project.".to_owned()
    }
}

/// Whether something may be sent to the webhook.
fn is_executable(hook: &Hook, now: OffsetDateTime) -> bool {
    hook.failures < DISABLED_AFTER && hook.suspended_until.is_none_or(|end| end <= now)
}
