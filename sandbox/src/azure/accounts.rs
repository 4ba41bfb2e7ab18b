//! Calls about the caller, the organisation and its projects.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::shapes;
use super::target::{Organization, project_identity};
use crate::clock::milliseconds;
use crate::forge::Repository;
use crate::forge::credentials::Visitor;
use crate::forge::refusal::Refusal;
use crate::world::World;

/// `GET /{organization}/_apis/connectionData`: who calls, and the organisation's GUID as `instanceId`.
pub async fn connection_data(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
) -> Json<Value> {
    let mut state = world.forges.azure.lock();
    let login = organization.visitor.login().unwrap_or_default();
    let person = state.person(login, world.clock.now());
    let account = json!({"Account": {"$type": "System.String", "$value": person.email()}});
    let user = json!({
        "id": person.uuid, "descriptor": format!("Microsoft.IdentityModel.Claims.ClaimsIdentity;{}", person.email()),
        "subjectDescriptor": format!("aad.{}", person.uuid.simple()), "providerDisplayName": person.login,
        "isActive": true, "properties": account, "resourceVersion": 2, "metaTypeId": 0,
    });
    Json(json!({
        "authenticatedUser": user, "authorizedUser": user, "deploymentType": "hosted",
        "instanceId": organization.identity(&mut state, &world).uuid, "deploymentId": uuid::Uuid::nil(),
    }))
}

/// `GET /_apis/profile/profiles/me`, which no organisation is needed for.
pub async fn profile(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
) -> Json<Value> {
    let login = visitor.login().unwrap_or_default();
    let person = world.forges.azure.lock().person(login, world.clock.now());
    Json(json!({
        "id": person.uuid, "publicAlias": person.uuid, "displayName": person.login, "emailAddress": person.email(),
        "coreRevision": 1, "revision": 1, "timeStamp": milliseconds(person.created_at),
    }))
}

/// `GET /{organization}/_apis/projects`.
pub async fn projects(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
) -> Json<Value> {
    let mut state = world.forges.azure.lock();
    let visible = organization.repositories(&state);
    let mut repositories: Vec<Repository> = visible.into_iter().cloned().collect();
    repositories.sort_by(|a, b| a.owner().cmp(b.owner()));
    repositories.dedup_by(|a, b| a.owner() == b.owner());
    let shown = repositories.iter().map(|r| {
        let project = project_identity(&mut state, &world, r.owner());
        shapes::project(&world, r, &project)
    });
    shapes::list(shown.collect())
}

/// `GET /{organization}/_apis/projects/{name or GUID}`.
pub async fn project(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.azure.lock();
    let owner = organization.project(&mut state, &world, organization.word("project"))?;
    let project = project_identity(&mut state, &world, &owner);
    let visible = organization.repositories(&state);
    let some = visible.into_iter().find(|r| r.owner() == owner);
    Ok(Json(some.map_or(Value::Null, |r| {
        shapes::project(&world, r, &project)
    })))
}
