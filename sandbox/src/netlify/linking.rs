//! Linking: what happens to a site when a client writes `repo` or `build_settings`.

use std::sync::Arc;

use serde_json::Value;
use time::OffsetDateTime;

use super::answer::ApiError;
use super::builds;
use super::installation;
use super::repo::{Repo, RepoPatch};
use super::state;
use crate::recorder::Upstream;
use crate::world::World;

/// Links a repository; Netlify starts a build by itself.
pub fn attach(
    world: &Arc<World>,
    netlify: &mut state::State,
    site_id: &str,
    link: Value,
) -> Result<(), ApiError> {
    write_repo(world, netlify, site_id, &link)?;
    let switches = world.switches.read().netlify.clone();
    let stopped = netlify.sites[site_id]
        .repo
        .as_ref()
        .is_some_and(|r| r.stop_builds);
    if stopped && switches.stop_builds_honoured {
        return Ok(());
    }
    let repo = netlify.sites[site_id].repo.as_ref();
    if !repo.is_some_and(|repo| installation::is_set_up(world, repo)) {
        return Ok(());
    }
    let builds = if switches.second_build_on_attach {
        2
    } else {
        1
    };
    for _ in 0..builds {
        let deploy_id = builds::start_by_itself(world, netlify, site_id);
        let site = netlify.sites.get_mut(site_id).ok_or(ApiError::NOT_FOUND)?;
        site.announced = Some(deploy_id);
    }
    Ok(())
}

/// Changes how a linked site builds; by all reports this starts no build.
pub fn change_build_settings(
    world: &Arc<World>,
    netlify: &mut state::State,
    site_id: &str,
    settings: Value,
) -> Result<(), ApiError> {
    if netlify.sites[site_id].repo.is_none() {
        // Settings of an unlinked site have no home yet; the vendor shows an empty `build_settings` then.
        return Ok(());
    }
    write_repo(world, netlify, site_id, &settings)?;
    if world.switches.read().netlify.build_on_settings_patch {
        builds::start_by_itself(world, netlify, site_id);
    }
    Ok(())
}

fn write_repo(
    world: &World,
    netlify: &mut state::State,
    site_id: &str,
    link: &Value,
) -> Result<(), ApiError> {
    for pair in patch_of(link)?.contradictions() {
        let operation = format!("PATCH /sites/{site_id}");
        let message = format!("repo: {pair} contradict each other");
        world.contracts.note(Upstream::Netlify, &operation, message);
    }
    let now = world.clock.now();
    let site = netlify.sites.get_mut(site_id).ok_or(ApiError::NOT_FOUND)?;
    site.repo = Some(merged(link, site.repo.as_ref(), now)?);
    site.updated_at = now;
    Ok(())
}

/// Refuses what cannot be laid over the site's present repository, before anything changes.
pub fn check(
    link: Option<&Value>,
    old: Option<&Repo>,
    now: OffsetDateTime,
) -> Result<(), ApiError> {
    link.map_or(Ok(()), |link| merged(link, old, now).map(drop))
}

fn merged(link: &Value, old: Option<&Repo>, now: OffsetDateTime) -> Result<Repo, ApiError> {
    let repo = patch_of(link)?.onto(old, now);
    repo.ok_or_else(|| ApiError::Fields("repo", "can't be blank".to_owned()))
}

fn patch_of(link: &Value) -> Result<RepoPatch, ApiError> {
    serde_json::from_value(link.clone()).map_err(|e| ApiError::Fields("repo", e.to_string()))
}
