//! `GET /projects/:id` and what lies in the repository: branches.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::shapes::{self, Addresses};
use super::target::Target;
use super::{not_found, refused};
use crate::forge::paging::Page;
use crate::forge::refusal::{Refusal, insert};
use crate::git::CommitInfo;
use crate::world::World;

/// The query of a list.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct Paging {
    page: usize,
    per_page: usize,
}

impl Default for Paging {
    fn default() -> Self {
        Self {
            page: 1,
            per_page: 20,
        }
    }
}

impl Paging {
    /// One page of at most `most` items, with GitLab's headers; `address` is the list's.
    pub fn of(self, items: Vec<Value>, most: usize, address: &str) -> Response {
        let page = Page::cut(items, self.page, self.per_page.clamp(1, most));
        let links = page.links(|n| format!("{address}?page={n}&per_page={}", page.size));
        let mut headers = HeaderMap::new();
        insert(&mut headers, "link", &links);
        let next = page.next().map_or_else(String::new, |n| n.to_string());
        insert(&mut headers, "x-next-page", &next);
        headers.insert("x-page", page.number.into());
        headers.insert("x-per-page", page.size.into());
        headers.insert("x-total", page.total.into());
        headers.insert("x-total-pages", page.last().into());
        (headers, Json(page.items)).into_response()
    }
}

/// `GET /projects/:id`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let at = Addresses::of(&world);
    let mut state = world.forges.gitlab.lock();
    let project = target.project(&mut state)?.clone();
    let owner = state.person(project.owner(), project.created_at);
    Ok(Json(shapes::project(
        &project,
        &owner,
        &target.visitor,
        &at,
    )))
}

/// `GET …/repository/branches`.
pub async fn branches(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(paging): Query<Paging>,
) -> Result<Response, Refusal> {
    let project = target.project(&mut world.forges.gitlab.lock())?.clone();
    let store_key = project.store_key();
    let at = Addresses::of(&world);
    let mut shown = Vec::new();
    for (name, sha) in world.git.repository(&store_key).branches().await? {
        let commit = world.git.show(&store_key, &sha).await?;
        shown.push(shapes::branch(&name, &commit, &project, &at));
    }
    let address = format!("{}/repository/branches", at.project_api(target.id));
    Ok(paging.of(shown, 100, &address))
}

/// `GET …/repository/branches/:branch`.
pub async fn branch(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let (project, commit) = head_of(&world, &target).await?;
    let at = Addresses::of(&world);
    let shape = shapes::branch(target.word("branch"), &commit, &project, &at);
    Ok(Json(shape))
}

/// `HEAD …/repository/branches/:branch`.
pub async fn has_branch(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    head_of(&world, &target).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn head_of(
    world: &World,
    target: &Target,
) -> Result<(crate::forge::Repository, CommitInfo), Refusal> {
    let project = target.project(&mut world.forges.gitlab.lock())?.clone();
    let name = target.word("branch");
    if name.is_empty() {
        return Err(refused(StatusCode::BAD_REQUEST, "branch is empty"));
    }
    let store_key = project.store_key();
    let head = world.git.repository(&store_key).head(name).await?;
    let head = head.ok_or_else(|| not_found("Branch"))?;
    let commit = world.git.show(&store_key, &head).await?;
    Ok((project, commit))
}
