//! Environment variables of teams and sites, and what a build gets of them.
//!
//! The value of a secret goes into builds and is in no answer; for the contexts of local development there are no secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::access::Caller;
use super::answer::{Answer, ApiError, created, no_content, ok};
use super::state;
use crate::clock::milliseconds;
use crate::world::World;

const CONTEXTS: [&str; 7] = [
    "all",
    "dev",
    "dev-server",
    "branch-deploy",
    "deploy-preview",
    "production",
    "branch",
];

/// All variables: by team or site, then by name.
pub type Variables = BTreeMap<(String, String), Variable>;

/// One variable with its values.
#[derive(Clone, Debug)]
pub struct Variable {
    values: Vec<ContextValue>,
    is_secret: bool,
    updated_at: OffsetDateTime,
    user_id: String,
}

/// Its value in one context.
#[derive(Clone, Debug, Deserialize)]
struct ContextValue {
    #[serde(default = "new_id")]
    id: String,
    value: String,
    context: String,
    context_parameter: Option<String>,
}

/// A variable as it is written.
#[derive(Debug, Deserialize)]
struct Written {
    key: Option<String>,
    values: Vec<ContextValue>,
    scopes: Option<Vec<String>>,
    #[serde(default)]
    is_secret: bool,
}

#[derive(Deserialize)]
pub struct Whose {
    site_id: Option<String>,
    /// The name that the variable shall have.
    key: Option<String>,
}

/// GET `/accounts/{account_id}/env`
pub async fn list(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Query(whose): Query<Whose>,
) -> Answer {
    let netlify = world.netlify.lock();
    let owner = owner(&netlify, &caller, &account, &whose)?;
    let variables = netlify.variables.iter();
    let own = variables.filter(|((of, _), _)| *of == owner);
    ok(own
        .map(|((_, name), it)| view(&netlify, name, it))
        .collect())
}

/// GET `/accounts/{account_id}/env/{key}`
pub async fn get(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path((account, name)): Path<(String, String)>,
    Query(whose): Query<Whose>,
) -> Answer {
    let netlify = world.netlify.lock();
    let owner = owner(&netlify, &caller, &account, &whose)?;
    let found = netlify.variables.get(&(owner, name.clone()));
    ok(view(&netlify, &name, found.ok_or(ApiError::NOT_FOUND)?))
}

/// POST `/accounts/{account_id}/env`: all of a list, or none when one is there already.
pub async fn create(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Query(whose): Query<Whose>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let written: Vec<Written> = read(&body)?;
    let mut netlify = world.netlify.lock();
    let owner = owner(&netlify, &caller, &account, &whose)?;
    may_write(&world, &whose)?;
    let mut new = Vec::new();
    for written in written {
        let name = written.key.clone().filter(|name| is_name(name));
        let name = name.ok_or_else(|| Refusal::invalid("Invalid key name"))?;
        new.push((name, accept(&world, &caller, written)?));
    }
    let switches = world.switches.read().netlify.clone();
    let is_there = |name: &String| {
        netlify
            .variables
            .contains_key(&(owner.clone(), name.clone()))
    };
    let taken = new
        .iter()
        .find(|(name, _)| is_there(name))
        .map(|(name, _)| name.clone());
    if taken.is_some() {
        new.retain(|(name, _)| switches.env_create_is_partial && !is_there(name));
    }
    let views = new
        .into_iter()
        .map(|(name, variable)| {
            let shown = view(&netlify, &name, &variable);
            netlify.count_created("env_variables");
            netlify.variables.insert((owner.clone(), name), variable);
            shown
        })
        .collect();
    match taken {
        Some(name) => Err(Refusal::exists(&name)),
        None => Ok(created(views)?),
    }
}

/// PUT `/accounts/{account_id}/env/{key}`: replaces all values, and the name when the query has another.
pub async fn replace(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path((account, name)): Path<(String, String)>,
    Query(whose): Query<Whose>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let written: Written = read(&body)?;
    let mut netlify = world.netlify.lock();
    let owner = owner(&netlify, &caller, &account, &whose)?;
    may_write(&world, &whose)?;
    let new_name = whose.key.or_else(|| written.key.clone());
    let variable = accept(&world, &caller, written)?;
    let old = netlify.variables.remove(&(owner.clone(), name.clone()));
    old.ok_or(ApiError::NOT_FOUND)?;
    let name = new_name.unwrap_or(name);
    let shown = view(&netlify, &name, &variable);
    netlify.variables.insert((owner, name), variable);
    Ok(ok(shown)?)
}

/// DELETE `/accounts/{account_id}/env/{key}`
pub async fn delete(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path((account, name)): Path<(String, String)>,
    Query(whose): Query<Whose>,
) -> Answer {
    let mut netlify = world.netlify.lock();
    let owner = owner(&netlify, &caller, &account, &whose)?;
    netlify
        .variables
        .remove(&(owner, name))
        .ok_or(ApiError::NOT_FOUND)?;
    no_content()
}

/// Why variables are not written; these calls name the reason `msg`.
pub enum Refusal {
    Usual(ApiError),
    Said(StatusCode, String),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Usual(error)
    }
}

impl Refusal {
    fn invalid(why: &str) -> Self {
        Self::Said(StatusCode::UNPROCESSABLE_ENTITY, why.to_owned())
    }

