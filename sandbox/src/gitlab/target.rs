//! Finds the project of a call, by id, path or former path, and checks what the visitor may do with it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};

use super::{not_found, refused};
use crate::forge::credentials::Visitor;
use crate::forge::refusal::{Refusal, path_parameters};
use crate::forge::{Access, Repository, State};
use crate::world::World;

/// The project that a call is about, and the rest of its path parameters.
pub struct Target {
    pub id: u64,
    pub visitor: Visitor,
    writes: bool,
    non_maintainer_status: StatusCode,
    rest: HashMap<String, String>,
}

impl FromRequestParts<Arc<World>> for Target {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, world: &Arc<World>) -> Result<Self, Refusal> {
        let missing = || not_found("Project");
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(super::door::unauthorized)?;
        let mut rest = path_parameters(parts, world).await;
        let wanted = rest.remove("id").ok_or_else(missing)?;
        let writes = !matches!(parts.method, Method::GET | Method::HEAD);
        let switches = world.switches.read().gitlab.clone();
        let id = {
            let state = world.forges.gitlab.lock();
            let (project, current) = find(&state, &wanted).ok_or_else(missing)?;
            if visitor.access(project) == Access::None {
                return Err(missing());
            }
            if !current {
                let to = location(world, parts, project.id);
                return Err(moved(writes, &to, switches.moved_status));
            }
            project.id
        };
        let status = StatusCode::from_u16(switches.non_maintainer_status);
        Ok(Self {
            id,
            visitor,
            writes,
            non_maintainer_status: status.unwrap_or(StatusCode::NOT_FOUND),
            rest,
        })
    }
}

impl Target {
    /// A path parameter that is a number, such as `hook_id`.
    ///
    /// # Errors
    /// 404, as GitLab answers for ids that cannot exist.
    pub fn number(&self, name: &str) -> Result<u64, Refusal> {
        let value = self.rest.get(name).and_then(|v| v.parse().ok());
        value.ok_or_else(|| not_found(""))
    }

    /// A path parameter that is text.
    pub fn word(&self, name: &str) -> &str {
        self.rest.get(name).map_or("", String::as_str)
    }

    /// The project.
    ///
    /// # Errors
    /// 404 when it is gone.
    pub fn project<'s>(&self, state: &'s mut State) -> Result<&'s mut Repository, Refusal> {
        let project = state.repositories.get_mut(&self.id);
        project.ok_or_else(|| not_found("Project"))
    }

    /// The project, if the visitor is a maintainer, whom keys and webhooks want.
    ///
    /// # Errors
    /// 401 for anybody, 404 or 403 for other members, 403 for writing to an archived project.
    pub fn maintained<'s>(&self, state: &'s mut State) -> Result<&'s mut Repository, Refusal> {
        if self.visitor.token.is_none() {
            return Err(super::door::unauthorized());
        }
        let project = self.project(state)?;
        if self.visitor.membership(project) < Access::Admin {
            let status = self.non_maintainer_status;
            return Err(refused(status, format!("{status}")));
        }
        if project.archived && self.writes {
            return Err(refused(StatusCode::FORBIDDEN, "403 Forbidden"));
        }
        Ok(project)
    }
}

/// The project and whether it was named as it is named now.
fn find<'s>(state: &'s State, wanted: &str) -> Option<(&'s Repository, bool)> {
    if let Ok(id) = wanted.parse() {
        return state.repositories.get(&id).map(|project| (project, true));
    }
    state.at_path_ever(wanted)
}

/// GET is redirected to the project's id; everything else is refused, without a word of where it is.
fn moved(writes: bool, to: &str, status: u16) -> Refusal {
    if writes {
        let message = "Non GET methods are not allowed for moved projects";
        return refused(StatusCode::METHOD_NOT_ALLOWED, message);
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
    let text = format!("This resource has been moved temporarily to {to}.");
    Refusal::text(status, &text).with("location", to)
}

/// The same call with the project's id.
fn location(world: &World, parts: &Parts, id: u64) -> String {
    let original = parts.extensions.get::<OriginalUri>();
    let uri = original.map_or(&parts.uri, |original| &original.0);
    // /gitlab/api/v4/projects/{id}/…
    let rest = uri.path().splitn(7, '/').nth(6);
    let rest = rest.map_or_else(String::new, |rest| format!("/{rest}"));
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    format!(
        "{}/gitlab/api/v4/projects/{id}{rest}{query}",
        world.origin()
    )
}
