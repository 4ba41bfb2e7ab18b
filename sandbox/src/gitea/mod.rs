//! Gitea (and Forgejo, which has the same API) as a stateful local service.
//!
//! A request passes `door` (token, scope), is matched to a repository by `target`, and handled by the file that has the
//! resource's name. Facts: Gitea's API reference and its sources (`routers/api/v1`).

mod door;
mod hooks;
mod keys;
mod payloads;
mod repositories;
mod target;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::json;

use crate::forge::refusal::Refusal;
use crate::forge::{Hook, Message, Opened, Push, Vendor};
use crate::world::World;

pub use payloads::push as push_message;

/// Everything below `/gitea`.
pub fn router(world: &Arc<World>) -> Router<Arc<World>> {
    let api = Router::new()
        .nest("/repos/{owner}/{repo}", repository_router())
        .route("/repositories/{repository_id}", get(repositories::show))
        .route("/user", get(repositories::current_user))
        .route("/version", get(repositories::version))
        .fallback(|| async { not_found() })
        .layer(axum::middleware::from_fn_with_state(
            world.clone(),
            door::receive,
        ));
    Router::new().nest("/api/v1", api)
}

fn repository_router() -> Router<Arc<World>> {
    Router::new()
        .route("/", get(repositories::show))
        .route("/branches", get(repositories::branches))
        .route("/branches/{*branch}", get(repositories::branch))
        .route("/keys", get(keys::list).post(keys::create))
        .route("/keys/{id}", get(keys::show).delete(keys::remove))
        .route("/hooks", get(hooks::list).post(hooks::create))
        .route(
            "/hooks/{id}",
            get(hooks::show).patch(hooks::update).delete(hooks::remove),
        )
        .route("/hooks/{id}/tests", post(hooks::test))
}

/// Where Gitea says its errors are explained.
const EXPLAINED: &str = "https://gitea.example/api/swagger";

/// `{"message": …, "url": …}`
fn refused(status: StatusCode, message: &str) -> Refusal {
    Refusal::json(status, json!({"message": message, "url": EXPLAINED}))
}

/// Absent, or present and not yours.
fn not_found() -> Refusal {
    let message = "The target couldn't be found.";
    let body = json!({"errors": [], "message": message, "url": EXPLAINED});
    Refusal::json(StatusCode::NOT_FOUND, body)
}

/// Gitea where the core acts by itself.
pub struct Gitea;

impl Vendor for Gitea {
    fn announce(&self, world: &World, hook: &Hook, push: &Push) -> Option<Message> {
        // A branch that is deleted is another event, and so is a tag that is made.
        let listens = hook.active && hook.events.contains("push") && !push.is_deletion();
        let filter = hook.settings.get("branch_filter").and_then(|f| f.as_str());
        let passes = filter.is_none_or(|f| f.is_empty() || push.is_on(f));
        (listens && passes).then(|| payloads::push(world, hook, push))
    }

    fn announce_request(&self, world: &World, hook: &Hook, opened: &Opened) -> Option<Message> {
        let listens = hook.active && hook.events.contains("pull_request");
        listens.then(|| payloads::pull_request(world, hook, opened))
    }

    fn not_found(&self, _: &str) -> String {
        "Gitea: Unknown git repository".to_owned()
    }

    fn read_only(&self, path: &str) -> String {
        format!("Gitea: Unauthorized\nUser does not have write access to {path}.")
    }
}
