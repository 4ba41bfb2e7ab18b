//! Repositories and their refs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refused;
use super::shapes;
use super::target::{Organization, project_identity};
use crate::forge::refusal::{Refusal, insert};
use crate::world::World;

/// `GET /{organization}/{project}/_apis/git/repositories`.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.azure.lock();
    let owner = organization.project(&mut state, &world, organization.word("project"))?;
    let project = project_identity(&mut state, &world, &owner);
    let here = organization
        .repositories(&state)
        .into_iter()
        .filter(|r| r.owner() == owner);
    let shown = here
        .map(|r| shapes::repository(&world, r, &project))
        .collect();
    Ok(shapes::list(shown))
}

/// `GET …/_apis/git/repositories/{name or GUID}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
) -> Result<Json<Value>, Refusal> {
    check_scope(&organization)?;
    let mut state = world.forges.azure.lock();
    let repository = organization.repository(&mut state, &world)?;
    let project = project_identity(&mut state, &world, repository.owner());
    Ok(Json(shapes::repository(&world, &repository, &project)))
}

/// The query of the list of refs.
#[derive(Deserialize)]
pub struct Wanted {
    /// `heads/main` also finds `heads/main-2`.
    filter: Option<String>,
    #[serde(rename = "$top")]
    top: Option<usize>,
    #[serde(rename = "continuationToken")]
    after: Option<String>,
}

/// `GET …/refs`: by prefix, in pages whose next one is named in a header.
pub async fn refs(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    check_scope(&organization)?;
    let repository = organization.repository(&mut world.forges.azure.lock(), &world)?;
    if repository.archived {
        let message = format!(
            "TF401398: The Git repository with identifier {} is disabled.",
            repository.uuid
        );
        return Err(refused(
            StatusCode::FORBIDDEN,
            "GitRepositoryDisabledException",
            &message,
        ));
    }
    let prefix = format!("refs/{}", wanted.filter.unwrap_or_default());
    let branches = world
        .git
        .repository(&repository.store_key())
        .branches()
        .await?;
    let refs = branches
        .into_iter()
        .map(|(name, sha)| (format!("refs/heads/{name}"), sha));
    let after = wanted.after.unwrap_or_default();
    let mut rest = refs.filter(|(name, _)| name.starts_with(&prefix) && *name > after);
    let size = wanted
        .top
        .unwrap_or(world.switches.read().azure_devops.page_size);
    let shown: Vec<(String, String)> = rest.by_ref().take(size.max(1)).collect();
    let mut headers = HeaderMap::new();
    if let (Some(_), Some((last, _))) = (rest.next(), shown.last()) {
        insert(&mut headers, "x-ms-continuationtoken", last);
    }
    let creator = shapes::identity(&organization.identity(&mut world.forges.azure.lock(), &world));
    let shape = |(name, sha): (String, String)| json!({"name": name, "objectId": sha, "creator": creator, "url": format!("{}/refs", shapes::api(&world, &repository))});
    Ok((
        headers,
        shapes::list(shown.into_iter().map(shape).collect()),
    )
        .into_response())
}

/// Reading code wants one of these scopes; `app_token` is full scope.
fn check_scope(organization: &Organization) -> Result<(), Refusal> {
    let scopes = ["vso.code", "vso.code_write", "vso.code_manage", "app_token"];
    let token = organization.visitor.token.as_ref();
    if token.is_some_and(|t| t.has_any(&scopes)) {
        return Ok(());
    }
    let login = organization.visitor.login().unwrap_or_default();
    let message =
        format!("TF400813: The user '{login}' is not authorized to access this resource.");
    Err(refused(
        StatusCode::UNAUTHORIZED,
        "UnauthorizedRequestException",
        &message,
    ))
}
