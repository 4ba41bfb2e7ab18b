//! Table `preflights`: what reading tells of a link that was not made, first as a job, then with its findings.

use std::time::Duration;

use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Document, StoreError, links::NewLink, read_document};
use crate::link::{preflight::Finding, request::LinkSpec};

/// A preflight as readers see it.
#[derive(Debug, Clone)]
pub struct PreflightRow {
    /// Its id.
    pub id: Uuid,
    /// `queued`, `running` or `done`.
    pub state: String,
    /// What the link would be.
    pub spec: Json<LinkSpec>,
    /// Name of the connection to Netlify.
    pub netlify_connection: String,
    /// Name of the connection to the git provider.
    pub provider_connection: String,
    /// When it was asked for.
    pub requested_at: OffsetDateTime,
    /// When the reads were done.
    pub checked_at: Option<OffsetDateTime>,
    /// What they told.
    pub findings: Option<Json<Vec<Finding>>>,
}

/// A preflight in the hands of a worker.
#[derive(Debug, Clone)]
pub struct ClaimedPreflight {
    /// Its id.
    pub id: Uuid,
    /// Who asked.
    pub tenant: String,
    spec: Document,
    /// The connection to Netlify.
    pub netlify_connection: Uuid,
    /// The connection to the git provider.
    pub provider_connection: Uuid,
    /// The worker that has it.
    pub lease: Uuid,
    /// Until when, in database time: tells this claim from a later one of the same worker.
    pub leased_until: OffsetDateTime,
    /// Claims so far, with this one.
    pub claims: i16,
}

impl ClaimedPreflight {
    /// What the link would be.
    ///
    /// # Errors
    /// When another version wrote what this one cannot read.
    pub fn spec(&self) -> Result<LinkSpec, StoreError> {
        read_document(&self.spec)
    }
}

/// Asks what reading tells of a link that is not made.
pub async fn insert(db: &mut PgConnection, link: &NewLink) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into preflights (id, tenant, spec, netlify_connection, provider_connection, created_by)
         values ($1, $2, $3, $4, $5, $6)",
        link.id,
        link.tenant,
        Json(&link.spec) as _,
        link.netlify_connection,
        link.provider_connection,
        link.created_by
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The tenant's preflight of this id.
pub async fn get(
    db: &mut PgConnection,
    tenant: &str,
    id: Uuid,
) -> Result<Option<PreflightRow>, StoreError> {
    let row = sqlx::query_as!(
        PreflightRow,
        r#"select p.id, p.state, p.spec as "spec: Json<LinkSpec>", n.name as netlify_connection,
                  g.name as provider_connection, p.requested_at, p.checked_at,
                  p.findings as "findings: Json<Vec<Finding>>"
           from preflights p
           join connections n on n.id = p.netlify_connection
           join connections g on g.id = p.provider_connection
           where p.tenant = $1 and p.id = $2"#,
        tenant,
        id
    )
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Leases up to `limit` due preflights, those of tenants with the fewest at work first; an expired lease is simply due.
/// Needs [`super::Rows::OfAll`].
pub async fn claim(
    db: &mut PgConnection,
    owner: Uuid,
    lease: Duration,
    limit: i64,
) -> Result<Vec<ClaimedPreflight>, StoreError> {
    let claimed = sqlx::query_as!(
        ClaimedPreflight,
        r#"with at_work as (
               select tenant, count(*) as many from preflights
               where state = 'running' and due_at is not null group by tenant
           ), due as (
               select p.id from preflights p left join at_work a on a.tenant = p.tenant
               where p.due_at <= now() order by coalesce(a.many, 0), p.due_at limit $2
               for update of p skip locked
           )
           update preflights p
           set state = 'running', lease = $3, claims = claims + 1,
               due_at = now() + make_interval(secs => $1)
           from due where p.id = due.id
           returning p.id, p.tenant, p.spec as "spec: Document", p.netlify_connection,
                     p.provider_connection, p.lease as "lease!", p.due_at as "leased_until!", p.claims"#,
        lease.as_secs_f64(),
        limit,
        owner
    )
    .fetch_all(db)
    .await?;
    Ok(claimed)
}

/// Writes the findings, unless the preflight was claimed again in the meantime.
pub async fn finish(
    db: &mut PgConnection,
    preflight: &ClaimedPreflight,
    findings: &[Finding],
) -> Result<(), StoreError> {
    sqlx::query!(
        "update preflights set state = 'done', lease = null, due_at = null, checked_at = now(), findings = $3
         where id = $1 and lease = $2 and due_at = $4",
        preflight.id,
        preflight.lease,
        Json(findings) as _,
        preflight.leased_until
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lets go of a preflight that was not finished: it is due at once.
pub async fn let_go(db: &mut PgConnection, preflight: &ClaimedPreflight) -> Result<(), StoreError> {
    sqlx::query!(
        "update preflights set state = 'queued', lease = null, due_at = now(), claims = claims - 1
         where id = $1 and lease = $2 and due_at = $3",
        preflight.id,
        preflight.lease,
        preflight.leased_until
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes up to `limit` preflights that are older than a day; how many it were. Needs [`super::Rows::OfAll`].
pub async fn forget_outdated(db: &mut PgConnection, limit: i64) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "delete from preflights where id in (
             select id from preflights where requested_at <= now() - interval '24 hours'
             limit $1 for update skip locked
         )",
        limit
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
