//! GitHub as a stateful local service: REST API, deploy keys, webhooks with deliveries, renames, limits.
//!
//! A request passes `door` (User-Agent, token, limits), is matched to a repository by `target`, and handled by the file that
//! has the resource's name. A push comes from the git host into `webhooks`, whoever made it. `gate` answers the SSH front.
//! `admin` and `people` are what a person would do in the browser. Facts and their sources: GitHub's REST reference, recorded answers.

mod admin;
mod answer;
mod app_doors;
mod app_token;
mod apps;
mod deliveries;
mod door;
pub mod gate;
mod hook_rules;
mod hooks;
mod keys;
mod limits;
mod paging;
mod payloads;
mod people;
mod repositories;
mod shapes;
mod state;
mod target;
mod users;
mod view;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

pub use crate::forge::NewRepository;
pub use admin::{
    archive, commit, create_repository, rename, rename_branch, reset, set_deploy_keys_enabled,
};
pub use apps::{NETLIFY_APP, NewApp, NewInstallation, create_app, install, seen_by_netlify};
pub use limits::Limits;
pub use people::{NewPersonKey, NewToken, add_person_key, add_token, revoke_token};
pub use state::{Access, Permissions, State, TokenKind};
pub use view::{counts, world_view};
pub use webhooks::{open_pull_request, pushed};

use answer::Refusal;
use shapes::Addresses;

use crate::world::World;

/// What can be turned about GitHub.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    pub limits: Limits,
    /// How long deliveries can be read; GitHub only says "days".
    pub delivery_retention_hours: u32,
    /// An installation token is told its rights on a repository like a person. Unproven; off: it is told that it has none.
    pub installations_are_told_rights: bool,
    /// A webhook that is switched off is tested all the same. Unproven, either way.
    pub tests_reach_inactive_webhooks: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            delivery_retention_hours: 72,
            installations_are_told_rights: false,
            tests_reach_inactive_webhooks: false,
        }
    }
}

/// Everything below `/github`. The same paths exist with the repository's id, to which renames redirect.
pub fn router(world: &Arc<World>) -> Router<Arc<World>> {
    Router::new()
        .nest("/repos/{owner}/{repo}", repository_router())
        .nest("/repositories/{repository_id}", repository_router())
        .route("/user", get(users::current))
        .route("/user/installations", get(users::user_installations))
        .route("/app", get(app_doors::current))
        .route("/app/installations", get(app_doors::installations))
        .route(
            "/app/installations/{installation_id}",
            get(app_doors::installation),
        )
        .route(
            "/app/installations/{installation_id}/access_tokens",
            post(app_doors::access_token),
        )
        .route("/orgs/{org}/installations", get(app_doors::of_organization))
        .route("/users/{username}/installation", get(app_doors::of_account))
        .route("/rate_limit", get(users::rate_limit))
        .route("/meta", get(users::meta))
        .fallback(|| async { Refusal::not_found() })
        .layer(axum::middleware::from_fn_with_state(
            world.clone(),
            door::receive,
        ))
}

fn repository_router() -> Router<Arc<World>> {
    Router::new()
        .route("/", get(repositories::show))
        .route("/branches", get(repositories::branches))
        .route("/branches/{*branch}", get(repositories::branch))
        .route("/git/ref/{*ref}", get(repositories::reference))
        .route("/installation", get(app_doors::of_repository))
        .route("/keys", get(keys::list).post(keys::create))
        .route("/keys/{key_id}", get(keys::show).delete(keys::remove))
        .route("/hooks", get(hooks::list).post(hooks::create))
        .route(
            "/hooks/{hook_id}",
            get(hooks::show).patch(hooks::update).delete(hooks::remove),
        )
        .route(
            "/hooks/{hook_id}/config",
            get(hooks::show_config).patch(hooks::update_config),
        )
        .route("/hooks/{hook_id}/pings", post(hooks::ping))
        .route("/hooks/{hook_id}/tests", post(hooks::test))
        .route("/hooks/{hook_id}/deliveries", get(deliveries::list))
        .route(
            "/hooks/{hook_id}/deliveries/{delivery_id}",
            get(deliveries::show),
        )
        .route(
            "/hooks/{hook_id}/deliveries/{delivery_id}/attempts",
            post(deliveries::redeliver),
        )
}

fn addresses(world: &World) -> Addresses {
    Addresses {
        api: format!("{}/github", world.origin()),
        ssh: world.git.ssh_addr().to_string(),
    }
}
