//! Azure DevOps Services as a stateful local service: git, service hooks, accounts, and the undocumented calls for SSH keys.
//!
//! All of the vendor's host names (`dev.azure.com`, `vssps.dev.azure.com`, …) are one address here. A request passes `door`
//! (sign-in, limits, version), is matched to a repository by `target`, and handled by the file that has the resource's name.
//! Facts: Microsoft's API descriptions and pages, public tools that make SSH keys, recorded answers.

mod accounts;
mod door;
mod notifications;
mod payloads;
mod repositories;
mod shapes;
mod ssh_keys;
mod subscription;
mod subscriptions;
mod target;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;

use crate::forge::refusal::Refusal;
use crate::forge::{Hook, Message, Opened, Push, Repository, State, Vendor};
use crate::world::World;

/// What can be turned about Azure DevOps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Who is not signed in gets a redirect (302) instead of a page to sign in (203).
    pub sign_in_redirects: bool,
    /// With `X-TFS-FedAuthRedirect: Suppress` it is 401 instead; known, not verified.
    pub suppress_honoured: bool,
    /// An absent project is 400 `VS800075` instead of 404 `TF200016`.
    pub missing_project_as_400: bool,
    /// Calls of one user in five minutes after which answers carry `Retry-After` …
    pub delayed_above: u64,
    /// … and after which they are 429.
    pub refused_above: u64,
    /// Seconds that `Retry-After` names.
    pub retry_after_seconds: u64,
    /// The undocumented calls for SSH keys do what they did; else they answer 200 with an exception inside.
    pub ssh_key_calls_work: bool,
    /// Whether a personal access token may make SSH keys; there are reports of both.
    pub tokens_make_ssh_keys: bool,
    /// Refs a page.
    pub page_size: usize,
    /// How long after a failed delivery the next attempt comes, in milliseconds.
    pub retry_pause_ms: u64,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            sign_in_redirects: false,
            suppress_honoured: true,
            missing_project_as_400: false,
            delayed_above: 5_000,
            refused_above: 10_000,
            retry_after_seconds: 5,
            ssh_key_calls_work: true,
            tokens_make_ssh_keys: true,
            page_size: 100,
            retry_pause_ms: 100,
        }
    }
}

/// Everything below `/azure`.
pub fn router(world: &Arc<World>) -> Router<Arc<World>> {
    let organization = Router::new()
        .merge(hook_routes())
        .merge(account_routes())
        .route(
            "/_apis/git/repositories/{repository}",
            get(repositories::show),
        )
        .route(
            "/_apis/git/repositories/{repository}/refs",
            get(repositories::refs),
        )
        .nest("/{project}/_apis/git/repositories", repository_routes());
    Router::new()
        .route("/_apis/profile/profiles/me", get(accounts::profile))
        .nest("/{organization}", organization)
        .fallback(door::no_such_page)
        .layer(axum::middleware::from_fn_with_state(
            world.clone(),
            door::receive,
        ))
}

fn repository_routes() -> Router<Arc<World>> {
    Router::new()
        .route("/", get(repositories::list))
        .route("/{repository}", get(repositories::show))
        .route("/{repository}/refs", get(repositories::refs))
}

fn account_routes() -> Router<Arc<World>> {
    Router::new()
        .route("/_apis/connectionData", get(accounts::connection_data))
        .route("/_apis/projects", get(accounts::projects))
        .route("/_apis/projects/{project}", get(accounts::project))
        .route("/_apis/Token/SessionTokens", get(ssh_keys::list))
        .route("/_apis/Token/SessionTokens/{id}", delete(ssh_keys::remove))
        .route("/_apis/Contribution/HierarchyQuery", post(ssh_keys::create))
}

fn hook_routes() -> Router<Arc<World>> {
    Router::new()
        .route(
            "/_apis/hooks/subscriptions",
            get(subscriptions::list).post(subscriptions::create),
        )
        .route(
            "/_apis/hooks/subscriptions/{id}",
            get(subscriptions::show)
                .put(subscriptions::replace)
                .delete(subscriptions::remove),
        )
        .route(
            "/_apis/hooks/subscriptionsquery",
            post(subscriptions::query),
        )
        .route(
            "/_apis/hooks/subscriptions/{id}/notifications",
            get(notifications::list),
        )
        .route(
            "/_apis/hooks/subscriptions/{id}/notifications/{number}",
            get(notifications::show),
        )
        .route(
            "/_apis/hooks/notificationsquery",
            post(notifications::query),
        )
        .route("/_apis/hooks/testnotifications", post(notifications::test))
}

/// Azure's error shape; clients match on `typeKey`.
fn refused(status: StatusCode, kind: &str, message: &str) -> Refusal {
    let name = format!("Microsoft.VisualStudio.Services.{kind}, Microsoft.VisualStudio.Services");
    let body = json!({
        "$id": "1", "innerException": null, "message": message, "typeName": name, "typeKey": kind,
        "errorCode": 0, "eventId": 3000,
    });
    Refusal::json(status, body)
}

/// 400 about a body.
fn bad(message: &str) -> Refusal {
    refused(
        StatusCode::BAD_REQUEST,
        "VssPropertyValidationException",
        message,
    )
}

/// Failed deliveries in a row after which a subscription is on probation, and after which it is switched off.
const PROBATION_AFTER: u32 = 3;
const DISABLED_AFTER: u32 = 10;

/// Azure DevOps where the core acts by itself.
pub struct Azure;

impl Vendor for Azure {
    fn announce(&self, world: &World, hook: &Hook, push: &Push) -> Option<Message> {
        let listens = hook.events.contains("git.push") && subscription::is_on(hook);
        (listens && subscription::passes_filter(hook, push))
            .then(|| payloads::push(world, hook, push))
    }

    fn announce_request(&self, world: &World, hook: &Hook, opened: &Opened) -> Option<Message> {
        let listens = hook.events.contains("git.pullrequest.created") && subscription::is_on(hook);
        listens.then(|| payloads::pull_request(world, hook, opened))
    }

    /// A subscription without a repository is about all of its project.
    fn listeners(&self, state: &State, repository: &Repository) -> Vec<(u64, Hook)> {
        let project = state.repositories.values();
        let project = project.filter(|r| r.owner() == repository.owner());
        let hooks = project.flat_map(|r| r.hooks.iter().map(move |hook| (r.id, hook.clone())));
        // What somebody made who left is silent.
        let speaks = |hook: &Hook| state.has_person(&hook.added_by);
        hooks
            .filter(|(_, hook)| subscription::is_about(hook, repository) && speaks(hook))
            .collect()
    }

    fn retries(&self, world: &World) -> Vec<Duration> {
        let pause = world.switches.read().azure_devops.retry_pause_ms;
        vec![Duration::from_millis(pause); 2]
    }

    fn settle(&self, hook: &mut Hook, delivered: bool, _: OffsetDateTime) {
        hook.failures = if delivered { 0 } else { hook.failures + 1 };
    }

    fn not_found(&self, path: &str) -> String {
        let name = path.rsplit('/').next().unwrap_or(path);
        format!(
            "remote: TF401019: The Git repository with name or identifier {name} does not exist or you do not have \
             permissions for the operation you are attempting."
        )
    }

    fn read_only(&self, path: &str) -> String {
        format!(
            "remote: TF401027: You need the Git 'GenericContribute' permission to perform this action on {path}."
        )
    }
}
