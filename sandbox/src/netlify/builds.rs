//! Builds: how they start, how they are listed, and the queue they wait in.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::access::Caller;
use super::answer::{Answer, ApiError, Page, ok};
use super::records::{Cause, Deploy, DeployState, Verdict, object_id};
use super::sites::own_site_id;
use super::state;
use super::{runner, view};
use crate::world::World;

#[derive(Deserialize)]
pub struct ListQuery {
    sha: Option<String>,
}

#[derive(Deserialize)]
pub struct StartQuery {
    branch: Option<String>,
    title: Option<String>,
    commit_sha: Option<String>,
}

/// GET `/sites/{site_id}/builds`
pub async fn list(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(site_id): Path<String>,
    Query(query): Query<ListQuery>,
    page: Page,
) -> Answer {
    let netlify = world.netlify.lock();
    let site_id = own_site_id(&netlify, &caller, &site_id)?;
    let wanted = |d: &&Deploy| query.sha.is_none() || d.commit.sha == query.sha;
    let builds = netlify.deploys_of(&site_id).into_iter();
    let listed = builds
        .filter(wanted)
        .filter(|d| view::is_listed(&world, d.created_at));
    page.of(
        listed.map(|d| view::build(&world, d)).collect(),
        &world.origin(),
    )
}

/// GET `/builds/{build_id}`
pub async fn get(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(build_id): Path<String>,
) -> Answer {
    let netlify = world.netlify.lock();
    let deploy = netlify.by_build(&build_id).ok_or(ApiError::NOT_FOUND)?;
    own_site_id(&netlify, &caller, &deploy.site_id)?;
    ok(view::build(&world, deploy))
}

/// POST `/sites/{site_id}/builds`: answers 200, with the deploy id at once.
pub async fn create(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(site_id): Path<String>,
    Query(query): Query<StartQuery>,
) -> Answer {
    // The vendor says 404 where 403 is meant (field report): accounts without credits cannot start builds.
    if world.switches.read().netlify.credits_exhausted {
        return Err(ApiError::NOT_FOUND);
    }
    let mut netlify = world.netlify.lock();
    let site_id = own_site_id(&netlify, &caller, &site_id)?;
    let repo = netlify.sites[&site_id].repo.as_ref();
    let production = repo.map(|r| r.branch.clone()).ok_or(ApiError::NOT_FOUND)?;
    let cause = Cause {
        source: "api",
        branch: query.branch.unwrap_or(production),
        title: query.title,
        wanted_sha: query.commit_sha,
        ..Cause::default()
    };
    let deploy_id = start(&world, &mut netlify, &site_id, cause);
    ok(view::build(&world, &netlify.deploys[&deploy_id]))
}

/// The build that Netlify starts by itself when a repository is attached.
pub fn start_by_itself(world: &Arc<World>, netlify: &mut state::State, site_id: &str) -> String {
    let switches = world.switches.read().netlify.clone();
    let repo = netlify.sites.get(site_id).and_then(|s| s.repo.as_ref());
    let cause = Cause {
        source: "api",
        branch: repo.map(|r| r.branch.clone()).unwrap_or_default(),
        hidden_ms: switches.deploy_id_delay_ms,
        verdict: if switches.credits_exhausted {
            Verdict::OutOfCredit
        } else {
            Verdict::Run
        },
        ..Cause::default()
    };
    start(world, netlify, site_id, cause)
}

/// Records a build and lets it run in the background; gives back its deploy id.
pub fn start(
    world: &Arc<World>,
    netlify: &mut state::State,
    site_id: &str,
    cause: Cause,
) -> String {
    let now = world.clock.now();
    let user_id = netlify.sites.get(site_id).map(|s| s.user_id.clone());
    let deploy = Deploy {
        id: object_id(now),
        build_id: object_id(now),
        site_id: site_id.to_owned(),
        user_id: user_id.unwrap_or_default(),
        state: DeployState::New,
        created_at: now,
        updated_at: now,
        started_at: None,
        published_at: None,
        deploy_time: None,
        error_message: None,
        skipped: false,
        blocked: false,
        locked: false,
        commit: cause.commit.clone(),
        log: Vec::new(),
        visible_at: now + Duration::from_millis(cause.hidden_ms),
        cancel: CancellationToken::new(),
        cause,
    };
    let id = deploy.id.clone();
    netlify.deploys.insert(id.clone(), deploy);
    netlify.count_created("builds");
    netlify.count_created("deploys");
    world.spawn(runner::run(world.clone(), id.clone()));
    id
}
