//! Calls about the caller: `/user`, his rights on repositories, and workspaces.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::unsupported;
use super::repositories::Paging;
use super::{refused, shapes};
use crate::forge::credentials::Visitor;
use crate::forge::refusal::Refusal;
use crate::forge::{Access, Person, TokenKind};
use crate::world::World;

/// `GET /user`.
pub async fn current(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Value>, Refusal> {
    let person = person(&world, &visitor, &["read:user:bitbucket", "account"])?;
    Ok(Json(shapes::user(&person)))
}

/// A query such as `repository.full_name="acme/docs"`.
#[derive(Deserialize)]
pub struct Filter {
    q: Option<String>,
}

/// `GET /user/permissions/repositories`: one row per repository on which the caller has a right.
pub async fn permissions(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Refusal> {
    let person = person(
        &world,
        &visitor,
        &["read:repository:bitbucket", "repository"],
    )?;
    let wanted = filter.q.as_deref().and_then(full_name);
    let state = world.forges.bitbucket.lock();
    let mut shown = Vec::new();
    for repository in state.repositories.values() {
        let right = match visitor.membership(repository) {
            Access::None => continue,
            Access::Read => "read",
            Access::Push => "write",
            Access::Admin => "admin",
        };
        if wanted.is_some_and(|w| !w.eq_ignore_ascii_case(&repository.path)) {
            continue;
        }
        shown.push(json!({
            "type": "repository_permission", "permission": right, "user": shapes::user(&person),
            "repository": {"type": "repository", "full_name": repository.path, "name": repository.name(),
                "uuid": shapes::braced(repository.uuid)},
        }));
    }
    Ok(paging.of(&world, shown, "/user/permissions/repositories"))
}

/// `GET /workspaces/{workspace}`.
pub async fn workspace(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
    Path(slug): Path<String>,
) -> Result<Json<Value>, Refusal> {
    visitor.token.as_ref().ok_or_else(unsupported)?;
    let mut state = world.forges.bitbucket.lock();
    let mut repositories = state.repositories.values();
    if !repositories.any(|r| r.owner().eq_ignore_ascii_case(&slug)) {
        let message = format!("No workspace with identifier '{slug}'.");
        return Err(refused(StatusCode::NOT_FOUND, &message));
    }
    let owner = state.person(&slug, world.clock.now());
    Ok(Json(shapes::workspace(&owner)))
}

/// The person behind a token of his own with one of these scopes.
fn person(world: &World, visitor: &Visitor, scopes: &[&str]) -> Result<Person, Refusal> {
    let token = visitor.token.as_ref().ok_or_else(unsupported)?;
    let bots_too = world.switches.read().bitbucket.access_tokens_have_a_user;
    if token.kind == TokenKind::Access && !bots_too {
        return Err(unsupported());
    }
    if token.kind != TokenKind::Access && !token.has_any(scopes) {
        let message = "Your credentials lack one or more required privilege scopes.";
        let detail = json!({"granted": token.scopes, "required": scopes[..1]});
        let body = json!({"type": "error", "error": {"message": message, "detail": detail}});
        return Err(Refusal::json(StatusCode::FORBIDDEN, body));
    }
    Ok(world
        .forges
        .bitbucket
        .lock()
        .person(&token.login, world.clock.now()))
}

fn full_name(query: &str) -> Option<&str> {
    let rest = query.trim().strip_prefix("repository.full_name")?;
    let rest = rest.trim_start().strip_prefix('=')?;
    Some(rest.trim().trim_matches('"'))
}