    fn exists(name: &str) -> Self {
        let why = format!("Key {name} already exists for this account or site");
        Self::Said(StatusCode::CONFLICT, why)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Usual(error) => error.into_response(),
            Self::Said(status, why) => {
                let body = json!({"code": status.as_u16(), "msg": why});
                (status, Json(body)).into_response()
            }
        }
    }
}

/// The variables that a build of this branch gets: the site's before the team's, the closest context before `all`.
pub fn of_build(
    netlify: &state::State,
    site_id: &str,
    branch: &str,
    context: &str,
) -> Vec<(String, String)> {
    let account = netlify
        .sites
        .get(site_id)
        .map(|site| site.account_id.as_str());
    let mut variables = BTreeMap::new();
    for owner in [account.unwrap_or_default(), site_id] {
        let own = netlify.variables.iter().filter(|((of, _), _)| of == owner);
        for ((_, name), variable) in own {
            if let Some(value) = variable.value_in(branch, context) {
                variables.insert(name.clone(), value.to_owned());
            }
        }
    }
    variables.into_iter().collect()
}

impl Variable {
    fn value_in(&self, branch: &str, context: &str) -> Option<&str> {
        let in_context = |wanted: &str| self.values.iter().find(|it| it.context == wanted);
        let of_branch = |it: &&ContextValue| {
            it.context == "branch" && it.context_parameter.as_deref() == Some(branch)
        };
        let closest = self.values.iter().find(of_branch);
        let closest = closest
            .or_else(|| in_context(context))
            .or_else(|| in_context("all"));
        closest.map(|it| it.value.as_str())
    }
}

/// The site's id, else the team's.
fn owner(
    netlify: &state::State,
    caller: &Caller,
    account: &str,
    whose: &Whose,
) -> Result<String, ApiError> {
    let account = netlify.account_of(&caller.user_id, account);
    let account = account.ok_or(ApiError::Plain(StatusCode::UNAUTHORIZED, "Unauthorized"))?;
    let Some(site_id) = &whose.site_id else {
        return Ok(account.id.clone());
    };
    let site = netlify.sites.get(site_id);
    let own = site.filter(|site| site.account_id == account.id);
    Ok(own.ok_or(ApiError::NOT_FOUND)?.id.clone())
}

fn may_write(world: &World, whose: &Whose) -> Result<(), Refusal> {
    let switches = world.switches.read().netlify.clone();
    let is_shared = whose.site_id.is_none();
    match switches.env_refused || (is_shared && !switches.env_shared_allowed) {
        false => Ok(()),
        true => {
            let why = "Environment variables are not available on this plan";
            Err(Refusal::Said(StatusCode::FORBIDDEN, why.to_owned()))
        }
    }
}

fn accept(world: &World, caller: &Caller, written: Written) -> Result<Variable, Refusal> {
    if written.scopes.is_some() && !world.switches.read().netlify.env_scopes_allowed {
        return Err(Refusal::invalid("Scopes are not available on this plan"));
    }
    let contexts = written.values.iter().map(|it| it.context.as_str());
    if contexts.clone().any(|it| !CONTEXTS.contains(&it)) || written.values.is_empty() {
        return Err(Refusal::invalid("Invalid context"));
    }
    let is_local = |it: &str| ["all", "dev", "dev-server"].contains(&it);
    if written.is_secret && contexts.clone().any(is_local) {
        let why = "Secret values cannot be used in the context of local development";
        return Err(Refusal::invalid(why));
    }
    let names_branch = |it: &ContextValue| it.context != "branch" || it.context_parameter.is_some();
    if !written.values.iter().all(names_branch) {
        return Err(Refusal::invalid("context_parameter is missing"));
    }
    Ok(Variable {
        values: written.values,
        is_secret: written.is_secret,
        updated_at: world.clock.now(),
        user_id: caller.user_id.clone(),
    })
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    let bad = |_| Refusal::Said(StatusCode::BAD_REQUEST, "Bad Request".to_owned());
    serde_json::from_slice(body).map_err(bad)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn view(netlify: &state::State, name: &str, variable: &Variable) -> Value {
    let user = netlify
        .users
        .iter()
        .find(|user| user.id == variable.user_id);
    let value = |it: &ContextValue| {
        let shown = if variable.is_secret { "" } else { &it.value };
        json!({"id": it.id, "value": shown, "context": it.context, "context_parameter": it.context_parameter})
    };
    json!({
        "key": name, "scopes": ["builds", "functions", "runtime", "post_processing"],
        "values": variable.values.iter().map(value).collect::<Vec<_>>(),
        "is_secret": variable.is_secret, "updated_at": milliseconds(variable.updated_at),
        "updated_by": {
            "id": variable.user_id, "full_name": user.map(|user| &user.full_name),
            "email": user.map(|user| &user.email), "avatar_url": null,
        },
    })
}

/// Everything readable, for the admin door.
pub fn world_view(netlify: &state::State) -> Vec<Value> {
    let shown = |((owner, name), variable): (&(String, String), &Variable)| {
        let mut body = view(netlify, name, variable);
        body["of"] = json!(owner);
        body
    };
    netlify.variables.iter().map(shown).collect()
}
