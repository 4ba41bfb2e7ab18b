//! `/links`: create, list, read, retry and unlink.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Api,
    caller::{Caller, Scope},
    extract::{Json, Path, Query},
    ids::{self, Prefix},
    page::{Cursor, PageQuery},
    problem::{BodyProblems, CallerProblems, ObjectProblems, Problem, ProblemCode},
};
use crate::{
    link::{
        conditions::{Condition, StepReport, conditions},
        facts::{Build, Deploy, Origin, Repository, Site},
        failure::{Evidence, Failure, FailureCode, Fault, Severity, UpstreamTrace},
        plan::{PLAN, StepName},
        request::{LinkRequest, LinkSpec},
        status::{LinkStatus, StepState},
    },
    store::{
        Rows, StoreError, begin,
        connections::{self, ConnectionRow},
        events::{self, NewEvent},
        links::{self, Filter, LinkRow, NewLink, Wanted},
        resources::{self, Receipt, ResourceKind, ResourceRow},
        step_runs::{self, StepRun},
    },
    upstream::UpstreamKind,
    worker::progress::prepare_retry,
};

/// A link as lists show it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkSummary {
    /// Its id.
    #[schema(example = "lnk_019302f0c1b47cc2a1f5d3e8b7a69c01")]
    pub id: String,
    /// The caller's own name for it.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The caller's own labels.
    pub labels: serde_json::Value,
    /// Where it stands.
    pub status: LinkStatus,
    /// One more with every change; also the ETag.
    pub version: i64,
    /// When to read it again, in milliseconds; absent when nothing will change by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_after_ms: Option<u32>,
    /// What was asked for, with every default that is known.
    pub request: RequestView,
    /// The repository, once it was looked up.
    pub repository: Option<Repository>,
    /// The site, once it was made.
    pub site: Option<Site>,
    /// The first build, in Netlify's own words.
    pub build: Option<Build>,
    /// The deploy that it makes, in Netlify's own words.
    pub deploy: Option<Deploy>,
    /// Why it stands still, when it does.
    pub diagnosis: Option<Diagnosis>,
    /// How far it is proven that a push builds the site.
    pub verification: Verification,
    /// When it was accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it changed last.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// A link with everything that is known of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// What lists show too.
    #[serde(flatten)]
    pub summary: LinkSummary,
    /// Its steps, in the order of the plan.
    pub steps: Vec<StepView>,
    /// What is true of it now.
    pub conditions: Vec<Condition>,
    /// The external objects that it leans on or has let go of.
    pub resources: Vec<ResourceView>,
}

/// What was asked for, with every default that is known.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestView {
    /// Host and path of the repository.
    #[schema(example = "github.com/acme/docs")]
    pub repository: String,
    /// Branch that the caller named.
    pub branch: Option<String>,
    /// Name of the site, fixed when the link was accepted.
    pub site_name: String,
    /// Team that the caller named.
    pub team: Option<String>,
    /// How Netlify builds.
    pub build: crate::link::request::BuildSettings,
    /// How Netlify gets at the repository.
    pub access: crate::link::request::AccessMode,
    /// What has to be seen before the link says `live`.
    pub verify: crate::link::request::Verify,
    /// Branches that Netlify deploys; absent means the production branch alone.
    pub allowed_branches: Option<Vec<String>>,
    /// Connections that are used.
    pub connections: crate::link::request::ConnectionNames,
}

/// Why a link stands still.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// Entry of the failure catalogue.
    pub code: FailureCode,
    /// What is wrong, for people.
    pub title: String,
    /// What happened in this case.
    pub detail: String,
    /// Who has to act.
    pub fault: Fault,
    /// Whether `retry` can help once the cause is mended.
    pub retryable: bool,
    /// What to do about it.
    pub remedy: String,
    /// What the verdict rests on.
    pub evidence: Vec<Evidence>,
    /// The upstream call that showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamTrace>,
}

