//! The HTTP half of the admin door: JSON in, JSON out, a refusal is 400 `{"error": "…"}`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Counts;
use crate::clock::milliseconds;
use crate::contracts::Violation;
use crate::faults::{FaultRule, Standing};
use crate::forge::{self, Forge, NewPersonKey, NewPullRequest, NewRepository, Place, Provider};
use crate::git::NewCommit;
use crate::recorder::Call;
use crate::switches::Switches;
use crate::world::World;
use crate::{github, netlify};

/// Everything below `/__sandbox`.
pub fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/world", get(show_world))
        .route("/calls", get(show_calls))
        .route("/counts", get(show_counts))
        .route("/violations", get(show_violations))
        .route("/repositories", post(create_repository))
        .route("/repositories/{owner}/{repo}/commits", post(create_commit))
        .route(
            "/repositories/{owner}/{repo}/pull-requests",
            post(open_pull_request),
        )
        .route("/repositories/{owner}/{repo}/rename", post(rename))
        .route("/repositories/{owner}/{repo}/archive", post(archive))
        .route(
            "/repositories/{owner}/{repo}/deploy-keys-policy",
            post(set_key_policy),
        )
        .route("/deploy-keys", post(install_key))
        .route("/webhooks", post(install_webhook))
        .route("/tokens", post(add_token).delete(revoke_token))
        .route("/person-keys", post(add_person_key))
        .route("/people/{login}", delete(remove_person))
        .route("/apps", post(create_app))
        .route("/installations", post(install))
        .route(
            "/faults",
            get(show_faults).post(add_fault).delete(clear_faults),
        )
        .route("/clock", post(advance_clock))
        .route("/switches", get(show_switches).patch(patch_switches))
        .route("/reset", post(reset_world))
}

