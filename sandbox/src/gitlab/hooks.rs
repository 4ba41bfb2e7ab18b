//! Webhooks of a project: `…/hooks`, where nothing keeps anybody from making the same twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use super::projects::Paging;
use super::shapes::{self, Addresses};
use super::target::Target;
use super::{not_found, refused};
use crate::forge::refusal::{Refusal, read};
use crate::forge::{Hook, Push, State};
use crate::world::World;

/// Every event that a webhook can listen to.
pub const EVENTS: [&str; 17] = [
    "push_events",
    "tag_push_events",
    "merge_requests_events",
    "repository_update_events",
    "issues_events",
    "confidential_issues_events",
    "note_events",
    "confidential_note_events",
    "pipeline_events",
    "wiki_page_events",
    "deployment_events",
    "feature_flag_events",
    "job_events",
    "releases_events",
    "milestone_events",
    "emoji_events",
    "resource_access_token_events",
];

/// `GET …/hooks`.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(paging): Query<Paging>,
) -> Result<Response, Refusal> {
    let now = world.clock.now();
    let mut state = world.forges.gitlab.lock();
    let project = target.maintained(&mut state)?;
    let shown = project
        .hooks
        .iter()
        .filter(|h| world.is_listed(h.created_at))
        .map(|h| shapes::hook(h, project.id, now));
    let address = format!("{}/hooks", Addresses::of(&world).project_api(target.id));
    Ok(paging.of(shown.collect(), 100, &address))
}

/// `GET …/hooks/:hook_id`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let now = world.clock.now();
    let mut state = world.forges.gitlab.lock();
    let hook = find(&target, &mut state)?;
    Ok(Json(shapes::hook(hook, target.id, now)))
}

/// `POST …/hooks`.
pub async fn create(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Response, Refusal> {
    let most = world.switches.read().gitlab.most_hooks;
    let now = world.clock.now();
    let mut state = world.forges.gitlab.lock();
    if target.maintained(&mut state)?.hooks.len() >= most {
        let message = format!("Maximum number of project hooks ({most}) exceeded");
        return Err(refused(StatusCode::UNPROCESSABLE_ENTITY, message));
    }
    let mut hook = Hook {
        id: state.next_id(),
        uuid: Uuid::new_v4(),
        url: String::new(),
        active: true,
        events: BTreeSet::from(["push_events".to_owned()]),
        secret: None,
        settings: Map::new(),
        added_by: target.visitor.login().unwrap_or_default().to_owned(),
        created_at: now,
        updated_at: now,
        failures: 0,
        suspended_until: None,
        deliveries: Vec::new(),
    };
    write(&mut hook, &body)?;
    let hook = state.add_hook(target.id, hook);
    let shown = hook.map(|hook| shapes::hook(hook, target.id, now));
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// `PUT …/hooks/:hook_id`: the address is wanted again, what is left out stays.
pub async fn update(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let now = world.clock.now();
    let mut state = world.forges.gitlab.lock();
    let mut changed = find(&target, &mut state)?.clone();
    write(&mut changed, &body)?;
    changed.updated_at = now;
    let hook = state.hook_mut(target.id, changed.id);
    let hook = hook.ok_or_else(|| not_found(""))?;
    *hook = changed;
    Ok(Json(shapes::hook(hook, target.id, now)))
}

/// `DELETE …/hooks/:hook_id`.
pub async fn remove(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    let mut state = world.forges.gitlab.lock();
    let id = find(&target, &mut state)?.id;
    target.maintained(&mut state)?.hooks.retain(|h| h.id != id);
    Ok(StatusCode::NO_CONTENT)
}

/// The webhook of this call.
pub fn find<'s>(target: &Target, state: &'s mut State) -> Result<&'s Hook, Refusal> {
    let id = target.number("hook_id")?;
    let hook = target.maintained(state)?.hooks.iter().find(|h| h.id == id);
    hook.ok_or_else(|| not_found(""))
}

/// Whether a push's branch passes the filter that a person may have set.
pub fn passes_filter(hook: &Hook, push: &Push) -> bool {
    let text = |name: &str| hook.settings.get(name).and_then(Value::as_str);
    let filter = text("push_events_branch_filter").unwrap_or_default();
    match text("branch_filter_strategy") {
        Some("all_branches") => true,
        Some("regex") => {
            let regex = regex::Regex::new(filter);
            let on = |branch| regex.is_ok_and(|regex| regex.is_match(branch));
            push.branch().is_none_or(on)
        }
        _ => filter.is_empty() || push.is_on(filter),
    }
}

/// Lays a body over a webhook.
fn write(hook: &mut Hook, body: &[u8]) -> Result<(), Refusal> {
    let bad = |why: &str| Refusal::json(StatusCode::BAD_REQUEST, json!({"error": why}));
    let mut fields: Map<String, Value> = read(body).map_err(|why| bad(&why))?;
    let url = match fields.remove("url") {
        Some(Value::String(url)) => url,
        Some(_) => return Err(bad("url is invalid")),
        None => return Err(bad("url is missing")),
    };
    if !Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        let message = "Invalid url given";
        return Err(refused(StatusCode::UNPROCESSABLE_ENTITY, message));
    }
    hook.url = url;
    if let Some(Value::String(token)) = fields.remove("token") {
        hook.secret = Some(token);
    }
    for event in EVENTS {
        match fields.remove(event) {
            Some(Value::Bool(true)) => drop(hook.events.insert(event.to_owned())),
            Some(Value::Bool(false)) => drop(hook.events.remove(event)),
            Some(_) => return Err(bad(&format!("{event} is invalid"))),
            None => {}
        }
    }
    hook.settings.extend(fields);
    Ok(())
}
