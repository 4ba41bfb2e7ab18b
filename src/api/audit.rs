//! `/audit`: who changed what, here and at the upstreams; newest first.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Api,
    caller::{Caller, Scope},
    extract::{Json, Query},
    ids::{self, Prefix},
    page::{Cursor, PageQuery},
    problem::{CallerProblems, Problem, ProblemCode},
};
use crate::{
    link::failure::UpstreamTrace,
    store::{
        Rows,
        audit::{self, EntryRow, Filter},
        begin,
    },
};

/// One write.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When it was recorded.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Subject of the caller; absent when the service wrote by itself, working on the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The link that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "lnk_019302f0c1b47cc2a1f5d3e8b7a69c01")]
    pub link: Option<String>,
    /// The step that wrote to an upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "install_deploy_key")]
    pub step: Option<String>,
    /// What was done: `create`, `unlink`, `retry`, … by a caller; the method of a call to an upstream; `adopt` for
    /// a call that a crash cut off from its record and whose effect was found later.
    #[schema(example = "POST")]
    pub verb: String,
    /// What it was done to: an id of ours, the path at the upstream, or the step that adopted.
    #[schema(example = "/repos/acme/docs/keys")]
    pub object: String,
    /// The upstream and its answer; without a status the answer was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamTrace>,
}

/// A page of the audit, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Which entries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only about the link with this id.
    link: Option<String>,
    /// Only recorded since then (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
    /// How many at most, 1 to 100. Default: 50.
    limit: Option<u8>,
    /// Where the last page ended.
    cursor: Option<String>,
}

/// The routes of `/audit`.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Read who changed what
///
/// Every write of the tenant's callers, and every write to an upstream on behalf of its links. Entries are never changed or removed
/// by the service.
#[utoipa::path(get, path = "/audit", tag = "audit", operation_id = "listAudit", params(AuditQuery),
    responses((status = 200, description = "A page of the audit, newest first", body = AuditPage), CallerProblems))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
    caller.require(Scope::AuditRead)?;
    let page = PageQuery::new(query.limit, query.cursor.as_deref())?;
    let filter = Filter {
        before: page.cursor::<Uuid>()?,
        link: query.link.as_deref().map(link_id).transpose()?,
        since: query.since,
    };
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.reads, Rows::Of(tenant)).await?;
    let rows = audit::list(&mut tx, tenant, &filter, page.limit_and_one()).await?;
    let (rows, next_cursor) = page.cut(rows, |row| Cursor::of(row.id));
    Ok(Json(AuditPage {
        entries: rows.into_iter().map(Into::into).collect(),
        next_cursor,
    }))
}

fn link_id(text: &str) -> Result<Uuid, Problem> {
    ids::parse(Prefix::Link, text).map_err(|_| {
        Problem::new(ProblemCode::InvalidQuery).parameter("link", "use the id of a link: lnk_…")
    })
}

impl From<EntryRow> for AuditEntry {
    fn from(row: EntryRow) -> Self {
        let upstream = row.upstream.map(|upstream| UpstreamTrace {
            upstream,
            status: row.status.map(i16::cast_unsigned),
            request_id: row.request_id,
        });
        Self {
            at: row.at,
            caller: row.caller,
            link: row.link_id.map(|id| ids::show(Prefix::Link, id)),
            step: row.step,
            verb: row.verb,
            object: row.object,
            upstream,
        }
    }
}
