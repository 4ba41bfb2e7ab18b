//! `/links/{id}/events`: what happened to a link, in order; as pages or as a stream.

mod stream;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Api,
    caller::LinkReader,
    extract::{Json, Query},
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
    #[schema(value_type = Object, additional_properties = true)]
    pub detail: serde_json::Value,
}

/// A page of events, oldest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// Cursor after the last event of this page: read on from here later, also when this page was the last.
    pub next_cursor: String,
}

/// Which page to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// How many at most, 1 to 100. Default: 50.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// A status token, for streams only: browsers' `EventSource` sends no headers. `LinkReader` reads it.
    #[expect(
        dead_code,
        reason = "a parameter that is allowed here and read elsewhere"
    )]
    #[param(value_type = Option<String>)]
    token: Option<SecretString>,
}

/// The routes of `/links/{id}/events`.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Events read at once.
const BATCH: i64 = 100;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Read what happened to a link
///
/// With `Accept: text/event-stream` the answer is a stream: every event after the cursor (or after
/// `Last-Event-ID`), then each new one as it happens, and at last `event: end` when the link is settled.
#[utoipa::path(get, path = "/links/{id}/events", tag = "links", operation_id = "listEvents",
    security(("bearer" = []), ("status_token" = [])),
    params(("id" = String, Path, description = "Id of the link"), EventsQuery,
           ("Last-Event-ID" = Option<String>, Header, description = "Cursor of the last event that was seen, sent by browsers")),
    responses((status = 200, description = "A page of events, oldest first; or the stream",
            content((EventPage = "application/json"), (String = "text/event-stream", example = "id: Mg\nevent: step.done\ndata: {\"at\":\"2026-11-22T11:09:26.848752Z\",\"detail\":{\"step\":\"resolve_repository\"}}\n\n"))),
        CallerProblems, ObjectProblems))]
async fn list(
    State(api): State<Api>,
    reader: LinkReader,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, id) = (reader.tenant.as_str(), reader.link);
    let seen = headers
        .get(LAST_EVENT_ID)
        .and_then(|value| value.to_str().ok());
    let page = PageQuery::new(query.limit, seen.or(query.cursor.as_deref()))?;
    let after = page.cursor::<i64>()?.unwrap_or(0);
    match wants_stream(&headers) {
        true => follow(&api, &reader, after).await,
        false => read_page(&api, tenant, id, &page, after)
            .await
            .map(IntoResponse::into_response),
    }
}

/// Whether the reader wants `text/event-stream`.
pub fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/event-stream"))
}

async fn read_page(
    api: &Api,
    tenant: &str,
    id: Uuid,
    page: &PageQuery<'_>,
    after: i64,
) -> Result<Json<EventPage>, Problem> {
    let mut tx = begin(&api.reads, Rows::Of(tenant)).await?;
    if links::get(&mut tx, tenant, id).await?.is_none() {
        return Err(Problem::new(ProblemCode::NotFound));
    }
    let rows = events::list(&mut tx, tenant, id, after, page.limit()).await?;
    let last = rows.last().map_or(after, |row| row.id);
    Ok(Json(EventPage {
        next_cursor: Cursor::of(last).into_text(),
        events: rows.into_iter().map(Into::into).collect(),
    }))
}

async fn follow(api: &Api, reader: &LinkReader, after: i64) -> Result<Response, Problem> {
    let (tenant, id) = (reader.tenant.as_str(), reader.link);
    let link = api.feed.subscribe(tenant, id).await?;
    let oldest_held = link.now().events.first().map_or(0, |(id, _)| *id);
    let missed = read_before(api, tenant, id, after, oldest_held).await?;
    Ok(stream::respond(link, after, missed, reader.until))
}

/// The events after a cursor that the feed no longer holds; usually none.
async fn read_before(
    api: &Api,
    tenant: &str,
    id: Uuid,
    mut after: i64,
    oldest_held: i64,
) -> Result<Vec<(i64, Event)>, Problem> {
    let mut missed = Vec::new();
    let mut tx = begin(&api.reads, Rows::Of(tenant)).await?;
    loop {
        let rows = events::list(&mut tx, tenant, id, after, BATCH).await?;
        let older = rows.into_iter().take_while(|row| row.id < oldest_held);
        let before = missed.len();
        missed.extend(older.map(|row| (row.id, Event::from(row))));
        match missed.last() {
            Some((last, _)) if missed.len() - before == BATCH as usize => after = *last,
            _ => return Ok(missed),
        }
    }
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

impl Event {
    /// RFC 3339.
    fn at_text(&self) -> String {
        // Only years beyond 9999 cannot be written.
        self.at.format(&Rfc3339).unwrap_or_default()
    }
}
