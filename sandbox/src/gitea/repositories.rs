//! Repositories, their branches, and calls about the caller and the instance.

use std::sync::Arc;

use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::target::Target;
use super::{not_found, refused};
use crate::clock::seconds;
use crate::forge::credentials::Visitor;
use crate::forge::gate::ssh_url;
use crate::forge::paging::Page;
use crate::forge::refusal::{Refusal, insert};
use crate::forge::{Access, Person, Provider, Repository};
use crate::git::CommitInfo;
use crate::world::World;

/// Where the instance's pages are said to be.
pub const WEB: &str = "https://gitea.example";

/// The query of a list.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct Paging {
    page: usize,
    limit: usize,
}

impl Default for Paging {
    fn default() -> Self {
        Self { page: 1, limit: 30 }
    }
}

impl Paging {
    /// One page of at most 50 items; `path` is the list's, below the API's base.
    pub fn of(self, world: &World, items: Vec<Value>, path: &str) -> Response {
        let page = Page::cut(items, self.page, self.limit.clamp(1, 50));
        let base = format!("{}/gitea/api/v1{path}", world.origin());
        let links = page.links(|n| format!("{base}?page={n}&limit={}", page.size));
        let mut headers = HeaderMap::new();
        insert(&mut headers, "link", &links);
        headers.insert("x-total-count", page.total.into());
        (headers, Json(page.items)).into_response()
    }
}

/// `GET /repos/{owner}/{repo}`, `GET /repositories/{id}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.gitea.lock();
    let repository = target.repository(&mut state)?.clone();
    let owner = state.person(repository.owner(), repository.created_at);
    let access = target.visitor.access(&repository);
    let mut shown = shape(&world, &repository, &owner);
    shown["permissions"] = json!({
        "admin": access == Access::Admin, "push": access >= Access::Push, "pull": access >= Access::Read,
    });
    Ok(Json(shown))
}

/// A repository, without the visitor's rights.
pub fn shape(world: &World, repository: &Repository, owner: &Person) -> Value {
    let web = format!("{WEB}/{}", repository.path);
    json!({
        "id": repository.id, "owner": user(owner), "name": repository.name(), "full_name": repository.path,
        "description": repository.description, "empty": repository.is_empty(), "private": repository.private,
        "fork": false, "template": false, "mirror": false, "size": repository.size_kib, "archived": repository.archived,
        "internal": false, "html_url": web, "clone_url": format!("{web}.git"),
        "url": format!("{}/gitea/api/v1/repos/{}", world.origin(), repository.path),
        "ssh_url": ssh_url(world, Provider::Gitea, &repository.path), "default_branch": repository.default_branch,
        "created_at": seconds(repository.created_at), "updated_at": seconds(repository.updated_at),
    })
}

/// A user or organisation.
pub fn user(person: &Person) -> Value {
    json!({
        "id": person.id, "login": person.login, "username": person.login, "full_name": "", "email": person.email(),
        "avatar_url": "", "html_url": format!("{WEB}/{}", person.login), "created": seconds(person.created_at),
    })
}

/// `GET …/branches`.
pub async fn branches(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(paging): Query<Paging>,
) -> Result<Response, Refusal> {
    let repository = target.repository(&mut world.forges.gitea.lock())?.clone();
    let store_key = repository.store_key();
    let mut shown = Vec::new();
    for (name, sha) in world.git.repository(&store_key).branches().await? {
        shown.push(branch_shape(
            &name,
            &world.git.show(&store_key, &sha).await?,
        ));
    }
    Ok(paging.of(
        &world,
        shown,
        &format!("/repos/{}/branches", repository.path),
    ))
}

/// `GET …/branches/{branch}`.
pub async fn branch(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let store_key = target
        .repository(&mut world.forges.gitea.lock())?
        .store_key();
    let name = target.word("branch");
    let head = world.git.repository(&store_key).head(name).await?;
    let head = head.ok_or_else(not_found)?;
    let commit = world.git.show(&store_key, &head).await?;
    Ok(Json(branch_shape(name, &commit)))
}

/// `GET /user`.
pub async fn current_user(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Value>, Refusal> {
    let login = visitor.login();
    let login = login.ok_or_else(|| refused(StatusCode::UNAUTHORIZED, "token is required"))?;
    let person = world.forges.gitea.lock().person(login, world.clock.now());
    Ok(Json(user(&person)))
}

/// `GET /version`.
pub async fn version() -> Json<Value> {
    Json(json!({"version": "1.24.6"}))
}

fn branch_shape(name: &str, commit: &CommitInfo) -> Value {
    json!({
        "name": name, "protected": false, "user_can_push": true, "user_can_merge": true,
        "commit": {"id": commit.sha, "message": commit.message, "timestamp": commit.committed_at,
            "author": {"name": commit.author.name, "email": commit.author.email, "username": ""}},
    })
}
