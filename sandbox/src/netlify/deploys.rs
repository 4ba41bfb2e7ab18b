//! Deploys: look up, list, cancel, lock, log.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, ApiError, Page, created, no_content, ok};
use super::records::{Deploy, LogLine};
use super::sites::own_site_id;
use super::state;
use super::{runner, served, view};
use crate::clock::milliseconds;
use crate::world::World;

#[derive(Deserialize)]
pub struct ListQuery {
    state: Option<String>,
    branch: Option<String>,
    production: Option<bool>,
    #[serde(rename = "deploy-previews")]
    deploy_previews: Option<bool>,
    #[serde(rename = "latest-published")]
    latest_published: Option<bool>,
    /// Unix seconds.
    from: Option<i64>,
    to: Option<i64>,
}

/// GET `/sites/{site_id}/deploys`
pub async fn list(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(site_id): Path<String>,
    Query(query): Query<ListQuery>,
    page: Page,
) -> Answer {
    let netlify = world.netlify.lock();
    let site_id = own_site_id(&netlify, &caller, &site_id)?;
    let published = netlify.sites[&site_id].published.as_deref();
    let listed: Vec<Value> = netlify
        .deploys_of(&site_id)
        .into_iter()
        .filter(|d| view::is_listed(&world, d.created_at))
        .filter(|d| query.latest_published != Some(true) || Some(d.id.as_str()) == published)
        .map(|d| view::deploy(&world, &netlify, d))
        .filter(|d| query.wants(d))
        .collect();
    page.of(listed, &world.origin())
}

impl ListQuery {
    fn wants(&self, deploy: &Value) -> bool {
        let created = deploy["created_at"].as_str().unwrap_or_default();
        let after = |limit: i64| created >= unix_text(limit).as_str();
        let context = |wanted: Option<bool>, name: &str| {
            wanted.is_none_or(|w| w == (deploy["context"] == name))
        };
        self.state.as_ref().is_none_or(|s| deploy["state"] == **s)
            && self.branch.as_ref().is_none_or(|b| deploy["branch"] == **b)
            && context(self.production, "production")
            && context(self.deploy_previews, "deploy-preview")
            && self.from.is_none_or(after)
            && self.to.is_none_or(|limit| !after(limit + 1))
    }
}

/// Time stamps of one format compare as text.
fn unix_text(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds).map_or_else(|_| String::new(), milliseconds)
}

/// GET `/deploys/{deploy_id}`
pub async fn get(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(deploy_id): Path<String>,
) -> Answer {
    let netlify = world.netlify.lock();
    let deploy = own(&netlify, &caller, &deploy_id)?;
    ok(view::deploy(&world, &netlify, deploy))
}

/// GET `/sites/{site_id}/deploys/{deploy_id}`
pub async fn get_in_site(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path((site_id, deploy_id)): Path<(String, String)>,
) -> Answer {
    let netlify = world.netlify.lock();
    let site_id = own_site_id(&netlify, &caller, &site_id)?;
    let deploy = own(&netlify, &caller, &deploy_id)?;
    if deploy.site_id != site_id {
        return Err(ApiError::NOT_FOUND);
    }
    ok(view::deploy(&world, &netlify, deploy))
}

/// DELETE `/deploys/{deploy_id}`
pub async fn delete(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(deploy_id): Path<String>,
) -> Answer {
    let mut netlify = world.netlify.lock();
    own(&netlify, &caller, &deploy_id)?.cancel.cancel();
    netlify.deploys.remove(&deploy_id);
    served::forget(&world.data_dir, &deploy_id);
    no_content()
}

/// POST `/deploys/{deploy_id}/cancel`: a cancelled deploy is an `error` whose message says `Canceled build`.
pub async fn cancel(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(deploy_id): Path<String>,
) -> Answer {
    let state = own(&world.netlify.lock(), &caller, &deploy_id)?.state;
    if !state.is_final() {
        runner::fail(&world, &deploy_id, runner::CANCELED);
    }
    let netlify = world.netlify.lock();
    let body = view::deploy(&world, &netlify, own(&netlify, &caller, &deploy_id)?);
    match world.switches.read().netlify.cancel_answers_201 {
        true => created(body),
        false => ok(body),
    }
}

/// POST `/deploys/{deploy_id}/lock`: later deploys build but are not published.
pub async fn lock(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(deploy_id): Path<String>,
) -> Answer {
    set_locked(&world, &caller, &deploy_id, true)
}

/// POST `/deploys/{deploy_id}/unlock`
pub async fn unlock(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(deploy_id): Path<String>,
) -> Answer {
    set_locked(&world, &caller, &deploy_id, false)
}

/// GET `/deploys/{deploy_id}/log`, undocumented, used by the vendor's CLI; 404 while no build ever ran.
pub async fn log(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(deploy_id): Path<String>,
) -> Answer {
    let netlify = world.netlify.lock();
    let deploy = own(&netlify, &caller, &deploy_id)?;
    if deploy.log.is_empty() {
        return Err(ApiError::NOT_FOUND);
    }
    let line = |l: &LogLine| {
        json!({
            "ts": milliseconds(l.at), "message": l.message, "section": l.section, "level": "info", "type": "stdout",
        })
    };
    ok(deploy.log.iter().map(line).collect())
}

fn set_locked(world: &World, caller: &Caller, deploy_id: &str, locked: bool) -> Answer {
    let mut netlify = world.netlify.lock();
    own(&netlify, caller, deploy_id)?;
    if let Some(deploy) = netlify.deploys.get_mut(deploy_id) {
        deploy.locked = locked;
    }
    ok(view::deploy(world, &netlify, &netlify.deploys[deploy_id]))
}

fn own<'a>(
    netlify: &'a state::State,
    caller: &Caller,
    deploy_id: &str,
) -> Result<&'a Deploy, ApiError> {
    let deploy = netlify.deploys.get(deploy_id).ok_or(ApiError::NOT_FOUND)?;
    own_site_id(netlify, caller, &deploy.site_id).map(|_| deploy)
}
