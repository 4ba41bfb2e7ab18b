//! Finds the repository of a call, by name, by a former name or by id, and checks what the visitor may do with it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, StatusCode};

use super::answer::Refusal;
use super::door::Visitor;
use super::state::{Access, Repository, State, TokenKind, writes};
use crate::world::World;

/// The repository that a call is about, and the rest of its path parameters.
pub struct Target {
    pub id: u64,
    pub visitor: Visitor,
    writes: bool,
    /// Everything in the path that does not name the repository.
    rest: HashMap<String, String>,
}

/// A part of a repository with rights of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The repository itself.
    Metadata,
    /// Branches and refs.
    Contents,
    DeployKeys,
    Webhooks,
}

impl FromRequestParts<Arc<World>> for Target {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, world: &Arc<World>) -> Result<Self, Refusal> {
        let visitor = parts
            .extensions
            .get::<Visitor>()
            .cloned()
            .ok_or_else(Refusal::not_found)?;
        let parameters = RawPathParams::from_request_parts(parts, world).await;
        let parameters = parameters.map_err(|_| Refusal::not_found())?;
        let mut rest: HashMap<String, String> = parameters
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let get = matches!(parts.method, Method::GET | Method::HEAD);
        let id = {
            let state = world.github.lock();
            let (repository, current) = find(&state, &mut rest).ok_or_else(Refusal::not_found)?;
            if visitor.access(repository) == Access::None {
                return Err(Refusal::not_found());
            }
            check_sign_on(&state, &visitor, &repository.owner)?;
            if !current {
                return Err(Refusal::moved(get, &location(world, parts, repository.id)));
            }
            repository.id
        };
        Ok(Self {
            id,
            visitor,
            writes: writes(&parts.method),
            rest,
        })
    }
}

impl Target {
    /// A path parameter that is a number, such as `hook_id`.
    ///
    /// # Errors
    /// 404, as GitHub answers for ids that cannot exist.
    pub fn number(&self, name: &str) -> Result<u64, Refusal> {
        self.rest
            .get(name)
            .and_then(|v| v.parse().ok())
            .ok_or_else(Refusal::not_found)
    }

    /// A path parameter that is text.
    pub fn word(&self, name: &str) -> &str {
        self.rest.get(name).map_or("", String::as_str)
    }

    /// The repository, if the visitor may do with it what the call wants.
    ///
    /// # Errors
    /// 404 for a missing role or scope, 403 for a missing permission of a newer token or an archived repository.
    pub fn check<'s>(
        &self,
        state: &'s mut State,
        need: Need,
    ) -> Result<&'s mut Repository, Refusal> {
        let repository = state
            .repositories
            .get_mut(&self.id)
            .ok_or_else(Refusal::not_found)?;
        self.check_token(repository, need)?;
        if matches!(need, Need::DeployKeys | Need::Webhooks)
            && self.visitor.access(repository) < Access::Admin
        {
            return Err(Refusal::not_found());
        }
        if repository.archived && self.writes {
            return Err(Refusal::forbidden(
                "Repository was archived so is read-only.",
            ));
        }
        Ok(repository)
    }

    fn check_token(&self, repository: &Repository, need: Need) -> Result<(), Refusal> {
        match &self.visitor.token {
            Some(token) if token.kind == TokenKind::Classic => {
                let accepted = scopes(need, self.writes, repository.private);
                let has = |scope: &&str| token.scopes.iter().any(|s| s == scope);
                let fine = accepted.is_empty() || accepted.iter().any(has);
                let name = HeaderName::from_static("x-accepted-oauth-scopes");
                fine.then_some(())
                    .ok_or_else(|| Refusal::not_found().with(name, &accepted.join(", ")))
            }
            // Every newer token has `metadata=read`.
            Some(_) if need == Need::Metadata => Ok(()),
            Some(token) => {
                let (permission, level) = permission(need, self.writes);
                let has = token.grants.get(permission).map_or("", String::as_str);
                let fine = has == "write" || has == level;
                fine.then_some(())
                    .ok_or_else(|| refuse_token(token.kind, permission, level))
            }
            None if matches!(need, Need::Metadata | Need::Contents) => Ok(()),
            None => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "Requires authentication",
            )),
        }
    }
}

fn find<'s>(
    state: &'s State,
    rest: &mut HashMap<String, String>,
) -> Option<(&'s Repository, bool)> {
    if let Some(id) = rest.remove("repository_id") {
        return Some((state.repositories.get(&id.parse().ok()?)?, true));
    }
    let full_name = format!("{}/{}", rest.remove("owner")?, rest.remove("repo")?);
    state.named_ever(&full_name)
}

/// Organisations with single sign-on refuse tokens that were not let in (facts: 403 with `X-GitHub-SSO`).
fn check_sign_on(state: &State, visitor: &Visitor, owner: &str) -> Result<(), Refusal> {
    let owner = state.accounts.get(&owner.to_ascii_lowercase());
    let sso_url = visitor
        .token
        .as_ref()
        .and_then(|token| token.sso_url.as_ref());
    let Some(url) = sso_url.filter(|_| owner.is_some_and(|o| o.organization)) else {
        return Ok(());
    };
    let name = HeaderName::from_static("x-github-sso");
    let refusal = Refusal::forbidden(
        "Resource protected by organization SAML enforcement. You must grant your Personal Access token access to \
         this organization.",
    );
    Err(refusal.with(name, &format!("required; url={url}")))
}

/// `/repos/{owner}/{repo}/keys?x` → `{api}/repositories/{id}/keys?x`.
fn location(world: &World, parts: &Parts, id: u64) -> String {
    let uri = parts
        .extensions
        .get::<OriginalUri>()
        .map_or(&parts.uri, |original| &original.0);
    let after_name = uri
        .path()
        .splitn(6, '/')
        .nth(5)
        .map_or_else(String::new, |rest| format!("/{rest}"));
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    format!(
        "{}/github/repositories/{id}{after_name}{query}",
        world.origin()
    )
}

/// The scopes of which a classic token needs one; none for what everybody may see.
fn scopes(need: Need, writes: bool, private: bool) -> Vec<&'static str> {
    match (need, writes) {
        (Need::Metadata | Need::Contents, _) if !private => vec![],
        (Need::Metadata | Need::Contents, _) => vec!["repo"],
        (Need::DeployKeys, _) if !private => vec!["public_repo", "repo"],
        (Need::DeployKeys, _) => vec!["repo"],
        (Need::Webhooks, false) => vec![
            "admin:repo_hook",
            "read:repo_hook",
            "repo",
            "write:repo_hook",
        ],
        (Need::Webhooks, true) => vec!["admin:repo_hook", "repo", "write:repo_hook"],
    }
}

/// The permission that a fine-grained token or an installation needs.
fn permission(need: Need, writes: bool) -> (&'static str, &'static str) {
    let level = if writes { "write" } else { "read" };
    match need {
        Need::Metadata => ("metadata", level),
        Need::Contents => ("contents", level),
        Need::DeployKeys => ("administration", level),
        Need::Webhooks => ("repository_hooks", level),
    }
}

fn refuse_token(kind: TokenKind, permission: &str, level: &str) -> Refusal {
    let message = match kind {
        TokenKind::Installation => "Resource not accessible by integration",
        TokenKind::Classic | TokenKind::FineGrained => {
            "Resource not accessible by personal access token"
        }
    };
    let name = HeaderName::from_static("x-accepted-github-permissions");
    Refusal::forbidden(message).with(name, &format!("{permission}={level}"))
}
