//! Finds organisation and repository of a call, by names or GUIDs, and checks what the visitor may do with it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::{door, refused};
use crate::forge::credentials::Visitor;
use crate::forge::refusal::{Refusal, path_parameters};
use crate::forge::{Access, Person, Repository, State};
use crate::world::World;

/// The organisation that a call is about, who calls, and the rest of its path parameters.
pub struct Organization {
    pub name: String,
    pub visitor: Visitor,
    rest: HashMap<String, String>,
}

impl FromRequestParts<Arc<World>> for Organization {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, world: &Arc<World>) -> Result<Self, Response> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let mut rest = path_parameters(parts, world).await;
        let wanted = rest.remove("organization").unwrap_or_default();
        let name = {
            let state = world.forges.azure.lock();
            let mut names = state.repositories.values().map(organization_of);
            names
                .find(|name| name.eq_ignore_ascii_case(&wanted))
                .map(str::to_owned)
        };
        match (name, visitor) {
            (Some(name), Some(visitor)) => Ok(Self {
                name,
                visitor,
                rest,
            }),
            _ => Err(door::no_such_page().await.into_response()),
        }
    }
}

impl Organization {
    /// A path parameter.
    pub fn word(&self, name: &str) -> &str {
        self.rest.get(name).map_or("", String::as_str)
    }

    /// Repositories of the organisation that the visitor may read.
    pub fn repositories<'s>(&self, state: &'s State) -> Vec<&'s Repository> {
        let readable = |r: &&Repository| self.visitor.access(r) > Access::None;
        let repositories = state.repositories.values();
        let own = repositories.filter(|r| organization_of(r) == self.name);
        own.filter(readable).collect()
    }

    /// The organisation's own identity; its id is what the vendor calls `instanceId`.
    pub fn identity(&self, state: &mut State, world: &World) -> Person {
        state.person(&self.name, world.clock.now())
    }

    /// Name of the project with this name or GUID.
    ///
    /// # Errors
    /// 404, or the 400 that some calls give.
    pub fn project(
        &self,
        state: &mut State,
        world: &World,
        wanted: &str,
    ) -> Result<String, Refusal> {
        let mut owners: Vec<String> = self
            .repositories(state)
            .iter()
            .map(|r| r.owner().to_owned())
            .collect();
        owners.dedup();
        let found = owners.into_iter().find(|owner| {
            let name = owner.split_once('/').map_or("", |(_, name)| name);
            name.eq_ignore_ascii_case(wanted)
                || project_identity(state, world, owner)
                    .uuid
                    .to_string()
                    .eq_ignore_ascii_case(wanted)
        });
        found.ok_or_else(|| no_project(world, wanted))
    }

    /// The repository that the path names by name or GUID, in its project if there is one in the path.
    ///
    /// # Errors
    /// 404 in Azure's words for absent and foreign ones alike.
    pub fn repository(&self, state: &mut State, world: &World) -> Result<Repository, Refusal> {
        let wanted = self.word("repository");
        let project = match self.word("project") {
            "" => None,
            project => Some(self.project(state, world, project)?),
        };
        let visible = self.repositories(state);
        let mut here = visible
            .iter()
            .filter(|r| project.as_ref().is_none_or(|p| r.owner() == p));
        let found = here.find(|r| {
            // A name is one only within a project.
            let named = project.is_some() && r.name().eq_ignore_ascii_case(wanted);
            named || r.uuid.to_string().eq_ignore_ascii_case(wanted)
        });
        found.copied().cloned().ok_or_else(|| no_repository(wanted))
    }
}

/// The identity of a project, which `organization/project` names.
pub fn project_identity(state: &mut State, world: &World, owner: &str) -> Person {
    state.person(owner, world.clock.now())
}

fn organization_of(repository: &Repository) -> &str {
    repository.path.split('/').next().unwrap_or_default()
}

fn no_project(world: &World, name: &str) -> Refusal {
    if world.switches.read().azure_devops.missing_project_as_400 {
        let message = format!(
            "VS800075: The project with id 'vstfs:///Classification/TeamProject/{name}' does not exist, or you do not have \
             permission to access it."
        );
        return refused(
            StatusCode::BAD_REQUEST,
            "ProjectDoesNotExistException",
            &message,
        );
    }
    let message = format!(
        "TF200016: The following project does not exist: {name}. Verify that the name of the project is correct and that \
         the project exists on the specified Azure DevOps Server."
    );
    refused(
        StatusCode::NOT_FOUND,
        "ProjectDoesNotExistWithNameException",
        &message,
    )
}

fn no_repository(name: &str) -> Refusal {
    let message = format!(
        "TF401019: The Git repository with name or identifier {name} does not exist or you do not have permissions for the \
         operation you are attempting."
    );
    refused(
        StatusCode::NOT_FOUND,
        "GitRepositoryNotFoundException",
        &message,
    )
}
