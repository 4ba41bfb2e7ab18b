//! `/links`: list, read and unlink; creating, the verbs and the parts have files of their own.

mod actions;
pub mod builds;
pub(super) mod create;
mod drift;
mod filter;
mod parts;
mod plan;
pub mod view;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
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
    page::Cursor,
    polling::{self, Known, Wait},
    problem::{CallerProblems, ObjectProblems, Problem, ProblemCode},
};
use crate::{
    link::{
        request::FieldError,
        status::{LinkStatus, Verb, Wanted},
    },
    store::{
        Rows, StoreError,
        audit::{self, NewEntry},
        begin,
        events::{self, NewEvent},
        links,
    },
};
use filter::{LabelQuery, ListQuery, ListRequest};
use view::{Link, LinkPage, read, summary};

/// How to read a link.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReadQuery {
    /// Seconds to wait for news, 0 to 30.
    #[param(maximum = 30)]
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
        .routes(routes!(list))
        .merge(create::router())
        .routes(routes!(get, unlink))
        .merge(actions::router())
        .merge(drift::router())
        .merge(parts::router())
        .merge(builds::router())
}

/// List links
///
/// Newest first, in pages: `next_cursor` of one page is the `cursor` of the next. Filters are joined by "and".
#[utoipa::path(get, path = "/links", tag = "links", operation_id = "listLinks", params(ListQuery, LabelQuery),
    responses((status = 200, description = "A page of links, newest first", body = LinkPage), CallerProblems))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListRequest,
) -> Result<Json<LinkPage>, Problem> {
    caller.require(Scope::LinksRead)?;
    let page = query.page()?;
    let filter = query.filter(&api, &page)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.reads, Rows::Of(tenant)).await?;
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
    let known = Known::from(&headers);
    let Some(wait) = Wait::asked(query.wait, &headers)? else {
        let mut tx = begin(&api.reads, Rows::Of(tenant)).await?;
        let link = read(&mut tx, tenant, id).await?;
        return Ok(polling::answer(&link.summary, json_of(&link)?, &known));
    };
    let after = query.after.or(known.newest());
    let mut link = api.feed.subscribe(tenant, id).await?;
    let found = link
        .wait_for(wait.patience(), |now| match after {
            Some(version) => now.link.summary.version > version,
            None => now.link.summary.is_settled(),
        })
        .await;
    let answer = polling::answer(&found.link.summary, found.json.clone(), &known);
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
    let standing = links::lock(&mut tx, tenant, id)
        .await?
        .ok_or_else(not_found)?;
    let wish = match query.keep_site {
        true => Wanted::UnlinkedKeepSite,
        false => Wanted::Unlinked,
    };
    // Asking twice is asking once; an undo that cannot finish begins again.
    let status = standing.status;
    let is_under_way =
        matches!(status, LinkStatus::Canceling | LinkStatus::Unlinking) && standing.wanted == wish;
    if standing.allows(Verb::Unlink) && !is_under_way {
        let undoing = status.undoing(standing.was_live);
        links::request_undo(&mut tx, id, undoing, wish).await?;
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