/// Anything that cannot be done, with the reason as text.
struct Refused(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error": format!("{:#}", self.0)});
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

/// Calls by their numbers.
#[derive(Deserialize)]
struct Span {
    #[serde(default)]
    since: u64,
    /// The last one; all when absent.
    until: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    /// `owner/name`
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Archive {
    #[serde(default = "yes")]
    archived: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyPolicy {
    enabled: bool,
}

impl At {
    /// `owner/name`; an owner with slashes comes percent-encoded.
    fn place(&self, (owner, name): (String, String)) -> Place {
        (self.provider, format!("{owner}/{name}").as_str()).into()
    }
}

const fn yes() -> bool {
    true
}

/// Whose repository a path names.
#[derive(Deserialize)]
struct At {
    #[serde(default)]
    provider: Provider,
}

/// `{"netlify": {…}}`, `{"github": {…}}`, `{"gitlab": {…}}` …
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum NewToken {
    Netlify(netlify::NewToken),
    Github(github::NewToken),
    Gitlab(forge::NewToken),
    Gitea(forge::NewToken),
    Bitbucket(forge::NewToken),
    AzureDevops(forge::NewToken),
}

/// `{"netlify": "token"}`, `{"github": "token"}`, `{"gitlab": "token"}` …
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OldToken {
    Netlify(String),
    Github(String),
    Gitlab(String),
    Gitea(String),
    Bitbucket(String),
    AzureDevops(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

async fn show_world(State(world): State<Arc<World>>) -> Json<Value> {
    let netlify = netlify::world_view(&world);
    let github = github::world_view(&world);
    let mut shown =
        json!({"now": milliseconds(world.clock.now()), "netlify": netlify, "github": github});
    for forge in world.forges.all() {
        shown[forge.provider.word()] = forge::world_view(&world, forge);
    }
    Json(shown)
}

async fn show_calls(
    State(world): State<Arc<World>>,
    Query(query): Query<Since>,
) -> Json<Vec<Call>> {
    Json(world.recorder.since(query.since))
}

async fn show_counts(State(world): State<Arc<World>>, Query(span): Query<Span>) -> Json<Counts> {
    let mut calls = world.recorder.since(span.since);
    calls.retain(|call| span.until.is_none_or(|last| call.number <= last));
    Json(super::counts_of(&world, &calls))
}

async fn show_violations(State(world): State<Arc<World>>) -> Json<Vec<Violation>> {
    Json(world.contracts.violations())
}

async fn create_repository(
    State(world): State<Arc<World>>,
    Json(new): Json<NewRepository>,
) -> Result<Response, Refused> {
    let repository = super::create_repository(&world, new).await?;
    Ok((StatusCode::CREATED, Json(repository)).into_response())
}

async fn create_commit(
    State(world): State<Arc<World>>,
    Path(path): Path<(String, String)>,
    Query(at): Query<At>,
    Json(new): Json<NewCommit>,
) -> Result<Response, Refused> {
    let made = super::commit(&world, &at.place(path), new).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn open_pull_request(
    State(world): State<Arc<World>>,
    Path(path): Path<(String, String)>,
    Query(at): Query<At>,
    Json(new): Json<NewPullRequest>,
) -> Result<Response, Refused> {
    let opened = forge::pull_requests::open(&world, &at.place(path), new).await?;
    Ok((StatusCode::CREATED, Json(opened)).into_response())
}

async fn rename(
    State(world): State<Arc<World>>,
    Path(path): Path<(String, String)>,
    Query(at): Query<At>,
    Json(wanted): Json<Rename>,
) -> Result<StatusCode, Refused> {
    super::rename(&world, &at.place(path), &wanted.to)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn archive(
    State(world): State<Arc<World>>,
    Path(path): Path<(String, String)>,
    Query(at): Query<At>,
    Json(wanted): Json<Archive>,
) -> Result<StatusCode, Refused> {
    super::archive(&world, &at.place(path), wanted.archived)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_key_policy(
    State(world): State<Arc<World>>,
    Path((owner, repo)): Path<(String, String)>,
    Json(policy): Json<KeyPolicy>,
) -> Result<StatusCode, Refused> {
    github::set_deploy_keys_enabled(&world, &format!("{owner}/{repo}"), policy.enabled)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add_token(
    State(world): State<Arc<World>>,
    Json(new): Json<NewToken>,
) -> Result<StatusCode, Refused> {
    match new {
        NewToken::Netlify(new) => world.netlify.lock().add_token(new, world.clock.now()),
        NewToken::Github(new) => github::add_token(&world, new)?,
        NewToken::Gitlab(new) => forge::add_token(&world, &world.forges.gitlab, new)?,
        NewToken::Gitea(new) => forge::add_token(&world, &world.forges.gitea, new)?,
        NewToken::Bitbucket(new) => forge::add_token(&world, &world.forges.bitbucket, new)?,
        NewToken::AzureDevops(new) => forge::add_token(&world, &world.forges.azure, new)?,
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke_token(
    State(world): State<Arc<World>>,
    Json(old): Json<OldToken>,
) -> Result<StatusCode, Refused> {
    match old {
        OldToken::Netlify(token) => {
            let gone = world.netlify.lock().tokens.remove(&token);
            gone.ok_or_else(|| anyhow::anyhow!("no such token"))?;
        }
        OldToken::Github(token) => github::revoke_token(&world, &token)?,
        OldToken::Gitlab(token) => forge::revoke_token(&world.forges.gitlab, &token)?,
        OldToken::Gitea(token) => forge::revoke_token(&world.forges.gitea, &token)?,
        OldToken::Bitbucket(token) => forge::revoke_token(&world.forges.bitbucket, &token)?,
        OldToken::AzureDevops(token) => forge::revoke_token(&world.forges.azure, &token)?,
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn add_person_key(
    State(world): State<Arc<World>>,
    Json(new): Json<NewPersonKey>,
) -> Result<StatusCode, Refused> {
    super::add_person_key(&world, new)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn install_key(
    State(world): State<Arc<World>>,
    Json(new): Json<forge::NewDeployKey>,
) -> Result<Response, Refused> {
    let forge = own_forge(&world, new.provider)?;
    let key = forge::install_key(&world, forge, new)?;
    Ok((StatusCode::CREATED, Json(key)).into_response())
}

async fn install_webhook(
    State(world): State<Arc<World>>,
    Json(new): Json<forge::NewWebhook>,
) -> Result<Response, Refused> {
    let forge = own_forge(&world, new.provider)?;
    let webhook = forge::install_webhook(&world, forge, new)?;
    Ok((StatusCode::CREATED, Json(webhook)).into_response())
}

/// The forge of a provider; GitHub's state is its own.
fn own_forge(world: &World, provider: Provider) -> anyhow::Result<&Forge> {
    let forge = world.forges.of(provider);
    forge.context("at GitHub, this is done by its API")
}

async fn remove_person(
    State(world): State<Arc<World>>,
    Path(login): Path<String>,
    Query(at): Query<At>,
) -> Result<StatusCode, Refused> {
    forge::remove_person(own_forge(&world, at.provider)?, &login)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn create_app(
    State(world): State<Arc<World>>,
    Json(new): Json<github::NewApp>,
) -> Result<Response, Refused> {
    let app = github::create_app(&world, new)?;
    Ok((StatusCode::CREATED, Json(app)).into_response())
}

async fn install(
    State(world): State<Arc<World>>,
    Json(new): Json<github::NewInstallation>,
) -> Result<Response, Refused> {
    let id = github::install(&world, new)?;
    Ok((StatusCode::CREATED, Json(json!({"id": id}))).into_response())
}

async fn show_faults(State(world): State<Arc<World>>) -> Json<Vec<Standing>> {
    Json(world.faults.standing())
}

async fn add_fault(
    State(world): State<Arc<World>>,
    Json(rule): Json<FaultRule>,
) -> Result<StatusCode, Refused> {
    world.faults.add(rule)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_faults(State(world): State<Arc<World>>) -> StatusCode {
    world.faults.clear();
    StatusCode::NO_CONTENT
}

async fn advance_clock(State(world): State<Arc<World>>, Json(by): Json<Advance>) -> Json<Value> {
    world.clock.advance(Duration::from_secs(by.advance_seconds));
    Json(json!({"now": milliseconds(world.clock.now())}))
}

async fn show_switches(State(world): State<Arc<World>>) -> Json<Switches> {
    Json(world.switches.read().clone())
}

async fn patch_switches(
    State(world): State<Arc<World>>,
    Json(patch): Json<Value>,
) -> Result<Json<Switches>, Refused> {
    world.patch_switches(&patch)?;
    Ok(Json(world.switches.read().clone()))
}

async fn reset_world(State(world): State<Arc<World>>) -> Result<StatusCode, Refused> {
    super::reset(&world)?;
    Ok(StatusCode::NO_CONTENT)
}
