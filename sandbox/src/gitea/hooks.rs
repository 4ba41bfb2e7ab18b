//! Webhooks of a repository: `…/hooks`, without any rule about doubles.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::payloads;
use super::repositories::Paging;
use super::target::Target;
use super::{not_found, refused};
use crate::clock::seconds;
use crate::forge::refusal::{Refusal, read};
use crate::forge::{Hook, Provider, State, pushes, send};
use crate::world::World;

/// `GET …/hooks`.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(paging): Query<Paging>,
) -> Result<Response, Refusal> {
    let mut state = world.forges.gitea.lock();
    let repository = target.administrated(&mut state)?;
    let hooks = repository.hooks.iter();
    let hooks = hooks.filter(|h| world.is_listed(h.created_at));
    let shown = hooks.map(shape).collect();
    let path = format!("/repos/{}/hooks", repository.path);
    Ok(paging.of(&world, shown, &path))
}

/// `GET …/hooks/{id}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.gitea.lock();
    Ok(Json(shape(find(&target, &mut state)?)))
}

/// What may be written of a webhook.
#[derive(Default, Deserialize)]
struct Change {
    #[serde(rename = "type")]
    kind: Option<String>,
    config: Option<Map<String, Value>>,
    events: Option<BTreeSet<String>>,
    /// False when it is absent on creation.
    active: Option<bool>,
    branch_filter: Option<String>,
}

/// `POST …/hooks`.
pub async fn create(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Response, Refusal> {
    let now = world.clock.now();
    let mut state = world.forges.gitea.lock();
    target.administrated(&mut state)?;
    let change: Change = read(&body).map_err(|why| unprocessable(&why))?;
    match change.kind.as_deref() {
        Some("gitea" | "gogs" | "forgejo") => {}
        Some(_) => return Err(unprocessable("Invalid hook type: only gitea is here")),
        None => return Err(unprocessable("[Type]: Required")),
    }
    let mut hook = Hook {
        id: state.next_id(),
        uuid: Uuid::new_v4(),
        url: String::new(),
        active: false,
        events: BTreeSet::from(["push".to_owned()]),
        secret: None,
        settings: Map::new(),
        added_by: target.visitor.login().unwrap_or_default().to_owned(),
        created_at: now,
        updated_at: now,
        failures: 0,
        suspended_until: None,
        deliveries: Vec::new(),
    };
    change.apply(&mut hook)?;
    let complete = !hook.url.is_empty() && hook.settings.contains_key("content_type");
    if !complete {
        return Err(unprocessable("Missing config option: url or content_type"));
    }
    let shown = state.add_hook(target.id, hook).map(shape);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// `PATCH …/hooks/{id}`.
pub async fn update(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let change: Change = read(&body).map_err(|why| unprocessable(&why))?;
    let now = world.clock.now();
    let mut state = world.forges.gitea.lock();
    let id = find(&target, &mut state)?.id;
    let hook = state.hook_mut(target.id, id).ok_or_else(not_found)?;
    change.apply(hook)?;
    hook.updated_at = now;
    Ok(Json(shape(hook)))
}

/// `DELETE …/hooks/{id}`.
pub async fn remove(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    let mut state = world.forges.gitea.lock();
    let id = find(&target, &mut state)?.id;
    target
        .administrated(&mut state)?
        .hooks
        .retain(|h| h.id != id);
    Ok(StatusCode::NO_CONTENT)
}

/// The query of a test.
#[derive(Deserialize)]
pub struct Tested {
    /// The default branch when absent.
    #[serde(rename = "ref")]
    reference: Option<String>,
}

/// `POST …/hooks/{id}/tests`: a push event of a branch's last commit, whatever the webhook listens to; silence while there is
/// none.
pub async fn test(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(tested): Query<Tested>,
) -> Result<StatusCode, Refusal> {
    let (hook, repository) = {
        let mut state = world.forges.gitea.lock();
        let hook = find(&target, &mut state)?.clone();
        (hook, target.repository(&mut state)?.clone())
    };
    let named = tested.reference.is_some();
    let branch = tested
        .reference
        .unwrap_or_else(|| repository.default_branch.clone());
    let branch = branch.strip_prefix("refs/heads/").unwrap_or(&branch);
    match pushes::sample(&world, repository, branch).await? {
        Some(push) => {
            let message = payloads::push(&world, &hook, &push);
            send(&world, Provider::Gitea, (target.id, hook.id), message);
        }
        None if named => return Err(not_found()),
        None => {}
    }
    Ok(StatusCode::NO_CONTENT)
}

impl Change {
    fn apply(self, hook: &mut Hook) -> Result<(), Refusal> {
        for (name, value) in self.config.unwrap_or_default() {
            let Value::String(value) = value else {
                return Err(unprocessable("config has texts only"));
            };
            match name.as_str() {
                "url" => hook.url = value,
                "secret" => hook.secret = Some(value),
                "content_type" if !matches!(value.as_str(), "json" | "form") => {
                    return Err(unprocessable("Invalid content type"));
                }
                _ => drop(hook.settings.insert(name, value.into())),
            }
        }
        if let Some(filter) = self.branch_filter {
            hook.settings
                .insert("branch_filter".to_owned(), filter.into());
        }
        hook.events = self
            .events
            .unwrap_or_else(|| std::mem::take(&mut hook.events));
        hook.active = self.active.unwrap_or(hook.active);
        Ok(())
    }
}

fn find<'s>(target: &Target, state: &'s mut State) -> Result<&'s Hook, Refusal> {
    let id = target.number()?;
    let hooks = &target.administrated(state)?.hooks;
    hooks.iter().find(|h| h.id == id).ok_or_else(not_found)
}

fn unprocessable(message: &str) -> Refusal {
    refused(StatusCode::UNPROCESSABLE_ENTITY, message)
}

/// A webhook; its secret is never shown.
fn shape(hook: &Hook) -> Value {
    let setting = |name: &str| hook.settings.get(name).cloned();
    json!({
        "id": hook.id, "type": "gitea", "active": hook.active, "events": hook.events,
        "config": {"url": hook.url, "content_type": setting("content_type")},
        "branch_filter": setting("branch_filter").unwrap_or_else(|| "".into()), "authorization_header": "",
        "created_at": seconds(hook.created_at), "updated_at": seconds(hook.updated_at),
    })
}
