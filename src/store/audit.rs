//! Table `audit`: every write by callers and to upstreams. Rows are added and never changed.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::link::failure::UpstreamTrace;

/// A write, to be recorded.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Made just before the write; the same entry may be added twice and is there once.
    pub id: Uuid,
    /// Subject of the caller; absent when the service wrote by itself.
    pub caller: Option<String>,
    /// The link that it was about.
    pub link: Option<Uuid>,
    /// The step that wrote to an upstream.
    pub step: Option<&'static str>,
    /// What was done.
    pub verb: String,
    /// What it was done to.
    pub object: String,
    /// The call, when it went to an upstream.
    pub upstream: Option<UpstreamTrace>,
}

impl NewEntry {
    /// A caller's write. `object` is an id as callers see it.
    pub fn by(caller: &str, verb: &str, object: String) -> Self {
        Self {
            id: Uuid::now_v7(),
            caller: Some(caller.to_owned()),
            link: None,
            step: None,
            verb: verb.to_owned(),
            object,
            upstream: None,
        }
    }

    /// Names the link that it was about.
    #[must_use]
    pub fn of_link(mut self, link: Uuid) -> Self {
        self.link = Some(link);
        self
    }
}

/// A write that was recorded.
#[derive(Debug)]
pub struct EntryRow {
    /// Cursor.
    pub id: Uuid,
    /// When it was recorded.
    pub at: OffsetDateTime,
    /// Subject of the caller.
    pub caller: Option<String>,
    /// The link that it was about.
    pub link_id: Option<Uuid>,
    /// The step that wrote.
    pub step: Option<String>,
    /// What was done.
    pub verb: String,
    /// What it was done to.
    pub object: String,
    /// The upstream's name.
    pub upstream: Option<String>,
    /// The upstream's answer.
    pub status: Option<i16>,
    /// The upstream's id of the request.
    pub request_id: Option<String>,
}

/// Records writes of a tenant, in the transaction that makes or notes them.
pub async fn append(
    db: &mut PgConnection,
    tenant: &str,
    entries: &[NewEntry],
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    fn column<'a, T>(entries: &'a [NewEntry], value: impl FnMut(&'a NewEntry) -> T) -> Vec<T> {
        entries.iter().map(value).collect()
    }
    let call = |entry: &'_ NewEntry| entry.upstream.clone();
    let status = |entry| Some(call(entry)?.status?.cast_signed());
    sqlx::query(
        "insert into audit (tenant, id, caller, link_id, step, verb, object, upstream, status, request_id)
         select $1, * from unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[],
                                  $8::text[], $9::smallint[], $10::text[])
         on conflict (id) do nothing",
    )
    .bind(tenant)
    .bind(column(entries, |entry| entry.id))
    .bind(column(entries, |entry| entry.caller.as_deref()))
    .bind(column(entries, |entry| entry.link))
    .bind(column(entries, |entry| entry.step))
    .bind(column(entries, |entry| entry.verb.as_str()))
    .bind(column(entries, |entry| entry.object.as_str()))
    .bind(column(entries, |entry| Some(call(entry)?.upstream)))
    .bind(column(entries, status))
    .bind(column(entries, |entry| call(entry)?.request_id))
    .execute(db)
    .await?;
    Ok(())
}

/// Records that a step found the effect of a call which a crash had cut off from its record; not
/// when the call was recorded after all, since the step's intent.
pub async fn append_adopted(
    db: &mut PgConnection,
    tenant: &str,
    link: Uuid,
    step: &str,
    intent_at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into audit (id, tenant, link_id, step, verb, object)
         select $1, $2, $3, $4, 'adopt', $4
         where not exists (select from audit where tenant = $2 and link_id = $3 and step = $4 and at >= $5)",
        Uuid::now_v7(),
        tenant,
        link,
        step,
        intent_at
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Which entries to list.
#[derive(Debug, Default)]
pub struct Filter {
    /// Only older ones than this: the cursor.
    pub before: Option<Uuid>,
    /// Only about this link.
    pub link: Option<Uuid>,
    /// Only recorded since then.
    pub since: Option<OffsetDateTime>,
}

/// The tenant's entries that pass the filter, newest first.
pub async fn list(
    db: &mut PgConnection,
    tenant: &str,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<EntryRow>, StoreError> {
    let rows = sqlx::query_as!(
        EntryRow,
        "select id, at, caller, link_id, step, verb, object, upstream, status, request_id from audit
         where tenant = $1
           and ($2::uuid is null or id < $2)
           and ($3::uuid is null or link_id = $3)
           and ($4::timestamptz is null or at >= $4)
         order by id desc limit $5",
        tenant,
        filter.before,
        filter.link,
        filter.since,
        limit
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}
