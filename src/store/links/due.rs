//! Due links: who has some, and the claim of them. All of it needs [`Rows::OfAll`](crate::store::Rows::OfAll).
//!
//! A claim moves `next_run_at`, which leaves a dead index entry behind; while a snapshot from before
//! is held open anywhere (a dump, a forgotten transaction), nothing can remove it, and a scan from the
//! beginning walks over all of them (limits.md, finding 2). So a scan begins where the last one ended.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{LeasedLink, NET, interval};
use crate::store::{Document, StoreError, read_document, step_runs};

/// How long a link is left alone that this version cannot read.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(60);

/// What to claim of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The tenant.
    pub tenant: String,
    /// Links that were due before this are claimed already.
    pub floor: OffsetDateTime,
    /// Links to claim at most.
    pub room: i64,
}

/// A link that was due.
#[derive(Debug)]
pub struct Claimed {
    /// Who owns it.
    pub tenant: String,
    /// Since when it was due.
    pub due_at: OffsetDateTime,
    /// The link, if this version can read it: else it is left to workers of another one.
    pub link: Option<LeasedLink>,
}

/// Database time, and the tenants with links that became due since then.
pub async fn fresh(
    db: &mut PgConnection,
    since: Option<OffsetDateTime>,
) -> Result<(OffsetDateTime, Vec<String>), StoreError> {
    let row = sqlx::query!(
        r#"select now() as "now!", array(
               select distinct tenant from links where next_run_at > coalesce($1, now()) and next_run_at <= now()
           ) as "tenants!""#,
        since
    )
    .fetch_one(db)
    .await?;
    Ok((row.now, row.tenants))
}

/// Every tenant with links that are due or will be: one step in the index per tenant, however many links it has.
pub async fn tenants_with_work(db: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let tenants = sqlx::query_scalar!(
        r#"with recursive with_work as (
               (select tenant from links where next_run_at is not null order by tenant limit 1)
               union all
               select (select l.tenant from links l where l.next_run_at is not null and l.tenant > w.tenant order by l.tenant limit 1)
               from with_work w where w.tenant is not null
           )
           select tenant as "tenant!" from with_work where tenant is not null"#
    )
    .fetch_all(db)
    .await?;
    Ok(tenants)
}

/// Leases up to `limit` due links to a worker: the oldest of each tenant, then the second oldest of each, and so on. Nothing
/// when the others have given the worker up: it stays among the workers until this is committed.
pub async fn claim(
    db: &mut PgConnection,
    owner: Uuid,
    limit: i64,
    asks: &[Ask],
) -> Result<Vec<Claimed>, StoreError> {
    let tenants: Vec<_> = asks.iter().map(|ask| ask.tenant.clone()).collect();
    let floors: Vec<_> = asks.iter().map(|ask| ask.floor).collect();
    let rooms: Vec<_> = asks.iter().map(|ask| ask.room).collect();
    let rows = sqlx::query!(
        r#"with me as materialized (
               select from workers where id = $1 and alive_until > now() for key share
           ), candidates as (
               select due.*, row_number() over (partition by asked.tenant order by due.next_run_at) as turn
               from unnest($4::text[], $5::timestamptz[], $6::bigint[]) as asked (tenant, floor, room)
               cross join lateral (
                   select id, next_run_at, lease_owner is not null as abandoned from links
                   where tenant = asked.tenant and next_run_at >= asked.floor and next_run_at <= now()
                   order by next_run_at limit asked.room for update skip locked
               ) as due
           ), due as (
               select id, next_run_at, abandoned from candidates where exists (select from me) order by turn, next_run_at limit $3
           )
           update links l set lease_owner = $1, lease_until = null, next_run_at = now() + $2, fence = fence + 1,
                  deaths = case when due.abandoned then deaths + 1 else deaths end
           from due where l.id = due.id
           returning l.id, l.live_at is not null as "was_live!", l.tenant, l.spec as "spec: Document", l.status, l.wanted,
                     l.facts as "facts: Document", l.failure as "failure: Document", l.fence, l.deaths, l.netlify_connection, l.provider_connection,
                     due.next_run_at as "due_at!", now() as "now!""#,
        owner,
        interval(NET) as _,
        limit,
        &tenants,
        &floors,
        &rooms
    )
    .fetch_all(&mut *db)
    .await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut steps = step_runs::of_links(db, &ids).await?;
    let (mut claimed, mut unreadable) = (Vec::new(), Vec::new());
    for row in rows {
        let (tenant, due_at) = (row.tenant.clone(), row.due_at);
        let steps = steps.remove(&row.id).unwrap_or(Ok(Vec::new()));
        let link = || {
            Ok::<_, StoreError>(LeasedLink {
                id: row.id,
                tenant: row.tenant,
                spec: read_document(&row.spec)?,
                status: row.status.parse()?,
                wanted: row.wanted.parse()?,
                was_live: row.was_live,
                facts: read_document(&row.facts)?,
                failure: row.failure.as_ref().map(read_document).transpose()?,
                fence: row.fence,
                deaths: row.deaths,
                netlify_connection: row.netlify_connection,
                provider_connection: row.provider_connection,
                steps: steps?,
                claimed_at: row.now,
            })
        };
        let link = link().inspect_err(|error| {
            tracing::error!(link = %row.id, %error, "cannot read a link; another version of linkbroker may");
            unreadable.push(row.id);
        });
        claimed.push(Claimed {
            tenant,
            due_at,
            link: link.ok(),
        });
    }
    if !unreadable.is_empty() {
        leave(db, &unreadable).await?;
    }
    Ok(claimed)
}

/// Lets go of links that this version cannot read, for long enough that others find them.
async fn leave(db: &mut PgConnection, links: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!(
        "update links set lease_owner = null, next_run_at = now() + $2 where id = any($1)",
        links,
        interval(UNREADABLE_PAUSE) as _
    )
    .execute(db)
    .await?;
    Ok(())
}

/// How long until the next link becomes due; nothing when none waits. Links that are due already do not count.
pub async fn next_due_in(db: &mut PgConnection) -> Result<Option<Duration>, StoreError> {
    let seconds = sqlx::query_scalar!(
        r#"select extract(epoch from min(next_run_at) - now())::float8 as seconds from links where next_run_at > now()"#
    )
    .fetch_one(db)
    .await?;
    Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))))
}
