//! The admin door `/__sandbox/…`: what a test or a demo may see and change behind the vendors' backs.
//!
//! Everything here is JSON and described in `sandbox/README.md`; the same is offered in Rust by [`crate::Sandbox`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
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
use crate::forge::{self, Access, Forge, NewPersonKey, NewRepository, Place, Provider, TokenKind};
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
    /// `deploy_keys`, `sites`, `builds`, `deploys`, `notifications`, and of all providers
    /// together `repositories`, `installed_keys`, `webhooks`, `deliveries`.
    #[serde(flatten)]
    pub kinds: BTreeMap<&'static str, Count>,
    /// The providers' share of the last four, by provider.
    pub providers: BTreeMap<Provider, BTreeMap<&'static str, Count>>,
    pub calls: BTreeMap<Upstream, u64>,
    /// Sequential rounds in which clients called.
    pub rounds: u64,
}

impl Counts {
    /// The count of a kind at one provider.
    pub fn at(&self, provider: Provider, kind: &str) -> Count {
        let kinds = self.providers.get(&provider);
        kinds.and_then(|k| k.get(kind)).copied().unwrap_or_default()
    }

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
    let github = [(Provider::Github, github::counts(world))];
    let others = world.forges.all().map(|f| (f.provider, forge::counts(f)));
    let providers: BTreeMap<_, _> = github.into_iter().chain(others).collect();
    for (kind, count) in providers.values().flatten() {
        let sum: &mut Count = kinds.entry(kind).or_default();
        sum.created += count.created;
        sum.alive += count.alive;
    }
    Counts {
        kinds,
        providers,
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
    forget_providers(world)?;
    world.recorder.clear();
    world.faults.clear();
    world.contracts.clear();
    world.restore_switches();
    Ok(())
}

/// Empties all providers and makes the tokens that exist from the start.
///
/// # Errors
/// When a repository's folder cannot be deleted.
pub(crate) fn forget_providers(world: &World) -> anyhow::Result<()> {
    github::reset(world)?;
    for forge in world.forges.all() {
        forge::reset(world, forge)?;
        for (token, kind) in first_tokens(forge.provider) {
            let new = forge::NewToken {
                token: (*token).to_owned(),
                login: crate::LOGIN.to_owned(),
                kind: *kind,
                everywhere: Some(Access::Admin),
                ..forge::NewToken::default()
            };
            forge::add_token(world, forge, new)?;
        }
    }
    Ok(())
}

/// The tokens that exist from the start.
const fn first_tokens(provider: Provider) -> &'static [(&'static str, TokenKind)] {
    match provider {
        Provider::Github | Provider::Plain => &[],
        Provider::Gitlab => &[(crate::GITLAB_TOKEN, TokenKind::Personal)],
        Provider::Gitea => &[(crate::GITEA_TOKEN, TokenKind::Personal)],
        Provider::Bitbucket => &[
            (crate::BITBUCKET_TOKEN, TokenKind::Personal),
            (crate::BITBUCKET_ACCESS_TOKEN, TokenKind::Access),
        ],
        Provider::AzureDevops => &[],
    }
}

/// Makes a repository at any provider.
///
/// # Errors
/// When the path is taken or not acceptable.
pub async fn create_repository(world: &Arc<World>, new: NewRepository) -> anyhow::Result<Value> {
    match world.forges.of(new.provider) {
        Some(forge) => forge::create_repository(world, forge, new).await,
        None => github::create_repository(world, new).await,
    }
}

/// Commits at any provider and tells the webhooks.
///
/// # Errors
/// When there is no such repository or it is archived.
pub async fn commit(world: &Arc<World>, at: &Place, new: NewCommit) -> anyhow::Result<Value> {
    match world.forges.of(at.provider) {
        Some(forge) => forge::commit(world, forge, &at.path, new).await,
        None => github::commit(world, &at.path, new).await,
    }
}

