//! Deploy keys of a repository: `…/keys`. One key may serve many repositories, but no person besides.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::repositories::Paging;
use super::target::Target;
use super::{not_found, refused};
use crate::clock::seconds;
use crate::forge::refusal::{Refusal, read};
use crate::forge::{DeployKey, Repository, State};
use crate::git::PublicKey;
use crate::world::World;

/// `GET …/keys`.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(paging): Query<Paging>,
) -> Result<Response, Refusal> {
    let mut state = world.forges.gitea.lock();
    let repository = target.administrated(&mut state)?;
    let keys = repository.keys.iter();
    let keys = keys.filter(|k| world.is_listed(k.created_at));
    let shown = keys.map(|k| shape(&world, k, repository));
    let path = format!("/repos/{}/keys", repository.path);
    Ok(paging.of(&world, shown.collect(), &path))
}

/// `GET …/keys/{id}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let id = target.number()?;
    let mut state = world.forges.gitea.lock();
    let repository = target.administrated(&mut state)?;
    let key = repository.keys.iter().find(|k| k.id == id);
    let key = key.ok_or_else(not_found)?;
    Ok(Json(shape(&world, key, repository)))
}

/// `DELETE …/keys/{id}`.
pub async fn remove(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    let id = target.number()?;
    let mut state = world.forges.gitea.lock();
    let keys = &mut target.administrated(&mut state)?.keys;
    let there = keys.len();
    keys.retain(|k| k.id != id);
    (keys.len() < there)
        .then_some(StatusCode::NO_CONTENT)
        .ok_or_else(not_found)
}

/// The body of `POST …/keys`.
#[derive(Deserialize)]
struct NewKey {
    title: Option<String>,
    key: Option<String>,
    #[serde(default)]
    read_only: bool,
}

/// `POST …/keys`.
pub async fn create(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Response, Refusal> {
    let now = world.clock.now();
    let mut state = world.forges.gitea.lock();
    target.administrated(&mut state)?;
    let new: NewKey = read(&body).map_err(|why| unprocessable(&why))?;
    let title = new
        .title
        .ok_or_else(|| unprocessable("[Title]: Required"))?;
    let line = new.key.ok_or_else(|| unprocessable("[Key]: Required"))?;
    let bad = "Invalid key content: unable to parse the key";
    let key: PublicKey = line.parse().map_err(|_| unprocessable(bad))?;
    check(&target, &mut state, &key, &title)?;
    let key = DeployKey {
        id: state.next_id(),
        title,
        key,
        comment: String::new(),
        can_push: !new.read_only,
        added_by: target.visitor.login().unwrap_or_default().to_owned(),
        created_at: now,
        expires_at: None,
        last_used: None,
    };
    state.add_key(target.id, key.clone());
    let shown = shape(&world, &key, target.repository(&mut state)?);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// In the words of `HandleAddKeyError` in Gitea's sources.
fn check(target: &Target, state: &mut State, key: &PublicKey, title: &str) -> Result<(), Refusal> {
    let personal = state.is_personal(key);
    let keys = &target.repository(state)?.keys;
    let problem = if keys.iter().any(|k| k.key == *key) {
        "This key has already been added to this repository"
    } else if personal {
        "Key content has been used as non-deploy key"
    } else if keys.iter().any(|k| k.title == title) {
        "A key with the same name already exists"
    } else {
        return Ok(());
    };
    Err(unprocessable(problem))
}

fn unprocessable(message: &str) -> Refusal {
    refused(StatusCode::UNPROCESSABLE_ENTITY, message)
}

/// A deploy key; its comment is gone.
fn shape(world: &World, key: &DeployKey, repository: &Repository) -> Value {
    let base = format!("{}/gitea/api/v1/repos/{}", world.origin(), repository.path);
    json!({
        "id": key.id, "key_id": key.id, "key": key.key, "url": format!("{base}/keys/{}", key.id), "title": key.title,
        "fingerprint": key.key.fingerprint(), "created_at": seconds(key.created_at), "read_only": !key.can_push,
    })
}
