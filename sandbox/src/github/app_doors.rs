//! Calls that only a GitHub App may make, by its JWT: who am I, where am I installed, a token for an installation; and the one
//! by which an owner sees which apps an organisation has.

use std::sync::Arc;

use axum::extract::{Path, RawPathParams, State as Shared};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::answer::Refusal;
use super::app_token;
use super::apps::{App, Installation};
use super::door::Visitor;
use super::shapes;
use super::state::{Repository, State, TokenKind};
use crate::clock::seconds;
use crate::world::World;

/// `GET /app`.
pub async fn current(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Value>, Refusal> {
    let slug = visitor.app()?;
    let at = super::addresses(&world);
    let state = world.github.lock();
    let app = state.apps.get(slug).ok_or_else(Refusal::not_found)?;
    let owner = state.accounts.get(&app.owner.to_ascii_lowercase());
    let installed = state.installations.values().filter(|it| it.app == slug);
    Ok(Json(json!({
        "id": app.id, "slug": app.slug, "node_id": shapes::node_id("A", app.id), "client_id": app.client_id,
        "owner": owner.map(|owner| shapes::account(owner, &at)),
        "name": app.name, "description": null, "external_url": "https://example.com",
        "html_url": format!("https://github.com/apps/{slug}"),
        "created_at": seconds(app.created_at), "updated_at": seconds(app.created_at),
        "permissions": app.permissions, "events": app.events, "installations_count": installed.count(),
    })))
}

/// `GET /app/installations`.
pub async fn installations(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Value>, Refusal> {
    let slug = visitor.app()?;
    let state = world.github.lock();
    let of_app = state.installations.values().filter(|it| it.app == slug);
    Ok(Json(of_app.map(|it| shape(&world, &state, it)).collect()))
}

/// `GET /app/installations/{installation_id}`.
pub async fn installation(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
) -> Result<Json<Value>, Refusal> {
    let state = world.github.lock();
    let installation = of_app(&state, visitor.app()?, id)?;
    Ok(Json(shape(&world, &state, installation)))
}

/// `POST /app/installations/{installation_id}/access_tokens`.
pub async fn access_token(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let mut state = world.github.lock();
    let installation = of_app(&state, visitor.app()?, id)?.clone();
    if installation.suspended {
        return Err(Refusal::forbidden("This installation has been suspended"));
    }
    let (text, token) = app_token::mint(&mut state, &installation, &world.clock);
    let made = json!({
        "token": text, "expires_at": token.expires_at.map(seconds), "permissions": token.grants,
        "repository_selection": selection(&installation),
    });
    Ok((StatusCode::CREATED, Json(made)))
}

/// `GET /repos/{owner}/{repo}/installation`.
pub async fn of_repository(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
    parameters: RawPathParams,
) -> Result<Json<Value>, Refusal> {
    let slug = visitor.app()?;
    let word = |name: &str| {
        let mut named = parameters.iter().filter(|(key, _)| *key == name);
        named.next().map_or("", |(_, value)| value)
    };
    let state = world.github.lock();
    let repository: Option<&Repository> = match word("repository_id").parse() {
        Ok(id) => state.repositories.get::<u64>(&id),
        Err(_) => {
            let full_name = format!("{}/{}", word("owner"), word("repo"));
            let (repository, current) = state
                .named_ever(&full_name)
                .ok_or_else(Refusal::not_found)?;
            if !current {
                let api = super::addresses(&world).api;
                let place = format!("{api}/repositories/{}/installation", repository.id);
                return Err(Refusal::moved(true, &place));
            }
            Some(repository)
        }
    };
    let repository = repository.ok_or_else(Refusal::not_found)?;
    let mut of_app = state.installations.values().filter(|it| it.app == slug);
    let found = of_app.find(|it| it.covers(repository));
    Ok(Json(shape(
        &world,
        &state,
        found.ok_or_else(Refusal::not_found)?,
    )))
}

/// `GET /users/{username}/installation`: the app's own on an account, organisations too, whatever it covers.
pub async fn of_account(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
    Path(account): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let slug = visitor.app()?;
    let state = world.github.lock();
    let mut of_app = state.installations.values().filter(|it| it.app == slug);
    let found = of_app.find(|it| it.account.eq_ignore_ascii_case(&account));
    let found = found.ok_or_else(Refusal::not_found)?;
    Ok(Json(shape(&world, &state, found)))
}

/// `GET /orgs/{org}/installations`: for an owner of the organisation alone.
pub async fn of_organization(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
    Path(org): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let state = world.github.lock();
    let account = state.accounts.get(&org.to_ascii_lowercase());
    if !account.is_some_and(|account| account.organization) || !is_owner(&visitor) {
        return Err(Refusal::not_found());
    }
    let on_it: Vec<_> = state
        .installations
        .values()
        .filter(|it| it.account.eq_ignore_ascii_case(&org))
        .map(|it| shape(&world, &state, it))
        .collect();
    Ok(Json(
        json!({"total_count": on_it.len(), "installations": on_it}),
    ))
}

/// A classic token says so by its scope, a fine-grained one by its permission.
fn is_owner(visitor: &Visitor) -> bool {
    let Some(token) = &visitor.token else {
        return false;
    };
    match token.kind {
        TokenKind::Classic => {
            let of_owners = |scope: &String| ["admin:org", "read:org"].contains(&scope.as_str());
            token.scopes.iter().any(of_owners)
        }
        TokenKind::FineGrained => token.grants.contains_key("organization_administration"),
        TokenKind::Installation => false,
    }
}

fn of_app<'s>(state: &'s State, slug: &str, id: u64) -> Result<&'s Installation, Refusal> {
    let found = state.installations.get(&id).filter(|it| it.app == slug);
    found.ok_or_else(Refusal::not_found)
}

fn selection(installation: &Installation) -> &'static str {
    match installation.repositories {
        Some(_) => "selected",
        None => "all",
    }
}

/// An `installation`.
fn shape(world: &World, state: &State, it: &Installation) -> Value {
    let at = super::addresses(world);
    let app: Option<&App> = state.apps.get(&it.app);
    let account = state.accounts.get(&it.account.to_ascii_lowercase());
    let organization = account.is_some_and(|account| account.organization);
    let settings = match organization {
        true => format!("https://github.com/organizations/{}/settings", it.account),
        false => "https://github.com/settings".to_owned(),
    };
    json!({
        "id": it.id, "app_id": app.map(|app| app.id), "app_slug": it.app,
        "client_id": app.map(|app| &app.client_id),
        "account": account.map(|account| shapes::account(account, &at)),
        "target_id": account.map(|account| account.id),
        "target_type": if organization { "Organization" } else { "User" },
        "repository_selection": selection(it), "permissions": app.map(|app| &app.permissions),
        "events": app.map(|app| &app.events),
        "access_tokens_url": format!("{}/app/installations/{}/access_tokens", at.api, it.id),
        "repositories_url": format!("{}/installation/repositories", at.api),
        "html_url": format!("{settings}/installations/{}", it.id),
        "single_file_name": null, "single_file_paths": [], "has_multiple_single_files": false,
        "created_at": seconds(it.created_at), "updated_at": seconds(it.created_at),
        "suspended_at": it.suspended.then(|| seconds(it.created_at)), "suspended_by": null,
    })
}
