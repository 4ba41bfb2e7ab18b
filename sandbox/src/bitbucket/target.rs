//! Finds the repository of a call, by `workspace/slug` or `{uuid}`, and checks what the visitor may do with it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use serde_json::json;

use super::door::unsupported;
use super::{Switches, refused};
use crate::forge::credentials::Visitor;
use crate::forge::refusal::{Refusal, path_parameters};
use crate::forge::{Access, Repository, State};
use crate::world::World;

/// The repository that a call is about, and the rest of its path parameters.
pub struct Target {
    pub id: u64,
    pub visitor: Visitor,
    method: Method,
    rest: HashMap<String, String>,
}

/// A part of a repository with scopes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The repository and its branches.
    Contents,
    Keys,
    Webhooks,
}

impl FromRequestParts<Arc<World>> for Target {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, world: &Arc<World>) -> Result<Self, Refusal> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(unsupported)?;
        let rest = path_parameters(parts, world).await;
        let switches = world.switches.read().bitbucket.clone();
        let part = |name: &str| rest.get(name).map_or("", String::as_str);
        let path = format!("{}/{}", part("workspace"), part("repo_slug"));
        let missing = || {
            refused(
                StatusCode::NOT_FOUND,
                &format!("Repository {path} not found"),
            )
        };
        let id = {
            let mut state = world.forges.bitbucket.lock();
            let (repository, current) = find(&mut state, &path, &switches).ok_or_else(missing)?;
            if visitor.access(&repository) == Access::None {
                return Err(foreign(&switches).unwrap_or_else(missing));
            }
            if !current {
                return Err(moved(world, parts, &repository.path));
            }
            repository.id
        };
        Ok(Self {
            id,
            visitor,
            method: parts.method.clone(),
            rest,
        })
    }
}

impl Target {
    /// A path parameter.
    pub fn word(&self, name: &str) -> &str {
        self.rest.get(name).map_or("", String::as_str)
    }

    /// The repository, if the visitor may do with it what the call wants.
    ///
    /// # Errors
    /// 403 for a missing scope or right, 401 for anybody who wants to write.
    pub fn check<'s>(
        &self,
        state: &'s mut State,
        need: Need,
    ) -> Result<&'s mut Repository, Refusal> {
        self.check_scope(need)?;
        let repository = state.repositories.get_mut(&self.id);
        let gone = || refused(StatusCode::NOT_FOUND, "Repository not found");
        let repository = repository.ok_or_else(gone)?;
        if need != Need::Contents && self.visitor.membership(repository) < Access::Admin {
            let message = "Your credentials lack admin access to this repository.";
            return Err(refused(StatusCode::FORBIDDEN, message));
        }
        Ok(repository)
    }

    fn check_scope(&self, need: Need) -> Result<(), Refusal> {
        let Some(token) = &self.visitor.token else {
            let open = need == Need::Contents;
            return open.then_some(()).ok_or_else(unsupported);
        };
        let accepted = scopes(need, &self.method);
        if token.has_any(accepted) {
            return Ok(());
        }
        let message = "Your credentials lack one or more required privilege scopes.";
        let detail = json!({"granted": token.scopes, "required": accepted[..1]});
        let body = json!({"type": "error", "error": {"message": message, "detail": detail}});
        let refusal = Refusal::json(StatusCode::FORBIDDEN, body);
        Err(refusal.with("x-accepted-oauth-scopes", accepted[0]))
    }
}

/// The scopes of which a token needs one: API tokens' first, which do not imply each other, then those of older kinds.
fn scopes(need: Need, method: &Method) -> &'static [&'static str] {
    match (need, method.as_str()) {
        (Need::Contents, _) => &[
            "read:repository:bitbucket",
            "repository",
            "repository:write",
            "repository:admin",
        ],
        (Need::Keys, _) => &["admin:repository:bitbucket", "repository:admin"],
        (Need::Webhooks, "GET") => &["read:webhook:bitbucket", "webhook"],
        (Need::Webhooks, "DELETE") => &["delete:webhook:bitbucket", "webhook"],
        (Need::Webhooks, _) => &["write:webhook:bitbucket", "webhook"],
    }
}

/// The repository and whether it was named as it is named now.
fn find(state: &mut State, path: &str, switches: &Switches) -> Option<(Repository, bool)> {
    let (workspace, slug) = path.split_once('/')?;
    let braced = |text: &str, uuid: uuid::Uuid| text == format!("{{{uuid}}}");
    if !slug.starts_with('{') && !workspace.starts_with('{') {
        let (repository, current) = state.at_path_ever(path)?;
        return (current || switches.former_slugs_redirect).then(|| (repository.clone(), current));
    }
    let fits = |r: &&Repository| braced(slug, r.uuid) || r.name().eq_ignore_ascii_case(slug);
    let candidates: Vec<Repository> = state.repositories.values().filter(fits).cloned().collect();
    candidates.into_iter().find_map(|repository| {
        let owner = state.person(repository.owner(), repository.created_at);
        let here = workspace == "{}"
            || braced(workspace, owner.uuid)
            || repository.owner().eq_ignore_ascii_case(workspace);
        here.then_some((repository, true))
    })
}

/// The other answer that strangers may get.
fn foreign(switches: &Switches) -> Option<Refusal> {
    let message = "Access denied. You must have read access to this repository.";
    (switches.foreign_status == 403).then(|| refused(StatusCode::FORBIDDEN, message))
}

/// The same call with the present name.
fn moved(world: &World, parts: &Parts, path: &str) -> Refusal {
    let original = parts.extensions.get::<OriginalUri>();
    let uri = original.map_or(&parts.uri, |original| &original.0);
    // /bitbucket/2.0/repositories/{workspace}/{repo_slug}/…
    let rest = uri.path().splitn(7, '/').nth(6);
    let rest = rest.map_or_else(String::new, |rest| format!("/{rest}"));
    let to = format!("{}/bitbucket/2.0/repositories/{path}{rest}", world.origin());
    refused(StatusCode::MOVED_PERMANENTLY, "Repository moved").with("location", &to)
}