/// How far it is proven that a push to the repository builds the site.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// 0 installed, 1 delivered, 2 built from a push, 3 deployed from a push.
    pub level: u8,
    /// Build that the proving push started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}

/// One step of a link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Which.
    pub name: StepName,
    /// Where it stands.
    pub state: StepState,
    /// Tries that ended in an error since the last retry.
    pub attempts: i16,
    /// When it is tried or looked at again.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_attempt_at: Option<OffsetDateTime>,
    /// What it waits for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When it was begun.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub finished_at: Option<OffsetDateTime>,
}

/// An external object of a link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceView {
    /// What it is.
    pub kind: ResourceKind,
    /// The upstream's id.
    pub id: String,
    /// Where it lives.
    pub host: String,
    /// Who made it.
    pub origin: Origin,
    /// What became of it; absent while the link leans on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// A page of links, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkPage {
    /// The links.
    pub links: Vec<LinkSummary>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Which links to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only in this status.
    status: Option<LinkStatus>,
    /// Only with this name of the caller's.
    #[serde(rename = "ref")]
    #[param(rename = "ref")]
    reference: Option<String>,
    /// Only of the site with this name.
    site: Option<String>,
    /// How many at most, 1 to 100. Default: 50.
    limit: Option<u8>,
    /// Where the last page ended.
    cursor: Option<String>,
}

/// How to unlink.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UnlinkQuery {
    /// Leave the site on Netlify, detached from the repository. Default: false.
    #[serde(default)]
    keep_site: bool,
}

/// The routes of `/links`.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, unlink))
        .routes(routes!(retry))
}

/// Link a repository to a site
///
/// Answers at once; the setup goes on in the background. Poll the `Location` until `poll_after_ms`
/// is absent.
#[utoipa::path(post, path = "/links", tag = "links", operation_id = "createLink", request_body = LinkRequest,
    responses((status = 202, description = "Accepted: poll the link", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        (status = 409, description = "A link with this ref or site exists; `Location` says where",
         body = super::problem::ProblemDocument, content_type = "application/problem+json"),
        CallerProblems, BodyProblems))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Json(request): Json<LinkRequest>,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksWrite)?;
    let mut spec = request.check().map_err(invalid)?;
    let kind = api.resolve_host(&mut spec)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    let names = &request.connections;
    let provider = connection(
        &mut tx,
        tenant,
        kind,
        &spec.host,
        names.provider.as_deref(),
        "/connections/provider",
    )
    .await?;
    let netlify = api.netlify()?;
    let netlify = connection(
        &mut tx,
        tenant,
        netlify.kind,
        &netlify.host,
        names.netlify.as_deref(),
        "/connections/netlify",
    )
    .await?;
    let link = NewLink {
        id: Uuid::now_v7(),
        tenant: tenant.to_owned(),
        reference: request.reference.clone(),
        spec,
        labels: json!(request.labels),
        netlify_connection: netlify.id,
        provider_connection: provider.id,
        created_by: caller.subject.clone(),
    };
    if let Err(error) = links::insert(&mut tx, &link).await {
        drop(tx);
        return Err(taken(&api, &link, error).await);
    }
    let view = read(&mut tx, tenant, link.id).await?;
    tx.commit().await?;
    api.bell.ring();
    Ok(accepted(&view))
}

/// List links
#[utoipa::path(get, path = "/links", tag = "links", operation_id = "listLinks", params(ListQuery),
    responses((status = 200, description = "A page of links, newest first", body = LinkPage), CallerProblems))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<LinkPage>, Problem> {
    caller.require(Scope::LinksRead)?;
    let page = PageQuery::new(query.limit, query.cursor.as_deref())?;
    let filter = Filter {
        before: page.cursor::<Uuid>()?,
        status: query.status,
        reference: query.reference,
        site: query.site,
        ..Filter::default()
    };
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    let rows = links::list(&mut tx, tenant, &filter, page.limit_and_one()).await?;
    let (rows, next_cursor) = page.cut(rows, |row| Cursor::of(row.id));
    Ok(Json(LinkPage {
        links: rows.into_iter().map(summary).collect(),
        next_cursor,
    }))
}

