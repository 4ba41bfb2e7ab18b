//! The admin door `/__sandbox/…`: what a test or a demo may see and change behind the vendors' backs.
//!
//! Everything here is JSON and described in `sandbox/README.md`; the same is offered in Rust by [`crate::Sandbox`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::milliseconds;
use crate::contracts::Violation;
use crate::faults::FaultRule;
use crate::git::NewCommit;
use crate::recorder::{Call, Upstream, per_upstream, rounds};
use crate::switches::Switches;
use crate::world::World;
use crate::{github, netlify};

/// How many of one kind were made since the start, and how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub created: u64,
    pub alive: u64,
}

/// What exists and what was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// `deploy_keys`, `sites`, `builds`, `deploys`, `notifications`, `repositories`, `installed_keys`, `webhooks`, `deliveries`.
    #[serde(flatten)]
    pub kinds: BTreeMap<&'static str, Count>,
    pub calls: BTreeMap<Upstream, u64>,
    /// Sequential rounds in which clients called.
    pub rounds: u64,
}

impl Counts {
    /// The count of a kind; zero for a kind that was never met.
    pub fn of(&self, kind: &str) -> Count {
        self.kinds.get(kind).copied().unwrap_or_default()
    }
}

/// Counts; calls and rounds only of calls with a number above `since`.
pub fn counts(world: &World, since: u64) -> Counts {
    counts_of(world, &world.recorder.since(since))
}

fn counts_of(world: &World, calls: &[Call]) -> Counts {
    let mut kinds = netlify::counts(&world.netlify.lock());
    kinds.extend(github::counts(world));
    Counts {
        kinds,
        calls: per_upstream(calls),
        rounds: rounds(calls),
    }
}

/// Back to the state right after the start, with the switches of the start.
///
/// # Errors
/// Never in practice.
pub fn reset(world: &World) -> anyhow::Result<()> {
    world.netlify.lock().reset(&world.clock);
    github::reset(world)?;
    world.recorder.clear();
    world.faults.clear();
    world.contracts.clear();
    world.restore_switches();
    Ok(())
}

/// Everything below `/__sandbox`.
pub fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/world", get(show_world))
        .route("/calls", get(show_calls))
        .route("/counts", get(show_counts))
        .route("/violations", get(show_violations))
        .route("/repositories", post(create_repository))
        .route("/repositories/{owner}/{repo}/commits", post(create_commit))
        .route("/repositories/{owner}/{repo}/rename", post(rename))
        .route("/repositories/{owner}/{repo}/archive", post(archive))
        .route(
            "/repositories/{owner}/{repo}/deploy-keys-policy",
            post(set_key_policy),
        )
        .route("/tokens", post(add_token).delete(revoke_token))
        .route("/person-keys", post(add_person_key))
        .route("/apps", post(create_app))
        .route("/installations", post(install))
        .route("/faults", post(add_fault).delete(clear_faults))
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

const fn yes() -> bool {
    true
}

/// `{"netlify": {…}}` or `{"github": {…}}`
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum NewToken {
    Netlify(netlify::NewToken),
    Github(github::NewToken),
}

/// `{"netlify": "token"}` or `{"github": "token"}`
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OldToken {
    Netlify(String),
    Github(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

async fn show_world(State(world): State<Arc<World>>) -> Json<Value> {
    let netlify = netlify::world_view(&world);
    let github = github::world_view(&world);
    Json(json!({"now": milliseconds(world.clock.now()), "netlify": netlify, "github": github}))
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
    Json(counts_of(&world, &calls))
}

async fn show_violations(State(world): State<Arc<World>>) -> Json<Vec<Violation>> {
    Json(world.contracts.violations())
}

async fn create_repository(
    State(world): State<Arc<World>>,
    Json(new): Json<github::NewRepository>,
) -> Result<Response, Refused> {
    let repository = github::create_repository(&world, new).await?;
    Ok((StatusCode::CREATED, Json(repository)).into_response())
}

async fn create_commit(
    State(world): State<Arc<World>>,
    Path((owner, repo)): Path<(String, String)>,
    Json(new): Json<NewCommit>,
) -> Result<Response, Refused> {
    let commit = github::commit(&world, &format!("{owner}/{repo}"), new).await?;
    Ok((StatusCode::CREATED, Json(commit)).into_response())
}

async fn rename(
    State(world): State<Arc<World>>,
    Path((owner, repo)): Path<(String, String)>,
    Json(rename): Json<Rename>,
) -> Result<StatusCode, Refused> {
    github::rename(&world, &format!("{owner}/{repo}"), &rename.to)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn archive(
    State(world): State<Arc<World>>,
    Path((owner, repo)): Path<(String, String)>,
    Json(archive): Json<Archive>,
) -> Result<StatusCode, Refused> {
    github::archive(&world, &format!("{owner}/{repo}"), archive.archived)?;
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
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn add_person_key(
    State(world): State<Arc<World>>,
    Json(new): Json<github::NewPersonKey>,
) -> Result<StatusCode, Refused> {
    github::add_person_key(&world, new)?;
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
    reset(&world)?;
    Ok(StatusCode::NO_CONTENT)
}
