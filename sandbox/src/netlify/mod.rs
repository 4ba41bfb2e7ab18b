//! Netlify as a stateful local service: API, real builds, served sites, hooks in and out.
//!
//! Facts come from Netlify's own API descriptions and from captured answers; behaviour that nobody has proved is a switch
//! ([`Switches`]). Flow of a build: `repo` reads what a client attaches, `linking` or `incoming` start a `builds`
//! record, `runner` and `workshop` clone, build and publish, `served` shows the files, `notifications` tells subscribers.

mod access;
mod accounts;
mod announced;
mod answer;
mod builds;
mod command;
mod deploy_keys;
mod deploys;
mod environment;
mod incoming;
mod installation;
mod linking;
mod notifications;
mod pretended;
mod records;
mod repo;
mod runner;
mod served;
mod sites;
mod state;
mod switches;
mod view;
mod workshop;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};

pub use deploy_keys::stock_is_full;
pub use installation::told_by_app;
pub use notifications::fire;
pub use records::{Account, DeployState, NewToken, Site};
pub use served::serve_by_host;
pub use state::State;
pub use switches::{BuildTimes, Switches};
pub use view::{counts, world_view};

use crate::world::World;

/// Fills the key stock and keeps it filled; call once after the world exists.
pub fn start(world: &Arc<World>) {
    deploy_keys::keep_stock(world);
}

/// Everything below `/netlify`: the API at `/api/v1`, the webhook receiver at `/hooks`.
pub fn router(world: &Arc<World>) -> Router<Arc<World>> {
    Router::new()
        .nest("/api/v1", api(world))
        .route("/hooks/{hook}", post(incoming::receive))
}

/// The folder of served sites, `/sites/{name}/…`.
pub fn sites_router() -> Router<Arc<World>> {
    Router::new()
        .route("/{name}", get(served::redirect_to_root))
        .route("/{name}/", get(served::serve_by_path))
        .route("/{name}/{*path}", get(served::serve_by_path))
}

fn api(world: &Arc<World>) -> Router<Arc<World>> {
    let guarded = Router::new()
        .merge(account_routes())
        .merge(site_routes())
        .merge(build_routes())
        .merge(hook_routes())
        .layer(from_fn_with_state(world.clone(), access::admit));
    guarded
        .fallback(answer::no_such_route)
        .layer(axum::middleware::from_fn(access::stamp_request_id))
}

fn account_routes() -> Router<Arc<World>> {
    Router::new()
        .route("/user", get(accounts::current_user))
        .route("/accounts", get(accounts::list))
        .route("/accounts/{account_id}", get(accounts::get))
        .route(
            "/accounts/{account_id}/builds/status",
            get(accounts::running_builds),
        )
        .route(
            "/accounts/{account_id}/env",
            get(environment::list).post(environment::create),
        )
        .route(
            "/accounts/{account_id}/env/{key}",
            get(environment::get)
                .put(environment::replace)
                .delete(environment::delete),
        )
        .route("/{account}/builds/status", get(accounts::build_status))
        .route(
            "/deploy_keys",
            get(deploy_keys::list).post(deploy_keys::create),
        )
        .route(
            "/deploy_keys/{key_id}",
            get(deploy_keys::get).delete(deploy_keys::delete),
        )
}

fn site_routes() -> Router<Arc<World>> {
    Router::new()
        .route("/sites", get(sites::list).post(sites::create))
        .route(
            "/{account}/sites",
            get(sites::list_in_account).post(sites::create_in_account),
        )
        .route(
            "/sites/{site_id}",
            get(sites::get)
                .patch(sites::update)
                .put(sites::update)
                .delete(sites::delete),
        )
        .route("/sites/{site_id}/unlink_repo", put(sites::unlink_repo))
        .route(
            "/sites/{site_id}/metadata",
            get(sites::metadata).put(sites::set_metadata),
        )
}

fn build_routes() -> Router<Arc<World>> {
    Router::new()
        .route(
            "/sites/{site_id}/builds",
            get(builds::list).post(builds::create),
        )
        .route("/builds/{build_id}", get(builds::get))
        .route("/sites/{site_id}/deploys", get(deploys::list))
        .route(
            "/sites/{site_id}/deploys/{deploy_id}",
            get(deploys::get_in_site),
        )
        .route(
            "/deploys/{deploy_id}",
            get(deploys::get).delete(deploys::delete),
        )
        .route("/deploys/{deploy_id}/cancel", post(deploys::cancel))
        .route("/deploys/{deploy_id}/lock", post(deploys::lock))
        .route("/deploys/{deploy_id}/unlock", post(deploys::unlock))
        .route("/deploys/{deploy_id}/log", get(deploys::log))
}

fn hook_routes() -> Router<Arc<World>> {
    Router::new()
        .route(
            "/hooks",
            get(notifications::list).post(notifications::create),
        )
        .route("/hooks/types", get(notifications::types))
        .route(
            "/hooks/{hook_id}",
            get(notifications::get)
                .put(notifications::update)
                .delete(notifications::delete),
        )
        .route("/hooks/{hook_id}/enable", post(notifications::enable))
}