/// Read a link
///
/// With `If-None-Match` the answer is 304 while nothing has changed.
#[utoipa::path(get, path = "/links/{id}", tag = "links", operation_id = "getLink",
    params(("id" = String, Path, description = "Id of the link"),
           ("If-None-Match" = Option<String>, Header, description = "ETag of the version that is known")),
    responses((status = 200, description = "The link", body = Link,
        headers(("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it again, in seconds; absent when it is settled"))),
        (status = 304, description = "Nothing has changed since that version"),
        CallerProblems, ObjectProblems))]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksRead)?;
    let id = ids::parse(Prefix::Link, &id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    let link = read(&mut tx, tenant, id).await?;
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let answer = match known {
        Some(known) if names_version(known, link.summary.version) => {
            StatusCode::NOT_MODIFIED.into_response()
        }
        _ => Json(&link).into_response(),
    };
    Ok((polling_headers(&link.summary), answer).into_response())
}

/// Unlink
///
/// Takes back everything that the link made and that no other link needs: the webhook, the key at
/// the provider, Netlify's key, and the site. A link that is not set up yet is canceled. Poll the
/// link until it says `unlinked` or `canceled`; its `resources` are the receipt.
#[utoipa::path(delete, path = "/links/{id}", tag = "links", operation_id = "deleteLink",
    params(("id" = String, Path, description = "Id of the link"), UnlinkQuery),
    responses((status = 202, description = "Accepted: poll the link", body = Link), CallerProblems, ObjectProblems))]
async fn unlink(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<UnlinkQuery>,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksWrite)?;
    let id = ids::parse(Prefix::Link, &id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    let (status, wanted) = links::lock(&mut tx, tenant, id)
        .await?
        .ok_or_else(not_found)?;
    let wish = match query.keep_site {
        true => Wanted::UnlinkedKeepSite,
        false => Wanted::Unlinked,
    };
    // Asking twice is asking once; an undo that cannot finish begins again.
    let is_under_way =
        matches!(status, LinkStatus::Canceling | LinkStatus::Unlinking) && wanted == wish;
    if !status.is_over() && !is_under_way {
        links::request_undo(&mut tx, id, status.undoing(), wish).await?;
        let asked = NewEvent {
            kind: "link.unlink_requested",
            detail: json!({ "by": caller.subject, "keep_site": query.keep_site }),
        };
        events::append(&mut tx, id, tenant, &[asked]).await?;
    }
    let view = read(&mut tx, tenant, id).await?;
    tx.commit().await?;
    api.bell.ring();
    Ok(accepted(&view))
}

/// Try again
///
/// For a link that stands still in `failed`, `action_required`, `build_failed` or `degraded`: goes
/// on from the step that failed. After a failed build the key, the webhook and the site's settings
/// are looked at and mended first, then a new build is started.
#[utoipa::path(post, path = "/links/{id}/retry", tag = "links", operation_id = "retryLink",
    params(("id" = String, Path, description = "Id of the link")),
    responses((status = 202, description = "Accepted: poll the link", body = Link),
        (status = 409, description = "The link does not stand still",
         body = super::problem::ProblemDocument, content_type = "application/problem+json"),
        CallerProblems, ObjectProblems))]
