//! Webhooks of a repository: `…/hooks`, where nothing keeps anybody from making the same twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use super::repositories::Paging;
use super::target::{Need, Target};
use super::{bad_field, refused, shapes};
use crate::forge::refusal::{Refusal, read};
use crate::forge::{Hook, State};
use crate::world::World;

/// What a repository's webhook can listen to.
const EVENTS: [&str; 12] = [
    "repo:push",
    "repo:updated",
    "repo:fork",
    "repo:transfer",
    "repo:commit_status_created",
    "pullrequest:created",
    "pullrequest:updated",
    "pullrequest:approved",
    "pullrequest:unapproved",
    "pullrequest:fulfilled",
    "pullrequest:rejected",
    "pullrequest:comment_created",
];

/// `GET …/hooks`.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.bitbucket.lock();
    let repository = target.check(&mut state, Need::Webhooks)?;
    let hooks = repository.hooks.iter();
    let hooks = hooks.filter(|h| world.is_listed(h.created_at));
    let shown = hooks.map(|h| shapes::hook(&world, h, repository)).collect();
    let path = format!("/repositories/{}/hooks", repository.path);
    Ok(paging.of(&world, shown, &path))
}

/// `GET …/hooks/{uid}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.bitbucket.lock();
    let hook = find(&target, &mut state)?.clone();
    let repository = target.check(&mut state, Need::Webhooks)?;
    Ok(Json(shapes::hook(&world, &hook, repository)))
}

/// A webhook as clients write it, always whole.
#[derive(Deserialize)]
struct Written {
    url: Option<String>,
    events: Option<BTreeSet<String>>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    skip_cert_verification: bool,
    secret: Option<String>,
}

/// `POST …/hooks`.
pub async fn create(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Response, Refusal> {
    let most = world.switches.read().bitbucket.most_hooks;
    let now = world.clock.now();
    let mut state = world.forges.bitbucket.lock();
    if target.check(&mut state, Need::Webhooks)?.hooks.len() >= most {
        let message = format!("A repository may have {most} webhooks at most.");
        return Err(refused(StatusCode::BAD_REQUEST, &message));
    }
    let mut hook = Hook {
        id: state.next_id(),
        uuid: Uuid::new_v4(),
        url: String::new(),
        active: false,
        events: BTreeSet::new(),
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
    state.add_hook(target.id, hook.clone());
    let repository = target.check(&mut state, Need::Webhooks)?;
    let shown = shapes::hook(&world, &hook, repository);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// `PUT …/hooks/{uid}`: the whole webhook again; a secret that is left out stays.
pub async fn update(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    {
        let now = world.clock.now();
        let mut state = world.forges.bitbucket.lock();
        let mut changed = find(&target, &mut state)?.clone();
        write(&mut changed, &body)?;
        changed.updated_at = now;
        let hook = state.hook_mut(target.id, changed.id);
        *hook.ok_or_else(missing)? = changed;
    }
    show(Shared(world), target).await
}

/// `DELETE …/hooks/{uid}`.
pub async fn remove(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    let mut state = world.forges.bitbucket.lock();
    let id = find(&target, &mut state)?.id;
    let hooks = &mut target.check(&mut state, Need::Webhooks)?.hooks;
    hooks.retain(|h| h.id != id);
    Ok(StatusCode::NO_CONTENT)
}

fn find<'s>(target: &Target, state: &'s mut State) -> Result<&'s Hook, Refusal> {
    let uid = target.word("uid").trim_matches(['{', '}']).parse().ok();
    let hooks = &target.check(state, Need::Webhooks)?.hooks;
    hooks
        .iter()
        .find(|h| Some(h.uuid) == uid)
        .ok_or_else(missing)
}

fn missing() -> Refusal {
    refused(StatusCode::NOT_FOUND, "Webhook not found")
}

fn write(hook: &mut Hook, body: &[u8]) -> Result<(), Refusal> {
    let written: Written = read(body).map_err(|why| refused(StatusCode::BAD_REQUEST, &why))?;
    let absent = |field| bad_field(field, "required key not provided");
    let url = written.url.ok_or_else(|| absent("url"))?;
    let events = written.events.ok_or_else(|| absent("events"))?;
    if !Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        return Err(bad_field("url", "Enter a valid URL."));
    }
    if let Some(unknown) = events.iter().find(|e| !EVENTS.contains(&e.as_str())) {
        return Err(bad_field(
            "events",
            &format!("{unknown} is not a valid event"),
        ));
    }
    hook.url = url;
    hook.events = events;
    hook.active = written.active;
    hook.secret = written.secret.or_else(|| hook.secret.take());
    let skip = written.skip_cert_verification.into();
    hook.settings
        .insert("description".to_owned(), written.description.into());
    hook.settings
        .insert("skip_cert_verification".to_owned(), skip);
    Ok(())
}
