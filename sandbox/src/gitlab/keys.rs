//! Deploy keys: one key with one id for the whole instance, made available to projects.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::projects::Paging;
use super::shapes::{self, Addresses};
use super::target::Target;
use super::{Switches, not_found, refused};
use crate::forge::credentials::Visitor;
use crate::forge::refusal::{Refusal, read};
use crate::forge::{Access, DeployKey, State};
use crate::git::PublicKey;
use crate::world::World;

/// `GET …/deploy_keys`.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(paging): Query<Paging>,
) -> Result<Response, Refusal> {
    let mut state = world.forges.gitlab.lock();
    let keys = &target.maintained(&mut state)?.keys;
    let keys = keys.iter().filter(|k| world.is_listed(k.created_at));
    let shown = keys.map(shapes::deploy_key).collect();
    let address = format!(
        "{}/deploy_keys",
        Addresses::of(&world).project_api(target.id)
    );
    Ok(paging.of(shown, 100, &address))
}

/// `GET …/deploy_keys/:key_id`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.gitlab.lock();
    Ok(Json(shapes::deploy_key(find(&target, &mut state)?)))
}

/// The body of `POST …/deploy_keys`.
#[derive(Deserialize)]
struct NewKey {
    title: Option<String>,
    key: Option<String>,
    #[serde(default)]
    can_push: bool,
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

/// `POST …/deploy_keys`: 201 also for a key that the project has, with nothing changed (`deploy_keys_spec.rb`).
pub async fn create(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Response, Refusal> {
    let switches = world.switches.read().gitlab.clone();
    let now = world.clock.now();
    let mut state = world.forges.gitlab.lock();
    target.maintained(&mut state)?;
    let new: NewKey = read(&body).map_err(|why| bad(&why))?;
    let (title, line) = required(&new)?;
    let key = checked(&line, &switches)?;
    let known = state.installed(&key).find(|(r, _)| r.id == target.id);
    if let Some((_, known)) = known {
        return Ok((StatusCode::CREATED, Json(shapes::deploy_key(known))).into_response());
    }
    let shared = accessible(&state, &target.visitor)
        .find(|k| k.key == key)
        .cloned();
    let in_use = state.is_personal(&key) || state.installed(&key).next().is_some();
    let added = match shared {
        Some(shared) => DeployKey {
            can_push: new.can_push,
            ..shared
        },
        None if in_use => return Err(taken(&switches)),
        None => DeployKey {
            id: state.next_id(),
            title,
            key,
            comment: line
                .split_whitespace()
                .nth(2)
                .unwrap_or_default()
                .to_owned(),
            can_push: new.can_push,
            added_by: target.visitor.login().unwrap_or_default().to_owned(),
            created_at: now,
            expires_at: new.expires_at,
            last_used: None,
        },
    };
    let shown = state.add_key(target.id, added).map(shapes::deploy_key);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// The body of `PUT …/deploy_keys/:key_id`.
#[derive(Deserialize)]
struct Change {
    title: Option<String>,
    can_push: Option<bool>,
}

/// `PUT …/deploy_keys/:key_id`.
pub async fn update(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let change: Change = read(&body).map_err(|why| bad(&why))?;
    let id = target.number("key_id")?;
    let mut state = world.forges.gitlab.lock();
    let keys = &mut target.maintained(&mut state)?.keys;
    let key = keys.iter_mut().find(|k| k.id == id);
    let key = key.ok_or_else(|| not_found("Deploy Key"))?;
    key.title = change.title.unwrap_or_else(|| key.title.clone());
    key.can_push = change.can_push.unwrap_or(key.can_push);
    Ok(Json(shapes::deploy_key(key)))
}

/// `DELETE …/deploy_keys/:key_id`; other projects keep it.
pub async fn remove(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    let mut state = world.forges.gitlab.lock();
    let id = find(&target, &mut state)?.id;
    target.maintained(&mut state)?.keys.retain(|k| k.id != id);
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/deploy_keys/:key_id/enable`: for a key of another project that the caller may see.
pub async fn enable(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Response, Refusal> {
    let id = target.number("key_id")?;
    let mut state = world.forges.gitlab.lock();
    target.maintained(&mut state)?;
    let key = accessible(&state, &target.visitor)
        .find(|k| k.id == id)
        .cloned();
    let key = key.ok_or_else(|| not_found("Deploy Key"))?;
    let here = state.installed(&key.key).any(|(r, _)| r.id == target.id);
    let shown = shapes::deploy_key(&key);
    if !here {
        state.add_key(
            target.id,
            DeployKey {
                can_push: false,
                ..key
            },
        );
    }
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// `GET /users/:user_id/project_deploy_keys`: what the caller may see of them.
pub async fn of_user(
    Shared(world): Shared<Arc<World>>,
    axum::Extension(visitor): axum::Extension<Visitor>,
    Path(user): Path<u64>,
    Query(paging): Query<Paging>,
) -> Result<Response, Refusal> {
    let state = world.forges.gitlab.lock();
    let user = state
        .person_with_id(user)
        .ok_or_else(|| not_found("User"))?;
    let own = accessible(&state, &visitor).filter(|k| k.added_by == user.login);
    let shown = own.map(shapes::deploy_key).collect();
    let address = format!(
        "{}/users/{}/project_deploy_keys",
        Addresses::of(&world).api,
        user.id
    );
    Ok(paging.of(shown, 100, &address))
}

fn find<'s>(target: &Target, state: &'s mut State) -> Result<&'s DeployKey, Refusal> {
    let id = target.number("key_id")?;
    let key = target.maintained(state)?.keys.iter().find(|k| k.id == id);
    key.ok_or_else(|| not_found("Deploy Key"))
}

/// Keys of projects to which the visitor belongs.
fn accessible<'s>(
    state: &'s State,
    visitor: &Visitor,
) -> impl Iterator<Item = &'s DeployKey> + use<'s> {
    let visitor = visitor.clone();
    let projects = state.repositories.values();
    projects
        .filter(move |r| visitor.membership(r) > Access::None)
        .flat_map(|r| &r.keys)
}

fn required(new: &NewKey) -> Result<(String, String), Refusal> {
    match (&new.title, &new.key) {
        (Some(title), Some(key)) => Ok((title.clone(), key.clone())),
        (None, Some(_)) => Err(bad("title is missing")),
        (Some(_), None) => Err(bad("key is missing")),
        (None, None) => Err(bad("key is missing, title is missing")),
    }
}

fn checked(line: &str, switches: &Switches) -> Result<PublicKey, Refusal> {
    let invalid = |problem: String| refused(StatusCode::BAD_REQUEST, json!({"key": [problem]}));
    let key: PublicKey = line.parse().map_err(|_| invalid("is invalid".to_owned()))?;
    let minimum = switches.minimum_rsa_bits;
    if key.rsa_bits().is_some_and(|bits| bits < minimum) {
        return Err(invalid(format!("must be at least {minimum} bits")));
    }
    Ok(key)
}

/// `{"error": …}`: what the parameter check says, before any rule.
fn bad(problem: &str) -> Refusal {
    Refusal::json(StatusCode::BAD_REQUEST, json!({"error": problem}))
}

fn taken(switches: &Switches) -> Refusal {
    let field = if switches.older_key_error {
        "deploy_key.fingerprint"
    } else {
        "fingerprint_sha256"
    };
    refused(
        StatusCode::BAD_REQUEST,
        json!({field: ["has already been taken"]}),
    )
}
