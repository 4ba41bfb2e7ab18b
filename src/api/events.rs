//! `/links/{id}/events`: what happened to a link, in order.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{Caller, Scope},
    extract::{Json, Path, Query},
    ids::{self, Prefix},
    page::{Cursor, PageQuery},
    problem::{CallerProblems, ObjectProblems, Problem, ProblemCode},
};
use crate::store::{
    Rows, begin,
    events::{self, EventRow},
    links,
};

/// Something that happened to a link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// When it was recorded.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What it was: `link.accepted`, `link.status_changed`, `step.done`, `deploy.state_changed`, …; new words may
    /// appear.
    #[serde(rename = "type")]
    pub kind: String,
    /// What belongs to it.
    pub detail: serde_json::Value,
}

/// A page of events, oldest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// Cursor after the last event of this page: read on from here later, also when this page was the last.
    pub next_cursor: Option<String>,
}

/// Which page to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// How many at most, 1 to 100. Default: 50.
    limit: Option<u8>,
    /// Where the last page ended.
    cursor: Option<String>,
}

/// The routes of `/links/{id}/events`.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Read what happened to a link
#[utoipa::path(get, path = "/links/{id}/events", tag = "links", operation_id = "listEvents",
    params(("id" = String, Path, description = "Id of the link"), EventsQuery),
    responses((status = 200, description = "A page of events, oldest first", body = EventPage),
        CallerProblems, ObjectProblems))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<EventPage>, Problem> {
    caller.require(Scope::LinksRead)?;
    let id = ids::parse(Prefix::Link, &id)?;
    let page = PageQuery::new(query.limit, query.cursor.as_deref())?;
    let after = page.cursor::<i64>()?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    if links::get(&mut tx, tenant, id).await?.is_none() {
        return Err(Problem::new(ProblemCode::NotFound));
    }
    let rows = events::list(&mut tx, tenant, id, after.unwrap_or(0), page.limit()).await?;
    let last = rows.last().map(|row| Cursor::of(row.id).into_text());
    Ok(Json(EventPage {
        next_cursor: last.or(query.cursor),
        events: rows.into_iter().map(Into::into).collect(),
    }))
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            at: row.at,
            kind: row.kind,
            detail: row.detail,
        }
    }
}
