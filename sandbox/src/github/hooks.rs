//! Webhooks of a repository: `…/hooks`, with GitHub's rules about doubles.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::answer::{self, Refusal, custom};
use super::hook_rules::{self, Change};
use super::paging::Page;
use super::shapes;
use super::state::{Hook, HookConfig, Repository};
use super::target::{Need, Target};
use super::webhooks;
use crate::world::World;

/// `GET …/hooks`.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(page): Query<Page>,
) -> Result<Response, Refusal> {
    let at = super::addresses(&world);
    let mut state = world.github.lock();
    let repository = target.check(&mut state, Need::Webhooks)?;
    let hooks = repository
        .hooks
        .iter()
        .map(|hook| shapes::hook(hook, repository, &at))
        .collect();
    Ok(page.of(
        hooks,
        &format!("{}/repositories/{}/hooks", at.api, target.id),
    ))
}

/// `POST …/hooks`; GitHub pings the new hook.
pub async fn create(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Response, Refusal> {
    let members = answer::members(&body)?;
    let now = world.clock.now();
    let at = super::addresses(&world);
    let (id, shape) = {
        let mut state = world.github.lock();
        let id = state.next_id();
        let repository = target.check(&mut state, Need::Webhooks)?;
        let change = Change::parse(&members, now)?;
        let hook = change.into_new(id)?;
        hook_rules::check(&hook, &repository.hooks)?;
        repository.hooks.push(hook.clone());
        let shape = shapes::hook(&hook, repository, &at);
        state.created.webhooks += 1;
        (id, shape)
    };
    webhooks::ping(&world, target.id, id);
    let location = shape["url"].as_str().unwrap_or_default().to_owned();
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(shape),
    )
        .into_response())
}

/// `GET …/hooks/{hook_id}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let at = super::addresses(&world);
    let mut state = world.github.lock();
    let (repository, hook) = find(&target, &mut state)?;
    Ok(Json(shapes::hook(hook, repository, &at)))
}

/// `PATCH …/hooks/{hook_id}`: `config` replaces the whole config.
pub async fn update(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let members = answer::members(&body)?;
    let now = world.clock.now();
    change(&world, &target, |hook| {
        Change::parse(&members, now)?.apply(hook)
    })?;
    show(Shared(world), target).await
}

/// `GET …/hooks/{hook_id}/config`.
pub async fn show_config(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.github.lock();
    let (_, hook) = find(&target, &mut state)?;
    Ok(Json(shapes::hook_config(&hook.config)))
}

/// `PATCH …/hooks/{hook_id}/config`: only the members that are sent change.
pub async fn update_config(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let members: Map<String, Value> = answer::members(&body)?;
    let now = world.clock.now();
    change(&world, &target, |hook| {
        hook.config = HookConfig::parse(&members, Some(&hook.config))?;
        hook.updated_at = now;
        Ok(())
    })?;
    show_config(Shared(world), target).await
}

/// `DELETE …/hooks/{hook_id}`.
pub async fn remove(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    let id = target.number("hook_id")?;
    let mut state = world.github.lock();
    let hooks = &mut target.check(&mut state, Need::Webhooks)?.hooks;
    let index = hooks
        .iter()
        .position(|h| h.id == id)
        .ok_or_else(Refusal::not_found)?;
    hooks.remove(index);
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/hooks/{hook_id}/pings`.
pub async fn ping(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    let id = find(&target, &mut world.github.lock())?.1.id;
    webhooks::ping(&world, target.id, id);
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/hooks/{hook_id}/tests`: sends the latest push again; silence when the hook does not listen to pushes or is off.
pub async fn test(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    let reaches_all = world.switches.read().github.tests_reach_inactive_webhooks;
    let (id, last_push) = {
        let mut state = world.github.lock();
        let (repository, hook) = find(&target, &mut state)?;
        let last_push = repository.last_push.clone();
        (
            hook.id,
            last_push.filter(|_| hook.listens_to("push") && (hook.active || reaches_all)),
        )
    };
    if let Some(update) = last_push {
        let again = webhooks::replay(&world, target.id, id, &update).await;
        again.map_err(|error| Refusal::internal(&error))?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The hook of this call.
pub fn find<'s>(
    target: &Target,
    state: &'s mut super::State,
) -> Result<(&'s Repository, &'s Hook), Refusal> {
    let id = target.number("hook_id")?;
    let repository: &Repository = target.check(state, Need::Webhooks)?;
    let hook = repository
        .hooks
        .iter()
        .find(|h| h.id == id)
        .ok_or_else(Refusal::not_found)?;
    Ok((repository, hook))
}

/// Changes a hook if the result still keeps GitHub's rules.
fn change(
    world: &World,
    target: &Target,
    edit: impl FnOnce(&mut Hook) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let id = target.number("hook_id")?;
    let mut state = world.github.lock();
    let hooks = &mut target.check(&mut state, Need::Webhooks)?.hooks;
    let index = hooks
        .iter()
        .position(|h| h.id == id)
        .ok_or_else(Refusal::not_found)?;
    let mut changed = hooks[index].clone();
    edit(&mut changed)?;
    hook_rules::check(&changed, hooks)?;
    hooks[index] = changed;
    Ok(())
}

/// The refusal of a hook.
pub fn refused(field: Option<&str>, message: &str) -> Refusal {
    Refusal::invalid(vec![custom("Hook", field, message)])
}
