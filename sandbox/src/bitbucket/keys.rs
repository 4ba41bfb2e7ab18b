//! Access keys, which the API calls `deploy-keys`: read-only, one key for as many repositories as one likes, never an account's.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::repositories::Paging;
use super::target::{Need, Target};
use super::{bad_field, refused, shapes};
use crate::forge::refusal::{Refusal, read};
use crate::forge::{DeployKey, State};
use crate::git::PublicKey;
use crate::world::World;

/// The shortest RSA key that is taken.
const LEAST_RSA_BITS: usize = 2048;

/// `GET …/deploy-keys`.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.bitbucket.lock();
    let repository = target.check(&mut state, Need::Keys)?;
    let keys = repository.keys.iter();
    let keys = keys.filter(|k| world.is_listed(k.created_at));
    let shown = keys.map(|k| shapes::key(&world, k, repository)).collect();
    let path = format!("/repositories/{}/deploy-keys", repository.path);
    Ok(paging.of(&world, shown, &path))
}

/// `GET …/deploy-keys/{key_id}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.bitbucket.lock();
    let key = find(&target, &mut state)?.clone();
    let repository = target.check(&mut state, Need::Keys)?;
    Ok(Json(shapes::key(&world, &key, repository)))
}

/// A key as clients write it.
#[derive(Deserialize)]
struct Written {
    key: Option<String>,
    #[serde(default)]
    label: String,
}

/// `POST …/deploy-keys`: 200, not 201.
pub async fn create(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let now = world.clock.now();
    let mut state = world.forges.bitbucket.lock();
    target.check(&mut state, Need::Keys)?;
    let new: Written = read(&body).map_err(|why| bad_field("key", &why))?;
    let line = new
        .key
        .ok_or_else(|| bad_field("key", "required key not provided"))?;
    let key: PublicKey = line.parse().map_err(|_| bad_key("Invalid SSH key."))?;
    check(&target, &mut state, &key)?;
    let key = DeployKey {
        id: state.next_id(),
        title: new.label,
        key,
        comment: line
            .split_whitespace()
            .skip(2)
            .collect::<Vec<_>>()
            .join(" "),
        can_push: false,
        added_by: target.visitor.login().unwrap_or_default().to_owned(),
        created_at: now,
        expires_at: None,
        last_used: None,
    };
    state.add_key(target.id, key.clone());
    let repository = target.check(&mut state, Need::Keys)?;
    Ok(Json(shapes::key(&world, &key, repository)))
}

/// `PUT …/deploy-keys/{key_id}`: the same key with another label.
pub async fn update(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let new: Written = read(&body).map_err(|why| bad_field("key", &why))?;
    {
        let mut state = world.forges.bitbucket.lock();
        let old = find(&target, &mut state)?.clone();
        if new.key.is_some_and(|line| line.parse() != Ok(old.key)) {
            return Err(bad_key("Access keys cannot be changed."));
        }
        let keys = &mut target.check(&mut state, Need::Keys)?.keys;
        let key = keys.iter_mut().find(|k| k.id == old.id);
        key.ok_or_else(missing)?.title = new.label;
    }
    show(Shared(world), target).await
}

/// `DELETE …/deploy-keys/{key_id}`.
pub async fn remove(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    let mut state = world.forges.bitbucket.lock();
    let id = find(&target, &mut state)?.id;
    let keys = &mut target.check(&mut state, Need::Keys)?.keys;
    keys.retain(|k| k.id != id);
    Ok(StatusCode::NO_CONTENT)
}

fn find<'s>(target: &Target, state: &'s mut State) -> Result<&'s DeployKey, Refusal> {
    let id: Option<u64> = target.word("key_id").parse().ok();
    let keys = &target.check(state, Need::Keys)?.keys;
    keys.iter().find(|k| Some(k.id) == id).ok_or_else(missing)
}

fn check(target: &Target, state: &mut State, key: &PublicKey) -> Result<(), Refusal> {
    if key.rsa_bits().is_some_and(|bits| bits < LEAST_RSA_BITS) {
        return Err(bad_key("RSA keys need 2048 bits at least."));
    }
    if state.is_personal(key) {
        return Err(bad_key("Someone has already registered that SSH key."));
    }
    if state.installed(key).any(|(r, _)| r.id == target.id) {
        let problem = "Someone has already added that access key to this repository.";
        return Err(bad_key(problem));
    }
    Ok(())
}

fn missing() -> Refusal {
    refused(StatusCode::NOT_FOUND, "Access key not found")
}

/// Not the shape of all other errors (recorded).
fn bad_key(problem: &str) -> Refusal {
    Refusal::json(
        StatusCode::BAD_REQUEST,
        json!({"key": [{"message": problem}]}),
    )
}
