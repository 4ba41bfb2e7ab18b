//! Azure's JSON for identities, projects, repositories and lists.

use axum::Json;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use crate::clock::milliseconds;
use crate::forge::gate::ssh_url;
use crate::forge::{Person, Provider, Repository};
use crate::world::World;

const IN_PATHS: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#');

/// `{count, value}`.
pub fn list(items: Vec<Value>) -> Json<Value> {
    Json(json!({"count": items.len(), "value": items}))
}

/// A reference to a person.
pub fn identity(person: &Person) -> Value {
    json!({
        "id": person.uuid, "displayName": person.login, "uniqueName": person.email(),
        "url": format!("https://spsprodeus21.vssps.visualstudio.com/_apis/Identities/{}", person.uuid),
    })
}

/// API address of a repository.
pub fn api(world: &World, repository: &Repository) -> String {
    let organization = repository.path.split('/').next().unwrap_or_default();
    let base = format!("{}/azure/{organization}", world.origin());
    format!("{base}/_apis/git/repositories/{}", repository.uuid)
}

/// A reference to the project of a repository; private repositories are those of private projects.
pub fn project(world: &World, repository: &Repository, project: &Person) -> Value {
    let (organization, name) = repository.owner().split_once('/').unwrap_or_default();
    json!({
        "id": project.uuid, "name": name, "state": "wellFormed", "revision": 11,
        "visibility": if repository.private { "private" } else { "public" },
        "url": format!("{}/azure/{organization}/_apis/projects/{}", world.origin(), project.uuid),
        "lastUpdateTime": milliseconds(repository.created_at),
    })
}

/// A repository; without a commit it has no default branch, and its address for https carries the organisation as user.
pub fn repository(world: &World, repository: &Repository, owner: &Person) -> Value {
    let (organization, rest) = repository.path.split_once('/').unwrap_or_default();
    let (name, reponame) = rest.split_once('/').unwrap_or_default();
    let web = format!("dev.azure.com/{organization}/{name}/_git/{reponame}");
    let web = utf8_percent_encode(&web, IN_PATHS);
    let mut shape = json!({
        "id": repository.uuid, "name": repository.name(), "url": api(world, repository),
        "project": project(world, repository, owner), "size": repository.size_kib * 1024,
        "remoteUrl": format!("https://{organization}@{web}"), "webUrl": format!("https://{web}"),
        "sshUrl": ssh_url(world, Provider::AzureDevops, &repository.path), "isFork": false,
        "isDisabled": repository.archived, "isInMaintenance": false,
    });
    if !repository.is_empty() {
        shape["defaultBranch"] = format!("refs/heads/{}", repository.default_branch).into();
    }
    shape
}
