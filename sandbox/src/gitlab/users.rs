//! Calls about the caller and the instance: `/user`, `/user/keys`, `/personal_access_tokens/self`, `/namespaces/:id`, `/version`.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::door::unauthorized;
use super::not_found;
use super::projects::Paging;
use super::shapes::{self, Addresses};
use crate::clock::milliseconds;
use crate::forge::credentials::Visitor;
use crate::forge::refusal::Refusal;
use crate::forge::{Access, TokenKind};
use crate::world::World;

/// `GET /user`.
pub async fn current(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Value>, Refusal> {
    let token = visitor.token.as_ref().ok_or_else(unauthorized)?;
    let person = world
        .forges
        .gitlab
        .lock()
        .person(&token.login, world.clock.now());
    Ok(Json(json!({
        "id": person.id, "username": person.login, "name": person.login, "state": "active", "locked": false,
        "avatar_url": null, "web_url": format!("{}/{}", Addresses::of(&world).web, person.login),
        "created_at": milliseconds(person.created_at), "bio": "", "bot": token.kind == TokenKind::Access,
        "email": person.email(), "public_email": null,
    })))
}

/// `GET /user/keys`: the SSH keys in the caller's profile.
pub async fn own_keys(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
    Query(paging): Query<Paging>,
) -> Result<Response, Refusal> {
    let token = visitor.token.as_ref().ok_or_else(unauthorized)?;
    let state = world.forges.gitlab.lock();
    let own = state.person_keys.iter().filter(|k| k.login == token.login);
    let shown = own.map(shapes::person_key).collect();
    let address = format!("{}/user/keys", Addresses::of(&world).api);
    Ok(paging.of(shown, 100, &address))
}

/// `GET /personal_access_tokens/self`: of project and group access tokens too, not of OAuth's.
pub async fn own_token(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Value>, Refusal> {
    let token = visitor.token.ok_or_else(unauthorized)?;
    if token.kind == TokenKind::Oauth {
        return Err(not_found(""));
    }
    let person = world
        .forges
        .gitlab
        .lock()
        .person(&token.login, world.clock.now());
    let expires_at = token.expires_at.map(|end| end.date().to_string());
    Ok(Json(json!({
        "id": token.id, "name": "sandbox", "revoked": false, "active": true, "description": null,
        "created_at": milliseconds(token.created_at), "scopes": token.scopes, "user_id": person.id,
        "last_used_at": milliseconds(world.clock.now()), "expires_at": expires_at, "last_used_ips": [],
    })))
}

/// `GET /namespaces/:id`, by the path of a group in which the caller has a project.
pub async fn namespace(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
    Path(path): Path<String>,
) -> Result<Json<Value>, Refusal> {
    visitor.token.as_ref().ok_or_else(unauthorized)?;
    let mut state = world.forges.gitlab.lock();
    let mut projects = state.repositories.values();
    let here = projects.any(|p| p.owner() == path && visitor.membership(p) > Access::None);
    if !here {
        return Err(not_found("Namespace"));
    }
    let owner = state.person(&path, world.clock.now());
    Ok(Json(shapes::namespace(
        &path,
        &owner,
        &Addresses::of(&world),
    )))
}

/// `GET /version`, `GET /metadata`.
pub async fn version(Extension(visitor): Extension<Visitor>) -> Result<Json<Value>, Refusal> {
    visitor.token.as_ref().ok_or_else(unauthorized)?;
    Ok(Json(json!({
        "version": "18.5.0-ee", "revision": "4b5c6d7e8f9", "enterprise": true,
    })))
}