/// Gives a repository another path; the old one leads there.
///
/// # Errors
/// When there is no such repository or the path is taken.
pub fn rename(world: &World, at: &Place, to: &str) -> anyhow::Result<()> {
    match world.forges.of(at.provider) {
        Some(forge) => forge::rename(world, forge, &at.path, to),
        None => github::rename(world, &at.path, to),
    }
}

/// Archives a repository, or takes it back.
///
/// # Errors
/// When there is no such repository.
pub fn archive(world: &World, at: &Place, archived: bool) -> anyhow::Result<()> {
    match world.forges.of(at.provider) {
        Some(forge) => forge::archive(forge, &at.path, archived),
        None => github::archive(world, &at.path, archived),
    }
}

/// Adds a person's SSH key.
///
/// # Errors
/// When the text is no key, or the key is in use.
pub fn add_person_key(world: &World, new: NewPersonKey) -> anyhow::Result<()> {
    match world.forges.of(new.provider) {
        Some(forge) => forge::add_person_key(world, forge, new),
        None => github::add_person_key(world, new),
    }
}

/// Everything below `/__sandbox`.
pub fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/world", get(show_world))
        .route("/calls", get(show_calls))
        .route("/counts", get(show_counts))
        .route("/violations", get(show_violations))
        .route("/repositories", post(post_repository))
        .route("/repositories/{owner}/{repo}/commits", post(create_commit))
        .route("/repositories/{owner}/{repo}/rename", post(post_rename))
        .route("/repositories/{owner}/{repo}/archive", post(post_archive))
        .route(
            "/repositories/{owner}/{repo}/deploy-keys-policy",
            post(set_key_policy),
        )
        .route("/deploy-keys", post(install_key))
        .route("/webhooks", post(install_webhook))
        .route("/tokens", post(add_token).delete(revoke_token))
        .route("/person-keys", post(post_person_key))
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
    #[serde(untagged)]
    Other(BTreeMap<Provider, forge::NewToken>),
}

/// `{"netlify": "token"}`, `{"github": "token"}`, `{"gitlab": "token"}` …
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OldToken {
    Netlify(String),
    Github(String),
    #[serde(untagged)]
    Other(BTreeMap<Provider, String>),
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
    Json(counts_of(&world, &calls))
}

async fn show_violations(State(world): State<Arc<World>>) -> Json<Vec<Violation>> {
    Json(world.contracts.violations())
}

async fn post_repository(
    State(world): State<Arc<World>>,
    Json(new): Json<NewRepository>,
) -> Result<Response, Refused> {
    let repository = create_repository(&world, new).await?;
    Ok((StatusCode::CREATED, Json(repository)).into_response())
}

async fn create_commit(
    State(world): State<Arc<World>>,
    Path(path): Path<(String, String)>,
    Query(at): Query<At>,
    Json(new): Json<NewCommit>,
) -> Result<Response, Refused> {
    let commit = commit(&world, &at.place(path), new).await?;
    Ok((StatusCode::CREATED, Json(commit)).into_response())
}

async fn post_rename(
    State(world): State<Arc<World>>,
    Path(path): Path<(String, String)>,
    Query(at): Query<At>,
    Json(wanted): Json<Rename>,
) -> Result<StatusCode, Refused> {
    rename(&world, &at.place(path), &wanted.to)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn post_archive(
    State(world): State<Arc<World>>,
    Path(path): Path<(String, String)>,
    Query(at): Query<At>,
    Json(wanted): Json<Archive>,
) -> Result<StatusCode, Refused> {
    archive(&world, &at.place(path), wanted.archived)?;
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
        NewToken::Other(tokens) => {
            for (provider, new) in tokens {
                forge::add_token(&world, own_forge(&world, provider)?, new)?;
            }
        }
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
        OldToken::Other(tokens) => {
            for (provider, token) in tokens {
                forge::revoke_token(own_forge(&world, provider)?, &token)?;
            }
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn post_person_key(
    State(world): State<Arc<World>>,
    Json(new): Json<NewPersonKey>,
) -> Result<StatusCode, Refused> {
    add_person_key(&world, new)?;
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
