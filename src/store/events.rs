//! Table `events`: what happened to a link, in order.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, links::interval};

/// The link stands elsewhere now.
pub const STATUS_CHANGED: &str = "link.status_changed";

/// Something to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// `link.accepted`, `link.status_changed`, `step.done`, …
    pub kind: &'static str,
    /// Public data.
    pub detail: Value,
}

/// Something that was recorded.
#[derive(Debug)]
pub struct EventRow {
    /// Cursor.
    pub id: i64,
    /// When.
    pub at: OffsetDateTime,
    /// What.
    pub kind: String,
    /// Public data.
    pub detail: Value,
}

/// Appends events to a link's history.
pub async fn append(
    db: &mut PgConnection,
    link: Uuid,
    tenant: &str,
    events: &[NewEvent],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let kinds: Vec<String> = events.iter().map(|event| event.kind.to_owned()).collect();
    let details: Vec<Value> = events.iter().map(|event| event.detail.clone()).collect();
    sqlx::query!(
        "insert into events (link_id, tenant, type, detail)
         select $1, $2, kind, detail from unnest($3::text[], $4::jsonb[]) as new (kind, detail)",
        link,
        tenant,
        &kinds,
        &details
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The newest events of a link, oldest first.
pub async fn newest(
    db: &mut PgConnection,
    tenant: &str,
    link: Uuid,
    limit: i64,
) -> Result<Vec<EventRow>, StoreError> {
    let mut rows = sqlx::query_as!(
        EventRow,
        r#"select id, at, type as kind, detail from events
           where tenant = $1 and link_id = $2 order by id desc limit $3"#,
        tenant,
        link,
        limit
    )
    .fetch_all(db)
    .await?;
    rows.reverse();
    Ok(rows)
}

/// Events of a link after a cursor, oldest first.
pub async fn list(
    db: &mut PgConnection,
    tenant: &str,
    link: Uuid,
    after: i64,
    limit: i64,
) -> Result<Vec<EventRow>, StoreError> {
    let rows = sqlx::query_as!(
        EventRow,
        r#"select id, at, type as kind, detail from events
           where tenant = $1 and link_id = $2 and id > $3 order by id limit $4"#,
        tenant,
        link,
        after,
        limit
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Deletes up to `limit` events that are older than `age`; how many it were. Needs [`super::Rows::OfAll`].
pub async fn forget_outdated(
    db: &mut PgConnection,
    age: Duration,
    limit: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "delete from events where id in (
             select id from events where at <= now() - $1::interval limit $2 for update skip locked
         )",
        interval(age) as _,
        limit
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
