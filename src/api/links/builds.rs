//! `/links/{id}/builds`: the history of a site's builds, whoever started them.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{parts::look_up, view::summary};
use crate::{
    api::{
        Api,
        caller::Caller,
        extract::{Path, Query},
        page::{Cursor, PageQuery},
        polling,
        problem::{CallerProblems, ObjectProblems, Problem},
    },
    link::{
        builds::{BuildOutcome, SeenBuild},
        facts::{Build, Facts},
        failure::{Failure, FailureCode},
    },
    store::builds::{self, Before},
};

/// A page of a site's builds, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BuildPage {
    /// The builds.
    pub builds: Vec<BuildView>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A build and its deploy.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BuildView {
    /// Netlify's id of the build.
    pub id: String,
    /// Netlify's id of the deploy that the build makes.
    pub deploy_id: String,
    /// What it is to the link.
    pub role: BuildRole,
    /// How it stands.
    pub outcome: BuildOutcome,
    /// The deploy's state in Netlify's own word as it was seen last, e.g. `building`, `ready`, `error`; absent when it was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What started it; absent while nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<BuildCause>,
    /// Builds of the team that were started before and are not over, while it waits for its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u32>,
    /// Address of exactly this deploy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Commit that was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_ref: Option<String>,
    /// Branch that was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// `production`, `branch-deploy` or `deploy-preview`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Title of the build; ours when we started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Netlify's own error text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Why it brought no new version of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<BuildDiagnosis>,
    /// The end of its log when it failed, without secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_tail: Vec<String>,
    /// When it was started, by Netlify's clock once that is known.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<OffsetDateTime>,
    /// When it was seen to be over.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub finished_at: Option<OffsetDateTime>,
    /// Seconds that it took: Netlify's word, else from its start until it was seen to be over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
    /// RFC 3339, by Netlify's clock; absent when it was not published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
}

/// What a build is to a link; new words may appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildRole {
    /// The link follows it, or followed it last.
    Followed,
    /// A push started it, which proves the link. When it doubled the followed one it was canceled.
    Proof,
    /// The link followed it before.
    Earlier,
    /// Any other build of the site.
    Other,
}

/// What started a build; new words may appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildCause {
    /// A push.
    Push,
    /// linkbroker asked for it.
    Linkbroker,
    /// Somebody or something else, by Netlify's API or its dashboard; also the attaching of the repository.
    Netlify,
}

/// Why a build brought no new version of the site.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BuildDiagnosis {
    /// Entry of the failure catalogue.
    pub code: FailureCode,
    /// What is wrong, for people.
    pub title: String,
    /// What happened in this case.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

/// Which builds to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BuildQuery {
    /// How many at most, 1 to 100. Default: 50.
    limit: Option<u8>,
    /// Where the last page ended.
    cursor: Option<String>,
}

/// The routes of a link's builds.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Read a site's builds
///
/// From the attaching of the repository on, newest first, whoever started them. They are found by looking at all running builds
/// of the team at once, by Netlify's notifications when the service has a public address, and at last by the site's own list.
#[utoipa::path(get, path = "/links/{id}/builds", tag = "links", operation_id = "listBuilds",
    params(("id" = String, Path, description = "Id of the link"), BuildQuery,
           ("If-None-Match" = Option<String>, Header, description = "ETag of the version that is known")),
    responses((status = 200, description = "A page of the builds, newest first", body = BuildPage,
        headers(("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it again, in seconds; absent when it is settled"))),
        (status = 304, description = "Nothing has changed since that version"),
        CallerProblems, ObjectProblems))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<BuildQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let page = PageQuery::new(query.limit, query.cursor.as_deref())?;
    let before = page.cursor::<Before>()?;
    let (mut tx, row) = look_up(&api, &caller, &id).await?;
    let tenant = caller.tenant.as_str();
    let rows = builds::page(
        &mut tx,
        tenant,
        row.id,
        before.as_ref(),
        page.limit_and_one(),
    )
    .await?;
    let (rows, next_cursor) = page.cut(rows, |row| Cursor::of(Before::from(row)));
    let facts = row.facts.clone();
    let page = BuildPage {
        builds: rows.into_iter().map(|it| view(it, &facts)).collect(),
        next_cursor,
    };
    polling::answer_part(&summary(row), &page, &headers)
}

fn view(seen: SeenBuild, facts: &Facts) -> BuildView {
    let role = role(&seen.build, facts);
    let cause = cause(&seen);
    let observed = seen.created_at.zip(seen.finished_at);
    let observed = observed.map(|(start, end)| (end - start).max(Duration::ZERO));
    let deploy = seen.deploy;
    let took = deploy.as_ref().and_then(|deploy| deploy.deploy_time);
    let unseen = BuildView {
        id: seen.build.id,
        deploy_id: seen.build.deploy_id,
        role,
        outcome: seen.outcome,
        cause,
        ahead: seen.ahead,
        diagnosis: seen.failure.map(diagnosis),
        log_tail: seen.log_tail,
        created_at: seen.created_at,
        finished_at: seen.finished_at,
        duration_seconds: took.or(observed.map(Duration::whole_seconds)),
        state: None,
        url: None,
        commit_ref: None,
        branch: None,
        context: None,
        title: None,
        error_message: None,
        published_at: None,
    };
    match deploy {
        None => unseen,
        Some(deploy) => BuildView {
            state: Some(deploy.state),
            url: deploy.url,
            commit_ref: deploy.commit_ref,
            branch: deploy.branch,
            context: deploy.context,
            title: deploy.title,
            error_message: deploy.error_message,
            published_at: deploy.published_at,
            ..unseen
        },
    }
}

fn role(build: &Build, facts: &Facts) -> BuildRole {
    let proof = facts.proof.as_ref().and_then(|proof| proof.build.as_ref());
    let mut earlier = facts.ended_builds.iter().map(|ended| &ended.build);
    if facts.build.as_ref() == Some(build) {
        BuildRole::Followed
    } else if proof == Some(build) {
        BuildRole::Proof
    } else if earlier.any(|ended| ended == build) {
        BuildRole::Earlier
    } else {
        BuildRole::Other
    }
}

fn cause(seen: &SeenBuild) -> Option<BuildCause> {
    let deploy = seen.deploy.as_ref()?;
    let title = deploy.title.as_deref().unwrap_or_default();
    match deploy.source.as_deref() {
        Some("git") => Some(BuildCause::Push),
        _ if title.starts_with("linkbroker ") => Some(BuildCause::Linkbroker),
        Some(_) => Some(BuildCause::Netlify),
        None => None,
    }
}

fn diagnosis(failure: Failure) -> BuildDiagnosis {
    BuildDiagnosis {
        code: failure.code,
        title: failure.code.title().to_owned(),
        detail: failure.detail,
        remedy: failure.code.remedy().to_owned(),
    }
}