async fn retry(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksWrite)?;
    let id = ids::parse(Prefix::Link, &id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    let (status, wanted) = links::lock(&mut tx, tenant, id)
        .await?
        .ok_or_else(not_found)?;
    if !status.may_retry() {
        let detail = format!(
            "The link is `{status}`; retry is for failed, action_required, build_failed and degraded."
        );
        return Err(Problem::new(ProblemCode::IllegalTransition).detail(detail));
    }
    let mut row = links::get(&mut tx, tenant, id)
        .await?
        .ok_or_else(not_found)?;
    let runs = step_runs::of_links(&mut tx, &[id]).await?;
    let mut steps: Vec<StepRun> = runs.into_iter().map(|(_, run)| run).collect();
    prepare_retry(&mut steps, &mut row.facts, status);
    let next = match wanted {
        Wanted::Linked => LinkStatus::Linking,
        Wanted::Unlinked | Wanted::UnlinkedKeepSite => LinkStatus::Unlinking,
    };
    links::request_retry(&mut tx, id, tenant, next, &row.facts, &steps).await?;
    let asked = NewEvent {
        kind: "link.retry_requested",
        detail: json!({ "by": caller.subject }),
    };
    events::append(&mut tx, id, tenant, &[asked]).await?;
    let view = read(&mut tx, tenant, id).await?;
    tx.commit().await?;
    api.bell.ring();
    Ok(accepted(&view))
}

/// The connection that a request means: the named one, else the tenant's only one of that kind.
async fn connection(
    db: &mut sqlx::PgConnection,
    tenant: &str,
    kind: UpstreamKind,
    host: &str,
    name: Option<&str>,
    pointer: &str,
) -> Result<ConnectionRow, Problem> {
    let mut found = connections::candidates(db, tenant, kind.as_str(), host, name).await?;
    let detail = match (found.len(), name) {
        (1, _) => return Ok(found.remove(0)),
        (0, None) => format!(
            "there is no connection to {kind} at {host} yet; make one with POST /connections"
        ),
        (0, Some(name)) => format!("there is no connection `{name}` to {kind} at {host}"),
        (_, _) => format!("there are several connections to {kind} at {host}; name one"),
    };
    Err(Problem::new(ProblemCode::InvalidRequest).error(pointer, detail))
}

/// What a refused insert means: another link has the ref or the site.
async fn taken(api: &Api, link: &NewLink, error: StoreError) -> Problem {
    let (filter, what) = match error.constraint() {
        Some("links_ref") => (
            Filter {
                reference: link.reference.clone(),
                unfinished: true,
                ..Filter::default()
            },
            "ref",
        ),
        Some("links_site") => (
            Filter {
                site: Some(link.spec.site.name.clone()),
                unfinished: true,
                ..Filter::default()
            },
            "site",
        ),
        _ => return error.into(),
    };
    let existing = async {
        let mut tx = begin(&api.pool, Rows::Of(&link.tenant)).await?;
        links::list(&mut tx, &link.tenant, &filter, 1).await
    };
    let problem =
        Problem::new(ProblemCode::LinkExists).detail(format!("Another link has this {what}."));
    match existing.await {
        Ok(rows) => match rows
            .first()
            .map(|row| HeaderValue::try_from(location(&ids::show(Prefix::Link, row.id))))
        {
            Some(Ok(location)) => problem.header(header::LOCATION, location),
            _ => problem,
        },
        Err(error) => error.into(),
    }
}

async fn read(db: &mut sqlx::PgConnection, tenant: &str, id: Uuid) -> Result<Link, Problem> {
    let row = links::get(db, tenant, id).await?.ok_or_else(not_found)?;
    let runs = step_runs::of_links(db, &[id]).await?;
    let resources = resources::of_link(db, tenant, id).await?;
    let runs: Vec<StepRun> = PLAN
        .iter()
        .map(|planned| {
            let run = runs.iter().find(|(_, run)| run.step == planned.name);
            run.map_or_else(|| StepRun::pending(planned.name), |(_, run)| run.clone())
        })
        .collect();
    let reports: Vec<_> = runs.iter().map(report).collect();
    Ok(Link {
        conditions: conditions(&reports),
        steps: runs.into_iter().map(step_view).collect(),
        resources: resources.into_iter().map(resource_view).collect(),
        summary: summary(row),
    })
}

fn report(run: &StepRun) -> StepReport<'_> {
    StepReport {
        step: run.step,
        state: run.state,
        failure: run.failure.as_ref(),
        note: run.note.as_deref(),
        finished_at: run.finished_at,
    }
}

