//! Repositories and their branches; lists by pages with the address of the next one.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::refused;
use super::shapes;
use super::target::{Need, Target};
use crate::forge::paging::Page;
use crate::forge::refusal::Refusal;
use crate::world::World;

/// The query of a list.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct Paging {
    page: usize,
    pagelen: usize,
}

impl Default for Paging {
    fn default() -> Self {
        Self {
            page: 1,
            pagelen: 10,
        }
    }
}

impl Paging {
    /// One page of at most 100 items; `path` is the list's, below the API's base.
    pub fn of(self, world: &World, items: Vec<Value>, path: &str) -> Json<Value> {
        let page = Page::cut(items, self.page, self.pagelen.clamp(1, 100));
        let base = format!("{}/bitbucket/2.0{path}", world.origin());
        let mut shown = json!({
            "values": page.items, "pagelen": page.size, "size": page.total, "page": page.number,
        });
        if let Some(next) = page.next() {
            shown["next"] = format!("{base}?pagelen={}&page={next}", page.size).into();
        }
        Json(shown)
    }
}

/// `GET /repositories/{workspace}/{repo_slug}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.bitbucket.lock();
    let repository = target.check(&mut state, Need::Contents)?.clone();
    let owner = state.person(repository.owner(), repository.created_at);
    let login = target.visitor.login().unwrap_or_default();
    Ok(Json(shapes::repository(&world, &repository, &owner, login)))
}

/// `GET …/refs/branches`.
pub async fn branches(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Refusal> {
    let repository = target
        .check(&mut world.forges.bitbucket.lock(), Need::Contents)?
        .clone();
    let store_key = repository.store_key();
    let mut shown = Vec::new();
    for (name, sha) in world.git.repository(&store_key).branches().await? {
        let commit = world.git.show(&store_key, &sha).await?;
        shown.push(shapes::branch(&world, &name, &commit, &repository));
    }
    let path = format!("/repositories/{}/refs/branches", repository.path);
    Ok(paging.of(&world, shown, &path))
}

/// `GET …/refs/branches/{name}`.
pub async fn branch(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let repository = target
        .check(&mut world.forges.bitbucket.lock(), Need::Contents)?
        .clone();
    let (store_key, name) = (repository.store_key(), target.word("branch"));
    let head = world.git.repository(&store_key).head(name).await?;
    let missing = || refused(StatusCode::NOT_FOUND, &format!("Branch {name} not found"));
    let commit = world
        .git
        .show(&store_key, &head.ok_or_else(missing)?)
        .await?;
    Ok(Json(shapes::branch(&world, name, &commit, &repository)))
}
