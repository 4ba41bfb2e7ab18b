//! Finds the repository of a call, by name, former name or id, and checks what the visitor may do with it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::{not_found, refused};
use crate::forge::credentials::Visitor;
use crate::forge::refusal::{Refusal, path_parameters};
use crate::forge::{Access, Repository, State};
use crate::world::World;

/// The repository that a call is about, and the rest of its path parameters.
pub struct Target {
    pub id: u64,
    pub visitor: Visitor,
    rest: HashMap<String, String>,
}

impl FromRequestParts<Arc<World>> for Target {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, world: &Arc<World>) -> Result<Self, Refusal> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(not_found)?;
        let mut rest = path_parameters(parts, world).await;
        let state = world.forges.gitea.lock();
        let (repository, current) = find(&state, &mut rest).ok_or_else(not_found)?;
        if visitor.access(repository) == Access::None {
            return Err(not_found());
        }
        if !current {
            return Err(moved(world, parts, &repository.path));
        }
        let id = repository.id;
        Ok(Self { id, visitor, rest })
    }
}

impl Target {
    /// The id of a key or webhook in the path.
    ///
    /// # Errors
    /// 404 for ids that cannot exist.
    pub fn number(&self) -> Result<u64, Refusal> {
        let id = self.rest.get("id").and_then(|v| v.parse().ok());
        id.ok_or_else(not_found)
    }

    /// A path parameter that is text.
    pub fn word(&self, name: &str) -> &str {
        self.rest.get(name).map_or("", String::as_str)
    }

    /// The repository.
    ///
    /// # Errors
    /// 404 when it is gone.
    pub fn repository<'s>(&self, state: &'s mut State) -> Result<&'s mut Repository, Refusal> {
        state.repositories.get_mut(&self.id).ok_or_else(not_found)
    }

    /// The repository, if the visitor administrates it, whom keys and webhooks want.
    ///
    /// # Errors
    /// 401 for anybody, 403 for others.
    pub fn administrated<'s>(&self, state: &'s mut State) -> Result<&'s mut Repository, Refusal> {
        if self.visitor.token.is_none() {
            return Err(refused(StatusCode::UNAUTHORIZED, "token is required"));
        }
        let repository = self.repository(state)?;
        if self.visitor.membership(repository) < Access::Admin {
            let message =
                "user should be an owner or a collaborator with admin write of a repository";
            return Err(refused(StatusCode::FORBIDDEN, message));
        }
        Ok(repository)
    }
}

fn find<'s>(
    state: &'s State,
    rest: &mut HashMap<String, String>,
) -> Option<(&'s Repository, bool)> {
    if let Some(id) = rest.remove("repository_id") {
        let repository = state.repositories.get(&id.parse().ok()?)?;
        return Some((repository, true));
    }
    let path = format!("{}/{}", rest.remove("owner")?, rest.remove("repo")?);
    state.at_path_ever(&path)
}

/// 307 to the same call with the present name (`RedirectToRepo` in Gitea's sources).
fn moved(world: &World, parts: &Parts, path: &str) -> Refusal {
    let original = parts.extensions.get::<OriginalUri>();
    let uri = original.map_or(&parts.uri, |original| &original.0);
    // /gitea/api/v1/repos/{owner}/{repo}/…
    let rest = uri.path().splitn(8, '/').nth(7);
    let rest = rest.map_or_else(String::new, |rest| format!("/{rest}"));
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let to = format!("{}/gitea/api/v1/repos/{path}{rest}{query}", world.origin());
    Refusal::text(StatusCode::TEMPORARY_REDIRECT, "").with("location", &to)
}