fn summary(row: LinkRow) -> LinkSummary {
    let proof = row.facts.proof.unwrap_or_default();
    LinkSummary {
        id: ids::show(Prefix::Link, row.id),
        reference: row.reference,
        labels: row.labels,
        status: row.status,
        version: row.version,
        poll_after_ms: poll_after_ms(row.status),
        request: request_view(row.spec, row.netlify_connection, row.provider_connection),
        repository: row.facts.repository,
        site: row.facts.site,
        build: row.facts.build,
        deploy: row.facts.deploy,
        diagnosis: row.failure.map(diagnosis),
        verification: Verification {
            level: proof.level,
            build: proof.build,
        },
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// Steps take fractions of a second, builds take many.
const fn poll_after_ms(status: LinkStatus) -> Option<u32> {
    match status {
        LinkStatus::Queued
        | LinkStatus::Linking
        | LinkStatus::Canceling
        | LinkStatus::Unlinking => Some(500),
        LinkStatus::Building => Some(2000),
        _ => None,
    }
}

fn request_view(spec: LinkSpec, netlify: String, provider: String) -> RequestView {
    RequestView {
        repository: format!("{}/{}", spec.host, spec.path),
        branch: spec.branch,
        site_name: spec.site.name,
        team: spec.site.team,
        build: spec.build,
        access: spec.access,
        verify: spec.verify,
        allowed_branches: spec.allowed_branches,
        connections: crate::link::request::ConnectionNames {
            netlify: Some(netlify),
            provider: Some(provider),
        },
    }
}

fn diagnosis(failure: Failure) -> Diagnosis {
    let code = failure.code;
    Diagnosis {
        code,
        title: code.title().to_owned(),
        detail: failure.detail,
        fault: code.fault(),
        retryable: code.severity() != Severity::Permanent,
        remedy: code.remedy().to_owned(),
        evidence: failure.evidence,
        upstream: failure.upstream,
    }
}

fn step_view(run: StepRun) -> StepView {
    StepView {
        name: run.step,
        state: run.state,
        attempts: run.attempts,
        next_attempt_at: run.next_attempt_at,
        reason: run.note,
        failure: run.failure,
        started_at: run.started_at,
        finished_at: run.finished_at,
    }
}

fn resource_view(row: ResourceRow) -> ResourceView {
    ResourceView {
        kind: row.kind,
        id: row.external_id,
        host: row.host,
        origin: row.origin,
        receipt: row.receipt,
    }
}

fn accepted(link: &Link) -> Response {
    let location = [(header::LOCATION, location(&link.summary.id))];
    (
        StatusCode::ACCEPTED,
        location,
        polling_headers(&link.summary),
        Json(link),
    )
        .into_response()
}

fn location(id: &str) -> String {
    format!("/links/{id}")
}

fn polling_headers(link: &LinkSummary) -> [(HeaderName, String); 2] {
    let etag = (header::ETAG, format!("\"{}\"", link.version));
    let retry_after = match link.poll_after_ms {
        Some(pause) => (header::RETRY_AFTER, pause.div_ceil(1000).to_string()),
        // One array type for both cases; polls of a settled link may be cached no longer either.
        None => (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    };
    [etag, retry_after]
}

fn names_version(if_none_match: &str, version: i64) -> bool {
    let tag = format!("\"{version}\"");
    let mut tags = if_none_match
        .split(',')
        .map(|known| known.trim().trim_start_matches("W/"));
    tags.any(|known| known == tag || known == "*")
}

fn invalid(errors: Vec<crate::link::request::FieldError>) -> Problem {
    errors.into_iter().fold(
        Problem::new(ProblemCode::InvalidRequest),
        |problem, error| problem.error(error.pointer, error.detail),
    )
}

fn not_found() -> Problem {
    Problem::new(ProblemCode::NotFound)
}
