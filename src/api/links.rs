//! `/links`: create, list, read, retry and unlink.

pub mod view;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Api,
    caller::{Caller, LinkReader, Scope},
    extract::{Json, Path, Query},
    ids::{self, Prefix},
    page::{Cursor, PageQuery},
    polling::{self, Wait},
    problem::{
        BodyProblems, CallerProblems, ObjectProblems, Problem, ProblemCode, ProblemDocument,
    },
};
use crate::{
    link::{
        request::{FieldError, LinkRequest},
        status::{LinkStatus, Wanted},
        step_run::{StepRun, prepare_retry},
    },
    store::{
        Rows, StoreError,
        audit::{self, NewEntry},
        begin,
        connections::{self, ConnectionRow},
        events::{self, NewEvent},
        links::{self, Filter, NewLink},
        step_runs,
    },
    upstream::UpstreamKind,
};
use view::{Link, LinkPage, read, summary};

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

/// How to read a link.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReadQuery {
    /// Seconds to wait for news, 0 to 30.
    wait: Option<u8>,
    /// Version that is known.
    after: Option<i64>,
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
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: answer when the link is settled, at the latest after N seconds (cut to 30)")),
    responses((status = 201, description = "Accepted, and settled within the time of `Prefer: wait=N`", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"))),
        (status = 202, description = "Accepted: poll the link", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        (status = 409, description = "A link with this ref or site exists; `Location` says where",
         body = ProblemDocument, content_type = "application/problem+json"),
        CallerProblems, BodyProblems))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Json(request): Json<LinkRequest>,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksWrite)?;
    let mut spec = request.check().map_err(invalid)?;
    let kind = api.resolve_host(&mut spec)?;
    api.quotas.link(&caller.tenant)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    api.quotas.in_flight(&mut tx, tenant).await?;
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
    audited(&mut tx, &caller, "create", link.id).await?;
    let view = read(&mut tx, tenant, link.id).await?;
    tx.commit().await?;
    api.bell.due();
    match Wait::asked(None, &headers)? {
        Some(wait) => settled_in_time(&api, tenant, &view, link.id, wait).await,
        None => Ok(accepted(&view)),
    }
}

/// 201 for a link that came to rest in time, else 202 with what is known by then.
async fn settled_in_time(
    api: &Api,
    tenant: &str,
    accepted_as: &Link,
    id: Uuid,
    wait: Wait,
) -> Result<Response, Problem> {
    let mut link = match api.feed.subscribe(tenant, id).await {
        Ok(link) => link,
        // The link is accepted; only waiting for it is too much.
        Err(problem) if problem.code() == ProblemCode::RateLimited => {
            return Ok(accepted(accepted_as));
        }
        Err(problem) => return Err(problem),
    };
    let found = link
        .wait_for(wait.patience(), |now| now.link.summary.is_settled())
        .await;
    let status = match found.link.summary.is_settled() {
        true => StatusCode::CREATED,
        false => StatusCode::ACCEPTED,
    };
    let location = [(header::LOCATION, location(&found.link.summary.id))];
    let answer = polling::answer(&found.link.summary, found.json.clone(), None);
    Ok((status, location, wait.applied(), answer).into_response())
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
/// With `If-None-Match` the answer is 304 while nothing has changed. With `wait` (or `Prefer: wait=N`)
/// the answer comes when the version is newer than `after` (or than the one in `If-None-Match`; without
/// either, when the link is settled), at the latest after that many seconds.
#[utoipa::path(get, path = "/links/{id}", tag = "links", operation_id = "getLink",
    security(("bearer" = []), ("status_token" = [])),
    params(("id" = String, Path, description = "Id of the link"), ReadQuery,
           ("If-None-Match" = Option<String>, Header, description = "ETag of the version that is known"),
           ("Prefer" = Option<String>, Header, description = "`wait=N`: the same as the query's `wait`, cut to 30")),
    responses((status = 200, description = "The link", body = Link,
        headers(("ETag" = String, description = "Version of the link"),
                ("Preference-Applied" = String, description = "The wait that was heeded"),
                ("Retry-After" = u32, description = "When to read it again, in seconds; absent when it is settled"))),
        (status = 304, description = "Nothing has changed since that version"),
        CallerProblems, ObjectProblems))]
async fn get(
    State(api): State<Api>,
    reader: LinkReader,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, id) = (reader.tenant.as_str(), reader.link);
    let known = polling::known_version(&headers);
    let Some(wait) = Wait::asked(query.wait, &headers)? else {
        let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
        let link = read(&mut tx, tenant, id).await?;
        return Ok(polling::answer(&link.summary, json_of(&link)?, known));
    };
    let after = query.after.or(known);
    let mut link = api.feed.subscribe(tenant, id).await?;
    let found = link
        .wait_for(wait.patience(), |now| match after {
            Some(version) => now.link.summary.version > version,
            None => now.link.summary.is_settled(),
        })
        .await;
    let answer = polling::answer(&found.link.summary, found.json.clone(), known);
    Ok((wait.applied(), answer).into_response())
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
    audited(&mut tx, &caller, "unlink", id).await?;
    let view = read(&mut tx, tenant, id).await?;
    tx.commit().await?;
    api.bell.due();
    api.bell.changed(id);
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
         body = ProblemDocument, content_type = "application/problem+json"),
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
    audited(&mut tx, &caller, "retry", id).await?;
    let view = read(&mut tx, tenant, id).await?;
    tx.commit().await?;
    api.bell.due();
    api.bell.changed(id);
    Ok(accepted(&view))
}

/// Records a caller's write, in the transaction that makes it.
async fn audited(
    db: &mut sqlx::PgConnection,
    caller: &Caller,
    verb: &str,
    link: Uuid,
) -> Result<(), StoreError> {
    let entry = NewEntry::by(&caller.subject, verb, ids::show(Prefix::Link, link)).of_link(link);
    audit::append(db, caller.tenant.as_str(), &[entry]).await
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

fn accepted(link: &Link) -> Response {
    let location = [(header::LOCATION, location(&link.summary.id))];
    (
        StatusCode::ACCEPTED,
        location,
        polling::headers(&link.summary),
        Json(link),
    )
        .into_response()
}

fn location(id: &str) -> String {
    format!("/links/{id}")
}

fn json_of(link: &Link) -> Result<Bytes, Problem> {
    Ok(serde_json::to_vec(link).map_err(Problem::internal)?.into())
}

fn invalid(errors: Vec<FieldError>) -> Problem {
    errors.into_iter().fold(
        Problem::new(ProblemCode::InvalidRequest),
        |problem, error| problem.error(error.pointer, error.detail),
    )
}

fn not_found() -> Problem {
    Problem::new(ProblemCode::NotFound)
}
